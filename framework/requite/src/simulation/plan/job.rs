//! What a request makes its handlers do.

use serde::{Deserialize, Serialize};

/// How a handler's run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulation) enum End {
    Value,
    Final,
    Retry,
    Panic,
}

/// What one attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulation) struct Step {
    /// In milliseconds.
    pub(in crate::simulation) takes: u64,
    /// How many it stores on the way.
    pub(in crate::simulation) checkpoints: u32,
    pub(in crate::simulation) end: End,
    /// Its worker dies this many milliseconds after the end: before, between or after the writes that follow.
    pub(in crate::simulation) plug: Option<u64>,
}

/// A request. What it makes its handlers do is in it, so that every worker does the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulation) struct Job {
    /// The same in all calls that mean the same request, and in no other.
    pub(in crate::simulation) tag: u32,
    /// One step for each attempt; the last one counts for all that follow.
    pub(in crate::simulation) script: Vec<Step>,
}

impl Job {
    pub(in crate::simulation) fn step(&self, attempt: u32) -> Step {
        let at = (attempt.max(1) as usize - 1).min(self.script.len() - 1);
        let step = self.script[at];
        // A plug in the last step would be pulled for ever.
        if at + 1 == self.script.len() { Step { plug: None, ..step } } else { step }
    }
}
