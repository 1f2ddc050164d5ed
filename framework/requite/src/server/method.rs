//! One method as a running worker sees it: its options, its binding to the stream, its slots.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{barrier::Barrier, cancels::Cancels, stats::Counters};
use crate::{
    broker::{AnyBroker, Headers},
    name::Instance,
    protocol::time::{LeaseTimes, Moment, ServerClock},
    service::{HandlerFn, Method},
    subject::ServiceSubjects,
    wire::{VERSION, header, record::Kind},
};

#[cfg(test)]
use crate::planted::{Bug, is_planted};

/// What all methods of one service share.
#[derive(Debug)]
pub(crate) struct ServiceRuntime {
    /// The worker's own connection, whose clock counts.
    pub(crate) broker: AnyBroker,
    pub(crate) subjects: ServiceSubjects,
    pub(crate) request_stream: String,
    pub(crate) record_stream: String,
    /// Where records are written: everything of the subject but caller and id.
    pub(crate) record_put_prefix: String,
    /// The same for checkpoints.
    pub(crate) checkpoint_put_prefix: String,
    /// The same for progress.
    pub(crate) progress_put_prefix: String,
    /// Part of where items are written, where there are streams.
    pub(crate) item_secret: Option<String>,
    pub(crate) replicas: u8,
    /// The record stream is nearly full: nothing new is pulled, so that every claim's outcome still fits.
    pub(crate) full: AtomicBool,
    pub(crate) worker: Instance,
    pub(crate) counters: Arc<Counters>,
    pub(crate) cancels: Cancels,
}

/// One method of a running worker.
pub(crate) struct MethodRuntime {
    pub(crate) service: Arc<ServiceRuntime>,
    pub(crate) options: Method,
    /// Nothing where no requests come, but what asks to cancel them.
    handler: Option<HandlerFn>,
    pub(crate) times: LeaseTimes,
    pub(crate) barrier: Barrier,
    pub(crate) slots: Slots,
    pub(crate) clock: Mutex<ServerClock>,
    pub(crate) binding: Mutex<Option<Binding>>,
    /// The headers of an outcome of a call without a key where no record is yet: the usual case.
    pub(crate) usual_outcome: Headers,
    /// Counts attempts, so that their ids differ.
    next_attempt: AtomicU64,
    attempt_base: [u8; 8],
}

/// What was read when this worker bound to the consumer. Whatever may have changed it ends the binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The stream's last sequence at that time: what comes above it was stored later.
    pub(crate) last_sequence: u64,
    pub(crate) bound_at: Moment,
    /// A sequence of the consumer that is settled already, for the barrier.
    pub(crate) settled: u64,
    /// A single replica inside a cluster: its server may restart without a word to this connection.
    pub(crate) always_claim: bool,
}

impl MethodRuntime {
    pub(crate) fn new(
        service: Arc<ServiceRuntime>,
        options: Method,
        handler: Option<HandlerFn>,
        (barrier, times): (Barrier, LeaseTimes),
    ) -> Self {
        let mut attempt_base = [0; 8];
        attempt_base.copy_from_slice(&crate::name::random_bits()[..8]);
        Self {
            times,
            barrier,
            slots: Slots::new(options.concurrency),
            clock: Mutex::default(),
            binding: Mutex::new(None),
            usual_outcome: record_headers(Kind::Outcome, 0, Some(options.retention(false))),
            next_attempt: AtomicU64::new(0),
            attempt_base,
            service,
            options,
            handler,
        }
    }

    /// The consumer of what asks to cancel requests of the service. Each takes a few round trips, and no heartbeats.
    pub(crate) fn of_cancels(service: Arc<ServiceRuntime>, options: Method) -> Self {
        Self::new(service, options, None, (Barrier::Heartbeat, LeaseTimes::new(options.lease)))
    }

    pub(crate) fn handler(&self) -> &HandlerFn {
        self.handler.as_ref().expect("requests come only where there is a handler")
    }

    pub(crate) fn new_attempt_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.attempt_base);
        id[8..].copy_from_slice(&self.next_attempt.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        id
    }

    pub(crate) fn binding(&self) -> Option<Binding> {
        *self.binding.lock().expect("no panic while a binding is copied")
    }

    pub(crate) fn bind(&self, binding: Option<Binding>) {
        *self.binding.lock().expect("no panic while a binding is copied") = binding;
    }

    /// A lower bound of the server's clock.
    pub(crate) fn server_now(&self, now: Moment) -> Option<u64> {
        self.clock.lock().expect("no panic while a clock is read").now(now)
    }

    pub(crate) fn observe_server_time(&self, stamp: u64, now: Moment) {
        self.clock.lock().expect("no panic while a clock is read").observe(stamp, now);
    }
}

/// The headers of a record; only outcomes are kept for a limited time.
pub(crate) fn record_headers(kind: Kind, expected: u64, retention: Option<Duration>) -> Headers {
    let headers = Headers::default()
        .with(header::VERSION, VERSION)
        .with(header::KIND, kind.as_str())
        .with(header::EXPECTED_LAST, expected.to_string());
    #[cfg(test)]
    let headers = match kind {
        Kind::Outcome if is_planted(Bug::OutcomeOverwritten) => {
            Headers::default().with(header::VERSION, VERSION).with(header::KIND, kind.as_str())
        }
        _ => headers,
    };
    match retention {
        Some(retention) => headers.with(header::TTL, format!("{}s", retention.as_secs().max(1))),
        None => headers,
    }
}

/// The slots of one method: how many requests this worker has in hand.
#[derive(Debug)]
pub(crate) struct Slots {
    all: usize,
    held: AtomicUsize,
    /// Woken when enough slots are free for a pull, and when the last one is.
    pub(crate) freed: Notify,
}

impl Slots {
    fn new(all: usize) -> Self {
        Self { all, held: AtomicUsize::new(0), freed: Notify::new() }
    }

    pub(crate) fn all(&self) -> usize {
        self.all
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) {
        self.held.fetch_add(1, Ordering::AcqRel);
    }

    /// Wakes the puller only when a pull is worth it: at every quarter of the slots, and when all are free.
    pub(crate) fn release(&self) {
        let held = self.held.fetch_sub(1, Ordering::AcqRel) - 1;
        let quarter = (self.all / 4).max(1);
        if held == 0 || (self.all - held).is_multiple_of(quarter) {
            self.freed.notify_one();
        }
    }
}
