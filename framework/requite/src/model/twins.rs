//! Twins of the protocol with a known bug in each: the model sees which promise that breaks, and how soon.

use super::{
    break_of,
    promises::{KEPT, Promise, QUEUED_ONCE},
    setting::settings,
};
use crate::planted::Bug;

/// Each bug, the setting in which it is looked for, and what it breaks first.
fn twins() -> [(Bug, &'static str, &'static str); 7] {
    [
        (Bug::AckFirst, "three servers", KEPT),
        (Bug::ComputedAnswer, "three servers", Promise::AnswersAreStored.name()),
        (Bug::OutcomeOverwritten, "three servers", Promise::OneOutcome.name()),
        (Bug::NoClaimOnRedelivery, "three servers", Promise::NoRunAfterOutcome.name()),
        (Bug::CancelUnheard, "three servers, cancelled", Promise::CancelledDoesNotBegin.name()),
        (Bug::CheckpointUnchecked, "three servers, checkpoints", Promise::CheckpointsStand.name()),
        (Bug::MessageIdAlone, "same key, three servers", QUEUED_ONCE),
    ]
}

#[test]
fn every_twin_breaks_its_promise() {
    let settings = settings();
    println!("{:<20} {:>6} {:>7}  promise", "bug", "steps", "states");
    for (bug, setting, promise) in twins() {
        let setting = settings.iter().find(|it| it.name == setting).expect("a setting of that name");
        let Some(broken) = break_of(setting, Some(bug)) else {
            panic!("{bug:?} breaks nothing in the setting {}", setting.name);
        };
        let name = format!("{bug:?}");
        println!("{name:<20} {:>6} {:>7}  {}", broken.steps.len(), broken.states, broken.promise);
        assert_eq!(broken.promise, promise, "{bug:?}, by {:?}", broken.steps);
    }
}
