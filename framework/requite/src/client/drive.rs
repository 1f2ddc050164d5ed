//! One call under way: feeds the caller's state machine with what comes in and does what it asks for.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{runtime, task::AbortHandle};

use super::{
    CancelAnswer, Inner,
    answers::{Done, End, Outcome, answered, read},
    ask::{any_worker, ask_streams, ask_workers},
    cancel::Cancel,
    listen,
    mailbox::{Address, Mail, Mailbox, REMINDED_WITHIN},
    observers::{Observer, Shared},
    route::Route,
    watch::Watch,
};
use crate::{
    broker::{Broker, Message, Outgoing, SendError, api},
    codec::ContentType,
    name::RequestId,
    protocol::{
        caller::{Action, Caller, Event, Seen, Verdict},
        time::Moment,
    },
    server::held::Held,
    wire::{
        VERSION, header,
        record::{Kind, Record},
        request::Envelope,
        signal::SignalKind,
    },
};

/// How long one publish may go unanswered before it is made again under the same id.
pub(super) const PUBLISH_WITHIN: Duration = Duration::from_secs(4);

/// Where a call goes and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) route: Arc<Route>,
    pub(super) id: RequestId,
}

type Operation = Pin<Box<dyn Future<Output = Done> + Send>>;
pub(super) type OnEnd = Box<dyn FnOnce(End<'_>) + Send>;

/// A call under way. Dropping it stops to wait; the request stays where it is.
pub(super) struct Drive {
    pub(super) client: Arc<Inner>,
    pub(super) target: Target,
    /// Nothing for a call that is only attached to.
    request: Option<(Envelope, Bytes)>,
    deadline: Moment,
    machine: Caller,
    address: Address,
    mailbox: Arc<Mailbox>,
    /// The runtime on which a reminder is written for this call.
    reminded_on: Option<runtime::Id>,
    /// Subscriptions of a keyed call, and who passes on that its parent is cancelled.
    listeners: Vec<AbortHandle>,
    /// Whether to cancel what is dropped before its end.
    pub(super) cancel_on_drop: bool,
    /// The request on whose behalf the call is made, where a drop cancels.
    pub(super) parent: Option<Arc<Held>>,
    /// Whether it is to be cancelled with that, and nobody passes that on yet.
    pub(super) cascade: bool,
    finished: bool,
    operation: Option<Operation>,
    begun: bool,
    /// Whether the acceptance is what is waited for.
    until_accepted: bool,
    watch: Watch,
    outcome: Option<Outcome>,
    /// Told how the call ended.
    pub(super) on_end: Option<OnEnd>,
    /// What the server said to the last refusal.
    text: String,
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.client.pending.remove(&self.address, &self.mailbox);
        for listener in &self.listeners {
            listener.abort();
        }
        if let Some(on_end) = self.on_end.take() {
            on_end(End::Dropped);
        }
        // The next attempt finds it under its key, and only there.
        let is_left = matches!(self.address, Address::Other(_))
            && self.parent.as_ref().is_some_and(|parent| parent.goes_on_elsewhere());
        if self.cancel_on_drop && self.begun && !self.finished && !is_left {
            let cancel = self.cancel();
            self.client.runtime.spawn(async move { cancel.give_up().await });
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
    /// Registers the call.
    pub(super) fn new(
        client: Arc<Inner>,
        target: Target,
        request: Option<(Envelope, Bytes)>,
        deadline: Moment,
        machine: Caller,
        observer: Option<Observer>,
    ) -> Self {
        let address = client.pending.address(target.route.subjects.service().as_str(), target.id.as_str());
        let (mailbox, reminded_on) = client.pending.add(&address);
        Self {
            client,
            target,
            request,
            deadline,
            machine,
            address,
            mailbox,
            reminded_on,
            listeners: Vec::new(),
            cancel_on_drop: false,
            parent: None,
            cascade: false,
            finished: false,
            operation: None,
            begun: false,
            until_accepted: false,
            watch: Watch::by(observer),
            outcome: None,
            on_end: None,
            text: String::new(),
        }
    }

    /// Subscribes, before anything is published: once for all calls under ids of this client's own, else for this call.
    pub(super) async fn listen(&mut self) -> Result<(), SendError> {
        let Self { client, target, .. } = self;
        if let Address::Own(_) = self.address {
            return client.hear_own().await;
        }
        let listeners = listen::start_keyed(
            &client.broker,
            &client.subjects,
            &target.route.subjects,
            &target.route.caller,
            &target.id,
            &client.pending,
        )
        .await?;
        self.listeners.extend(listeners);
        Ok(())
    }

    pub(super) fn cancel(&self) -> Cancel {
        let Target { route, id } = &self.target;
        Cancel { client: Arc::clone(&self.client), subjects: route.subjects.clone(), id: id.clone() }
    }

    /// What asking to cancel comes to, where the end of the call is here already, read or not.
    pub(super) fn ended(&self) -> Option<CancelAnswer> {
        if let Some(outcome) = &self.outcome {
            return Some(CancelAnswer::of_end(outcome.status, outcome.attempt));
        }
        self.mailbox.find(|mail| {
            let Mail::Record(message) = mail else { return None };
            let record = Record::decode(&message.payload).filter(|it| it.kind == Kind::Outcome)?;
            let is_own = self.is_genuine(message) && !self.machine.is_anothers(record.hash);
            is_own.then(|| CancelAnswer::of_end(record.status, record.attempt))
        })
    }

    /// Whether this call's request is new, and nobody else can have made it.
    pub(super) fn is_fresh(&self) -> bool {
        self.request.is_some() && matches!(self.address, Address::Own(_))
    }

    /// Whether everything that concerns the call is heard already.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.address, Address::Own(_)) && self.client.hears_own()
    }

    /// Whether any worker serves the method.
    pub(super) async fn any_worker(&mut self) -> bool {
        any_worker(&self.client.broker, &self.target).await
    }

    fn now(&self) -> Moment {
        self.client.broker.now()
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.machine.is_accepted()
    }

    /// Whether the request is known to be this call's own, and not another's with the same key.
    pub(super) fn is_ours(&self) -> bool {
        self.machine.is_ours()
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.machine.is_in_doubt()
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.watch.observers.add(observer);
    }

    /// Has others add observers while a task goes on with this.
    pub(super) fn share_observers(&mut self) -> Shared {
        self.watch.observers.share()
    }

    /// Goes on until the call is accepted, or ended, or only the latter.
    pub(super) async fn go(&mut self, until_accepted: bool) -> Rest {
        self.until_accepted = until_accepted;
        // Read once after every wait: a call is short, and every look at the clock adds to it.
        let mut now = self.now();
        let begins = !std::mem::replace(&mut self.begun, true);
        let begin = if begins { self.machine.step(Event::Begin, now) } else { Action::Wait };
        if let Some(rest) = self.take_up(begin, now) {
            return rest;
        }
        let mailbox = Arc::clone(&self.mailbox);
        // A call that nobody watches leaves the acknowledgement of its publish unread until it is reminded. Most
        // outcomes come sooner and prove the same, and then the call is woken once instead of twice, without a timer.
        let watched = until_accepted || self.watch.is_watched();
        let patient = self.machine.wake_at() >= now + REMINDED_WITHIN;
        if begins && self.request.is_some() && !watched && patient && self.is_reminded() {
            let mail = mailbox.next().await;
            now = self.now();
            if let Some(rest) = self.take_in(mail, now) {
                return rest;
            }
        }
        let mut armed = self.machine.wake_at();
        let mut timer = std::pin::pin!(tokio::time::sleep(armed.since(now)));
        loop {
            let rest = tokio::select! {
                biased;
                mail = mailbox.next() => {
                    now = self.now();
                    self.take_in(mail, now)
                }
                done = async { self.operation.as_mut().expect("checked").await }, if self.operation.is_some() => {
                    now = self.now();
                    self.operation = None;
                    let event = self.done(done, now);
                    self.feed(event, now)
                }
                () = &mut timer => {
                    now = self.now();
                    armed = Moment::FAR;
                    if now >= self.machine.wake_at() { self.feed(Event::Due, now) } else { None }
                }
            };
            if let Some(rest) = rest {
                return rest;
            }
            // The timer is only ever moved forward in time when it has run out: most calls end long before.
            if self.machine.wake_at() < armed {
                armed = self.machine.wake_at();
                timer.as_mut().reset(tokio::time::Instant::now() + armed.since(now));
            }
        }
    }

    /// Another runtime than the one that this call is awaited on may stand still, and its reminders with it.
    fn is_reminded(&self) -> bool {
        let here = || runtime::Handle::try_current().map(|runtime| runtime.id()).ok();
        self.reminded_on.is_some() && self.reminded_on == here()
    }

    fn take_in(&mut self, mail: Mail, now: Moment) -> Option<Rest> {
        let event = self.read_mail(mail, now)?;
        self.feed(event, now)
    }

    fn feed(&mut self, event: Event, now: Moment) -> Option<Rest> {
        let action = self.machine.step(event, now);
        self.take_up(action, now)
    }

    /// Does what the machine asks for; where there is nothing left to wait for, says so.
    fn take_up(&mut self, action: Action, now: Moment) -> Option<Rest> {
        match action {
            Action::Finish(verdict) => {
                self.finished = true;
                if let Some(on_end) = self.on_end.take() {
                    on_end(match &self.outcome {
                        Some(outcome) if verdict == Verdict::Outcome => End::Outcome(outcome),
                        _ => End::Unknown,
                    });
                }
                return Some(Rest::Finished(verdict));
            }
            Action::Wait => {}
            other => self.operation = Some(self.operation(other, now)),
        }
        if !self.machine.is_accepted() {
            return None;
        }
        // Not before: what asks to cancel must not be stored before the request is.
        if std::mem::take(&mut self.cascade)
            && let Some(parent) = self.parent.clone()
        {
            self.listeners.push(self.cancel().pass_on(parent));
        }
        // Of a call that is only attached to, nothing is known before the first sign of it.
        if self.request.is_some() && self.machine.is_ours() {
            self.watch.accepted();
        }
        self.until_accepted.then_some(Rest::Accepted)
    }

    fn done(&mut self, done: Done, now: Moment) -> Event {
        if let Some(text) = done.text {
            self.text = text;
        }
        self.watch.sequence = self.watch.sequence.or(done.sequence);
        match done.record {
            Some(record) => match self.see(&record, now) {
                Some(seen) => {
                    if let Some(progress) = done.progress {
                        self.watch.stored_progress(&progress);
                    }
                    Event::Read(Ok(Some(seen)))
                }
                None => Event::Read(Err(())),
            },
            None => done.event,
        }
    }

    fn read_mail(&mut self, mail: Mail, now: Moment) -> Option<Event> {
        match mail {
            Mail::Record(message) if self.is_genuine(&message) => {
                self.see(&message.payload, now).map(Event::Pushed)
            }
            Mail::Record(_) => None,
            Mail::Signal(sign) => match sign.kind {
                SignalKind::Stored => Some(Event::StoredBefore),
                SignalKind::Unknown => None,
                SignalKind::Started | SignalKind::Alive | SignalKind::Progress => {
                    // A signal does not say which payload it is about.
                    if self.machine.is_ours() {
                        self.watch.heard(*sign, now);
                    }
                    Some(Event::Alive)
                }
            },
            Mail::Reconnected => Some(Event::Reconnected),
            Mail::Reminder => None,
            Mail::Denied => {
                self.text = self.target.route.request(&self.target.id);
                Some(Event::Denied)
            }
        }
    }

    /// A message on the inbox counts only if the server says that it stored it as this call's record. Where a message
    /// was republished with such a header already in it, the server's own is the last.
    fn is_genuine(&self, message: &Message) -> bool {
        let Target { route, id, .. } = &self.target;
        let (mut version, mut stream, mut subject) = (false, false, false);
        for (name, last) in message.headers.lasts() {
            match name {
                header::VERSION => version = last == VERSION,
                header::STREAM => stream = last == route.record_stream,
                header::SUBJECT => subject = route.is_record(last, id),
                _ => {}
            }
        }
        version && stream && subject
    }

    /// Takes note of a record; nothing if it is none, or of another method.
    fn see(&mut self, payload: &Bytes, now: Moment) -> Option<Seen> {
        let route = &self.target.route;
        let record = Record::decode(payload).filter(|record| record.method == route.method.as_str())?;
        route.observe(record.stored, now);
        let seen = Seen { kind: record.kind, hash: record.hash, attempt: record.attempt };
        if self.machine.is_anothers(seen.hash) {
            // What became of that is nobody's business here.
            return Some(seen);
        }
        self.watch.sequence = Some(record.request);
        if seen.kind == Kind::Outcome {
            let attempt = record.attempt;
            self.outcome = Some(Outcome {
                status: record.status,
                reason: record.reason,
                content_type: record.content_type.and_then(ContentType::parse).unwrap_or_default(),
                attempt,
                items: record.items.unwrap_or(0),
                error: record.error.map(str::to_owned),
                body: record.body.map(|body| payload.slice_ref(body)),
            });
            self.watch.done(attempt);
        } else if seen.kind == Kind::Claim {
            self.watch.started(record.worker, seen.attempt, now);
        }
        Some(seen)
    }

    fn operation(&mut self, action: Action, now: Moment) -> Operation {
        if let Action::Publish { resend, with_message_id, after } = action {
            return self.publish(resend, with_message_id, after, now);
        }
        let broker = self.client.broker.clone();
        let target = self.target.clone();
        // What is started may be watched before this read is made.
        let watched = self.until_accepted || self.watch.is_watched();
        match action {
            Action::Read { after } => Box::pin(async move {
                tokio::time::sleep(after).await;
                read(&broker, &target, watched).await
            }),
            Action::AskStreams => {
                Box::pin(async move { Event::Streams(ask_streams(&broker, &target).await).into() })
            }
            Action::AskWorkers => {
                Box::pin(async move { Event::Asked(ask_workers(&broker, &target).await).into() })
            }
            Action::Publish { .. } | Action::Wait | Action::Finish(_) => Box::pin(std::future::pending()),
        }
    }

    fn publish(&mut self, resend: bool, with_message_id: bool, after: Duration, now: Moment) -> Operation {
        let Some((envelope, body)) = &self.request else {
            // Attached calls are accepted from the start and never publish.
            return Box::pin(std::future::pending());
        };
        let mut envelope = envelope.clone();
        let body = body.clone();
        envelope.left = Some(self.deadline.since(now + after));
        envelope.resend = resend;
        let Target { route, id, .. } = &self.target;
        envelope.sent = route.server_now(now);
        let mut headers = envelope.encode_onto(route.template.clone());
        if with_message_id {
            headers = headers.with_own(header::MESSAGE_ID, route.message_id(id));
        }
        let message = Outgoing::new(route.request(id), body).headers(headers);
        self.watch.sent();
        if after.is_zero() {
            // Sent now; the answer may be left unread for a while.
            return Box::pin(api::store(&self.client.broker, message, PUBLISH_WITHIN).map(answered));
        }
        let broker = self.client.broker.clone();
        Box::pin(async move {
            tokio::time::sleep(after).await;
            answered(api::store(&broker, message, PUBLISH_WITHIN).await)
        })
    }
}
