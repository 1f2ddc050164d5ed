//! The puller of one method: asks for exactly the free slots, registers every delivery, starts its task.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{SetOnce, broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    bind,
    cancels::Cancel,
    held::{Arrival, Held},
    keeper::Keeper,
    method::{Binding, MethodRuntime},
    settle,
    stats::{self, count},
    unreadable::Inspector,
    worker,
};
use crate::{
    broker::{AnyBroker, Broker, Event, Message, Outgoing, Subject, Subscription},
    error::ServeError,
    protocol::{
        attempt::{Attempt, Delivery, Terms},
        pull::{Next, Pulls},
        time::{FRESH, Moment},
    },
    subject::{AckSubject, CANCEL, SETUP, api},
    turns,
    wire::{
        header,
        jetstream::{PullRequest, nanos},
        payload_hash,
        request::{Checked, Envelope},
    },
};

/// Between two tries to bind to a consumer that is not there.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// From one binding to the next, at least.
const BIND_NOT_SOONER: Duration = Duration::from_millis(100);

/// Pulls for one method until told to stop.
pub(crate) struct Puller {
    pub(crate) method: Arc<MethodRuntime>,
    pub(crate) broker: AnyBroker,
    pub(crate) keeper: Keeper,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when nothing new may be pulled.
    pub(crate) draining: CancellationToken,
    /// Set when the connection is gone for good.
    pub(crate) closed: Arc<SetOnce<ServeError>>,
    pub(crate) pulls: Pulls,
    pub(crate) inbox: String,
    /// Heard from before the first binding on: a reconnect after it ends it.
    events: broadcast::Receiver<Event>,
    /// Looks for what cuts the connection whenever it is delivered.
    inspector: Inspector,
    /// When this puller last bound.
    pub(crate) bound_at: Moment,
}

/// What the puller heard.
enum Heard {
    Message(Message),
    Event(Event),
    /// A slot is free, a pull is late, or the server shuts down.
    Look,
    Closed,
}

impl Puller {
    pub(crate) fn new(
        method: Arc<MethodRuntime>,
        broker: AnyBroker,
        keeper: Keeper,
        tasks: TaskTracker,
        draining: CancellationToken,
        closed: Arc<SetOnce<ServeError>>,
    ) -> Self {
        let pulls = Pulls::new(method.slots.all(), method.times);
        let inbox = broker.new_inbox();
        let inspector = Inspector::new(method.options.lease);
        let (events, bound_at) = (broker.events(), Moment(0));
        Self { method, broker, keeper, tasks, draining, closed, pulls, inbox, events, inspector, bound_at }
    }

    /// Runs until the server drains and the last open pull has ended: what still arrives is handed on at once.
    pub(crate) async fn run(mut self) {
        let Ok(mut messages) = self.broker.subscribe(format!("{}.*", self.inbox)).await else {
            return self.close();
        };
        let mut ending = false;
        loop {
            if self.draining.is_cancelled() && self.pulls.check_at().is_none() {
                return;
            }
            if self.draining.is_cancelled() && !ending {
                ending = true;
                // Without an interest the server sends nothing more for the open pulls.
                messages.end().await;
            }
            if self.method.binding().is_none() && !self.draining.is_cancelled() && !self.bind().await {
                continue;
            }
            self.pull().await;
            match self.hear(&mut messages).await {
                Heard::Message(message) => {
                    self.take(message);
                    // What has arrived already is taken without another look at everything else.
                    let mut taken = 1;
                    while taken < turns::TURN
                        && let Some(Some(message)) = messages.next().now_or_never()
                    {
                        self.take(message);
                        taken += 1;
                    }
                    self.pulls.settle();
                    if taken == turns::TURN {
                        turns::pass().await;
                    }
                }
                Heard::Event(Event::Closed) | Heard::Closed if ending => return,
                Heard::Event(Event::Closed) | Heard::Closed => return self.close(),
                Heard::Event(Event::Denied { subject }) if subject == self.pull_subject() => {
                    tracing::error!(subject, "no permission to pull: this worker gets no requests");
                    self.unbind();
                    tokio::time::sleep(BIND_AGAIN).await;
                }
                Heard::Event(event @ (Event::Reconnected | Event::Disconnected | Event::Overrun)) => {
                    if event == Event::Disconnected {
                        self.inspector.disconnected(self.broker.now());
                    }
                    self.unbind();
                }
                Heard::Event(_) => {}
                Heard::Look => {
                    if self.pulls.is_lost(self.broker.now()) {
                        tracing::warn!(method = self.method.options.name, "pulls were lost; binding again");
                        self.unbind();
                    }
                }
            }
        }
    }

    fn close(&self) {
        // Another puller may have been the first to notice.
        let _ = self.closed.set(ServeError::Closed);
    }

    /// Forgets what was known of the stream: whatever comes now may be in somebody's hands.
    fn unbind(&mut self) {
        self.method.bind(None);
        self.pulls.reset();
    }

    async fn bind(&mut self) -> bool {
        let mut events = self.broker.events();
        // A server that ends every pull at once (too many wait at the consumer) must not be asked in a tight loop.
        let since = self.broker.now().since(self.bound_at);
        tokio::time::sleep(BIND_NOT_SOONER.saturating_sub(since)).await;
        let binding = async {
            self.inspector.inspect(&self.broker, &self.method).await;
            bind::bind(&self.broker, &self.method).await
        };
        let bound = tokio::select! {
            biased;
            bound = binding => bound,
            // A server that shuts down ends the pulls first: what was asked of it after that is not answered any more.
            () = reconnected(&mut events) => return false,
        };
        match bound {
            Ok(binding) => {
                self.inspector.bound();
                self.bound_at = binding.bound_at;
                self.method.bind(Some(binding));
                true
            }
            Err(error) => {
                tracing::error!(method = self.method.options.name, %error, "cannot bind; trying again");
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(BIND_AGAIN) => {}
                    () = reconnected(&mut events) => {}
                    () = self.draining.cancelled() => {}
                }
                false
            }
        }
    }

    fn pull_subject(&self) -> String {
        api::pull(&self.method.service.request_stream, self.method.options.name)
    }

    async fn pull(&mut self) {
        if self.draining.is_cancelled() || self.method.service.full.load(Ordering::Relaxed) {
            return;
        }
        let now = self.broker.now();
        let Some(Next { token, batch }) = self.pulls.next(self.method.slots.held(), now) else {
            return;
        };
        let times = self.method.times;
        let request = PullRequest {
            batch,
            expires: nanos(times.heartbeat()),
            idle_heartbeat: nanos(times.idle_heartbeat()),
        };
        let body = serde_json::to_vec(&request).expect("plain structs have a JSON form");
        let mut message = Outgoing::new(self.pull_subject(), body);
        message.reply = Some(format!("{}.{token}", self.inbox));
        if self.broker.publish(message).await.is_err() {
            self.unbind();
        }
    }

    async fn hear(&mut self, messages: &mut impl Subscription) -> Heard {
        if let Some(message) = messages.next().now_or_never() {
            return message.map_or(Heard::Closed, Heard::Message);
        }
        self.pulls.idle(self.broker.now());
        // While the record stream is full, look again from time to time.
        let idle = if self.draining.is_cancelled() { Duration::from_millis(200) } else { BIND_AGAIN };
        let check = self.pulls.check_at().map_or(idle, |at| at.since(self.broker.now()));
        let draining = self.draining.is_cancelled();
        tokio::select! {
            biased;
            message = messages.next() => message.map_or(Heard::Closed, Heard::Message),
            event = self.events.recv() => match event {
                Ok(event) => Heard::Event(event),
                // Events were missed, and one of them may have been a reconnect.
                Err(broadcast::error::RecvError::Lagged(_)) => Heard::Event(Event::Reconnected),
                Err(broadcast::error::RecvError::Closed) => Heard::Closed,
            },
            () = self.method.slots.freed.notified() => Heard::Look,
            () = self.draining.cancelled(), if !draining => Heard::Look,
            () = tokio::time::sleep(check) => Heard::Look,
        }
    }

    fn take(&mut self, mut message: Message) {
        let now = self.broker.now();
        if let Some(status) = message.status {
            self.status(status, &message, now);
            return;
        }
        let pulled = self.pulls.delivered(now);
        let Some(ack) = message.reply.take() else {
            return;
        };
        let Some(facts) = AckSubject::parse(&ack) else {
            tracing::error!(%ack, "a delivery with an ack subject that cannot be read");
            return;
        };
        if facts.delivery > 1 && self.method.options.name != CANCEL {
            count(&self.method.service.counters.redeliveries);
        }
        let (sequence, stored, delivery) = (facts.stream_sequence, facts.stored, facts.delivery);
        self.method.observe_server_time(stored, now);
        let is_ours = self
            .method
            .service
            .subjects
            .parse_request(&message.subject)
            .is_some_and(|origin| origin.method == self.method.options.name && origin.is_valid());
        let checked = if is_ours {
            match (Envelope::check(&message.headers), self.method.options.name == CANCEL) {
                (Checked::Call(_), true) | (Checked::Cancel, false) => Checked::Foreign("is of another kind"),
                (checked, _) => checked,
            }
        } else {
            Checked::Foreign("has a foreign subject")
        };
        let expires = self.method.times.end(pulled);
        match checked {
            // It was on its way when the server began to drain: another worker starts it.
            Checked::Call(_) if self.draining.is_cancelled() => {
                count(&self.method.service.counters.handed_over);
                self.keeper.nak(&ack, Duration::ZERO, expires);
            }
            Checked::Call(envelope) => {
                let hash = payload_hash(envelope.content_type.as_str(), &message.payload);
                let subject = message.subject;
                let arrival =
                    Arrival { subject, ack, sequence, stored, hash, envelope, pulled, arrived: now };
                self.start(arrival, delivery, message.payload, now);
            }
            Checked::Cancel if self.draining.is_cancelled() => self.keeper.nak(&ack, Duration::ZERO, expires),
            Checked::Cancel => {
                let (method, subject) = (Arc::clone(&self.method), message.subject);
                let cancel = Cancel { method, subject, ack, sequence, expires };
                self.tasks.spawn(turns::own(cancel.attend(self.keeper.clone())));
            }
            // Set-up's own message has a caller that nobody can be, and is acked unseen below.
            Checked::Setup => self.bury_unseen(message, ack, sequence, "is not of set-up", expires),
            Checked::Foreign(reason) => self.bury_unseen(message, ack, sequence, reason, expires),
        }
    }

    fn status(&mut self, status: u16, message: &Message, now: Moment) {
        let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let missing = message.headers.first(header::PENDING_MESSAGES).and_then(|n| n.parse().ok());
        match (status, token) {
            (100, _) => self.pulls.alive(now),
            (404 | 408, Some(token)) => self.pulls.ended(token, missing, now),
            _ => {
                // A change of leader, a consumer that is gone, no leader at all: nothing is known any more.
                tracing::info!(status, description = message.description.as_deref(), "a pull was ended");
                self.unbind();
            }
        }
    }

    /// Everything that is known of the delivery, and a task that sees it through.
    fn start(&self, mut arrival: Arrival, count: u64, body: Bytes, now: Moment) {
        let method = &self.method;
        // A worker that stops starts nothing new, least of all what it has just let go. And a pull that was given up for
        // lost may arrive after all, beside the one that was made in its place: handlers never exceed the slots.
        if self.draining.is_cancelled() || method.slots.held() >= method.slots.all() {
            stats::count(&method.service.counters.handed_over);
            self.keeper.nak(&arrival.ack, Duration::ZERO, method.times.end(arrival.pulled));
            return;
        }
        let binding = method.binding();
        let delivery = self.delivery(&arrival, count, binding.as_ref(), now);
        let options = &method.options;
        let terms = Terms {
            once: options.once,
            fenced: options.fenced,
            attempts: options.attempts,
            replicated: method.service.replicas > 1,
            always_claim: binding.as_ref().is_none_or(|it| it.always_claim),
            times: method.times,
        };
        let waited = method.server_now(now).map_or(0, |it| it.saturating_sub(arrival.stored));
        let prove = Duration::from_nanos(waited) > method.times.starts_unproven_within(terms.replicated);
        if !prove {
            // A server that restores its state counts the lease from the publish, until a heartbeat has arrived.
            arrival.pulled = arrival.pulled.min(now - Duration::from_nanos(waited));
        }
        let machine = Attempt::new(method.new_attempt_id(), delivery, terms);
        let held = Arc::new(Held::new(Arc::clone(method), arrival, body, machine));
        let ticket = self.keeper.register(&held);
        self.tasks.spawn(turns::own(worker::attend(held, self.keeper.clone(), ticket, prove)));
    }

    fn delivery(&self, arrival: &Arrival, count: u64, binding: Option<&Binding>, now: Moment) -> Delivery {
        let Arrival { envelope, stored, sequence, .. } = arrival;
        let nanos_of = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Delivery {
            count,
            resend: envelope.resend,
            fresh: envelope.sent.is_some_and(|sent| *stored <= sent.saturating_add(nanos_of(FRESH))),
            above_bound: binding.is_some_and(|it| *sequence > it.last_sequence),
            expires: envelope.left.zip(self.method.server_now(now)).map_or(Moment::FAR, |(left, server)| {
                let deadline = stored.saturating_add(nanos_of(left));
                // Past already is past for good: `now` is where this clock stands.
                now + Duration::from_nanos(deadline.saturating_sub(server))
            }),
            owner_claims_until: binding.map_or(now + self.method.times.owner_claims_within(), |it| {
                bind::owner_claims_until(&self.method, it)
            }),
        }
    }

    fn ack_unseen(&self, ack: Subject, expires: Moment) {
        let broker = self.broker.clone();
        let ack = async move { settle::send_ack(&ack, broker.now(), expires, &broker).await };
        self.tasks.spawn(turns::own(ack));
    }

    /// What no caller of ours wrote: kept for people, acked, and no record is written under an id it may have made up.
    fn bury_unseen(
        &self,
        message: Message,
        ack: Subject,
        sequence: u64,
        reason: &'static str,
        expires: Moment,
    ) {
        let broker = self.broker.clone();
        let subjects = &self.method.service.subjects;
        if subjects.parse_request(&message.subject).is_some_and(|origin| origin.caller == SETUP) {
            return self.ack_unseen(ack, expires);
        }
        let subject = subjects.dead_letter_unseen(&message.subject, self.method.options.name, sequence);
        tracing::warn!(subject = %message.subject, reason, "a message that is no request of ours");
        let counters = Arc::clone(&self.method.service.counters);
        self.tasks.spawn(turns::own(async move {
            let headers = message.headers.without_server_ones();
            while broker.now() < expires {
                if settle::store_dead_letter(
                    subject.clone(),
                    headers.clone(),
                    message.payload.clone(),
                    reason,
                    sequence,
                    &broker,
                )
                .await
                {
                    count(&counters.dead_letters);
                    return settle::send_ack(&ack, broker.now(), expires, &broker).await;
                }
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }));
    }
}

/// Resolves when the connection is back, or may have been.
async fn reconnected(events: &mut broadcast::Receiver<Event>) {
    while !matches!(events.recv().await, Ok(Event::Reconnected) | Err(_)) {}
}
