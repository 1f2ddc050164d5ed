//! Signals: what a worker tells the caller while a request runs. Lossy by nature; they feed displays and limits of
//! silence, never a decision.

use serde::{Deserialize, Serialize};

use super::{progress::Report, record::AttemptId};

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignalKind {
    /// The handler runs; sent once, if it still runs after a quarter of a second.
    Started,
    /// The worker's heartbeat for the request.
    Alive,
    /// The handler says how far it is.
    Progress,
    /// A worker found the outcome stored: read the record.
    Stored,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}

/// One signal, a named MessagePack map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signal<'a> {
    pub(crate) kind: SignalKind,
    pub(crate) attempt: u32,
    #[serde(with = "serde_bytes")]
    pub(crate) attempt_id: AttemptId,
    #[serde(borrow)]
    pub(crate) worker: &'a str,
    /// Counts the signals of the attempt.
    pub(crate) n: u64,
    /// The last report of the handler; with heartbeats too, because signals get lost.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Report<'a>>,
}

impl<'a> Signal<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("a signal has nothing that MessagePack lacks")
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}
