//! The rules of a call, one by one, and all of them at once on a model of the broker.

use super::*;

mod model;
mod properties;

const MINE: PayloadHash = [1; 16];

fn ms(millis: u64) -> Moment {
    Moment(millis * 1_000_000)
}

fn limits() -> Limits {
    Limits {
        accept_by: ms(15_000),
        start_within: Some(Duration::from_secs(20)),
        silent_for: Some(Duration::from_secs(30)),
        deadline: ms(100_000),
        read_after: Duration::from_secs(10),
    }
}

fn record(kind: Kind) -> Seen {
    Seen { kind, hash: MINE, attempt: 1 }
}

fn read(kind: Kind) -> Event {
    Event::Read(Ok(Some(record(kind))))
}

const NOTHING: Event = Event::Read(Ok(None));
const FAILED: Event = Event::Read(Err(()));
const LOOK: Action = Action::Read { after: Duration::ZERO };

fn publish(resend: bool, with_message_id: bool, after: u64) -> Action {
    Action::Publish { resend, with_message_id, after: Duration::from_millis(after) }
}

fn answer(answer: Answer) -> Event {
    Event::Answer(answer)
}

/// A fresh call that went through `events` in its first millisecond, and its last action.
fn fresh(events: impl IntoIterator<Item = Event>) -> (Caller, Action) {
    begin(Caller::new(limits(), None, false), events)
}

fn keyed(events: impl IntoIterator<Item = Event>) -> (Caller, Action) {
    begin(Caller::new(limits(), Some(MINE), true), events)
}

fn begin(mut caller: Caller, events: impl IntoIterator<Item = Event>) -> (Caller, Action) {
    let first = caller.step(Event::Begin, ms(0));
    let (caller, action) = run(caller, events);
    (caller, action.unwrap_or(first))
}

fn run(mut caller: Caller, events: impl IntoIterator<Item = Event>) -> (Caller, Option<Action>) {
    let mut action = None;
    for event in events {
        action = Some(caller.step(event, ms(1)));
    }
    (caller, action)
}

fn accepted() -> Caller {
    fresh([answer(Answer::Stored)]).0
}

fn started() -> Caller {
    run(accepted(), [Event::Alive]).0
}

#[test]
fn only_the_first_publish_of_a_fresh_id_is_no_resend() {
    assert_eq!(fresh([]).1, publish(false, true, 0));
    assert_eq!(fresh([answer(Answer::InDoubt)]).1, publish(true, true, 10));
    assert_eq!(keyed([]).1, publish(true, true, 0));
}

#[test]
fn a_stored_first_publish_is_accepted_and_a_resend_is_followed_by_a_read() {
    let (caller, action) = fresh([answer(Answer::Stored)]);
    assert!(caller.is_accepted() && !caller.is_in_doubt());
    assert_eq!(action, Action::Wait);
    assert_eq!(keyed([answer(Answer::Stored)]).1, LOOK);
    assert_eq!(fresh([answer(Answer::InDoubt), answer(Answer::Stored)]).1, LOOK);
    let (caller, action) = fresh([answer(Answer::Exists)]);
    assert!(caller.is_accepted());
    assert_eq!(action, LOOK);
}

#[test]
fn what_is_stored_under_a_key_is_the_calls_own_once_a_record_says_so_or_there_is_none() {
    assert!(fresh([]).0.is_ours() && Caller::attached(limits(), None).is_ours());
    let others = Event::Pushed(Seen { hash: [2; 16], ..record(Kind::Claim) });
    for (events, is_ours) in [
        (vec![answer(Answer::Stored)], false),
        (vec![answer(Answer::Stored), FAILED], false),
        (vec![answer(Answer::Stored), NOTHING], true),
        (vec![answer(Answer::Stored), Event::Alive], false),
        (vec![answer(Answer::Exists), NOTHING], false),
        (vec![answer(Answer::Exists), NOTHING, Event::Alive], false),
        (vec![answer(Answer::Exists), NOTHING, Event::Pushed(record(Kind::Claim))], true),
        (vec![answer(Answer::Exists), read(Kind::Released)], true),
        (vec![answer(Answer::Duplicate), NOTHING], false),
        (vec![answer(Answer::Duplicate), NOTHING, answer(Answer::Stored), NOTHING], true),
        (vec![answer(Answer::Exists), others.clone()], false),
        (vec![Event::Alive, answer(Answer::Stored), NOTHING], false),
    ] {
        assert_eq!(keyed(events.clone()).0.is_ours(), is_ours, "{events:?}");
    }
    let caller = keyed([]).0;
    assert!(caller.is_anothers([2; 16]) && !caller.is_anothers(MINE) && !fresh([]).0.is_anothers(MINE));
    assert_eq!(keyed([answer(Answer::Exists), others]).1, Action::Finish(Verdict::IdReused));
}

#[test]
fn a_duplicate_is_no_proof() {
    let (caller, action) = fresh([answer(Answer::Duplicate)]);
    assert!(!caller.is_accepted() && caller.is_in_doubt());
    assert_eq!(action, LOOK);
    assert_eq!(fresh([answer(Answer::Duplicate), NOTHING]).1, publish(true, false, 0));
    let outcome = [answer(Answer::Duplicate), read(Kind::Outcome)];
    assert_eq!(fresh(outcome).1, Action::Finish(Verdict::Outcome));
}

#[test]
fn duplicates_without_a_record_end_with_accept_within() {
    let (mut caller, _) = fresh([answer(Answer::Duplicate)]);
    for at in (1_000..15_000).step_by(1_000) {
        assert_eq!(caller.step(NOTHING, ms(at)), publish(true, false, 0));
        assert_eq!(caller.step(answer(Answer::Duplicate), ms(at)), LOOK);
    }
    assert_eq!(caller.step(NOTHING, ms(15_000)), Action::Finish(Verdict::AcceptanceUnknown));
}

#[test]
fn refusals_end_a_first_publish_at_once() {
    for (refusal, verdict) in [
        (Answer::Full, Verdict::QueueFull),
        (Answer::TooLarge, Verdict::TooLarge),
        (Answer::Refused, Verdict::Refused),
    ] {
        let (caller, action) = fresh([answer(refusal)]);
        assert_eq!(action, Action::Finish(verdict));
        assert!(!caller.is_in_doubt());
    }
    assert_eq!(fresh([Event::Denied]).1, Action::Finish(Verdict::PermissionDenied));
}

#[test]
fn a_refused_resend_may_have_its_outcome_already() {
    let full = || answer(Answer::Full);
    assert_eq!(keyed([full()]).1, LOOK);
    assert_eq!(keyed([full(), read(Kind::Outcome)]).1, Action::Finish(Verdict::Outcome));
    assert_eq!(keyed([full(), NOTHING]).1, Action::Finish(Verdict::QueueFull));
    let (caller, action) = fresh([answer(Answer::InDoubt), full(), NOTHING]);
    assert_eq!(action, Action::Finish(Verdict::QueueFull));
    assert!(caller.is_in_doubt());
}

#[test]
fn the_first_silence_of_the_broker_asks_which_streams_there_are() {
    let nobody = || answer(Answer::NoResponders);
    let after = |streams| fresh([nobody(), Event::Streams(streams)]).1;
    assert_eq!(fresh([nobody()]).1, Action::AskStreams);
    assert_eq!(after(Streams::NoMethod), Action::Finish(Verdict::NoSuchMethod));
    assert_eq!(after(Streams::NoService), Action::Finish(Verdict::NoStream));
    assert_eq!(after(Streams::Match), publish(true, true, 250));
    let unknown = [nobody(), Event::Streams(Streams::Unknown), nobody()];
    assert_eq!(fresh(unknown).1, Action::AskStreams);
    let known = [nobody(), Event::Streams(Streams::Match), nobody()];
    assert_eq!(fresh(known).1, publish(true, true, 250));
    let doubtful = [answer(Answer::InDoubt), nobody(), Event::Streams(Streams::NoMethod)];
    assert_eq!(fresh(doubtful).1, publish(true, true, 250));
}

#[test]
fn doubt_by_the_servers_own_word_backs_off() {
    let mut caller = fresh([]).0;
    for after in [10, 20, 40, 80, 160, 250, 250] {
        assert_eq!(caller.step(answer(Answer::InDoubt), ms(1)), publish(true, true, after));
    }
}

#[test]
fn without_a_leader_it_gives_up_at_accept_within() {
    let (mut caller, _) = fresh([answer(Answer::NoResponders), Event::Streams(Streams::Match)]);
    assert_eq!(caller.wake_at(), ms(15_000));
    assert_eq!(caller.step(answer(Answer::NoResponders), ms(14_900)), Action::Finish(Verdict::NoQuorum));
    let (mut caller, _) = fresh([]);
    assert_eq!(caller.step(Event::Due, ms(15_000)), Action::Finish(Verdict::AcceptanceUnknown));
}

#[test]
fn a_question_that_is_open_at_accept_within_puts_nothing_in_doubt() {
    let (mut caller, _) = fresh([answer(Answer::NoResponders)]);
    assert_eq!(caller.step(Event::Due, ms(15_000)), Action::Finish(Verdict::NoQuorum));
}

#[test]
fn a_reconnect_repeats_what_was_under_way() {
    let (mut caller, action) = fresh([Event::Reconnected]);
    assert_eq!(action, publish(true, true, 0));
    assert!(caller.is_in_doubt());
    assert_eq!(caller.step(Event::Reconnected, ms(2)), publish(true, true, 0));
    let (mut caller, _) = fresh([answer(Answer::NoResponders), Event::Reconnected]);
    assert!(!caller.is_in_doubt());
    assert_eq!(caller.step(answer(Answer::NoResponders), ms(2)), Action::AskStreams);
    assert_eq!(run(accepted(), [Event::Reconnected]).1, Some(LOOK));
}

#[test]
fn nothing_is_published_once_acceptance_is_known() {
    // A publish that waits for its turn gives way to a read.
    let waiting = || [answer(Answer::NoResponders), Event::Streams(Streams::Match)];
    for sign in [Event::Alive, Event::Pushed(record(Kind::Claim)), Event::StoredBefore] {
        let (mut caller, _) = fresh(waiting());
        assert_eq!(caller.step(sign.clone(), ms(2)), LOOK, "{sign:?}");
        assert!(caller.is_accepted());
        assert_eq!(caller.step(NOTHING, ms(3)), Action::Wait);
    }
    for late in [answer(Answer::InDoubt), answer(Answer::NoResponders), answer(Answer::Full), Event::Denied] {
        assert_eq!(run(accepted(), [late]).1, Some(Action::Wait));
    }
}

#[test]
fn the_record_of_another_payload_ends_a_keyed_call() {
    for kind in [Kind::Claim, Kind::Released, Kind::Outcome, Kind::CancelRequested, Kind::Unknown] {
        let other = Seen { hash: [2; 16], ..record(kind) };
        assert_eq!(keyed([Event::Pushed(other)]).1, Action::Finish(Verdict::IdReused));
        assert_eq!(
            keyed([answer(Answer::Exists), Event::Read(Ok(Some(other)))]).1,
            Action::Finish(Verdict::IdReused)
        );
        assert_ne!(fresh([Event::Pushed(other)]).1, Action::Finish(Verdict::IdReused));
    }
}

#[test]
fn only_an_outcome_is_an_outcome() {
    assert_eq!(
        run(accepted(), [Event::Pushed(record(Kind::Outcome))]).1,
        Some(Action::Finish(Verdict::Outcome))
    );
    for kind in [Kind::Claim, Kind::Released, Kind::CancelRequested, Kind::Unknown] {
        assert_eq!(run(accepted(), [Event::Pushed(record(kind))]).1, Some(Action::Wait), "{kind:?}");
    }
    assert_eq!(
        run(accepted(), [Event::StoredBefore, read(Kind::Outcome)]).1,
        Some(Action::Finish(Verdict::Outcome))
    );
}

#[test]
fn silence_is_broken_by_a_read() {
    let mut caller = accepted();
    assert_eq!(caller.wake_at(), ms(10_001));
    assert_eq!(caller.step(Event::Due, ms(10_000)), Action::Wait);
    assert_eq!(caller.step(Event::Due, ms(10_001)), LOOK);
    assert_eq!(caller.step(NOTHING, ms(10_002)), Action::Wait);
    assert_eq!(caller.wake_at(), ms(20_001));
}

#[test]
fn reads_that_fail_back_off_to_the_ordinary_pace() {
    let mut caller = run(accepted(), [Event::Reconnected]).0;
    for after in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
        let again = Action::Read { after: Duration::from_millis(after) };
        assert_eq!(caller.step(FAILED, ms(2)), again);
    }
}

#[test]
fn who_is_not_started_in_time_reads_asks_and_then_answers() {
    let lapsed = |presence| {
        let mut caller = accepted();
        assert_eq!(caller.step(Event::Due, ms(20_001)), LOOK);
        assert_eq!(caller.step(NOTHING, ms(20_002)), Action::AskWorkers);
        let action = caller.step(Event::Asked(presence), ms(22_000));
        (caller, action)
    };
    assert_eq!(lapsed(Presence::Nobody).1, Action::Finish(Verdict::NoWorker));
    assert_eq!(lapsed(Presence::Workers).1, Action::Finish(Verdict::NotStarted));
    let (caller, action) = lapsed(Presence::Owner);
    assert_eq!(action, Action::Wait);
    assert_eq!(caller.wake_at(), ms(32_000));
}

#[test]
fn a_silent_handler_is_asked_for() {
    let lapsed = |presence| {
        let mut caller = started();
        assert_eq!(caller.step(Event::Due, ms(30_001)), LOOK);
        assert_eq!(caller.step(read(Kind::Claim), ms(30_002)), Action::AskWorkers);
        caller.step(Event::Asked(presence), ms(32_000))
    };
    assert_eq!(lapsed(Presence::Owner), Action::Wait);
    assert_eq!(lapsed(Presence::Workers), Action::Finish(Verdict::Silent));
    assert_eq!(lapsed(Presence::Nobody), Action::Finish(Verdict::Silent));
}

#[test]
fn a_sign_of_life_settles_a_lapse() {
    for sign in [Event::Alive, Event::Pushed(record(Kind::Claim))] {
        let mut caller = started();
        assert_eq!(caller.step(Event::Due, ms(30_001)), LOOK);
        assert_eq!(caller.step(sign, ms(30_002)), Action::Wait);
        assert_eq!(caller.step(NOTHING, ms(30_003)), Action::Wait);
    }
}

#[test]
fn between_two_attempts_nobody_is_silent_or_late() {
    for caller in [accepted(), started()] {
        let mut caller = run(caller, [Event::Pushed(record(Kind::Released))]).0;
        for at in (10_001..100_000).step_by(10_000) {
            assert_eq!(caller.step(Event::Due, ms(at)), LOOK);
            assert_eq!(caller.step(read(Kind::Released), ms(at)), Action::Wait);
        }
    }
    // Handed over before any handler had begun.
    let unbegun = Event::Pushed(Seen { attempt: 0, ..record(Kind::Released) });
    let mut caller = run(accepted(), [unbegun]).0;
    assert_eq!(caller.step(Event::Due, ms(20_001)), LOOK);
    assert_eq!(caller.step(NOTHING, ms(20_002)), Action::AskWorkers);
}

#[test]
fn the_deadline_allows_one_last_read() {
    let mut caller = started();
    caller.step(Event::Alive, ms(99_999));
    assert_eq!(caller.wake_at(), ms(100_000));
    assert_eq!(caller.step(Event::Due, ms(100_000)), LOOK);
    assert_eq!(caller.wake_at(), ms(100_600));
    let mut late = caller.clone();
    assert_eq!(late.step(Event::Due, ms(100_600)), Action::Finish(Verdict::DeadlinePassed));
    assert_eq!(caller.clone().step(FAILED, ms(100_100)), Action::Finish(Verdict::DeadlinePassed));
    assert_eq!(caller.step(read(Kind::Outcome), ms(100_100)), Action::Finish(Verdict::Outcome));
}

#[test]
fn the_deadline_interrupts_a_question() {
    let mut caller = started();
    caller.step(Event::Alive, ms(69_000));
    assert_eq!(caller.step(Event::Due, ms(99_000)), LOOK);
    assert_eq!(caller.step(NOTHING, ms(99_001)), Action::AskWorkers);
    assert_eq!(caller.wake_at(), ms(100_000));
    assert_eq!(caller.step(Event::Due, ms(100_000)), LOOK);
}

#[test]
fn an_attached_call_never_publishes_and_ends_at_its_limits() {
    let attached = || Caller::attached(limits(), None);
    assert_eq!(begin(attached(), []).1, LOOK);
    assert_eq!(begin(attached(), [NOTHING]).1, Action::Wait);
    assert_eq!(begin(attached(), [NOTHING, Event::Reconnected]).1, LOOK);
    let mut caller = begin(attached(), [NOTHING]).0;
    assert_eq!(caller.step(Event::Due, ms(20_000)), LOOK);
    assert_eq!(caller.step(NOTHING, ms(20_001)), Action::AskWorkers);
    let nobody = Event::Asked(Presence::Nobody);
    assert_eq!(caller.step(nobody, ms(22_000)), Action::Finish(Verdict::NoWorker));
}

#[test]
fn a_closed_connection_ends_the_call_and_leaves_a_publish_in_doubt() {
    let (caller, action) = fresh([answer(Answer::Closed)]);
    assert_eq!(action, Action::Finish(Verdict::Closed));
    assert!(caller.is_in_doubt());
    assert_eq!(run(accepted(), [Event::Closed]).1, Some(Action::Finish(Verdict::Closed)));
}

#[test]
fn nothing_follows_the_end() {
    let (mut caller, _) = fresh([answer(Answer::Full)]);
    for event in [Event::Alive, Event::Reconnected, Event::Due, read(Kind::Outcome), Event::Closed] {
        assert_eq!(caller.step(event, ms(200_000)), Action::Wait);
    }
}
