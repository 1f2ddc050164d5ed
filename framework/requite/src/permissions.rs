//! What nats-server has to allow each user, and nothing more: allow-lists for callers, workers, observers and whoever
//! sets up, and what crosses between two accounts.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    name::Name,
    subject::{
        ANY, ANY_ID, CANCEL, CallerSubjects, ServiceSubjects, Side, acks, answers_of_workers,
        answers_to_other_accounts, any_slot, api, inboxes_of,
    },
};

/// The least that a user must be allowed, for one service: subjects to publish and to subscribe.
///
/// Printed, it is the `permissions` of a user in a server's configuration; [`jwt`](Self::jwt) is the same for a user of
/// a decentralised account. In the template of a scoped signing key, `{{name()}}` may stand where the name does.
///
/// ```
/// use requite::{Name, Permissions};
///
/// let [rq, billing, shop]: [Name; 3] = ["rq", "billing", "shop"].map(|name| name.parse().unwrap());
/// let permissions = Permissions::caller(&rq, &billing, &shop);
/// assert!(permissions.publish().contains(&"rq.req.billing.*.shop.*.*".to_owned()));
/// println!(r#"authorization {{ users: [{{ user: shop, password: "…", permissions: {permissions} }}] }}"#);
/// ```
///
/// The user's name is the one under which the client calls, [`ClientBuilder::caller`](crate::ClientBuilder::caller):
/// answers arrive below it. Two users with one name hear each other's answers, whatever their roles and namespaces are.
/// A user in several roles, or of several services, gets all of it by [`and`](Self::and).
///
/// There are no secrets in the lists. Records, and what handlers stream, are written to subjects with a secret in them,
/// which workers read from the record stream and the item stream. So nobody else may read how those are configured, and
/// nobody at all may hear `$JS.EVENT.>`: the server publishes there what it answers to whoever reads a configuration. Do not allow responses
/// (`allow_responses`): whoever sends himself a message with a reply subject may publish there then.
///
/// **In one account this is a guard against mistakes.** Whoever may ask the server anything also says where its answer
/// goes, and an empty answer, such as that there is no record, deletes a stream if it goes to the server's own API; an item
/// of one's own creates one. Callers who may do harm belong in an account of their own, which [`Crossing`] describes;
/// services that do not trust each other belong in different accounts, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    publish: Vec<String>,
    subscribe: Vec<String>,
}

impl Permissions {
    /// Calls methods of the service in the name of `caller`, and gets their outcomes and streams.
    pub fn caller(namespace: &Name, service: &Name, caller: &Name) -> Self {
        let subjects = ServiceSubjects::new(namespace, service);
        let mail = CallerSubjects::new(namespace, caller);
        let caller = caller.as_str();
        let publish = [
            subjects.requests_of(ANY, caller),
            subjects.ping(caller, ANY_ID),
            subjects.any_worker(caller, ANY),
            api::read_any(&subjects.record_stream(), &subjects.record(caller, ANY_ID)),
            api::read_any(&subjects.record_stream(), &subjects.progress(caller, ANY_ID)),
            any_slot(subjects.frames(caller, ANY_ID, Side::Up)),
            subjects.frames_volatile(caller, ANY_ID, Side::Up),
            subjects.credit(caller, ANY_ID, Side::Down),
            api::read_any(&subjects.item_stream(), &subjects.every_frame(caller)),
            api::stream_names(),
        ];
        Self::new(publish, [mail.every_inbox(), mail.every_signal()], caller)
    }

    /// Serves the service, with [`Setup::Verify`](crate::Setup::Verify): it creates nothing.
    pub fn worker(namespace: &Name, service: &Name, worker: &Name) -> Self {
        let subjects = ServiceSubjects::new(namespace, service);
        let [requests, records, items, dead_letters] = streams(&subjects);
        let publish = [
            api::stream_info(&requests),
            api::stream_info(&records),
            api::stream_info(&items),
            api::stream_info(&dead_letters),
            api::consumer_info(&requests, ANY),
            api::pull(&requests, ANY),
            api::read_leader(&requests),
            api::read_leader(&records),
            api::read_leader(&items),
            any_slot(subjects.frames_put(ANY, ANY, ANY_ID)),
            subjects.frames_volatile(ANY, ANY_ID, Side::Down),
            subjects.credit(ANY, ANY_ID, Side::Up),
            subjects.dead_letters(),
            subjects.signal(ANY, ANY_ID),
            subjects.mine(ANY),
            subjects.told_to_cancel(ANY),
            answers_of_workers(&inboxes_of("*.*")),
        ];
        let subscribe = [
            subjects.mine(ANY),
            subjects.told_to_cancel(ANY),
            subjects.pings(),
            subjects.any_workers(ANY),
            subjects.requests(CANCEL),
            any_slot(subjects.frames_inbox(ANY, ANY_ID, Side::Up)),
            subjects.frames_volatile(ANY, ANY_ID, Side::Up),
            subjects.credit(ANY, ANY_ID, Side::Down),
        ];
        let publish = publish.into_iter().chain(subjects.record_puts()).chain(acks(&requests));
        Self::new(publish, subscribe, worker.as_str())
    }

    /// Reads requests, records, items and dead letters, their payloads too, and how far consumers are. Not how the
    /// streams of records and items are configured, or how full they are: the secrets are part of that.
    pub fn observer(namespace: &Name, service: &Name, observer: &Name) -> Self {
        let subjects = ServiceSubjects::new(namespace, service);
        let [requests, records, items, dead_letters] = streams(&subjects);
        let publish = [
            api::stream_names(),
            api::stream_info(&requests),
            api::stream_info(&dead_letters),
            api::consumer_names(&requests),
            api::consumer_info(&requests, ANY),
            api::read_leader(&requests),
            api::read_leader(&records),
            api::read_leader(&items),
            api::read_leader(&dead_letters),
        ];
        Self::new(publish, [], observer.as_str())
    }

    /// Creates what the service needs, by [`Server::prepare`](crate::Server::prepare).
    ///
    /// Who may create a stream may have it copy any other of the account: this is for people and deployments, not for
    /// workers.
    pub fn setup(namespace: &Name, service: &Name, user: &Name) -> Self {
        let subjects = ServiceSubjects::new(namespace, service);
        let all = streams(&subjects);
        let [requests, ..] = &all;
        let of_streams = all
            .iter()
            .flat_map(|it| [api::stream_info(it), api::stream_create(it), api::stream_update(it)])
            .collect::<Vec<_>>();
        let publish = [
            api::consumer_info(requests, ANY),
            api::consumer_create(requests, ANY, &subjects.requests(ANY)),
            subjects.setup_request(ANY, ANY),
            api::pull(requests, ANY),
        ];
        Self::new(of_streams.into_iter().chain(publish).chain(acks(requests)), [], user.as_str())
    }

    /// For a worker whose callers are in another account: answers to them go where only the server knows.
    pub fn answering_other_accounts(mut self) -> Self {
        self.publish.push(answers_to_other_accounts());
        self
    }

    /// What either of two allows.
    pub fn and(mut self, other: Self) -> Self {
        for (mine, more) in [(&mut self.publish, other.publish), (&mut self.subscribe, other.subscribe)] {
            for subject in more {
                if !mine.contains(&subject) {
                    mine.push(subject);
                }
            }
        }
        self
    }

    /// The subjects that the user may publish.
    pub fn publish(&self) -> &[String] {
        &self.publish
    }

    /// The subjects that the user may subscribe.
    pub fn subscribe(&self) -> &[String] {
        &self.subscribe
    }

    /// As the JWT of a user has it, in the claim `nats`.
    pub fn jwt(&self) -> String {
        pretty(&json!({ "pub": { "allow": self.publish }, "sub": { "allow": self.subscribe } }))
    }

    /// Neither list is ever empty: to the server an empty one allows everything.
    fn new(
        publish: impl IntoIterator<Item = String>,
        subscribe: impl IntoIterator<Item = String>,
        user: &str,
    ) -> Self {
        let answers = format!("{}.>", inboxes_of(user));
        let subscribe = std::iter::once(answers).chain(subscribe).collect();
        Self { publish: publish.into_iter().collect(), subscribe }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allow = |subjects: &[String]| json!({ "allow": subjects });
        f.write_str(&pretty(&json!({ "publish": allow(&self.publish), "subscribe": allow(&self.subscribe) })))
    }
}

/// What crosses between the account of a service and an account of callers, for one service.
///
/// Callers get an account of their own, without JetStream: what they ask is taken over by the server, and its answers
/// come back into their account, wherever they are aimed at. The users in it have the [`Permissions::caller`] that they
/// have anywhere, workers [answer other accounts](Permissions::answering_other_accounts).
///
/// ```
/// use requite::{Crossing, Name};
///
/// let [rq, billing, services, callers]: [Name; 4] =
///     ["rq", "billing", "SERVICES", "CALLERS"].map(|name| name.parse().unwrap());
/// let crossing = Crossing::new(&rq, &billing);
/// let (exports, imports) = (crossing.exports(&callers), crossing.imports(&services));
/// println!("accounts {{ {services} {{ jetstream: enabled, exports: {exports} }} {callers} {{ imports: {imports} }} }}");
/// ```
///
/// Which streams there are is not told across accounts. So a call of a method that does not exist is not
/// `Unavailable(NoSuchMethod)` there, but is repeated for as long as acceptance may stay in doubt, and is `Unknown` then.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// Asked by callers, answered by the server or by workers.
    services: Vec<String>,
    /// Told to callers.
    streams: Vec<String>,
}

impl Crossing {
    /// What crosses for one service.
    pub fn new(namespace: &Name, service: &Name) -> Self {
        let subjects = ServiceSubjects::new(namespace, service);
        Self {
            services: vec![
                subjects.requests(ANY),
                subjects.pings(),
                subjects.any_workers(ANY),
                api::read_any(&subjects.record_stream(), &subjects.record(ANY, ANY_ID)),
                api::read_any(&subjects.record_stream(), &subjects.progress(ANY, ANY_ID)),
                any_slot(subjects.frames(ANY, ANY_ID, Side::Up)),
                subjects.frames_volatile(ANY, ANY_ID, Side::Up),
                subjects.credit(ANY, ANY_ID, Side::Down),
                api::read_any(&subjects.item_stream(), &subjects.every_frame(ANY)),
            ],
            streams: vec![
                subjects.inbox(ANY, ANY_ID),
                subjects.signal(ANY, ANY_ID),
                any_slot(subjects.frames_inbox(ANY, ANY_ID, Side::Down)),
                subjects.frames_volatile(ANY, ANY_ID, Side::Down),
                subjects.credit(ANY, ANY_ID, Side::Up),
            ],
        }
    }

    /// The `exports` of the service's account.
    pub fn exports(&self, callers: &Name) -> String {
        let to = [callers.as_str()];
        let exports = self.each(|kind, subject| json!({ kind: subject, "accounts": to }));
        pretty(&exports.into())
    }

    /// The `imports` of the callers' account.
    pub fn imports(&self, services: &Name) -> String {
        let from = services.as_str();
        let imports = self.each(|kind, subject| json!({ kind: { "account": from, "subject": subject } }));
        pretty(&imports.into())
    }

    fn each(&self, one: impl Fn(&str, &str) -> Value) -> Vec<Value> {
        let services = self.services.iter().map(|subject| one("service", subject));
        services.chain(self.streams.iter().map(|subject| one("stream", subject))).collect()
    }
}

/// Request stream, record stream, item stream, dead letters.
fn streams(subjects: &ServiceSubjects) -> [String; 4] {
    [
        subjects.request_stream(),
        subjects.record_stream(),
        subjects.item_stream(),
        subjects.dead_letter_stream(),
    ]
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [Name; 3] {
        ["rq", "billing", "ada"].map(|name| name.parse().unwrap())
    }

    /// A pattern for everything is wider than any role's work, and so is one that begins with a wildcard.
    #[test]
    fn no_list_is_empty_and_no_pattern_begins_wide() {
        let [rq, billing, ada] = names();
        for all in [
            Permissions::caller(&rq, &billing, &ada),
            Permissions::worker(&rq, &billing, &ada).answering_other_accounts(),
            Permissions::observer(&rq, &billing, &ada),
            Permissions::setup(&rq, &billing, &ada),
        ] {
            for list in [all.publish(), all.subscribe()] {
                assert!(!list.is_empty());
                assert!(list.iter().all(|it| !it.starts_with(['*', '>'])), "{list:?}");
            }
            let printed: Value = serde_json::from_str(&all.to_string()).unwrap();
            assert_eq!(printed["publish"]["allow"], json!(all.publish()));
            let claim: Value = serde_json::from_str(&all.jwt()).unwrap();
            assert_eq!(claim["sub"]["allow"], json!(all.subscribe()));
        }
    }

    #[test]
    fn roles_are_joined_without_repetition() {
        let [rq, billing, ada] = names();
        let (caller, observer) =
            (Permissions::caller(&rq, &billing, &ada), Permissions::observer(&rq, &billing, &ada));
        let both = caller.clone().and(observer.clone());
        // The names of streams and the inbox are in both.
        assert_eq!(both.publish().len(), caller.publish().len() + observer.publish().len() - 1);
        assert_eq!(both.subscribe(), caller.subscribe());
    }

    /// What the others may not have: it holds the secret.
    #[test]
    fn only_workers_and_setup_read_how_records_and_items_are_stored() {
        let [rq, billing, ada] = names();
        for stream in ["rq_OUT_billing", "rq_ITM_billing"] {
            let reads = |all: Permissions| all.publish().contains(&format!("$JS.API.STREAM.INFO.{stream}"));
            assert!(reads(Permissions::worker(&rq, &billing, &ada)));
            assert!(reads(Permissions::setup(&rq, &billing, &ada)));
            assert!(!reads(Permissions::caller(&rq, &billing, &ada)));
            assert!(!reads(Permissions::observer(&rq, &billing, &ada)));
        }
    }

    /// What a caller writes a worker hears, and nobody writes the other's side.
    #[test]
    fn each_side_of_a_stream_is_written_by_one_role() {
        let [rq, billing, ada] = names();
        let (caller, worker) =
            (Permissions::caller(&rq, &billing, &ada), Permissions::worker(&rq, &billing, &ada));
        let of_items = |subjects: &[String]| {
            let is_of_items =
                |it: &&String| [".itm.", ".credit", ".up", ".down"].iter().any(|part| it.contains(part));
            subjects.iter().filter(is_of_items).cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            of_items(caller.publish()),
            [
                "rq.itm.billing.ada.*.*.up.*",
                "rq.ctl.billing.ada.*.*.up",
                "rq.ctl.billing.ada.*.*.credit",
                "$JS.API.DIRECT.GET.rq_ITM_billing.rq.itm.billing.ada.*.*.*.*",
            ]
        );
        assert_eq!(
            of_items(caller.subscribe()),
            Vec::<String>::new(),
            "its inbox and its signals cover them"
        );
        assert_eq!(
            of_items(worker.publish()),
            ["rq.put.*.itm.billing.*.*.*.down.*", "rq.sig.billing.*.*.*.down", "rq.sig.billing.*.*.*.credit"]
        );
        assert_eq!(
            of_items(worker.subscribe()),
            ["rq.in.*.billing.*.*.up.*", "rq.ctl.billing.*.*.*.up", "rq.ctl.billing.*.*.*.credit"]
        );
    }
}
