//! What handlers may do: run a second time for a reason only, never after the outcome, and never past a newer token.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Case, Ran};
use crate::entry::{End, Event, Flow, Life, Moment, Step};

/// How much earlier than the server's a lease ends, and more.
const MARGIN: Duration = Duration::from_secs(2);

pub(super) fn a_second_run_has_a_reason(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, runs) in &case.runs {
        for pair in runs.windows(2).filter(|pair| !may_follow(case, &pair[0], &pair[1])) {
            let over = pair[0].over;
            broken.push(format!("{id}: {:?} ({over:?}), then {:?}", pair[0].run, pair[1].run));
        }
    }
    broken
}

fn may_follow(case: &Case<'_>, before: &Ran<'_>, next: &Ran<'_>) -> bool {
    // The mill's method that is never started again, whatever happens.
    if before.run.method == "once" {
        return false;
    }
    let over = before.over.filter(|(at, _)| *at <= next.began).map(|(_, step)| step);
    if over == Some(Step::Retry) {
        return true;
    }
    let lives = case.lives.get(&*before.run.worker).map_or(&[][..], Vec::as_slice);
    let earlier = || lives.iter().filter(|(at, _)| *at <= next.began).map(|(_, life)| *life);
    let died = earlier().any(|life| life == Life::Killed);
    // A value is none before the items that were sent before it are stored.
    let fills = End::Fills(before.run.attempt);
    let of_it = |flow: &&&Flow| (&flow.caller, &flow.id) == (&before.run.caller, &before.run.id);
    let sends = case.flows.iter().filter(of_it).any(|flow| flow.end == fills);
    let is_stored = before.run.method != "loose";
    let was_in_hand = over == Some(Step::Drop) || (over == Some(Step::End) && sends && is_stored);
    let handed_over = was_in_hand && earlier().any(|life| life == Life::Draining);
    died || handed_over || was_frozen(case, lives, before, next) || was_cut_off(case, before, next)
}

/// Whether the worker stood still for so long that a lease could end: a third of it may have been used up before, and
/// a worker gives up its own a little earlier than the server.
fn was_frozen(case: &Case<'_>, lives: &[(Moment, Life)], before: &Ran<'_>, next: &Ran<'_>) -> bool {
    let enough = (case.lease * 2 / 3).saturating_sub(MARGIN);
    let frozen = lives.iter().enumerate().filter(|(_, (_, life))| *life == Life::Frozen);
    let mut spans = frozen.map(|(at, (from, _))| {
        let end = lives[at..].iter().find(|(_, life)| *life == Life::Continued).map(|(to, _)| *to);
        (*from, end.map_or(next.began, |end| end.min(next.began)))
    });
    spans.any(|(from, to)| to.since(from) >= enough && to.boot + case.lease >= before.began.boot)
}

/// Whether something else may have cost it its lease.
fn was_cut_off(case: &Case<'_>, before: &Ran<'_>, next: &Ran<'_>) -> bool {
    case.faults.iter().any(|trouble| {
        let lasts = trouble.to.is_none_or(|to| to.boot + case.lease >= before.began.boot);
        trouble.fault.costs.contains(&before.run.worker) && trouble.from <= next.began && lasts
    })
}

/// By the clock with which the server stamps what it stores.
pub(super) fn nothing_starts_after_the_outcome(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, runs) in &case.runs {
        let Some(outcome) = case.store.outcome(id) else { continue };
        for ran in runs.iter().filter(|ran| ran.began.wall > outcome.stored) {
            let late = ran.began.wall.saturating_sub(outcome.stored);
            broken.push(format!("{id}: {late:?} after {outcome:?}: {:?}", ran.run));
        }
    }
    broken
}

/// The resource decides by the tokens alone: that they grow from run to run is the server's part.
pub(super) fn an_older_token_is_never_let_in(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut newest: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for entry in case.entries {
        let Event::Effect(effect) = &entry.event else { continue };
        let (Some(fence), true) = (effect.fence, effect.accepted) else { continue };
        let newest = newest.entry((&effect.caller, &effect.id)).or_default();
        if fence < *newest {
            broken.push(format!("after {newest}: {effect:?}"));
        }
        *newest = fence.max(*newest);
    }
    for (id, runs) in &case.runs {
        for pair in runs.windows(2) {
            if let (Some(before), Some(next)) = (pair[0].run.fence, pair[1].run.fence)
                && before >= next
            {
                broken.push(format!("{id}: the token of {:?} is not newer than {before}", pair[1].run));
            }
        }
    }
    broken
}

pub(super) fn a_handler_gets_what_was_sent(case: &Case<'_>) -> Vec<String> {
    let sent: BTreeSet<_> = case.calls.values().filter_map(|call| call.invoke.payload.as_deref()).collect();
    let strange = |ran: &&Ran<'_>| !sent.contains(&*ran.run.payload);
    let runs = case.runs.values().flatten().filter(strange);
    runs.map(|ran| format!("nobody sent this: {:?}", ran.run)).collect()
}
