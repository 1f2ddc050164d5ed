//! The rules of an attempt, one by one, and all of them at once on a model of the record.

use std::time::Duration;

use super::*;
use crate::{protocol::time::LeaseTimes, wire::record::Kind};

mod cancel;
mod checkpoints;
mod model;
mod properties;

const ME: AttemptId = [1; 16];
const OTHER: AttemptId = [2; 16];

fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000_000)
}

/// A first delivery that needs no claim.
fn first() -> Delivery {
    Delivery {
        count: 1,
        resend: false,
        fresh: true,
        above_bound: true,
        expires: Moment::FAR,
        owner_claims_until: Moment(0),
    }
}

fn again() -> Delivery {
    Delivery { count: 2, ..first() }
}

fn plain() -> Terms {
    Terms {
        once: false,
        fenced: false,
        attempts: 5,
        replicated: false,
        always_claim: false,
        times: LeaseTimes::new(Duration::from_secs(30)),
    }
}

fn once() -> Terms {
    Terms { once: true, ..plain() }
}

fn replicated() -> Terms {
    Terms { replicated: true, ..plain() }
}

/// Somebody else's record.
fn record(kind: Kind) -> Seen {
    Seen {
        sequence: 7,
        kind,
        attempt: 1,
        attempt_id: OTHER,
        write: 1,
        spent: 1,
        delivery: 1,
        worker: "w2".into(),
        lease: Duration::from_secs(30),
        wait: None,
        cancelled: false,
    }
}

/// One of this attempt's own records.
fn own(kind: Kind, sequence: u64, write: u32) -> Seen {
    Seen { sequence, write, attempt_id: ME, ..record(kind) }
}

fn read(seen: Option<Seen>) -> Event {
    Event::Read(Ok(seen))
}

fn stored(sequence: u64) -> Event {
    Event::Written(Written::Stored(sequence))
}

const IN_DOUBT: Event = Event::Written(Written::InDoubt);

fn write(what: What, expected: u64, number: u32) -> Action {
    Action::Write(Write { what, expected, number })
}

fn outcome(outcome: Outcome, expected: u64, number: u32) -> Action {
    write(What::Outcome(outcome), expected, number)
}

const LOOK: Action = Action::Read(Duration::ZERO);

/// An attempt that has been through `events`, and its last action.
fn after(delivery: Delivery, terms: Terms, events: impl IntoIterator<Item = Event>) -> (Attempt, Action) {
    let mut attempt = Attempt::new(ME, delivery, terms);
    let mut action = attempt.step(Event::Begin, at(100));
    for event in events {
        action = attempt.step(event, at(100));
    }
    (attempt, action)
}

fn action(delivery: Delivery, terms: Terms, events: impl IntoIterator<Item = Event>) -> Action {
    after(delivery, terms, events).1
}

#[test]
fn a_first_delivery_starts_without_a_claim_and_every_doubt_makes_it_look() {
    assert_eq!(action(first(), plain(), []), Action::Start);
    for doubtful in [
        again(),
        Delivery { resend: true, ..first() },
        Delivery { fresh: false, ..first() },
        Delivery { above_bound: false, ..first() },
    ] {
        assert_eq!(action(doubtful, plain(), []), LOOK, "{doubtful:?}");
    }
    for terms in [once(), Terms { fenced: true, ..plain() }, Terms { always_claim: true, ..plain() }] {
        assert_eq!(action(first(), terms, []), LOOK, "{terms:?}");
    }
}

#[test]
fn without_a_record_it_claims_before_it_starts() {
    let (mut attempt, claim) = after(again(), plain(), [read(None)]);
    assert_eq!(claim, write(What::Claim, 0, 1));
    assert!(attempt.is_mine() && !attempt.is_running());
    assert_eq!(attempt.step(stored(3), at(100)), Action::Find(Duration::ZERO));
    assert_eq!(attempt.step(Event::Found(Ok(false)), at(100)), Action::Start);
    assert_eq!(attempt.fence(), Some(3));
}

#[test]
fn a_stored_outcome_is_acked_and_told_and_never_run() {
    assert_eq!(action(again(), plain(), [read(Some(record(Kind::Outcome)))]), Action::Ack { tell: true });
}

#[test]
fn what_a_later_version_wrote_is_left_alone() {
    assert_eq!(action(again(), plain(), [read(Some(record(Kind::Unknown)))]), Action::Forget);
}

#[test]
fn a_released_request_is_taken_over_at_once_or_handed_back_until_its_time() {
    let released = Seen { attempt: 2, spent: 1, ..record(Kind::Released) };
    let (attempt, claim) = after(again(), plain(), [read(Some(released.clone()))]);
    assert_eq!(claim, write(What::Claim, 7, 1));
    assert_eq!((attempt.number(), attempt.spent()), (3, 2));
    let later = Seen { wait: Some(Duration::from_secs(4)), ..released };
    assert_eq!(action(again(), plain(), [read(Some(later))]), Action::Nak(Duration::from_secs(4)));
}

#[test]
fn a_claim_is_watched_for_its_lease_and_two_seconds() {
    let claim = record(Kind::Claim);
    let (mut attempt, ask) = after(again(), plain(), [read(Some(claim.clone()))]);
    let wanted = Action::Ask { worker: "w2".into(), attempt_id: OTHER };
    assert_eq!(ask, wanted);
    assert!(!attempt.is_mine());
    assert_eq!(attempt.step(Event::Owner(Owner::Gone), at(102)), Action::Wait(at(107)));
    assert_eq!(attempt.step(Event::Due, at(107)), LOOK);
    assert_eq!(attempt.step(read(Some(claim.clone())), at(107)), wanted);
    assert_eq!(attempt.step(Event::Owner(Owner::Gone), at(131)), Action::Wait(at(132)));
    assert_eq!(attempt.step(Event::Due, at(132)), LOOK);
    assert_eq!(attempt.step(read(Some(claim)), at(132)), write(What::Claim, 7, 1));
}

#[test]
fn a_living_owner_keeps_its_request() {
    let watched = || read(Some(record(Kind::Claim)));
    assert_eq!(action(again(), plain(), [watched(), Event::Owner(Owner::Mine)]), Action::Forget);
    let renewed = read(Some(Seen { sequence: 8, ..record(Kind::Claim) }));
    let events = [watched(), Event::Owner(Owner::Gone), Event::Due, renewed];
    assert_eq!(action(again(), plain(), events), Action::Forget);
}

#[test]
fn on_several_servers_a_higher_count_and_silence_are_enough() {
    let claim = || read(Some(record(Kind::Claim)));
    let events = [claim(), Event::Owner(Owner::Gone), Event::Due, claim()];
    assert_eq!(action(again(), replicated(), events.clone()), write(What::Claim, 7, 1));
    assert_ne!(
        action(first(), Terms { fenced: true, ..replicated() }, events.clone()),
        write(What::Claim, 7, 1)
    );
    assert_ne!(action(again(), plain(), events), write(What::Claim, 7, 1));
}

#[test]
fn one_server_may_have_forgotten_a_delivery_whose_owner_is_about_to_claim() {
    let delivery = Delivery { above_bound: false, owner_claims_until: at(107), ..first() };
    let (mut attempt, wait) = after(delivery, plain(), [read(None)]);
    assert_eq!(wait, Action::Wait(at(107)));
    assert_eq!(attempt.step(Event::Due, at(107)), LOOK);
    assert_eq!(attempt.step(read(None), at(107)), write(What::Claim, 0, 1));
    assert_eq!(action(delivery, replicated(), [read(None)]), write(What::Claim, 0, 1));
}

#[test]
fn rejected_means_that_no_attempt_can_have_begun() {
    let late = |delivery: Delivery| Delivery { expires: at(50), ..delivery };
    let rejected = outcome(Outcome::Rejected(Reason::Expired), 0, 1);
    let failed = outcome(Outcome::Failed(Reason::Expired), 0, 1);
    assert_eq!(action(late(first()), plain(), []), rejected);
    assert_eq!(action(late(again()), plain(), [read(None)]), failed);
    // Such a handler would have left a claim.
    assert_eq!(action(late(again()), once(), [read(None)]), rejected);
    // A single server that was killed counts from one again.
    let forgotten = late(Delivery { above_bound: false, ..first() });
    assert_eq!(action(forgotten, plain(), [read(None)]), failed);
    assert_eq!(action(forgotten, replicated(), [read(None)]), rejected);
}

#[test]
fn nothing_starts_after_the_deadline_however_long_it_had_to_wait() {
    let delivery = Delivery { expires: at(110), ..again() };
    let (mut attempt, _) = after(delivery, plain(), [read(None)]);
    assert_eq!(attempt.step(stored(3), at(110)), outcome(Outcome::Failed(Reason::Expired), 3, 2));
}

#[test]
fn a_value_is_stored_and_acked_last() {
    let (mut attempt, result) = after(first(), plain(), [Event::Ended(Ending::Value)]);
    assert_eq!(result, outcome(Outcome::Value, 0, 1));
    assert!(!attempt.is_over());
    assert_eq!(attempt.step(stored(3), at(100)), Action::Ack { tell: false });
    assert!(attempt.is_over());
}

#[test]
fn endings_become_their_outcomes() {
    let error = |retry| Ending::Error { retry };
    let second = Some(Duration::from_secs(1));
    let one = Terms { attempts: 1, ..plain() };
    let released = |spent| write(What::Released { delay: Duration::from_secs(1), spent }, 0, 1);
    for (terms, ending, wanted) in [
        (plain(), error(None), outcome(Outcome::Error(None), 0, 1)),
        (plain(), error(second), released(1)),
        (one, error(second), Action::Bury(Reason::Exhausted)),
        (plain(), Ending::Panicked, Action::Bury(Reason::Panicked)),
        (plain(), Ending::TimedOut, outcome(Outcome::Failed(Reason::TimedOut), 0, 1)),
        (plain(), Ending::Unread, outcome(Outcome::Failed(Reason::Unread), 0, 1)),
        (plain(), Ending::TooLarge, outcome(Outcome::Failed(Reason::TooLarge), 0, 1)),
        (plain(), Ending::Undecodable, Action::Bury(Reason::Undecodable)),
        (plain(), Ending::HandedOver, write(What::Released { delay: Duration::ZERO, spent: 0 }, 0, 1)),
    ] {
        assert_eq!(action(first(), terms, [Event::Ended(ending)]), wanted, "{ending:?}");
    }
    for (ending, wanted) in
        [(error(second), Outcome::Error(None)), (Ending::HandedOver, Outcome::Failed(Reason::Interrupted))]
    {
        let events = [read(None), stored(3), Event::Ended(ending)];
        assert_eq!(action(first(), once(), events), outcome(wanted, 3, 2), "{ending:?}");
    }
}

#[test]
fn a_dead_letter_comes_before_the_outcome() {
    let (mut attempt, bury) = after(first(), plain(), [Event::Ended(Ending::Undecodable)]);
    assert_eq!(bury, Action::Bury(Reason::Undecodable));
    assert_eq!(attempt.step(Event::Buried(false), at(100)), bury);
    let rejected = outcome(Outcome::Rejected(Reason::Undecodable), 0, 1);
    assert_eq!(attempt.step(Event::Buried(true), at(100)), rejected);
}

#[test]
fn attempts_are_used_up_by_claims_and_not_by_dropped_deliveries() {
    let spent = |delivery, terms| after(delivery, terms, [read(None)]).0.spent();
    let many = Delivery { count: 9, ..first() };
    assert_eq!(spent(many, plain()), 2);
    assert_eq!(spent(many, once()), 1);
    assert_eq!(spent(many, Terms { attempts: 1, ..plain() }), 1);
    let last = |spent| read(Some(Seen { spent, ..record(Kind::Released) }));
    assert_eq!(action(again(), plain(), [last(4)]), write(What::Claim, 7, 1));
    assert_eq!(action(again(), plain(), [last(5)]), Action::Bury(Reason::Exhausted));
    let exhausted = outcome(Outcome::Failed(Reason::Exhausted), 7, 1);
    assert_eq!(action(again(), plain(), [last(5), Event::Buried(true)]), exhausted);
}

#[test]
fn what_may_have_begun_once_is_interrupted_under_the_rule_of_taking_over() {
    let claim = || read(Some(record(Kind::Claim)));
    let interrupted = outcome(Outcome::Failed(Reason::Interrupted), 7, 1);
    let events = [claim(), Event::Owner(Owner::Gone), Event::Due, claim()];
    assert_eq!(action(again(), Terms { once: true, ..replicated() }, events), interrupted);
    assert_eq!(action(again(), once(), [read(Some(record(Kind::Released)))]), interrupted);
}

#[test]
fn a_hand_over_before_the_start_leaves_no_trace_of_an_attempt() {
    let (mut attempt, noted) = after(again(), once(), [read(None), Event::LetGo]);
    assert_eq!(noted, Action::None);
    let released = write(What::Released { delay: Duration::ZERO, spent: 0 }, 3, 2);
    assert_eq!(attempt.step(stored(3), at(100)), released);
    assert_eq!(attempt.number(), 0);
    assert_eq!(attempt.step(stored(4), at(100)), Action::Nak(Duration::ZERO));
    // So the next worker may start it, although it is to run at most once.
    let unbegun = Seen { attempt: 0, spent: 0, ..record(Kind::Released) };
    let (next, claim) = after(again(), once(), [read(Some(unbegun))]);
    assert_eq!(claim, write(What::Claim, 7, 1));
    assert_eq!((next.number(), next.spent()), (1, 1));
}

#[test]
fn a_hand_over_before_the_start_does_not_hide_an_earlier_attempt() {
    // A single server that forgot its deliveries counts from one again.
    let forgotten = Delivery { above_bound: false, ..first() };
    let (attempt, _) = after(forgotten, plain(), [read(None), Event::LetGo, stored(3)]);
    assert_eq!(attempt.number(), 1);
}

#[test]
fn a_hand_over_does_not_wait_for_a_claim_that_came_to_nothing() {
    let events = [read(None), Event::LetGo, IN_DOUBT, read(None)];
    let released = write(What::Released { delay: Duration::ZERO, spent: 0 }, 0, 2);
    assert_eq!(action(again(), once(), events), released);
}

#[test]
fn letting_go_is_left_to_the_task_once_the_handler_has_the_word() {
    let (mut attempt, action) = after(first(), plain(), [Event::LetGo]);
    assert_eq!(action, Action::None);
    assert!(attempt.is_running());
    let released = write(What::Released { delay: Duration::ZERO, spent: 0 }, 0, 1);
    assert_eq!(attempt.step(Event::Ended(Ending::HandedOver), at(100)), released);
}

#[test]
fn what_has_not_begun_is_handed_back_and_what_is_watched_is_left() {
    let waiting = Delivery { above_bound: false, owner_claims_until: at(200), ..first() };
    let back = Action::Nak(Duration::ZERO);
    assert_eq!(Attempt::new(ME, first(), plain()).step(Event::LetGo, at(1)), back);
    assert_eq!(action(again(), plain(), [Event::LetGo]), back);
    assert_eq!(action(waiting, plain(), [read(None), Event::LetGo]), back);
    let watching = [read(Some(record(Kind::Claim))), Event::LetGo];
    assert_eq!(action(again(), plain(), watching), Action::Forget);
}

#[test]
fn a_heartbeat_claims_once_and_a_reconnect_every_time() {
    let (mut attempt, claim) = after(first(), plain(), [Event::Beat]);
    assert_eq!(claim, write(What::Claim, 0, 1));
    assert_eq!(attempt.step(Event::Beat, at(101)), Action::None);
    assert_eq!(attempt.step(stored(3), at(101)), Action::None);
    assert_eq!(attempt.step(Event::Beat, at(105)), Action::None);
    assert_eq!(attempt.step(Event::Reconnected, at(106)), write(What::Claim, 3, 2));
    assert_eq!(attempt.step(Event::Reconnected, at(107)), Action::None);
    assert_eq!(attempt.step(stored(4), at(107)), write(What::Claim, 4, 3));
}

#[test]
fn an_end_during_a_claim_is_stored_after_it() {
    let events = [Event::Beat, Event::Ended(Ending::Value), Event::Ended(Ending::TimedOut)];
    let (mut attempt, none) = after(first(), plain(), events);
    assert_eq!(none, Action::None);
    assert_eq!(attempt.step(stored(3), at(100)), outcome(Outcome::Value, 3, 2));
}

#[test]
fn the_leader_decides_what_became_of_a_write() {
    let claim = |seen| action(again(), plain(), [read(None), IN_DOUBT, read(seen)]);
    assert_eq!(claim(None), write(What::Claim, 0, 2));
    assert_eq!(claim(Some(own(Kind::Claim, 9, 1))), Action::Find(Duration::ZERO));
    assert_eq!(claim(Some(record(Kind::Outcome))), Action::Ack { tell: true });
    let ask = Action::Ask { worker: "w2".into(), attempt_id: OTHER };
    assert_eq!(claim(Some(record(Kind::Claim))), ask);

    let value = |seen| {
        let events = [Event::Beat, stored(3), Event::Ended(Ending::Value), IN_DOUBT, read(Some(seen))];
        action(first(), plain(), events)
    };
    assert_eq!(value(own(Kind::Claim, 3, 1)), outcome(Outcome::Value, 3, 3));
    assert_eq!(value(own(Kind::Outcome, 9, 2)), Action::Ack { tell: false });
    for kind in [Kind::Claim, Kind::Released, Kind::Unknown] {
        assert_eq!(value(record(kind)), Action::Forget, "{kind:?}");
    }
}

#[test]
fn an_own_outcome_that_was_late_is_not_replaced() {
    let events = [Event::Ended(Ending::Value), IN_DOUBT, read(None), IN_DOUBT];
    let (mut attempt, _) = after(first(), plain(), events);
    let late = read(Some(own(Kind::Outcome, 9, 1)));
    assert_eq!(attempt.step(late, at(100)), Action::Ack { tell: false });
}

#[test]
fn a_server_that_always_refuses_is_not_asked_in_a_tight_loop() {
    let events = [Event::Ended(Ending::Value), IN_DOUBT, read(None), IN_DOUBT];
    assert_eq!(action(first(), plain(), events), Action::Read(RETRY));
    assert_eq!(action(again(), plain(), [Event::Read(Err(()))]), Action::Read(RETRY));
}

#[test]
fn a_full_stream_hands_back_what_has_not_begun_and_keeps_results() {
    let full = Event::Written(Written::Full);
    assert_eq!(action(again(), plain(), [read(None), full.clone()]), Action::Nak(Duration::from_secs(1)));
    let (mut attempt, wait) = after(first(), plain(), [Event::Ended(Ending::Value), full]);
    assert_eq!(wait, Action::Read(RETRY));
    assert_eq!(attempt.step(read(None), at(101)), outcome(Outcome::Value, 0, 2));
}

#[test]
fn a_result_too_large_to_be_stored_is_a_failure() {
    let too_large = Event::Written(Written::TooLarge);
    let failed = outcome(Outcome::Failed(Reason::TooLarge), 0, 2);
    for ending in [Ending::Value, Ending::Error { retry: None }] {
        assert_eq!(action(first(), plain(), [Event::Ended(ending), too_large.clone()]), failed);
    }
}

#[test]
fn a_lost_lease_ends_every_state_in_silence() {
    for events in [
        vec![],
        vec![Event::Beat],
        vec![Event::Ended(Ending::Value)],
        vec![Event::Ended(Ending::Panicked)],
        vec![Event::Ended(Ending::Value), IN_DOUBT],
    ] {
        let (mut attempt, _) = after(first(), plain(), events);
        assert_eq!(attempt.step(Event::Lost, at(100)), Action::Forget);
        for event in [stored(3), Event::Ended(Ending::Value), Event::Beat, Event::Buried(true), read(None)] {
            assert_eq!(attempt.step(event, at(101)), Action::None);
        }
    }
}
