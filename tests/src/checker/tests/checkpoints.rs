//! What a later attempt may find.

use super::{History, taken_over};
use crate::entry::{Checkpoint, Event, Life};

const RULE: usize = 13;

impl History {
    fn checkpoint(self, at: f64, attempt: u32, steps: u32, found: bool) -> Self {
        let (caller, id) = ("shop".into(), "k.a".into());
        self.event(at, Event::Checkpoint(Checkpoint { caller, id, attempt, steps, found }))
    }
}

#[test]
fn the_last_checkpoint_is_found() {
    let finds = |steps: u32| {
        let history = taken_over(|it| {
            let it = it.checkpoint(0.3, 1, 0, true).checkpoint(0.5, 1, 1, false).checkpoint(0.7, 1, 2, false);
            it.worker(1.0, "first", Life::Killed)
        });
        history.checkpoint(12.1, 2, steps, true)
    };
    finds(1).breaks([RULE]);
    finds(2).holds();
    // It died before it could write that down.
    finds(3).holds();
    finds(4).breaks([RULE]);
}

#[test]
fn a_first_attempt_finds_nothing() {
    let finds =
        |steps: u32| taken_over(|it| it.worker(1.0, "first", Life::Killed)).checkpoint(0.3, 1, steps, true);
    finds(0).holds();
    finds(1).breaks([RULE]);
}

#[test]
fn what_is_written_down_late_need_not_be_found() {
    let history = taken_over(|it| it.checkpoint(0.3, 1, 0, true).worker(1.0, "first", Life::Killed));
    history.checkpoint(10.5, 2, 0, true).checkpoint(10.6, 1, 1, false).holds();
}
