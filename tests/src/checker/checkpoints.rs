//! Checkpoints: what a handler was told is stored is found by the next attempt, or what an attempt stored later.

use super::Case;
use crate::entry::{Checkpoint, Moment};

pub(super) fn checkpoints_stand_and_are_found(case: &Case<'_>) -> Vec<String> {
    let found = case.checkpoints.iter().filter(|(_, it)| it.found);
    found.filter_map(|(_, found)| is_wrong(case, found)).collect()
}

fn is_wrong(case: &Case<'_>, found: &Checkpoint) -> Option<String> {
    let id = format!("{}.{}", found.caller, found.id);
    let runs = case.runs.get(&id).into_iter().flatten();
    let began: Moment = runs.filter(|ran| ran.run.attempt == found.attempt).map(|ran| ran.began).min()?;
    let is_earlier =
        |it: &Checkpoint| (&it.caller, &it.id) == (&found.caller, &found.id) && it.attempt < found.attempt;
    let earlier = || case.checkpoints.iter().filter(|(_, it)| is_earlier(it));
    // One that was frozen in between may write down afterwards what it was told before.
    let stored = earlier().filter(|(at, it)| !it.found && *at < began).map(|(_, it)| it.steps).max();
    let stored = stored.unwrap_or_default();
    // Whoever died may have stored one more than it could write down.
    let most = earlier().map(|(_, it)| it.steps + 1).max().unwrap_or_default();
    let is_one = (stored..=most).contains(&found.steps);
    (!is_one).then(|| format!("{found:?}, and before it {stored} to {most} were stored"))
}
