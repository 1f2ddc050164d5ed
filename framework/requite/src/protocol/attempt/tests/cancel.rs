//! Cancelled before the start, while the handler runs, and at its end.

use super::*;

fn mark() -> Seen {
    Seen { attempt: 0, spent: 0, cancelled: true, ..record(Kind::CancelRequested) }
}

fn flagged(kind: Kind) -> Seen {
    Seen { cancelled: true, ..record(kind) }
}

/// The outcome, and the number of the attempt that it names.
fn ends(delivery: Delivery, terms: Terms, events: impl IntoIterator<Item = Event>) -> (Action, u32) {
    let (attempt, action) = after(delivery, terms, events);
    (action, attempt.number())
}

#[test]
fn what_is_heard_makes_a_fresh_request_look_and_decides_nothing() {
    let mut attempt = Attempt::new(ME, first(), plain());
    assert_eq!(attempt.step(Event::CancelHeard, at(1)), Action::None);
    assert_eq!(attempt.step(Event::Begin, at(1)), LOOK);
    assert!(attempt.may_be_cancelled());
    assert_eq!(attempt.step(read(None), at(1)), write(What::Claim, 0, 1));
    assert_eq!(attempt.step(stored(3), at(1)), Action::Start);
    assert!(!attempt.is_cancelled());
    // Its handler runs: the claim was asked for already.
    assert_eq!(attempt.step(Event::CancelHeard, at(2)), Action::None);
    let (_, claim) = after(first(), plain(), [Event::CancelHeard]);
    assert_eq!(claim, write(What::Claim, 0, 1));
}

#[test]
fn a_mark_ends_what_has_not_begun() {
    let cancelled = |sequence| outcome(Outcome::Cancelled, sequence, 1);
    let heard = Delivery { resend: true, ..first() };
    assert_eq!(ends(heard, plain(), [read(Some(mark()))]), (cancelled(7), 0));
    assert_eq!(ends(heard, plain(), [read(Some(Seen::cancel_stored()))]), (cancelled(0), 0));
    // A delivery that nobody claimed may have begun; one that is claimed before it begins has not.
    assert_eq!(ends(again(), plain(), [read(Some(mark()))]), (cancelled(7), 2));
    assert_eq!(ends(again(), once(), [read(Some(mark()))]), (cancelled(7), 0));
    let late = [read(None), IN_DOUBT, read(Some(mark()))];
    assert_eq!(ends(heard, plain(), late), (outcome(Outcome::Cancelled, 7, 2), 0));
}

#[test]
fn an_owner_of_which_a_killed_server_knows_nothing_is_waited_for_before_a_mark_is_obeyed() {
    let forgotten = Delivery { above_bound: false, owner_claims_until: at(200), ..first() };
    let (mut attempt, wait) = after(forgotten, plain(), [read(Some(mark()))]);
    assert_eq!(wait, Action::Wait(at(200)));
    assert_eq!(attempt.step(Event::Due, at(200)), LOOK);
    assert_eq!(attempt.step(read(Some(mark())), at(200)), outcome(Outcome::Cancelled, 7, 1));
    assert_eq!(attempt.number(), 1);
}

#[test]
fn what_was_let_go_is_not_begun_again() {
    let wait = Some(Duration::from_secs(60));
    let released = |attempt| Seen { attempt, wait, ..flagged(Kind::Released) };
    let cancelled = outcome(Outcome::Cancelled, 7, 1);
    assert_eq!(ends(again(), plain(), [read(Some(released(1)))]), (cancelled.clone(), 2));
    assert_eq!(ends(again(), once(), [read(Some(released(0)))]), (cancelled, 0));
}

#[test]
fn a_claim_that_says_so_is_taken_over_by_the_same_rule_and_ended() {
    let claim = || read(Some(flagged(Kind::Claim)));
    let (mut attempt, ask) = after(again(), replicated(), [claim()]);
    assert_eq!(ask, Action::Ask { worker: "w2".into(), attempt_id: OTHER });
    attempt.step(Event::Owner(Owner::Gone), at(100));
    attempt.step(Event::Due, at(100));
    assert_eq!(attempt.step(claim(), at(100)), outcome(Outcome::Cancelled, 7, 1));
    assert_eq!(attempt.number(), 2);
}

#[test]
fn a_running_handler_is_told_and_the_claim_says_so() {
    let (mut attempt, claim) = after(first(), plain(), [Event::Cancel]);
    assert!(attempt.is_cancelled());
    assert_eq!(claim, write(What::Claim, 0, 1));
    assert_eq!(attempt.step(Event::Cancel, at(101)), Action::None);
    assert_eq!(attempt.step(stored(3), at(101)), Action::None);
    // One in flight may have left without it.
    let (mut beaten, _) = after(first(), plain(), [Event::Beat, Event::Cancel]);
    assert_eq!(beaten.step(stored(3), at(101)), write(What::Claim, 3, 2));
    // Before the start it is not started.
    let (mut claiming, none) = after(again(), plain(), [read(None), Event::Cancel]);
    assert_eq!(none, Action::None);
    assert_eq!(claiming.step(stored(3), at(101)), outcome(Outcome::Cancelled, 3, 2));
}

#[test]
fn only_what_is_its_own_is_an_attempts_to_cancel() {
    for events in [vec![], vec![read(Some(record(Kind::Claim)))]] {
        let (mut attempt, _) = after(again(), plain(), events);
        assert_eq!(attempt.step(Event::Cancel, at(100)), Action::None);
        assert!(!attempt.is_cancelled());
    }
}

#[test]
fn a_mark_that_an_unclaimed_handler_meets_is_taken_over() {
    let (mut attempt, claim) = after(first(), plain(), [Event::Beat, IN_DOUBT, read(Some(mark()))]);
    assert_eq!(claim, write(What::Claim, 7, 2));
    assert!(attempt.is_cancelled());
    assert_eq!(attempt.step(stored(8), at(100)), Action::None);
    let value = [Event::Ended(Ending::Value), IN_DOUBT, read(Some(mark()))];
    assert_eq!(action(first(), plain(), value), outcome(Outcome::Value, 7, 2));
    let retry = Event::Ended(Ending::Error { retry: Some(Duration::ZERO) });
    let error = [retry, IN_DOUBT, read(Some(mark()))];
    assert_eq!(ends(first(), plain(), error), (outcome(Outcome::Cancelled, 7, 2), 1));
}

#[test]
fn a_cancelled_handler_may_end_in_its_own_way_but_is_not_tried_again() {
    let retry = Ending::Error { retry: Some(Duration::ZERO) };
    for (terms, ending, wanted) in [
        (plain(), Ending::Value, Outcome::Value),
        (plain(), Ending::Error { retry: None }, Outcome::Error(None)),
        (plain(), retry, Outcome::Cancelled),
        (once(), retry, Outcome::Error(None)),
        (plain(), Ending::HandedOver, Outcome::Cancelled),
        (once(), Ending::HandedOver, Outcome::Cancelled),
        (plain(), Ending::Killed, Outcome::Cancelled),
        (plain(), Ending::TimedOut, Outcome::Failed(Reason::TimedOut)),
    ] {
        let events = [read(None), stored(3), Event::Cancel, stored(4), Event::Ended(ending)];
        assert_eq!(ends(claimed(), terms, events), (outcome(wanted, 4, 3), 1), "{ending:?}");
    }
}

/// A first delivery that claims before it starts.
fn claimed() -> Delivery {
    Delivery { resend: true, ..first() }
}
