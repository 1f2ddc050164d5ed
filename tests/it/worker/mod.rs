//! The worker on a real server: what it keeps, what it lets go, and what nobody runs twice.
//!
//! Every test has a server of its own and counts runs outside NATS, in a ledger.

#![allow(clippy::unwrap_used)] // also in the functions that the tests share

mod site;
mod workshop;

mod cancel;
mod checkpoint;
mod cluster;
mod death;
mod drain;
mod failure;
mod midstream;
mod nested;
mod network;
mod records;
mod restart;
mod setup;
mod slots;
mod slow;

/// The lease of most methods of the mill.
const LEASE: std::time::Duration = std::time::Duration::from_secs(6);
