//! The only place that formats or parses a subject.
//!
//! `framework/PROTOCOL.md` section 2 lists every subject with who publishes and who reads it.

use crate::name::{Instance, Name, RequestId, is_name, is_request_id};

/// The names of one service in one namespace: its streams and every subject that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceSubjects {
    namespace: Name,
    service: Name,
}

/// The token of the setup message's caller: starts with `-`, so no caller can have it.
pub(crate) const SETUP: &str = "-setup";

/// In a request's subject in the place of the method: asks to cancel the request of the same caller and id. No method has
/// such a name.
pub(crate) const CANCEL: &str = "-cancel";

/// Which way the items of a stream go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// From the caller to the handler.
    Up,
    /// From the handler to the caller.
    Down,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// In the place of any one token, and of both of an id.
pub(crate) const ANY: &str = "*";
pub(crate) const ANY_ID: &str = "*.*";

/// What a server puts before the reply subject of a question that comes from another account.
const OTHER_ACCOUNT: &str = "_R_.";

impl ServiceSubjects {
    pub(crate) fn new(namespace: &Name, service: &Name) -> Self {
        Self { namespace: namespace.clone(), service: service.clone() }
    }

    pub(crate) fn service(&self) -> &Name {
        &self.service
    }

    pub(crate) fn request_stream(&self) -> String {
        format!("{}_REQ_{}", self.namespace, self.service)
    }

    pub(crate) fn record_stream(&self) -> String {
        format!("{}_OUT_{}", self.namespace, self.service)
    }

    pub(crate) fn dead_letter_stream(&self) -> String {
        format!("{}_DEAD_{}", self.namespace, self.service)
    }

    pub(crate) fn item_stream(&self) -> String {
        format!("{}_ITM_{}", self.namespace, self.service)
    }

    /// What the request stream captures for one method: exactly three more tokens, caller and id.
    pub(crate) fn requests(&self, method: &str) -> String {
        self.requests_of(method, ANY)
    }

    pub(crate) fn requests_of(&self, method: &str, caller: &str) -> String {
        format!("{}.req.{}.{method}.{caller}.{ANY_ID}", self.namespace, self.service)
    }

    /// Everything of a request's subject but the id, with a dot at its end.
    pub(crate) fn request_prefix(&self, method: &Name, caller: &Name) -> String {
        format!("{}.req.{}.{method}.{caller}.", self.namespace, self.service)
    }

    /// Any method of the service: asks whether the service has a stream at all.
    pub(crate) fn any_request(&self) -> String {
        format!("{}.req.{}.>", self.namespace, self.service)
    }

    /// Asks to cancel a request.
    pub(crate) fn cancel(&self, caller: &str, id: &str) -> String {
        format!("{}.req.{}.{CANCEL}.{caller}.{id}", self.namespace, self.service)
    }

    /// The request of that caller and id, whatever its method is, and what asks to cancel it.
    pub(crate) fn request_of_any_method(&self, caller: &str, id: &str) -> String {
        format!("{}.req.{}.{ANY}.{caller}.{id}", self.namespace, self.service)
    }

    /// The message that gives a consumer its first settled sequence.
    pub(crate) fn setup_request(&self, method: &str, run: &str) -> String {
        format!("{}.req.{}.{method}.{SETUP}.{run}.0", self.namespace, self.service)
    }

    /// Where a worker writes a record, before caller and id; the stream stores it as [`Self::record`].
    pub(crate) fn record_put_prefix(&self, secret: &str) -> String {
        format!("{}.put.{secret}.out.{}.", self.namespace, self.service)
    }

    /// Where a worker writes a checkpoint, before caller and id; the stream stores it as [`Self::checkpoint`].
    pub(crate) fn checkpoint_put_prefix(&self, secret: &str) -> String {
        format!("{}.put.{secret}.chk.{}.", self.namespace, self.service)
    }

    /// Where a worker writes progress, before caller and id; the stream stores it as [`Self::progress`].
    pub(crate) fn progress_put_prefix(&self, secret: &str) -> String {
        format!("{}.put.{secret}.pgr.{}.", self.namespace, self.service)
    }

    pub(crate) fn progress(&self, caller: &str, id: &str) -> String {
        joined([self.namespace.as_str(), ".pgr.", self.service.as_str(), ".", caller, ".", id])
    }

    pub(crate) fn checkpoint(&self, caller: &str, id: &str) -> String {
        joined([self.namespace.as_str(), ".chk.", self.service.as_str(), ".", caller, ".", id])
    }

    pub(crate) fn record(&self, caller: &str, id: &str) -> String {
        joined([self.namespace.as_str(), ".out.", self.service.as_str(), ".", caller, ".", id])
    }

    /// Where the workers of the service write records, checkpoints and progress, whatever the secret is: they read it from the
    /// stream, and no other stream takes the subjects.
    pub(crate) fn record_puts(&self) -> [String; 3] {
        [self.record_put_prefix(ANY), self.checkpoint_put_prefix(ANY), self.progress_put_prefix(ANY)]
            .map(|prefix| format!("{prefix}{ANY}.{ANY_ID}"))
    }

    /// Where the frames of one direction of a call are stored, before the number of the slot.
    pub(crate) fn frames(&self, caller: &str, id: &str, side: Side) -> String {
        format!("{}.itm.{}.{caller}.{id}.{}.", self.namespace, self.service, side.as_str())
    }

    /// Where a worker writes frames, before the number of the slot; the stream stores them as [`Self::frames`].
    pub(crate) fn frames_put(&self, secret: &str, caller: &str, id: &str) -> String {
        format!("{}.put.{secret}.itm.{}.{caller}.{id}.{}.", self.namespace, self.service, Side::Down.as_str())
    }

    /// Where the server republishes frames, before the number of the slot.
    pub(crate) fn frames_inbox(&self, caller: &str, id: &str, side: Side) -> String {
        format!("{}.{}.", self.inbox(caller, id), side.as_str())
    }

    /// Every frame of a caller's calls as it is stored, both ways.
    pub(crate) fn every_frame(&self, caller: &str) -> String {
        format!("{}.itm.{}.{caller}.{ANY_ID}.{ANY}.{ANY}", self.namespace, self.service)
    }

    /// Where the frames of a stream that is not stored go.
    pub(crate) fn frames_volatile(&self, caller: &str, id: &str, side: Side) -> String {
        match side {
            Side::Up => format!("{}.ctl.{}.{caller}.{id}.up", self.namespace, self.service),
            Side::Down => format!("{}.down", self.signal(caller, id)),
        }
    }

    /// The subjects of the item stream, before its transform: callers write theirs as they are stored.
    pub(crate) fn item_puts(&self, secret: &str) -> [String; 2] {
        let down = self.frames_put(secret, ANY, ANY_ID);
        [down, self.frames(ANY, ANY_ID, Side::Up)].map(any_slot)
    }

    /// Source and destination of the republish that carries frames to their readers.
    pub(crate) fn item_republish(&self) -> (String, String) {
        let (namespace, service) = (&self.namespace, &self.service);
        let rest = "{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}.{{wildcard(5)}}";
        (self.every_frame(ANY), format!("{namespace}.in.{{{{wildcard(1)}}}}.{service}.{rest}"))
    }

    /// Where the reader of one direction of a call gives credit to its writer.
    pub(crate) fn credit(&self, caller: &str, id: &str, side: Side) -> String {
        match side {
            Side::Down => format!("{}.ctl.{}.{caller}.{id}.credit", self.namespace, self.service),
            Side::Up => format!("{}.credit", self.signal(caller, id)),
        }
    }

    /// The subjects of the record stream, before its transform.
    pub(crate) fn records_put(&self, secret: &str) -> Vec<String> {
        ["out", "pgr", "chk"]
            .iter()
            .map(|kind| format!("{}.put.{secret}.{kind}.{}.*.*.*", self.namespace, self.service))
            .collect()
    }

    /// Source and destination of the record stream's transform.
    pub(crate) fn record_transform(&self, secret: &str) -> (String, String) {
        (format!("{}.put.{secret}.>", self.namespace), format!("{}.>", self.namespace))
    }

    /// The secret in the source of a record stream's transform.
    pub(crate) fn secret_of_transform<'a>(&self, source: &'a str) -> Option<&'a str> {
        source.strip_prefix(self.namespace.as_str())?.strip_prefix(".put.")?.strip_suffix(".>")
    }

    /// Source and destination of the republish that carries records to the inboxes.
    pub(crate) fn record_republish(&self) -> (String, String) {
        (
            format!("{}.out.{}.*.*.*", self.namespace, self.service),
            format!(
                "{}.in.{{{{wildcard(1)}}}}.{}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}",
                self.namespace, self.service
            ),
        )
    }

    /// Where the server republishes a record.
    pub(crate) fn inbox(&self, caller: &str, id: &str) -> String {
        joined([self.namespace.as_str(), ".in.", caller, ".", self.service.as_str(), ".", id])
    }

    pub(crate) fn signal(&self, caller: &str, id: &str) -> String {
        format!("{}.sig.{}.{caller}.{id}", self.namespace, self.service)
    }

    pub(crate) fn dead_letter(&self, method: &str, caller: &str, id: &str) -> String {
        format!("{}.dead.{}.{method}.{caller}.{id}", self.namespace, self.service)
    }

    /// The dead letter of what no caller of ours wrote: under its own caller and id, where they are such.
    pub(crate) fn dead_letter_unseen(&self, subject: &str, method: &str, sequence: u64) -> String {
        match self.parse_request(subject).filter(Origin::is_valid) {
            Some(origin) => self.dead_letter(origin.method, origin.caller, origin.id),
            None => self.dead_letter(method, "-foreign", &format!("-.{sequence}")),
        }
    }

    pub(crate) fn dead_letters(&self) -> String {
        self.dead_letter(ANY, ANY, ANY_ID)
    }

    /// A caller asks: is this call running anywhere?
    pub(crate) fn ping(&self, caller: &str, id: &str) -> String {
        format!("{}.ctl.{}.{caller}.{id}.ping", self.namespace, self.service)
    }

    /// Every ping of the service, for a worker to answer.
    pub(crate) fn pings(&self) -> String {
        self.ping(ANY, ANY_ID)
    }

    /// A worker asks another: is this attempt yours?
    pub(crate) fn mine(&self, worker: &str) -> String {
        format!("{}.ctl.{}.-w.{worker}.mine", self.namespace, self.service)
    }

    /// A worker is told that a request of its own is to be cancelled.
    pub(crate) fn told_to_cancel(&self, worker: &str) -> String {
        format!("{}.ctl.{}.-w.{worker}.cancel", self.namespace, self.service)
    }

    /// A caller asks: does anybody serve this method?
    pub(crate) fn any_worker(&self, caller: &str, method: &str) -> String {
        format!("{}.ctl.{}.{caller}.-any.{method}", self.namespace, self.service)
    }

    pub(crate) fn any_workers(&self, method: &str) -> String {
        self.any_worker(ANY, method)
    }

    /// Method, caller and id of a request's subject.
    pub(crate) fn parse_request<'a>(&self, subject: &'a str) -> Option<Origin<'a>> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix(".req.")?;
        let rest = rest.strip_prefix(self.service.as_str())?.strip_prefix('.')?;
        let (method, name) = first_token(rest)?;
        let (caller, id) = first_token(name)?;
        (id.bytes().filter(|b| *b == b'.').count() == 1).then_some(Origin { method, name, caller, id })
    }

    /// Caller and id of a ping's subject.
    pub(crate) fn parse_ping<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix(".ctl.")?;
        let rest = rest.strip_prefix(self.service.as_str())?.strip_prefix('.')?;
        rest.strip_suffix(".ping")?.split_once('.')
    }
}

/// Who asked for what: the tokens of a request's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) method: &'a str,
    /// Caller and id, which name the request: `<caller>.<id>`.
    pub(crate) name: &'a str,
    pub(crate) caller: &'a str,
    /// Both tokens of the id.
    pub(crate) id: &'a str,
}

impl Origin<'_> {
    /// Whether caller and id are such as a caller makes. A server stores any token, a wildcard too, and a record read
    /// under that would be somebody else's.
    pub(crate) fn is_valid(&self) -> bool {
        is_request_id(self.id) && (is_name(self.caller) || self.caller == SETUP)
    }
}

/// The subjects on which one caller hears, over all services.
#[derive(Clone, Debug)]
pub(crate) struct CallerSubjects {
    namespace: Name,
    caller: Name,
}

impl CallerSubjects {
    pub(crate) fn new(namespace: &Name, caller: &Name) -> Self {
        Self { namespace: namespace.clone(), caller: caller.clone() }
    }

    /// Records of all calls of one client instance.
    pub(crate) fn inboxes(&self, instance: &Instance) -> String {
        format!("{}.in.{}.*.{instance}.*", self.namespace, self.caller)
    }

    pub(crate) fn signals(&self, instance: &Instance) -> String {
        format!("{}.sig.*.{}.{instance}.*", self.namespace, self.caller)
    }

    /// The record of one call.
    pub(crate) fn inbox(&self, service: &Name, id: &RequestId) -> String {
        format!("{}.in.{}.{service}.{}", self.namespace, self.caller, id.as_str())
    }

    /// Every record on every inbox of the caller.
    pub(crate) fn every_inbox(&self) -> String {
        format!("{}.in.{}.>", self.namespace, self.caller)
    }

    pub(crate) fn every_signal(&self) -> String {
        format!("{}.sig.*.{}.>", self.namespace, self.caller)
    }

    /// Service and id of a message on an inbox.
    pub(crate) fn parse_inbox<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix(".in.")?;
        rest.strip_prefix(self.caller.as_str())?.strip_prefix('.').and_then(first_token)
    }

    /// Service and id of a request of this caller.
    pub(crate) fn parse_request<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix(".req.")?;
        let (service, rest) = rest.split_once('.')?;
        let (_method, rest) = rest.split_once('.')?;
        Some((service, rest.strip_prefix(self.caller.as_str())?.strip_prefix('.')?))
    }

    /// Service and id of a signal.
    pub(crate) fn parse_signal<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix(".sig.")?;
        let (service, rest) = rest.split_once('.')?;
        Some((service, rest.strip_prefix(self.caller.as_str())?.strip_prefix('.')?))
    }
}

/// The facts in the reply subject of a delivery, `$JS.ACK.…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckSubject<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    /// How often the consumer has delivered this message, 1 at first.
    pub(crate) delivery: u64,
    pub(crate) stream_sequence: u64,
    pub(crate) consumer_sequence: u64,
    /// When the server stored the message, in nanoseconds of its clock since 1970.
    pub(crate) stored: u64,
}

impl<'a> AckSubject<'a> {
    /// Parses both forms: 9 tokens, and 11 or more where the server names domain and account
    /// (`feature_flags { js_ack_fc_v2 }`, nats-server 2.14).
    pub(crate) fn parse(subject: &'a str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("$JS.ACK.")?;
        // Everything after `$JS.ACK` counts 7 tokens in the short form and at least 9 in the long one.
        if tokens.bytes().filter(|b| *b == b'.').count() > 6 {
            tokens = first_token(first_token(tokens)?.1)?.1;
        }
        let mut next = || {
            let (token, rest) = first_token(tokens)?;
            tokens = rest;
            Some(token)
        };
        let (stream, consumer) = (next()?, next()?);
        let mut number = || next()?.parse().ok();
        Some(Self {
            stream,
            consumer,
            delivery: number()?,
            stream_sequence: number()?,
            consumer_sequence: number()?,
            stored: number()?,
        })
    }
}

/// A subject's first token, and what follows its dot. Tokens are short: a search made for long texts takes longer to
/// begin than this takes to end.
pub(crate) fn first_token(subject: &str) -> Option<(&str, &str)> {
    let dot = subject.bytes().position(|byte| byte == b'.')?;
    Some((&subject[..dot], &subject[dot + 1..]))
}

/// The parts in one allocation of exactly their length, which a subject takes over as it is.
pub(crate) fn joined<const N: usize>(parts: [&str; N]) -> String {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        text.push_str(part);
    }
    text
}

/// Every slot behind a prefix of frames.
pub(crate) fn any_slot(prefix: String) -> String {
    prefix + ANY
}

/// The ack subject of a message of which only the sequence is known. The server looks neither at delivery count nor at
/// consumer sequence and time, and does not ask whose the message is.
pub(crate) fn ack_by_sequence(stream: &str, consumer: &str, sequence: u64) -> String {
    format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.{sequence}.0.0")
}

/// The ack subjects of all deliveries of a stream, in both forms. In the long one every token has its place: a pattern
/// that ends in `>` would take the stream's name for the delivery count of somebody else's short one.
pub(crate) fn acks(stream: &str) -> [String; 3] {
    let long = format!("$JS.ACK.*.*.{stream}.*.*.*.*.*.*");
    [format!("$JS.ACK.{stream}.*.*.*.*.*.*"), format!("{long}.>"), long]
}

/// Where the answers to everything that a connection asks arrive, without a trailing dot.
pub(crate) fn inboxes_of(owner: &str) -> String {
    format!("_INBOX.{owner}")
}

/// Where the answer of a worker arrives. Workers may publish there, and nowhere where a server's answers arrive: who
/// has seen one question could forge those to all others.
pub(crate) fn answers_of_workers(inbox: &str) -> String {
    format!("{inbox}.-ask")
}

/// Whether a question may be answered there: the reply subject is a stranger's text, the rights of who answers are not
/// the stranger's.
pub(crate) fn is_for_answers(reply: &str) -> bool {
    reply.starts_with("_INBOX.") || reply.starts_with(OTHER_ACCOUNT)
}

/// The answers to questions from other accounts.
pub(crate) fn answers_to_other_accounts() -> String {
    format!("{OTHER_ACCOUNT}>")
}

/// Subjects of the server's own JetStream API.
pub(crate) mod api {
    pub(crate) fn stream_info(stream: &str) -> String {
        format!("$JS.API.STREAM.INFO.{stream}")
    }

    pub(crate) fn stream_create(stream: &str) -> String {
        format!("$JS.API.STREAM.CREATE.{stream}")
    }

    pub(crate) fn stream_update(stream: &str) -> String {
        format!("$JS.API.STREAM.UPDATE.{stream}")
    }

    pub(crate) fn stream_names() -> String {
        "$JS.API.STREAM.NAMES".into()
    }

    pub(crate) fn consumer_info(stream: &str, consumer: &str) -> String {
        format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}")
    }

    pub(crate) fn consumer_names(stream: &str) -> String {
        format!("$JS.API.CONSUMER.NAMES.{stream}")
    }

    pub(crate) fn consumer_create(stream: &str, consumer: &str, filter: &str) -> String {
        format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}.{filter}")
    }

    pub(crate) fn pull(stream: &str, consumer: &str) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
    }

    /// A read that the stream's leader answers.
    pub(crate) fn read_leader(stream: &str) -> String {
        format!("$JS.API.STREAM.MSG.GET.{stream}")
    }

    /// A read that any replica may answer.
    pub(crate) fn read_any(stream: &str, subject: &str) -> String {
        format!("$JS.API.DIRECT.GET.{stream}.{subject}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> (ServiceSubjects, CallerSubjects, RequestId) {
        let (ns, service, caller) =
            ("rq".parse().unwrap(), "billing".parse().unwrap(), "shop".parse().unwrap());
        let id = RequestId::numbered(&Instance::random(), 7);
        (ServiceSubjects::new(&ns, &service), CallerSubjects::new(&ns, &caller), id)
    }

    #[test]
    fn a_request_subject_round_trips() {
        let (service, _, id) = subjects();
        let subject =
            service.request_prefix(&"charge".parse().unwrap(), &"shop".parse().unwrap()) + id.as_str();
        let origin = service.parse_request(&subject).unwrap();
        let name = format!("shop.{id}");
        assert_eq!(origin, Origin { method: "charge", name: &name, caller: "shop", id: id.as_str() });
        for bad in
            ["", "rq.req.billing.charge.shop.x", "rq.req.billing.charge.shop.a.b.c", "xx.req.billing.m.c.a.b"]
        {
            assert_eq!(service.parse_request(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_callers_name_and_id_are_an_origin() {
        let (_, _, id) = subjects();
        let origin = |caller, id| Origin { method: "charge", name: "", caller, id };
        assert!(origin("shop", id.as_str()).is_valid() && origin(SETUP, id.as_str()).is_valid());
        for (caller, id) in
            [("*", id.as_str()), ("-w", id.as_str()), ("shop", "*.*"), ("shop", "k.>"), ("shop", "a.b")]
        {
            assert!(!origin(caller, id).is_valid(), "{caller} {id}");
        }
    }

    #[test]
    fn an_inbox_names_service_and_id() {
        let (_, caller, id) = subjects();
        let inbox = caller.inbox(&"billing".parse().unwrap(), &id);
        assert_eq!(caller.parse_inbox(&inbox), Some(("billing", id.as_str())));
        assert_eq!(caller.parse_inbox("rq.in.other.billing.a.b"), None);
    }

    #[test]
    fn both_forms_of_an_ack_subject_are_read() {
        let short = AckSubject::parse("$JS.ACK.S.C.2.30.4.1700000000000000000.9").unwrap();
        let long = AckSubject::parse("$JS.ACK._.hash.S.C.2.30.4.1700000000000000000.9").unwrap();
        let longer = AckSubject::parse("$JS.ACK._.hash.S.C.2.30.4.1700000000000000000.9.token").unwrap();
        assert_eq!((short, short), (long, longer));
        assert_eq!((short.stream, short.delivery, short.stream_sequence), ("S", 2, 30));
        for bad in ["", "$JS.ACK", "$JS.ACK.S.C.x.1.1.1.1", "_INBOX.a.b", "$JS.ACK.S.C.1"] {
            assert_eq!(AckSubject::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_secret_is_read_back_from_the_transform() {
        let (service, ..) = subjects();
        let (source, _) = service.record_transform("s3cret");
        assert_eq!(service.secret_of_transform(&source), Some("s3cret"));
    }
}
