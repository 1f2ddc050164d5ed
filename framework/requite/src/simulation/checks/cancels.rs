//! What callers are promised when they cancel.

use super::Case;
use crate::{
    CancelAnswer,
    simulation::{
        history::{Answer, Over, Run},
        marks::{Mark, mark_many},
    },
};

impl Case<'_> {
    /// Nobody is cancelled who was not asked to be, nothing begins behind a record that says so, and `never ran` is true.
    pub(super) fn what_is_cancelled_does_not_begin(&mut self) {
        let nothing = Vec::new();
        for id in self.evidence.requests.keys() {
            let runs = self.runs.get(&**id).unwrap_or(&nothing);
            let outcome = self.evidence.outcome(id).map(|(_, answer)| answer);
            let asked = self.seen.cancels.iter().any(|(it, _)| it == id);
            if let Some(Answer::Cancelled { may_have_run }) = outcome
                && (!asked || (!may_have_run && !runs.is_empty()))
            {
                self.broken.push(format!("cancelled, asked for: {asked}: {id}: {outcome:?}, {runs:?}"));
            }
            let told = self.evidence.records.get(id).into_iter().flatten().find(|it| it.cancelled);
            let told = told.map(|it| it.at);
            for run in runs.iter().filter(|run| told.is_some_and(|told| run.began > told)) {
                self.broken.push(format!("began, although the record said cancelled at {told:?}: {run:?}"));
            }
            if outcome.is_some() && !asked && runs.iter().any(|run| run.cancelled) {
                self.broken.push(format!("told to end, and nobody had asked for it: {runs:?}"));
            }
        }
        for (id, answer) in &self.seen.cancels {
            let Some(answer) = answer else { continue };
            let outcome = self.evidence.outcome(id).map(|(_, answer)| answer);
            let never_ran = outcome == Some(&Answer::Cancelled { may_have_run: false });
            let is_true = match answer {
                CancelAnswer::CancelledBeforeStart => never_ran,
                CancelAnswer::AlreadyDone => outcome.is_some() && !never_ran,
                CancelAnswer::Signalled => true,
            };
            let mark = match answer {
                CancelAnswer::CancelledBeforeStart => Mark::CancelledBeforeStart,
                CancelAnswer::AlreadyDone => Mark::CancelledTooLate,
                CancelAnswer::Signalled => Mark::CancelSignalled,
            };
            mark_many(mark, 1);
            if !is_true {
                self.broken.push(format!("{answer:?} is not true of {id}: {outcome:?}"));
            }
        }
        let killed = |run: &&Run| run.cancelled && run.over.is_some_and(|(_, over)| over == Over::Dropped);
        mark_many(Mark::Killed, self.seen.runs.iter().filter(killed).count() as u64);
    }
}
