//! What lies in a slot of a log.

use crate::wire::frame::{End, WriterId};

/// What is known of a frame in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Head {
    pub(crate) epoch: u32,
    pub(crate) writer: WriterId,
    /// The last item that was stored with all before it when the frame was made, as far as the writer knew.
    pub(crate) settled: u64,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) end: Option<End>,
}

impl Head {
    /// The number of its last item, or of the one before it.
    pub(crate) fn last(&self) -> u64 {
        self.first.saturating_sub(1).saturating_add(self.count)
    }
}

/// What lies in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Empty,
    Frame(Head),
    /// Nothing that a writer of ours wrote.
    Foreign,
}
