//! Histories made by hand: for every promise some that hold and some that break it, and it alone.

use std::time::Duration;

use super::{Case, RULES, counts};
use crate::{
    entry::{Answer, Class, Effect, Entry, Event, Fault, Invoke, Life, Moment, Run, Step},
    store::{Record, Store},
};

mod cancels;
mod checkpoints;
mod progress;
mod streams;

const LEASE: Duration = Duration::from_secs(6);

/// A history under construction; times are in seconds.
#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    store: Store,
}

impl History {
    fn event(mut self, at: f64, event: Event) -> Self {
        let at = Moment {
            boot: Duration::from_secs_f64(at),
            // The two clocks have nothing to do with each other.
            wall: Duration::from_secs_f64(1000.0 + at),
        };
        self.entries.push(Entry { at, pid: 1, event });
        self
    }

    fn call_of(self, at: f64, call: &str, change: impl FnOnce(&mut Invoke)) -> Self {
        let mut invoke = Invoke {
            call: call.into(),
            caller: "shop".into(),
            method: "grind".into(),
            id: Some("k.a".into()),
            payload: Some("flour".into()),
            deadline: Duration::from_secs(30),
            poison: false,
        };
        change(&mut invoke);
        self.event(at, Event::Invoke(invoke))
    }

    fn call(self, at: f64, call: &str) -> Self {
        self.call_of(at, call, |_| {})
    }

    fn accepted(self, at: f64, call: &str) -> Self {
        self.event(at, Event::Accepted { call: call.into(), id: "k.a".into() })
    }

    fn answer(self, at: f64, call: &str, class: Class, outcome: Option<&str>) -> Self {
        let outcome = outcome.map(str::to_owned);
        let answer = Answer { class, reason: String::new(), attempt: None, outcome, sent: None, taken: None };
        self.event(at, Event::Result { call: call.into(), id: None, answer })
    }

    fn ok(self, at: f64, call: &str) -> Self {
        self.answer(at, call, Class::Ok, Some("ok 1"))
    }

    fn run(self, at: f64, worker: &str, attempt: u32, step: Step) -> Self {
        self.fenced_run(at, worker, attempt, None, step)
    }

    fn fenced_run(self, at: f64, worker: &str, attempt: u32, fence: Option<u64>, step: Step) -> Self {
        let run = Run {
            step,
            worker: worker.into(),
            method: "grind".into(),
            job: "bread".into(),
            payload: "flour".into(),
            caller: "shop".into(),
            id: "k.a".into(),
            attempt,
            key: "mill.shop.k.a".into(),
            fence,
        };
        self.event(at, Event::Run(run))
    }

    fn effect(self, at: f64, fence: u64, accepted: bool) -> Self {
        let (caller, id) = ("shop".into(), "k.a".into());
        self.event(at, Event::Effect(Effect { caller, id, attempt: 1, fence: Some(fence), accepted }))
    }

    fn worker(self, at: f64, worker: &str, life: Life) -> Self {
        self.event(at, Event::Worker { worker: worker.into(), life })
    }

    fn record(mut self, at: f64, outcome: &str, reason: Option<&str>) -> Self {
        let records = self.store.records.entry("shop.k.a".into()).or_default();
        records.push(Record {
            sequence: records.len() as u64 + 1,
            stored: Duration::from_secs_f64(1000.0 + at),
            kind: "outcome".into(),
            cancel: false,
            attempt: 1,
            reason: reason.map(str::to_owned),
            outcome: Some(outcome.into()),
            payload: "flour".into(),
        });
        self
    }

    fn dead(mut self, reason: &str) -> Self {
        self.store.dead.entry("shop.k.a".into()).or_default().push(reason.into());
        self
    }

    fn given_up(self, at: f64, call: &str) -> Self {
        self.event(at, Event::GivenUp { call: call.into() })
    }

    fn drained(self, at: f64) -> Self {
        self.event(at, Event::Drained)
    }

    /// Asserts which promises are broken, by their places in [`RULES`], counted from 1.
    fn breaks<const N: usize>(self, expected: [usize; N]) {
        let case = Case::new(&self.entries, &self.store, LEASE);
        let broken = RULES.iter().enumerate().filter_map(|(at, (name, rule))| {
            let what = rule(&case);
            (!what.is_empty()).then(|| (at + 1, format!("{name}: {what:?}")))
        });
        let (places, texts): (Vec<usize>, Vec<String>) = broken.unzip();
        assert_eq!(places, expected, "{texts:#?}");
    }

    fn holds(self) {
        self.breaks([]);
    }
}

/// Accepted and run, and at its end.
fn bread() -> History {
    let history = History::default().call(0.0, "one").accepted(0.1, "one");
    let history = history.run(0.2, "first", 1, Step::Start).run(1.0, "first", 1, Step::End);
    history.record(1.1, "ok 1", None).ok(1.2, "one")
}

/// Begun by the first worker, and ended by the second.
fn taken_over(first: impl FnOnce(History) -> History) -> History {
    let history = History::default().call(0.0, "one").accepted(0.1, "one");
    let history = first(history.run(0.2, "first", 1, Step::Start));
    let history = history.run(10.0, "second", 2, Step::Start).run(11.0, "second", 2, Step::End);
    history.record(11.1, "ok 1", None).ok(11.2, "one").drained(12.0)
}

#[test]
fn accepted_and_answered_holds() {
    bread().drained(2.0).holds();
}

#[test]
fn accepted_without_an_outcome_is_lost() {
    let history = || History::default().call(0.0, "one").accepted(0.1, "one");
    history().answer(31.0, "one", Class::Unknown, None).drained(32.0).breaks([1]);
    // Not accepted: nobody was promised anything.
    let history = History::default().call(0.0, "one").answer(31.0, "one", Class::Unknown, None);
    history.drained(32.0).holds();
}

#[test]
fn all_answers_are_one_outcome() {
    let again = || bread().call(2.0, "two").accepted(2.1, "two");
    again().ok(2.2, "two").drained(3.0).holds();
    again().answer(2.2, "two", Class::Ok, Some("ok 2")).drained(3.0).breaks([2]);
    // Told otherwise than stored.
    bread().record(1.3, "ok 2", None).drained(3.0).breaks([2]);
    bread().record(1.3, "ok 1", None).drained(3.0).breaks([2]);
}

#[test]
fn second_run_needs_a_reason() {
    taken_over(|it| it).breaks([3]);
    taken_over(|it| it.worker(1.0, "first", Life::Killed)).holds();
    taken_over(|it| it.worker(1.0, "other", Life::Killed)).breaks([3]);
    taken_over(|it| it.run(5.0, "first", 1, Step::Retry)).holds();
    taken_over(|it| it.run(5.0, "first", 1, Step::Drop)).breaks([3]);
    taken_over(|it| it.worker(4.0, "first", Life::Draining).run(5.0, "first", 1, Step::Drop)).holds();
    taken_over(|it| it.worker(4.0, "first", Life::Draining)).breaks([3]);
}

#[test]
fn once_is_never_started_again() {
    let mut history = taken_over(|it| it.worker(1.0, "first", Life::Killed));
    for entry in &mut history.entries {
        if let Event::Run(run) = &mut entry.event {
            run.method = "once".into();
        }
    }
    history.breaks([3]);
}

#[test]
fn short_freeze_is_no_reason() {
    taken_over(|it| it.worker(1.0, "first", Life::Frozen)).holds();
    let frozen_for = |seconds: f64| {
        let frozen = |it: History| it.worker(1.0, "first", Life::Frozen);
        taken_over(|it| frozen(it).worker(1.0 + seconds, "first", Life::Continued))
    };
    frozen_for(6.0).holds();
    frozen_for(1.0).breaks([3]);
}

#[test]
fn fault_excuses_those_whom_it_costs_a_lease() {
    let cut = |worker: &str, from: f64, to: f64| {
        let fault = Fault { name: "cut".into(), costs: vec![worker.into()] };
        taken_over(|it| {
            it.event(from, Event::FaultBegins(fault)).event(to, Event::FaultEnds { name: "cut".into() })
        })
    };
    cut("first", 1.0, 9.0).holds();
    cut("second", 1.0, 9.0).breaks([3]);
}

#[test]
fn nothing_starts_after_its_outcome() {
    let again = |began: f64| {
        let history = bread().worker(1.04, "first", Life::Killed);
        history.run(began, "second", 2, Step::Start).run(began + 1.0, "second", 2, Step::End).drained(9.0)
    };
    again(3.0).breaks([4]);
    again(1.05).holds();
}

#[test]
fn refused_means_never_ran() {
    let refused = |class: Class, outcome: Option<&str>| {
        History::default().call(0.0, "one").answer(0.1, "one", class, outcome).drained(3.0)
    };
    refused(Class::Unavailable, None).holds();
    let ran = |it: History| it.run(1.0, "first", 1, Step::Start).run(2.0, "first", 1, Step::End);
    ran(refused(Class::Unavailable, None)).breaks([5]);
    ran(refused(Class::Rejected, Some("rejected expired"))).breaks([5]);
    ran(refused(Class::Unknown, None)).holds();
}

#[test]
fn what_another_call_was_granted_may_run() {
    bread().call(2.0, "two").answer(2.1, "two", Class::Unavailable, None).drained(3.0).holds();
    let reused = bread().call_of(2.0, "two", |invoke| invoke.payload = Some("stones".into()));
    let reused = reused.answer(2.1, "two", Class::Rejected, None);
    reused.drained(3.0).holds();
}

#[test]
fn refused_payload_does_not_run_under_another_id() {
    let refused = |payload: &str| {
        let history = bread().call_of(2.0, "two", |invoke| {
            (invoke.id, invoke.payload) = (None, Some(payload.into()));
        });
        history.answer(2.1, "two", Class::Unavailable, None).drained(3.0)
    };
    refused("flour").breaks([5]);
    refused("stones").holds();
}

#[test]
fn tokens_grow() {
    let effects = |fence: u64, accepted: bool| {
        let history = bread().effect(0.3, 7, true).effect(0.4, 9, true);
        history.effect(0.5, fence, accepted).drained(2.0)
    };
    effects(9, true).holds();
    effects(7, false).holds();
    effects(7, true).breaks([6]);
    let runs = |fence: u64| {
        let history = History::default().call(0.0, "one").accepted(0.1, "one");
        let history = history.fenced_run(0.2, "first", 1, Some(7), Step::Start);
        let history = history.worker(0.3, "first", Life::Killed);
        let history = history.fenced_run(9.0, "second", 2, Some(fence), Step::Start);
        history.record(9.1, "ok 1", None).ok(9.2, "one").drained(9.3)
    };
    runs(8).holds();
    runs(7).breaks([6]);
}

#[test]
fn calls_end_a_second_after_their_deadline() {
    let ends = |at: f64| History::default().call(0.0, "one").answer(at, "one", Class::Unknown, None);
    ends(30.9).drained(40.0).holds();
    ends(31.1).drained(40.0).breaks([7]);
}

#[test]
fn everything_drains_within_a_minute() {
    let drains = |at: f64| bread().worker(2.0, "first", Life::Killed).drained(at);
    drains(61.0).holds();
    drains(63.0).breaks([8]);
    bread().breaks([8]);
    let mut left = bread().drained(2.0);
    left.store.queued.insert("rq.req.mill.grind.shop.k.b".into(), 1);
    left.breaks([8]);
}

#[test]
fn only_who_lives_waits_for_an_answer() {
    let waits = || bread().call_of(2.0, "two", |invoke| invoke.payload = None);
    waits().drained(3.0).breaks([8]);
    waits().event(2.5, Event::CallerKilled { pid: 1 }).drained(3.0).holds();
    waits().event(2.5, Event::CallerKilled { pid: 2 }).drained(3.0).breaks([8]);
    waits().given_up(2.5, "two").drained(3.0).holds();
    bread().given_up(2.5, "one").call(2.6, "two").drained(3.0).breaks([8]);
}

/// Whoever gave up is promised what the others are.
#[test]
fn what_was_given_up_runs_once_and_has_one_outcome() {
    let given_up = || History::default().call(0.0, "one").accepted(0.1, "one").given_up(0.2, "one");
    given_up().drained(3.0).breaks([1]);
    let ran = || given_up().run(0.3, "first", 1, Step::Start).run(1.0, "first", 1, Step::End);
    let found = |outcome| {
        ran().record(1.1, "ok 1", None).call(2.0, "two").accepted(2.1, "two").answer(
            2.2,
            "two",
            Class::Ok,
            Some(outcome),
        )
    };
    found("ok 1").drained(3.0).holds();
    found("ok 2").drained(3.0).breaks([2]);
    let again = ran().run(1.5, "second", 2, Step::Start).run(2.0, "second", 2, Step::End);
    again.record(2.1, "ok 1", None).drained(3.0).breaks([3]);
}

#[test]
fn dead_letters_are_what_was_poisoned() {
    let poison = |poison: bool, reason: Option<&str>| {
        let history = History::default().call_of(0.0, "one", |invoke| invoke.poison = poison);
        let history = history.accepted(0.1, "one").run(0.2, "first", 1, Step::Start);
        let outcome = reason.map_or("ok 1".to_owned(), |reason| format!("failed {reason}"));
        let history = history.run(0.3, "first", 1, Step::Drop).record(0.4, &outcome, reason);
        history.answer(0.5, "one", Class::Aborted, Some(&outcome)).drained(1.0)
    };
    poison(true, Some("panicked")).dead("panicked").holds();
    poison(true, Some("panicked")).breaks([9]);
    poison(true, None).breaks([9]);
    poison(false, Some("panicked")).dead("panicked").breaks([9]);
    poison(false, Some("exhausted")).dead("exhausted").holds();
    poison(false, None).dead("panicked").breaks([9]);
}

#[test]
fn poison_may_be_given_up_before_its_id_is_known() {
    let given_up = |payload: &str| {
        let history = History::default().call_of(0.0, "one", |invoke| {
            (invoke.poison, invoke.id, invoke.payload) = (true, None, Some(payload.into()));
        });
        let history = history.call_of(0.0, "two", |invoke| invoke.id = None).given_up(0.1, "two");
        let history = history.given_up(0.1, "one").run(0.2, "first", 1, Step::Start);
        let history =
            history.run(0.3, "first", 1, Step::Drop).record(0.4, "failed panicked", Some("panicked"));
        history.dead("panicked").drained(1.0)
    };
    given_up("flour").holds();
    given_up("stones").breaks([9]);
}

#[test]
fn no_id_is_queued_twice() {
    let mut twice = bread().drained(2.0);
    twice.store.copied.insert("rq.req.mill.grind.shop.k.a".into());
    twice.breaks([9]);
}

#[test]
fn handler_gets_what_was_sent() {
    let sent = |payload: &str| {
        let history = History::default().call_of(0.0, "one", |invoke| invoke.payload = Some(payload.into()));
        let history = history.accepted(0.1, "one").run(0.2, "first", 1, Step::Start);
        history.run(1.0, "first", 1, Step::End).record(1.1, "ok 1", None).ok(1.2, "one").drained(2.0)
    };
    sent("flour").holds();
    sent("stones").breaks([10]);
}

#[test]
fn what_happened_is_counted() {
    let history = taken_over(|it| it.worker(1.0, "first", Life::Killed)).call(13.0, "two").ok(13.1, "two");
    let seen = counts(&Case::new(&history.entries, &history.store, LEASE));
    assert_eq!((seen.calls, seen.runs, seen.second_runs), (2, 2, 1));
    assert_eq!((seen.reattached, seen.killed), (1, 1));
    assert_eq!(seen.to_string(), "2 calls, 1 accepted, 2 runs, 1 second runs, 1 re-attached, 1 killed");
}

#[test]
fn what_was_given_up_is_counted_as_found_again_by_later_calls_only() {
    let history = bread().call(1.3, "two").given_up(1.4, "two").call(1.3, "three").ok(1.5, "three");
    let seen = |history: &History| counts(&Case::new(&history.entries, &history.store, LEASE));
    assert_eq!((seen(&history).given_up, seen(&history).found_again), (1, 0));
    let history = history.call(1.6, "four").ok(1.7, "four");
    assert_eq!((seen(&history).given_up, seen(&history).found_again), (1, 1));
}
