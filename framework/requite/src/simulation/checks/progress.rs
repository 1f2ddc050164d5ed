//! What callers are told of how far a handler is.

use super::{Case, Mark, mark_many};
use crate::{simulation::evidence::Reported, wire::record::Kind};

impl Case<'_> {
    /// Whatever is lost or comes twice: no caller is told of an earlier attempt or report behind a later one, and nobody
    /// stores any who does not hold the request.
    pub(super) fn progress_goes_forward(&mut self) {
        for call in &self.seen.calls {
            if !call.progress.is_sorted_by(|earlier, later| earlier < later) {
                self.broken.push(format!("told of earlier progress: {call:?}"));
            }
        }
        for Reported { id, attempt, record } in &self.evidence.progress {
            if *record != Some((Kind::Claim, *attempt)) {
                self.broken.push(format!("{id}: attempt {attempt} stored progress under {record:?}"));
            }
        }
        mark_many(Mark::ProgressStored, self.evidence.progress.len() as u64);
        let told = self.seen.calls.iter().map(|call| call.progress.len() as u64).sum();
        mark_many(Mark::Progress, told);
    }
}
