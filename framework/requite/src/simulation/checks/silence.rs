//! Silence told apart from slowness: who is told that nothing was heard of a handler was cut off from it, or nobody ran it.

use std::time::Duration;

use super::{Case, Mark, mark_many};
use crate::{
    broker::simulated,
    error::Why,
    protocol::time::ASK_OWNER,
    simulation::{
        caller,
        history::{Answer, Call, Kind, Run},
        plan::Links,
    },
};

/// What travelling and waking may add up to.
const SLACK: Duration = Duration::from_millis(500);
/// How long after a trouble both ends are connected again, and know of each other.
const BACK_WITHIN: Duration = Duration::from_secs(2);

impl Case<'_> {
    pub(super) fn silence_is_not_slowness(&mut self) {
        let silent = Answer::Unknown(Why::Silent.to_string());
        let calls = self.seen.calls.iter().filter_map(|call| {
            let (at, answer) = call.ended.as_ref()?;
            (*answer == silent).then_some((call, *at))
        });
        let (mut told, mut broken) = (0, Vec::new());
        for (call, at) in calls {
            told += 1;
            // Before it gives up, a call asks for so long who runs it.
            let asked = at.saturating_sub(ASK_OWNER + SLACK);
            let id = call.id.as_deref().or_else(|| self.evidence.id_of_job(call.tag));
            let runs = id.and_then(|id| self.runs.get(id)).into_iter().flatten();
            let mut runs = runs.filter(|run| {
                let (over, _) = run.over.expect("every run is over when the simulation is");
                run.began <= asked && over >= at && self.is_within_reach(call, run, asked, at)
            });
            if let Some(run) = runs.next() {
                broken.push(format!("told of silence while its handler was there: {call:?} {run:?}"));
            }
        }
        self.broken.extend(broken);
        mark_many(Mark::Silent, told);
    }

    /// Whether nothing came between a caller and whoever ran its request, for all of a time.
    fn is_within_reach(&self, call: &Call, run: &Run, from: Duration, to: Duration) -> bool {
        let meets = |began: Duration, ended: Duration| began <= to && ended + BACK_WITHIN >= from;
        let troubled = self.seen.troubles.iter().any(|it| {
            let of_it = it.worker.as_ref().is_none_or(|worker| *worker == run.worker);
            let silences = matches!(it.kind, Kind::Cut(Links::Both | Links::Keeper) | Kind::Stopped);
            // Whoever is on the smaller side of a split does not reach the others.
            let splits = matches!(it.kind, Kind::Split(_));
            ((of_it && silences) || splits) && meets(it.from, it.to)
        });
        let cut =
            self.seen.cut_callers.iter().any(|(by, began, ended)| *by == call.by && meets(*began, *ended));
        let links = [Some(caller::name(call.by)), self.seen.keepers.get(&run.worker).cloned()];
        let lost = self.played.log.iter().any(|it| {
            let between = it.seen == simulated::Seen::Lost && meets(it.at, it.at);
            between && links.iter().flatten().any(|link| *link == it.link)
        });
        !troubled && !cut && !lost
    }
}
