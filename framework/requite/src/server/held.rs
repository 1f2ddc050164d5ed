//! One request in a worker's hands: shared by the handler's task, which runs it, and the keeper, which beats for it.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    checkpoint::Checkpoints,
    method::MethodRuntime,
    progress::Reports,
    stats::count,
    streams::{Streams, Undelivered},
};
use crate::{
    broker::{AnyBroker, Broker, Subject},
    protocol::{
        attempt::{Action, Attempt, Event},
        lease::Lease,
        time::Moment,
    },
    service::Produced,
    subject::Origin,
    wire::{PayloadHash, request::Envelope},
};

/// Why a handler must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stop {
    No = 0,
    /// The worker lets go in good order: the handler is dropped, and its request handed on.
    HandOver = 1,
    /// The request is at its end.
    Over = 2,
    /// The request is somebody else's, or free for somebody else.
    Elsewhere = 3,
}

/// One delivery from its arrival to its end.
pub(crate) struct Held {
    pub(crate) method: Arc<MethodRuntime>,
    pub(crate) subject: Subject,
    /// Where acks and heartbeats go.
    pub(crate) ack: Subject,
    pub(crate) sequence: u64,
    /// By the server's clock, in nanoseconds.
    pub(crate) stored: u64,
    pub(crate) hash: PayloadHash,
    pub(crate) envelope: Envelope,
    pub(crate) arrived: Moment,
    machine: Mutex<Attempt>,
    /// When the attempt was last fed.
    fed: AtomicU64,
    /// The moment from which the lease counts; the rest of [`Lease`] is the method's.
    lease_from: AtomicU64,
    /// When the handler started, 0 before.
    started: AtomicU64,
    /// The result, from the handler's end to the outcome's write; the keeper may be the one who writes.
    pub(crate) produced: Mutex<Option<Produced>>,
    /// Most handlers have none.
    checkpoints: Mutex<Option<Box<Checkpoints>>>,
    /// Most handlers make none.
    pub(super) reports: OnceLock<Box<Reports>>,
    /// Most handlers have none.
    pub(super) streams: OnceLock<Box<Streams>>,
    stop: AtomicU8,
    /// When the handler was told that its request is cancelled, 0 before.
    cancelled: AtomicU64,
    /// Wakes whoever waits for [`Self::stop`], for the cancellation or for a first heartbeat.
    changed: Notify,
    /// Set once the keeper's first heartbeat is confirmed.
    proven: AtomicBool,
    released: AtomicBool,
    /// Counts signals.
    pub(crate) signals: AtomicU64,
    /// The request's payload; shares the message's bytes.
    body: Bytes,
}

/// What a delivery brings.
pub(crate) struct Arrival {
    pub(crate) subject: Subject,
    pub(crate) ack: Subject,
    pub(crate) sequence: u64,
    pub(crate) stored: u64,
    pub(crate) hash: PayloadHash,
    pub(crate) envelope: Envelope,
    /// The earliest moment at which the server can have started the lease.
    pub(crate) pulled: Moment,
    pub(crate) arrived: Moment,
}

impl Held {
    /// Takes a slot; it is free again when the attempt is over.
    pub(crate) fn new(method: Arc<MethodRuntime>, arrival: Arrival, body: Bytes, machine: Attempt) -> Self {
        method.slots.take();
        Self {
            method,
            subject: arrival.subject,
            ack: arrival.ack,
            sequence: arrival.sequence,
            stored: arrival.stored,
            hash: arrival.hash,
            envelope: arrival.envelope,
            arrived: arrival.arrived,
            machine: Mutex::new(machine),
            fed: AtomicU64::new(arrival.arrived.0),
            lease_from: AtomicU64::new(arrival.pulled.0),
            started: AtomicU64::new(0),
            produced: Mutex::new(None),
            checkpoints: Mutex::new(None),
            reports: OnceLock::new(),
            streams: OnceLock::new(),
            stop: AtomicU8::new(Stop::No as u8),
            cancelled: AtomicU64::new(0),
            changed: Notify::new(),
            proven: AtomicBool::new(false),
            released: AtomicBool::new(false),
            signals: AtomicU64::new(0),
            body,
        }
    }

    /// The request's payload.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The worker's own connection.
    pub(crate) fn broker(&self) -> &AnyBroker {
        &self.method.service.broker
    }

    pub(crate) fn now(&self) -> Moment {
        self.broker().now()
    }

    /// Caller and id.
    pub(crate) fn origin(&self) -> Origin<'_> {
        self.method.service.subjects.parse_request(&self.subject).expect("checked on arrival")
    }

    /// Feeds the attempt, after a look at the clock: under a lost lease nothing but the loss counts.
    pub(crate) fn step(&self, event: Event) -> Action {
        let now = self.now();
        self.fed.store(now.0, Ordering::Relaxed);
        let mut machine = self.machine.lock().expect("the attempt does not panic");
        let event = if self.lease().is_lost(now) { Event::Lost } else { event };
        if event == Event::Lost && !machine.is_over() {
            count(&self.method.service.counters.lost_leases);
        }
        let action = machine.step(event, now);
        let (over, cancelled) = (machine.is_over(), machine.is_cancelled());
        drop(machine);
        if over {
            self.release(match action {
                Action::Ack { tell: false } => Stop::Over,
                _ => Stop::Elsewhere,
            });
        }
        if cancelled && self.cancelled().is_none() {
            self.cancelled.store(now.0.max(1), Ordering::Release);
            self.tell();
        }
        if action == Action::HandOver {
            self.stop(Stop::HandOver);
        }
        action
    }

    /// When the attempt was last fed: what it asked for then needs no other look at the clock.
    pub(crate) fn fed(&self) -> Moment {
        Moment(self.fed.load(Ordering::Relaxed))
    }

    /// Reads the attempt.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&Attempt) -> T) -> T {
        read(&self.machine.lock().expect("the attempt does not panic"))
    }

    fn release(&self, why: Stop) {
        if !self.released.swap(true, Ordering::AcqRel) {
            self.method.slots.release();
            self.stop(why);
            if let Some(reports) = self.reports.get() {
                reports.changed.notify_one();
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease::granted(self.method.times, Moment(self.lease_from.load(Ordering::Acquire)))
    }

    /// The keeper's heartbeat, sent at `sent`, was confirmed at `answered`.
    pub(crate) fn confirm(&self, sent: Moment, answered: Moment) {
        let mut lease = self.lease();
        lease.confirm(sent, answered);
        self.lease_from.store(lease.from().0, Ordering::Release);
        self.proven.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Resolves when a heartbeat for this delivery is confirmed, or when it must stop.
    pub(crate) async fn proven(&self) {
        self.until(|| self.proven.load(Ordering::Acquire) || self.stopping() != Stop::No).await;
    }

    /// The handler's time begins, with the decoding of its request.
    pub(crate) fn handler_started(&self) {
        self.started.store(self.fed().0, Ordering::Release);
    }

    /// The request is decoded and the handler's own code runs.
    pub(crate) fn count_run(&self) {
        count(&self.method.service.counters.runs);
    }

    /// When the handler started.
    pub(crate) fn started(&self) -> Option<Moment> {
        let started = self.started.load(Ordering::Acquire);
        (started != 0).then_some(Moment(started))
    }

    pub(crate) fn stop(&self, why: Stop) {
        self.stop.fetch_max(why as u8, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(crate) fn stopping(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::No,
            1 => Stop::HandOver,
            2 => Stop::Over,
            _ => Stop::Elsewhere,
        }
    }

    /// Whether the request goes on elsewhere, and with it what is done on its behalf: its next attempt may wait for a call
    /// that this one leaves.
    pub(crate) fn goes_on_elsewhere(&self) -> bool {
        if self.cancelled().is_some() {
            return false;
        }
        match self.stopping() {
            // Nobody may have noticed yet that it is lost.
            Stop::No => self.lease().is_lost(self.now()),
            Stop::HandOver => !self.method.options.once,
            Stop::Over => false,
            Stop::Elsewhere => true,
        }
    }

    /// Resolves when the worker lets go of what it has not finished.
    pub(super) async fn hands_over(&self) {
        self.until(|| self.stopping() == Stop::HandOver).await;
    }

    /// Resolves when the handler must stop.
    pub(crate) async fn stopped(&self) {
        self.until(|| self.stopping() != Stop::No).await;
    }

    /// Whether what is done for this request here is to end. Where only the worker stops, what an ended handler has sent is
    /// seen off first, in the time that [`Streams::settle`] gives it.
    pub(super) fn is_let_go(&self) -> bool {
        match self.stopping() {
            Stop::No => false,
            Stop::HandOver => !self.streams.get().is_some_and(|streams| streams.is_settling()),
            Stop::Over | Stop::Elsewhere => true,
        }
    }

    /// Resolves when [that](Self::is_let_go) is so.
    pub(super) async fn let_go(&self) {
        self.until(|| self.is_let_go()).await;
    }

    /// When the handler was told that its request is cancelled.
    pub(crate) fn cancelled(&self) -> Option<Moment> {
        let cancelled = self.cancelled.load(Ordering::Acquire);
        (cancelled != 0).then_some(Moment(cancelled))
    }

    /// Reads or changes the checkpoints.
    pub(crate) fn checkpoints<T>(&self, look: impl FnOnce(&mut Option<Box<Checkpoints>>) -> T) -> T {
        look(&mut self.checkpoints.lock().expect("nobody panics with the checkpoints in hand"))
    }

    /// Why the items of a returned stream do not get to the caller.
    pub(crate) fn set_undelivered(&self, why: Undelivered) {
        self.streams.get_or_init(Box::default).set_undelivered(why);
    }

    /// Wakes whoever waits for a change.
    pub(crate) fn tell(&self) {
        self.changed.notify_waiters();
    }

    /// How long until the caller's deadline, by the server's clock; nothing if the request carries none.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.envelope.left?;
        let now = self.method.server_now(self.now())?;
        let waited = Duration::from_nanos(now.saturating_sub(self.stored));
        Some(left.saturating_sub(waited))
    }

    /// Resolves when the condition holds; whoever changes what it looks at [tells](Self::tell).
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look: a change in between wakes us.
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}
