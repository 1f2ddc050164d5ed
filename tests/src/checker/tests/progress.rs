//! What a caller may be told of how far a handler is, and what not.

use super::{History, bread};
use crate::entry::{Event, Report, Saw};

const RULE: usize = 14;

/// Two attempts of a request that is done, with two reports each; its caller was told this.
fn told(saw: &[Saw]) -> History {
    let mut history = bread();
    for (attempt, number) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let (caller, id) = ("shop".into(), "k.a".into());
        history = history.event(0.4, Event::Reported(Report { caller, id, attempt, number }));
    }
    for saw in saw {
        history = history.event(0.5, Event::Watched { call: "one".into(), saw: *saw });
    }
    history.drained(2.0)
}

fn report(attempt: u32, number: u64) -> Saw {
    Saw::Report { attempt, number }
}

#[test]
fn progress_never_goes_back() {
    told(&[Saw::Attempt(1), report(1, 1), report(1, 2), Saw::Attempt(2), report(2, 1)]).holds();
    told(&[Saw::Attempt(1), report(1, 2), report(1, 1)]).breaks([RULE]);
    told(&[Saw::Attempt(1), report(1, 2), report(1, 2)]).breaks([RULE]);
    // A worker that lost its lease told it.
    told(&[Saw::Attempt(2), report(2, 1), report(1, 2)]).breaks([RULE]);
    told(&[Saw::Attempt(2), Saw::Attempt(1)]).breaks([RULE]);
}

#[test]
fn progress_is_of_an_attempt_that_is_known_to_run_and_has_reported_it() {
    // Some may be left out, and what is stored may be the last word of an earlier attempt.
    told(&[Saw::Attempt(2), report(1, 2), report(2, 2)]).holds();
    told(&[report(1, 1)]).breaks([RULE]);
    told(&[Saw::Attempt(1), report(2, 1)]).breaks([RULE]);
    told(&[Saw::Attempt(1), report(1, 3)]).breaks([RULE]);
}
