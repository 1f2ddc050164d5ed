//! What a server counted since it started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one server; written by its tasks and its keeper.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) runs: AtomicU64,
    pub(crate) redeliveries: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    pub(crate) barriers: AtomicU64,
    pub(crate) claims: AtomicU64,
    pub(crate) outcomes: AtomicU64,
    pub(crate) known_outcomes: AtomicU64,
    pub(crate) handed_over: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) lost_leases: AtomicU64,
    pub(crate) blocked: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a server counted since it started; each field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Handlers that were started. A request that cannot be decoded starts none.
    pub runs: u64,
    /// Deliveries with a count above 1: the server gave a request out again.
    pub redeliveries: u64,
    /// Heartbeats sent for running requests.
    pub heartbeats: u64,
    /// Confirmations of heartbeats, one for all requests of a consumer.
    pub barriers: u64,
    /// Claims stored.
    pub claims: u64,
    /// Outcomes stored.
    pub outcomes: u64,
    /// Requests that were acked without a run, because their outcome was stored before.
    pub known_outcomes: u64,
    /// Requests released to other workers, for a retry or at shutdown.
    pub handed_over: u64,
    /// Dead letters stored.
    pub dead_letters: u64,
    /// Leases lost while the request was in hand.
    pub lost_leases: u64,
    /// Times that every thread of the runtime was blocked for more than a second.
    pub blocked: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            runs: read(&self.runs),
            redeliveries: read(&self.redeliveries),
            heartbeats: read(&self.heartbeats),
            barriers: read(&self.barriers),
            claims: read(&self.claims),
            outcomes: read(&self.outcomes),
            known_outcomes: read(&self.known_outcomes),
            handed_over: read(&self.handed_over),
            dead_letters: read(&self.dead_letters),
            lost_leases: read(&self.lost_leases),
            blocked: read(&self.blocked),
        }
    }
}
