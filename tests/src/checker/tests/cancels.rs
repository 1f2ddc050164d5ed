//! Calls that somebody cancels.

use super::{History, bread};
use crate::entry::{Class, Event, Step, Told, cancelled};

const RULE: usize = 12;

impl History {
    fn cancel(self, at: f64, told: Option<Told>) -> Self {
        self.event(at, Event::Cancel { caller: "shop".into(), id: "k.a".into(), told })
    }
}

/// Asked for and cancelled; `told` is what its caller was told of it.
fn ended(may_have_run: bool, told: Told) -> History {
    let outcome = cancelled(may_have_run);
    let history = History::default().call(0.0, "one").accepted(0.1, "one").cancel(0.2, None);
    let history = history.record(0.5, &outcome, None).cancel(0.6, Some(told));
    history.answer(0.7, "one", Class::Cancelled, Some(&outcome)).drained(1.0)
}

#[test]
fn what_was_cancelled_before_its_start_never_ran() {
    let ran = |it: History| it.run(0.3, "first", 1, Step::Start).run(0.4, "first", 1, Step::Drop);
    ended(false, Told::BeforeTheStart).holds();
    ran(ended(false, Told::BeforeTheStart)).breaks([RULE]);
    ran(ended(true, Told::Signalled)).holds();
}

#[test]
fn what_a_caller_is_told_of_a_cancellation_is_true() {
    ended(false, Told::Signalled).holds();
    ended(false, Told::AlreadyDone).breaks([RULE]);
    ended(true, Told::AlreadyDone).holds();
    ended(true, Told::BeforeTheStart).breaks([RULE]);
    let told = |at: f64, told: Told| bread().cancel(at, None).cancel(at, Some(told)).drained(2.0);
    told(1.3, Told::AlreadyDone).holds();
    told(1.3, Told::BeforeTheStart).breaks([RULE]);
    told(1.0, Told::Signalled).holds();
    // There was no outcome yet.
    told(1.0, Told::AlreadyDone).breaks([RULE]);
}

#[test]
fn nobody_is_cancelled_who_was_not_asked_to_be() {
    let mut history = ended(true, Told::Signalled);
    history.entries.retain(|entry| !matches!(entry.event, Event::Cancel { .. }));
    history.breaks([RULE]);
}

#[test]
fn nothing_begins_behind_a_record_that_it_is_cancelled() {
    let began = |at: f64| {
        let mut history = ended(true, Told::Signalled);
        history = history.run(at, "first", 1, Step::Start).run(at + 0.01, "first", 1, Step::Drop);
        let mut claim = history.store.records["shop.k.a"][0].clone();
        claim = crate::store::Record { kind: "claim".into(), cancel: true, outcome: None, ..claim };
        claim.stored -= std::time::Duration::from_millis(200);
        history.store.records.get_mut("shop.k.a").unwrap().insert(0, claim);
        history
    };
    began(0.25).holds();
    began(0.35).breaks([RULE]);
}

#[test]
fn poison_may_be_cancelled_before_it_dies() {
    let mut history = ended(true, Told::Signalled);
    for entry in &mut history.entries {
        if let Event::Invoke(invoke) = &mut entry.event {
            invoke.poison = true;
        }
    }
    history.holds();
}
