//! What callers are promised when they cancel: what has not begun never does, and what they are told is true.

use super::Case;
use crate::entry::{Told, cancelled};

pub(super) fn what_is_cancelled_does_not_begin(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let ids = case.store.records.keys().cloned().chain(case.calls.values().filter_map(super::Call::id));
    let ids: std::collections::BTreeSet<String> = ids.collect();
    for id in &ids {
        let Some(outcome) = case.outcome(id) else { continue };
        let never_ran = outcome == cancelled(false);
        if (never_ran || outcome == cancelled(true)) && !case.cancels.iter().any(|it| it.id == *id) {
            broken.push(format!("{id} is {outcome}, and nobody asked for it"));
        }
        for ran in case.runs.get(id).into_iter().flatten().filter(|_| never_ran) {
            broken.push(format!("{id} is {outcome}: {:?}", ran.run));
        }
    }
    broken.extend(began_afterwards(case));
    broken.extend(told_otherwise(case));
    broken
}

/// By the clock with which the server stamps what it stores. A request without a record may begin as it is cancelled:
/// whoever was given it reads no record.
fn began_afterwards(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, records) in &case.store.records {
        let Some(mark) = records.iter().find(|it| it.cancel) else { continue };
        let runs = case.runs.get(id).into_iter().flatten();
        for ran in runs.filter(|ran| ran.began.wall > mark.stored) {
            broken.push(format!("{id} began behind {mark:?}: {:?}", ran.run));
        }
    }
    broken
}

fn told_otherwise(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for cancel in &case.cancels {
        let outcome = case.outcome(&cancel.id);
        let stored = case.store.outcome(&cancel.id).map(|it| it.stored);
        let is_there = outcome.is_some() && stored.is_none_or(|stored| stored <= cancel.at.wall);
        let never_ran = outcome == Some(&*cancelled(false));
        let is_true = match cancel.told {
            Some(Told::BeforeTheStart) => is_there && never_ran,
            Some(Told::AlreadyDone) => is_there && !never_ran,
            Some(Told::Signalled | Told::Nothing) | None => true,
        };
        if !is_true {
            broken.push(format!("{}: {:?} was told, and it is {outcome:?}", cancel.id, cancel.told));
        }
    }
    broken
}
