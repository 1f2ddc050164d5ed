//! What a request makes its handlers do.

use serde::{Deserialize, Serialize};

use super::{Manner, Plan, millis, pick};
use crate::broker::simulated::Random;

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
    /// How many items its caller sends, and reads what comes back; 0 if it does neither.
    pub(in crate::simulation) items: u64,
    /// One step for each attempt; the last one counts for all that follow.
    pub(in crate::simulation) script: Vec<Step>,
}

/// What handlers send, in the methods that do.
pub(in crate::simulation) const ITEMS: u64 = 24;

/// An item: who sent it, an attempt or a caller, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulation) struct Item {
    pub(in crate::simulation) attempt: u32,
    pub(in crate::simulation) number: u64,
}

impl Job {
    /// Whether a later attempt goes on behind what is stored of its stream.
    pub(in crate::simulation) fn resumes(&self) -> bool {
        self.tag.is_multiple_of(2)
    }

    pub(in crate::simulation) fn step(&self, attempt: u32) -> Step {
        let at = (attempt.max(1) as usize - 1).min(self.script.len() - 1);
        let step = self.script[at];
        // A plug in the last step would be pulled for ever.
        if at + 1 == self.script.len() { Step { plug: None, ..step } } else { step }
    }

    /// Whether its worker is told to stop when that attempt has ended.
    pub(in crate::simulation) fn stops(&self, attempt: u32) -> bool {
        (attempt as usize) < self.script.len() && (self.tag + attempt).is_multiple_of(7)
    }
}

impl Plan {
    /// What hangs in the network.
    pub(super) fn hangs(&self) -> &'static [&'static str] {
        match self.methods[0].down {
            true => &["rq.itm.>", "rq.put.*.out.>", "rq.put.*.itm.>"],
            false => &["rq.req.>", "rq.put.*.out.>", "rq.put.*.chk.>"],
        }
    }

    /// From numbers of their own: what else a seed decides stays as it is.
    pub(super) fn draw_cancels(&mut self) {
        let random = &mut Random::new(!self.seed);
        for call in &mut self.calls {
            let after = [millis(random, 0, 5), millis(random, 0, 2_000), millis(random, 0, 40_000)];
            call.cancel = (random.below(6) == 0).then(|| pick(random, &after));
        }
    }

    /// Who waits for a call that has streams, or attaches to it later, and whose alone it is, sends and reads. Some go away
    /// before the end, by numbers of their own: what else a seed decides stays as it is.
    pub(super) fn open_streams(&mut self) {
        let random = &mut Random::new(!self.seed ^ 1);
        for call in &mut self.calls {
            let opens = match call.manner {
                Manner::Wait => true,
                // What is not stored is there for one process.
                Manner::Attach { .. } => !call.method.volatile,
                Manner::RequireWorker | Manner::Impatient { .. } => false,
            };
            if opens && call.method.up && call.key.is_none() {
                call.job.items = 1 + u64::from(call.job.tag % 40);
                call.leaves_behind = (random.below(6) == 0).then(|| random.below(ITEMS));
                call.gives_up_behind = (random.below(6) == 0).then(|| 1 + random.below(call.job.items));
            }
        }
    }
}
