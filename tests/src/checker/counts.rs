//! What was seen, in numbers: a fault that never hit proves nothing.

use std::fmt;

use super::Case;
use crate::entry::{Class, Close, End, Event, Flow, Life, Piece, Saw, Step, Told};

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as they are printed
pub struct Counts {
    pub calls: u64,
    pub accepted: u64,
    pub runs: u64,
    pub second_runs: u64,
    pub dropped_runs: u64,
    pub redeliveries: u64,
    pub reattached: u64,
    pub failed: u64,
    pub rejected: u64,
    pub unavailable: u64,
    pub unknown: u64,
    pub dead_letters: u64,
    pub fenced_off: u64,
    pub killed: u64,
    pub frozen: u64,
    pub faults: u64,
    /// Those that a caller or a handler read, and nobody was killed meanwhile.
    pub streams: u64,
    /// That were read there.
    pub items: u64,
    /// A later attempt went on, or began anew, and the reader saw both.
    pub restarts: u64,
    /// By readers that wanted no more.
    pub left: u64,
    /// Handlers that were told so, and sent no more.
    pub left_alone: u64,
    /// Calls that their callers wait for no more.
    pub given_up: u64,
    /// Of those: a later call for the same got the outcome.
    pub found_again: u64,
    /// Somebody was told what came of it.
    pub cancels: u64,
    /// Calls that ended so.
    pub cancelled: u64,
    pub checkpoints: u64,
    /// Found by a later attempt.
    pub checkpoints_found: u64,
    /// That callers were told.
    pub reports: u64,
}

/// Counts what was seen.
pub fn counts(case: &Case<'_>) -> Counts {
    let answered = |class: Class| {
        let calls = case.calls.values().filter_map(|call| call.answer());
        calls.filter(|answer| answer.class == class).count() as u64
    };
    let lives = |life: Life| case.lives.values().flatten().filter(|(_, it)| *it == life).count() as u64;
    let runs = || case.runs.values().flatten();
    // Most of what is asked is stored.
    let asked =
        case.cancels.iter().filter(|it| it.told.is_some_and(|told| told != Told::AlreadyDone)).count() as u64;
    let read = || case.flows.iter().filter(|flow| matches!(flow.end, End::Reads(_) | End::Takes(_)));
    let left = |is_end: fn(&End) -> bool| {
        case.flows.iter().filter(|flow| flow.close == Close::Left && is_end(&flow.end)).count() as u64
    };
    let given_up = || case.calls.values().filter(|call| call.given_up.is_some());
    let fenced_off = |event: &Event| matches!(event, Event::Effect(effect) if !effect.accepted);
    Counts {
        calls: case.calls.len() as u64,
        accepted: case.calls.values().filter(|call| call.accepted.is_some()).count() as u64,
        runs: runs().count() as u64,
        second_runs: case.runs.values().map(|runs| runs.len() as u64 - 1).sum(),
        dropped_runs: runs().filter(|ran| ran.over.is_some_and(|(_, step)| step == Step::Drop)).count()
            as u64,
        redeliveries: (case.store.deliveries + asked).saturating_sub(case.store.stored),
        reattached: case.calls.values().filter(|call| reattached(case, call)).count() as u64,
        failed: answered(Class::Failed) + answered(Class::Aborted),
        rejected: answered(Class::Rejected),
        unavailable: answered(Class::Unavailable),
        unknown: answered(Class::Unknown),
        dead_letters: case.store.dead.len() as u64,
        fenced_off: case.entries.iter().filter(|it| fenced_off(&it.event)).count() as u64,
        killed: lives(Life::Killed) + case.callers_killed.len() as u64,
        frozen: lives(Life::Frozen),
        faults: case.faults.len() as u64,
        streams: read().count() as u64,
        items: read().flat_map(|flow| &flow.pieces).map(items).sum(),
        restarts: read().map(|flow| restarts(flow)).sum(),
        left: left(|end| matches!(end, End::Reads(_))),
        left_alone: left(|end| matches!(end, End::Fills(_))),
        given_up: given_up().count() as u64,
        found_again: given_up().filter(|call| found_again(case, call)).count() as u64,
        cancels: case.cancels.iter().filter(|it| it.told.is_some()).count() as u64,
        cancelled: answered(Class::Cancelled),
        checkpoints: case.checkpoints.iter().filter(|(_, it)| !it.found).count() as u64,
        checkpoints_found: case.checkpoints.iter().filter(|(_, it)| it.found && it.steps > 0).count() as u64,
        reports: case.watched.values().flatten().filter(|saw| matches!(saw, Saw::Report { .. })).count()
            as u64,
    }
}

fn items(piece: &Piece) -> u64 {
    match piece {
        Piece::Items { first, last, .. } => last + 1 - first,
        Piece::Restarted(_) => 0,
    }
}

/// How often another attempt's items follow.
fn restarts(flow: &Flow) -> u64 {
    let attempts = flow.pieces.iter().filter_map(|piece| match piece {
        Piece::Items { attempt, .. } => Some(*attempt),
        Piece::Restarted(_) => None,
    });
    let mut attempts: Vec<u32> = attempts.collect();
    attempts.dedup();
    (attempts.len() as u64).saturating_sub(1)
}

/// The call got an outcome that was stored before it was made.
fn reattached(case: &Case<'_>, call: &super::Call<'_>) -> bool {
    let stored = call.id().and_then(|id| case.store.outcome(&id).map(|it| it.stored));
    stored.is_some_and(|stored| stored < call.at.wall) && call.answer().is_some_and(|it| it.outcome.is_some())
}

/// A call that was made after this one was given up got the outcome of its request.
fn found_again(case: &Case<'_>, call: &super::Call<'_>) -> bool {
    let is_later = |it: &super::Call<'_>| call.given_up.is_some_and(|at| it.at > at);
    let finds = |it: &super::Call<'_>| it.answer().is_some_and(|answer| answer.outcome.is_some());
    let id = call.id();
    id.is_some() && case.calls.values().any(|it| is_later(it) && it.id() == id && finds(it))
}

impl fmt::Display for Counts {
    /// What is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.calls, "calls"),
            (self.accepted, "accepted"),
            (self.runs, "runs"),
            (self.second_runs, "second runs"),
            (self.dropped_runs, "dropped"),
            (self.redeliveries, "redeliveries"),
            (self.reattached, "re-attached"),
            (self.failed, "failed"),
            (self.rejected, "rejected"),
            (self.unavailable, "unavailable"),
            (self.unknown, "unknown"),
            (self.dead_letters, "dead letters"),
            (self.fenced_off, "fenced off"),
            (self.killed, "killed"),
            (self.frozen, "frozen"),
            (self.faults, "faults"),
            (self.streams, "streams"),
            (self.items, "items"),
            (self.restarts, "restarts"),
            (self.left, "left"),
            (self.left_alone, "left alone"),
            (self.given_up, "given up"),
            (self.found_again, "found again"),
            (self.cancels, "cancels"),
            (self.cancelled, "cancelled"),
            (self.checkpoints, "checkpoints"),
            (self.checkpoints_found, "checkpoints found"),
            (self.reports, "reports"),
        ];
        let texts: Vec<_> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        f.write_str(&texts.join(", "))
    }
}
