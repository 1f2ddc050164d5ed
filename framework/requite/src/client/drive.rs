//! One call under way: feeds the caller's state machine with what comes in and does what it asks for.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::{
    Inner,
    events::CallEvent,
    listen,
    mailbox::{Mail, Mailbox},
};
use crate::{
    broker::{
        AnyBroker, Broker, Headers, Message, Outgoing, SendError,
        api::{self, StoreAnswer},
    },
    name::{Name, RequestId},
    protocol::{
        caller::{Action, Answer, Caller, Event, Presence, Seen, Streams, Verdict},
        time::{ASK_OWNER, Moment},
    },
    subject::ServiceSubjects,
    wire::{VERSION, header, record::Record, request::Envelope, signal::SignalKind},
};

/// How long one publish may go unanswered before it is made again under the same id.
const PUBLISH_WITHIN: Duration = Duration::from_secs(4);
/// Between two asks for an owner.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Where a call goes and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) subjects: ServiceSubjects,
    pub(super) method: Name,
    pub(super) caller: Name,
    pub(super) id: RequestId,
}

impl Target {
    fn request(&self) -> String {
        self.subjects.request(&self.method, &self.caller, &self.id)
    }

    pub(super) fn record(&self) -> String {
        self.subjects.record(self.caller.as_str(), self.id.as_str())
    }

    /// `<service>.<id>`.
    fn key(&self) -> String {
        format!("{}.{}", self.subjects.service(), self.id)
    }

    /// The id that deduplicates publishes; ids are per stream, so method and caller are in it.
    fn message_id(&self) -> String {
        format!("{}.{}.{}", self.method, self.caller, self.id)
    }
}

/// What came of something that was asked for.
struct Done {
    event: Event,
    /// The record that was read.
    record: Option<Bytes>,
    /// What the server said.
    text: Option<String>,
}

impl From<Event> for Done {
    fn from(event: Event) -> Self {
        Self { event, record: None, text: None }
    }
}

type Operation = Pin<Box<dyn Future<Output = Done> + Send>>;
pub(super) type Observer = Box<dyn FnMut(&CallEvent) + Send>;

/// A call under way. Dropping it stops to wait; the request stays where it is.
pub(super) struct Drive {
    client: Arc<Inner>,
    pub(super) target: Target,
    /// Nothing for a call that is only attached to.
    request: Option<(Envelope, Bytes)>,
    deadline: Moment,
    machine: Caller,
    mailbox: Arc<Mailbox>,
    key: String,
    /// Subscriptions of a keyed call.
    listeners: Vec<AbortHandle>,
    operation: Option<Operation>,
    begun: bool,
    accepted_told: bool,
    sent: u32,
    beats: u32,
    observer: Option<Observer>,
    /// The last outcome that was seen.
    outcome: Option<Bytes>,
    /// What the server said to the last refusal.
    text: String,
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.client.pending.remove(&self.key, &self.mailbox);
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

/// Where a drive came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Accepted,
    Finished(Verdict),
}

impl Drive {
    /// Registers the call, and for a keyed one subscribes before anything is published.
    pub(super) async fn new(
        client: Arc<Inner>,
        target: Target,
        request: Option<(Envelope, Bytes)>,
        deadline: Moment,
        machine: Caller,
        observer: Option<Observer>,
    ) -> Result<Self, SendError> {
        let key = target.key();
        let mailbox = client.pending.add(&key);
        let mut drive = Self {
            client,
            target,
            request,
            deadline,
            machine,
            mailbox,
            key,
            listeners: Vec::new(),
            operation: None,
            begun: false,
            accepted_told: false,
            sent: 0,
            beats: 0,
            observer,
            outcome: None,
            text: String::new(),
        };
        let own = drive.target.id.as_str().starts_with(drive.client.instance.as_str());
        if !own {
            let (client, target) = (&drive.client, &drive.target);
            drive.listeners = listen::start_keyed(
                &client.broker,
                &client.subjects,
                &target.subjects,
                &target.caller,
                &target.id,
                &client.pending,
            )
            .await?;
        }
        Ok(drive)
    }

    fn now(&self) -> Moment {
        self.client.broker.now()
    }

    pub(super) fn outcome(&self) -> Option<&Bytes> {
        self.outcome.as_ref()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.machine.is_accepted()
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.machine.is_in_doubt()
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    fn tell(&mut self, event: &CallEvent) {
        if let Some(observer) = &mut self.observer {
            observer(event);
        }
    }

    /// Goes on until the call is accepted, or ended, or only the latter.
    pub(super) async fn go(&mut self, stop_when_accepted: bool) -> Rest {
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::MAX / 1_000_000_000));
        let mut armed = Moment::FAR;
        let mut action = if self.begun { Action::Wait } else { self.machine.step(Event::Begin, self.now()) };
        self.begun = true;
        loop {
            match action {
                Action::Finish(verdict) => return Rest::Finished(verdict),
                Action::Wait => {}
                other => self.operation = Some(self.operation(other)),
            }
            self.tell_accepted();
            if stop_when_accepted && self.machine.is_accepted() {
                return Rest::Accepted;
            }
            let wake_at = self.machine.wake_at();
            // The timer is only ever moved forward in time when it has run out: most calls end long before.
            if wake_at < armed {
                armed = wake_at;
                timer.as_mut().reset(tokio::time::Instant::now() + wake_at.since(self.now()));
            }
            let mailbox = Arc::clone(&self.mailbox);
            let event = tokio::select! {
                biased;
                mail = mailbox.next() => self.read_mail(mail),
                done = async { self.operation.as_mut().expect("checked").await }, if self.operation.is_some() => {
                    self.operation = None;
                    Some(self.done(done))
                }
                () = &mut timer => {
                    armed = Moment::FAR;
                    (self.now() >= wake_at).then_some(Event::Due)
                }
            };
            action = event.map_or(Action::Wait, |event| self.machine.step(event, self.client.broker.now()));
        }
    }

    fn tell_accepted(&mut self) {
        if self.machine.is_accepted() && !self.accepted_told {
            self.accepted_told = true;
            self.tell(&CallEvent::Accepted);
        }
    }

    fn done(&mut self, done: Done) -> Event {
        if let Some(text) = done.text {
            self.text = text;
        }
        match done.record {
            Some(record) => match self.see(record) {
                Some(seen) => Event::Read(Ok(Some(seen))),
                None => Event::Read(Err(())),
            },
            None => done.event,
        }
    }

    fn read_mail(&mut self, mail: Mail) -> Option<Event> {
        match mail {
            Mail::Record(message) if self.is_genuine(&message) => {
                self.see(message.payload).map(Event::Pushed)
            }
            Mail::Record(_) => None,
            Mail::Signal { kind: SignalKind::Stored, .. } => Some(Event::StoredBefore),
            Mail::Signal { kind: SignalKind::Unknown, .. } => None,
            Mail::Signal { kind, worker, attempt, n: _ } => {
                self.tell_accepted();
                if kind == SignalKind::Started {
                    self.tell(&CallEvent::Started { worker, attempt });
                } else {
                    self.beats += 1;
                    let heard = self.beats;
                    self.tell(&CallEvent::Alive { worker, attempt, heard });
                }
                Some(Event::Alive)
            }
            Mail::Reconnected => Some(Event::Reconnected),
            Mail::Denied => {
                self.text = self.target.request();
                Some(Event::Denied)
            }
        }
    }

    /// A message on the inbox counts only if the server says that it stored it as this call's record. Where a message
    /// was republished with such a header already in it, the server's own is the last.
    fn is_genuine(&self, message: &Message) -> bool {
        message.headers.last(header::STREAM) == Some(&*self.target.subjects.record_stream())
            && message.headers.last(header::SUBJECT) == Some(&*self.target.record())
    }

    /// Takes note of a record; nothing if it is none, or of another method.
    fn see(&mut self, payload: Bytes) -> Option<Seen> {
        let record =
            Record::decode(&payload).filter(|record| record.method == self.target.method.as_str())?;
        let seen = Seen { kind: record.kind, hash: record.hash };
        let (attempt, stored) = (record.attempt, record.stored);
        self.client.observe(self.target.subjects.service().as_str(), stored);
        if seen.kind == crate::wire::record::Kind::Outcome {
            self.outcome = Some(payload);
            self.tell_accepted();
            self.tell(&CallEvent::Done { attempt });
        }
        Some(seen)
    }

    fn operation(&mut self, action: Action) -> Operation {
        let broker = self.client.broker.clone();
        let target = self.target.clone();
        match action {
            Action::Publish { resend, with_message_id, after } => {
                self.publish(resend, with_message_id, after)
            }
            Action::Read { after } => Box::pin(async move {
                tokio::time::sleep(after).await;
                read(&broker, &target).await
            }),
            Action::AskStreams => {
                Box::pin(async move { Event::Streams(ask_streams(&broker, &target).await).into() })
            }
            Action::AskWorkers => {
                Box::pin(async move { Event::Asked(ask_workers(&broker, &target).await).into() })
            }
            Action::Wait | Action::Finish(_) => Box::pin(std::future::pending()),
        }
    }

    fn publish(&mut self, resend: bool, with_message_id: bool, after: Duration) -> Operation {
        let Some((envelope, body)) = &self.request else {
            // Attached calls are accepted from the start and never publish.
            return Box::pin(std::future::pending());
        };
        let mut envelope = envelope.clone();
        let body = body.clone();
        let now = self.now();
        envelope.left = Some(self.deadline.since(now + after));
        envelope.resend = resend;
        envelope.sent = self.client.server_now(self.target.subjects.service().as_str());
        let mut headers = envelope.encode();
        if with_message_id {
            headers = headers.with(header::MESSAGE_ID, self.target.message_id());
        }
        let message = Outgoing::new(self.target.request(), body).headers(headers);
        self.sent += 1;
        let number = self.sent;
        self.tell(&CallEvent::Sent { number });
        let broker = self.client.broker.clone();
        Box::pin(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let (answer, text) = coarse(api::store(&broker, message, PUBLISH_WITHIN).await);
            Done { event: Event::Answer(answer), record: None, text }
        })
    }
}

/// The answer to a publish as the state machine needs it, with what the server said.
fn coarse(answer: StoreAnswer) -> (Answer, Option<String>) {
    match answer {
        StoreAnswer::Stored(_) => (Answer::Stored, None),
        StoreAnswer::Duplicate => (Answer::Duplicate, None),
        StoreAnswer::Exists => (Answer::Exists, None),
        StoreAnswer::InDoubt | StoreAnswer::WrongLast => (Answer::InDoubt, None),
        StoreAnswer::NoResponders => (Answer::NoResponders, None),
        StoreAnswer::Full(text) => (Answer::Full, Some(text)),
        StoreAnswer::TooLarge(text) => (Answer::TooLarge, Some(text)),
        StoreAnswer::Refused(error) => (Answer::Refused, Some(error.to_string())),
        StoreAnswer::Closed => (Answer::Closed, None),
    }
}

async fn read(broker: &AnyBroker, target: &Target) -> Done {
    match api::read_any(broker, &target.subjects.record_stream(), &target.record()).await {
        Ok(Some(message)) => Done { event: Event::Read(Err(())), record: Some(message.payload), text: None },
        Ok(None) => Event::Read(Ok(None)).into(),
        Err(failure) => {
            tracing::debug!(id = %target.id, %failure, "the record could not be read");
            Event::Read(Err(())).into()
        }
    }
}

async fn ask_streams(broker: &AnyBroker, target: &Target) -> Streams {
    let for_method = api::stream_names(broker, &target.request()).await;
    match for_method {
        Ok(names) if !names.is_empty() => Streams::Match,
        Ok(_) => match api::stream_names(broker, &target.subjects.any_request()).await {
            Ok(names) if names.is_empty() => Streams::NoService,
            Ok(_) => Streams::NoMethod,
            Err(_) => Streams::Unknown,
        },
        Err(_) => Streams::Unknown,
    }
}

fn control(subject: String) -> Outgoing {
    Outgoing::new(subject, Bytes::new()).headers(Headers::default().with(header::VERSION, VERSION))
}

/// Asks who runs the call. Interest spreads late after a reconnect, so silence counts only after the whole time.
async fn ask_workers(broker: &AnyBroker, target: &Target) -> Presence {
    let ping = target.subjects.ping(target.caller.as_str(), target.id.as_str());
    let until = broker.now() + ASK_OWNER;
    let mut workers = false;
    while broker.now() < until {
        let asked = broker.now();
        match broker.request(control(ping.clone()), ASK_EVERY).await {
            Ok(_) => return Presence::Owner,
            Err(SendError::Closed) => break,
            Err(_) => {}
        }
        workers = workers || serves(broker, target).await;
        tokio::time::sleep(ASK_EVERY.saturating_sub(broker.now().since(asked))).await;
    }
    if workers { Presence::Workers } else { Presence::Nobody }
}

async fn serves(broker: &AnyBroker, target: &Target) -> bool {
    let subject = target.subjects.any_worker(&target.caller, &target.method);
    broker.request(control(subject), ASK_EVERY).await.is_ok()
}

/// Whether any worker serves the method, asked for less than a second.
pub(super) async fn any_worker(broker: &AnyBroker, target: &Target) -> bool {
    for ask in 0..3 {
        if ask > 0 {
            tokio::time::sleep(ASK_EVERY / 4).await;
        }
        if serves(broker, target).await {
            return true;
        }
    }
    false
}
