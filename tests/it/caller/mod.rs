//! What callers meet, on real servers: retries, keys, errors, faults of the network, strangers on the wire.

mod abandoned;
mod answers;
mod attach;
mod cancel;
mod cancel_in_vain;
mod coalesced;
mod connecting;
mod cut;
mod events;
pub(crate) mod fixture;
mod forged;
mod free_function;
mod hostile;
mod keys;
mod leaving;
mod malformed;
mod many;
mod mistimed;
mod permissions;
mod progress;
mod quorum;
mod refused;
mod retry;
mod unknown;
mod versions;
mod watchers;
