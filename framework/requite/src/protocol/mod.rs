//! The protocol as pure state machines: (event, time) → action. No async, no clock, no NATS.
//!
//! [`caller`] is one call, [`attempt`] one delivery at a worker, [`lease`] the worker's hold on it, [`pull`] what is
//! asked of the broker next, [`progress`] how often a caller hears of it,
//! [`items`] the two ends of a stream; [`time`] derives every duration from the lease.

pub(crate) mod attempt;
pub(crate) mod caller;
pub(crate) mod items;
pub(crate) mod lease;
pub(crate) mod progress;
pub(crate) mod pull;
pub(crate) mod time;
