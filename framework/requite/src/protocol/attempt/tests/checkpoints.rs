//! Checkpoints: after the claim that they name, in their order, never in the way of an end, found by the next attempt,
//! and where a worker that stops hands over.

use super::*;

#[test]
fn a_checkpoint_names_the_claim() {
    let (mut attempt, claim) = after(first(), plain(), [Event::Checkpoint]);
    assert_eq!(claim, write(What::Claim, 0, 1));
    assert_eq!(attempt.step(stored(3), at(100)), write(What::Checkpoint, 3, 2));
    assert_eq!(attempt.step(stored(9), at(100)), Action::None);
    // Its own sequence is no record's.
    assert_eq!(attempt.step(Event::Checkpoint, at(101)), write(What::Checkpoint, 3, 3));
    assert_eq!(attempt.step(Event::Checkpoint, at(101)), Action::None);
    assert_eq!(attempt.step(Event::Reconnected, at(101)), Action::None);
    assert_eq!(attempt.step(stored(10), at(101)), write(What::Claim, 3, 4));
    assert_eq!(attempt.step(stored(11), at(101)), write(What::Checkpoint, 11, 5));
    assert_eq!(attempt.step(Event::Ended(Ending::Value), at(102)), Action::None);
    assert_eq!(attempt.step(stored(12), at(102)), outcome(Outcome::Value, 11, 6));
    assert_eq!(attempt.step(Event::Checkpoint, at(102)), Action::None);
}

#[test]
fn a_checkpoint_in_doubt_is_barred_by_a_new_claim_before_it_is_written_again() {
    let checkpoint = [Event::Checkpoint, stored(3), IN_DOUBT];
    let then = |seen| {
        let (mut attempt, look) = after(first(), plain(), checkpoint.clone());
        assert_eq!(look, LOOK);
        let next = attempt.step(read(seen), at(100));
        (attempt, next)
    };
    let (mut attempt, claim) = then(Some(own(Kind::Claim, 3, 1)));
    assert_eq!(claim, write(What::Claim, 3, 3));
    assert_eq!(attempt.step(stored(4), at(100)), write(What::Checkpoint, 4, 4));
    assert_eq!(then(None).1, write(What::Claim, 0, 3));
    assert_eq!(then(Some(record(Kind::Outcome))).1, Action::Ack { tell: true });
    for kind in [Kind::Claim, Kind::Released, Kind::Unknown] {
        assert_eq!(then(Some(record(kind))).1, Action::Forget, "{kind:?}");
    }
}

#[test]
fn a_checkpoint_without_room_is_given_up_and_the_handler_goes_on() {
    for written in [Written::Full, Written::TooLarge] {
        let events = [Event::Checkpoint, stored(3), Event::Written(written)];
        let (mut attempt, none) = after(first(), plain(), events);
        assert_eq!(none, Action::None);
        assert_eq!(attempt.step(Event::Ended(Ending::Value), at(101)), outcome(Outcome::Value, 3, 3));
    }
}

/// Under the claim 3, and an earlier attempt may have left something.
fn searching() -> Attempt {
    let (attempt, find) = after(again(), plain(), [read(None), stored(3)]);
    assert_eq!(find, Action::Find(Duration::ZERO));
    attempt
}

#[test]
fn a_later_attempt_looks_for_a_checkpoint_before_it_starts() {
    for found in [false, true] {
        let mut attempt = searching();
        assert!(attempt.is_mine() && !attempt.is_running());
        assert_eq!(attempt.step(Event::Found(Err(())), at(100)), Action::Find(RETRY));
        assert_eq!(attempt.step(Event::Found(Ok(found)), at(100)), Action::Start);
        assert_eq!(attempt.step(Event::Found(Ok(found)), at(100)), Action::None);
    }
    // Nobody can have stored any before these.
    assert_eq!(action(again(), once(), [read(None), stored(3)]), Action::Start);
    assert_eq!(action(first(), plain(), []), Action::Start);
}

#[test]
fn what_happens_during_the_search_is_done_behind_it() {
    let found = || Event::Found(Ok(true));
    let mut attempt = searching();
    assert_eq!(attempt.step(Event::Beat, at(100)), Action::None);
    assert_eq!(attempt.step(Event::Reconnected, at(100)), Action::None);
    assert_eq!(attempt.step(found(), at(100)), write(What::Claim, 3, 2));
    assert_eq!(attempt.step(stored(4), at(100)), Action::Start);

    let mut attempt = searching();
    assert_eq!(attempt.step(Event::Reconnected, at(100)), Action::None);
    assert_eq!(attempt.step(Event::Found(Err(())), at(100)), write(What::Claim, 3, 2));
    assert_eq!(attempt.step(stored(4), at(100)), Action::Find(Duration::ZERO));

    for stop in [Event::Drain, Event::LetGo] {
        let mut attempt = searching();
        assert_eq!(attempt.step(stop, at(100)), Action::None);
        let released = write(What::Released { delay: Duration::ZERO, spent: 1 }, 3, 2);
        assert_eq!(attempt.step(found(), at(100)), released);
        assert_eq!(attempt.number(), 1);
    }

    let expiring = Delivery { expires: at(150), ..again() };
    let (mut attempt, _) = after(expiring, plain(), [read(None), stored(3)]);
    let expired = outcome(Outcome::Failed(Reason::Expired), 3, 2);
    assert_eq!(attempt.step(found(), at(150)), expired);

    let mut attempt = searching();
    assert_eq!(attempt.step(Event::Lost, at(100)), Action::Forget);
    assert_eq!(attempt.step(found(), at(100)), Action::None);
}

#[test]
fn a_worker_that_stops_hands_over_at_the_checkpoint() {
    let checkpoint = [Event::Checkpoint, stored(3), stored(9)];
    let (mut attempt, _) = after(first(), plain(), checkpoint.clone());
    assert_eq!(attempt.step(Event::Drain, at(100)), Action::HandOver);
    // The handler's task says when it is dropped; until then the claim is kept.
    assert_eq!(attempt.step(Event::Reconnected, at(100)), write(What::Claim, 3, 3));
    assert_eq!(attempt.step(Event::Ended(Ending::HandedOver), at(100)), Action::None);
    let released = write(What::Released { delay: Duration::ZERO, spent: 0 }, 4, 4);
    assert_eq!(attempt.step(stored(4), at(100)), released);
    assert_eq!(attempt.step(stored(5), at(100)), Action::Nak(Duration::ZERO));

    let (mut attempt, _) = after(first(), plain(), [Event::Drain, Event::Checkpoint, stored(3)]);
    assert_eq!(attempt.step(stored(9), at(100)), Action::HandOver);

    let mut attempt = searching();
    attempt.step(Event::Found(Ok(true)), at(100));
    assert_eq!(attempt.step(Event::Drain, at(100)), Action::HandOver);
}

#[test]
fn a_worker_that_stops_lets_run_what_could_not_go_on_elsewhere() {
    assert_eq!(action(first(), plain(), [Event::Drain]), Action::None);
    assert_eq!(action(first(), plain(), [Event::Drain, Event::Checkpoint, stored(3), IN_DOUBT]), LOOK);
    let full = Event::Written(Written::Full);
    assert_eq!(action(first(), plain(), [Event::Drain, Event::Checkpoint, stored(3), full]), Action::None);
    let (mut attempt, start) = after(first(), once(), [read(None), stored(3)]);
    assert_eq!(start, Action::Start);
    assert_eq!(attempt.step(Event::Checkpoint, at(100)), write(What::Checkpoint, 3, 2));
    assert_eq!(attempt.step(stored(9), at(100)), Action::None);
    assert_eq!(attempt.step(Event::Drain, at(100)), Action::None);
    assert!(attempt.is_running());
}
