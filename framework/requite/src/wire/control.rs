//! Questions between workers and callers: "is it yours?" and "is it running?".

use serde::{Deserialize, Serialize};

use super::record::AttemptId;

/// A newcomer asks the owner of a claim whether it still works on it; whoever has seen that its request is to be cancelled
/// tells it so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MineQuestion<'a> {
    /// `<caller>.<id>` of the request.
    #[serde(borrow)]
    pub(crate) id: &'a str,
    #[serde(with = "serde_bytes")]
    pub(crate) attempt_id: AttemptId,
}

impl<'a> MineQuestion<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("a question has nothing that MessagePack lacks")
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

/// The owner's answer: it runs this very attempt.
pub(crate) const MINE: &[u8] = b"mine";
/// The owner's answer: it does not know this attempt, or has let go of it.
pub(crate) const NOT_MINE: &[u8] = b"not-mine";
