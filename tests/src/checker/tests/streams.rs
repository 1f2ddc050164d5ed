//! What a reader or a handler may see of a stream, and what not.

use super::History;
use crate::entry::{Answer, Class, Close, End, Event, Flow, Piece, Step};

const RULE: usize = 11;

fn items(attempt: u32, first: u64, last: u64) -> Piece {
    Piece::Items { attempt, first, last }
}

fn flow(end: End, pieces: &[Piece], close: Close) -> Event {
    let (caller, id) = ("shop".to_owned(), "k.a".to_owned());
    Event::Flow(Flow { caller, id, end, pieces: pieces.to_vec(), close })
}

/// A call of this method in which two attempts ran, and that ended with the value of the second, which sent 9 items and
/// took 6; `seen` is what else was written down.
fn call(method: &str, seen: Vec<Event>) -> History {
    let history = History::default().call_of(0.0, "one", |invoke| invoke.method = method.into());
    let history = history.accepted(0.1, "one").run(0.2, "first", 1, Step::Start);
    let history = history.run(0.3, "first", 1, Step::Retry).run(0.5, "second", 2, Step::Start);
    let history = history.run(0.6, "second", 2, Step::End).record(0.7, "ok 1", None);
    let history = seen.into_iter().fold(history, |history, event| history.event(0.8, event));
    let answer = Answer {
        class: Class::Ok,
        reason: String::new(),
        attempt: Some(2),
        outcome: Some("ok 1".into()),
        sent: Some(9),
        taken: Some(6),
    };
    history.event(0.9, Event::Result { call: "one".into(), id: None, answer }).drained(1.0)
}

fn read(method: &str, pieces: &[Piece]) -> History {
    call(method, vec![flow(End::Reads("one".into()), pieces, Close::All)])
}

#[test]
fn a_stream_goes_on_or_begins_anew_as_its_method_does() {
    let goes_on = [items(1, 1, 4), items(2, 5, 9)];
    read("resume", &goes_on).holds();
    read("anew", &goes_on).breaks([RULE]);
    let begins_anew = [items(1, 1, 4), Piece::Restarted(2), items(2, 1, 9)];
    read("anew", &begins_anew).holds();
    read("resume", &begins_anew).breaks([RULE]);
    // Nobody was told that it begins anew.
    read("anew", &[items(1, 1, 4), items(2, 1, 9)]).breaks([RULE]);
}

#[test]
fn two_attempts_are_not_mixed() {
    // A worker that lost its lease wrote on.
    read("resume", &[items(1, 1, 4), items(2, 5, 6), items(1, 7, 7), items(2, 8, 9)]).breaks([RULE]);
    read("anew", &[items(1, 1, 4), Piece::Restarted(2), items(2, 1, 5), items(1, 6, 9)]).breaks([RULE]);
    read("anew", &[items(2, 1, 4), Piece::Restarted(1), items(1, 1, 9)]).breaks([RULE]);
    // All of it, but of an attempt whose value it is not.
    read("anew", &[items(1, 1, 9)]).breaks([RULE]);
}

#[test]
fn a_stream_has_no_gap_and_no_repeat() {
    let resumed = |first: u64| read("resume", &[items(1, 1, 4), items(2, first, 9)]);
    resumed(5).holds();
    resumed(6).breaks([RULE]);
    resumed(4).breaks([RULE]);
    read("anew", &[items(2, 2, 9)]).breaks([RULE]);
    read("anew", &[items(1, 1, 4), Piece::Restarted(2), items(2, 5, 9)]).breaks([RULE]);
    read("anew", &[items(2, 1, 4), items(2, 4, 9)]).breaks([RULE]);
}

#[test]
fn a_call_with_a_value_has_all_of_its_items() {
    let ends = |last: u64, close: Close| {
        call("anew", vec![flow(End::Reads("one".into()), &[items(2, 1, last)], close)])
    };
    ends(9, Close::All).holds();
    ends(8, Close::All).breaks([RULE]);
    ends(9, Close::Failed).breaks([RULE]);
    ends(9, Close::Closed).breaks([RULE]);
    ends(9, Close::Wrong("item 10 was removed before it was read".into())).breaks([RULE]);
}

#[test]
fn a_reader_that_leaves_has_read_from_the_first_item_on_without_a_gap() {
    let left = |method: &str, pieces: &[Piece]| {
        call(method, vec![flow(End::Reads("one".into()), pieces, Close::Left)])
    };
    for method in ["anew", "resume"] {
        left(method, &[items(2, 1, 4)]).holds();
        left(method, &[items(2, 1, 9)]).holds();
        left(method, &[items(2, 2, 4)]).breaks([RULE]);
        left(method, &[items(2, 1, 4), items(2, 4, 5)]).breaks([RULE]);
        left(method, &[items(2, 1, 4), items(2, 6, 7)]).breaks([RULE]);
        // There were no more.
        left(method, &[items(2, 1, 10)]).breaks([RULE]);
        left(method, &[items(3, 1, 4)]).breaks([RULE]);
    }
    left("resume", &[items(1, 1, 4), items(2, 5, 6)]).holds();
    left("anew", &[items(1, 1, 4), Piece::Restarted(2), items(2, 1, 1)]).holds();
    left("anew", &[items(1, 1, 4), items(2, 5, 6)]).breaks([RULE]);
    // The second attempt may have had fewer.
    left("anew", &[items(1, 1, 12)]).holds();
    left("resume", &[items(1, 1, 12)]).breaks([RULE]);
}

#[test]
fn a_call_without_a_value_has_no_whole_stream() {
    let ends = |close: Close| {
        let history = History::default().call_of(0.0, "one", |invoke| invoke.method = "anew".into());
        let history = history.event(0.8, flow(End::Reads("one".into()), &[items(1, 1, 4)], close));
        history.answer(0.9, "one", Class::Unknown, None).drained(1.0)
    };
    ends(Close::Closed).holds();
    ends(Close::Left).holds();
    ends(Close::All).breaks([RULE]);
}

#[test]
fn a_handler_gets_all_that_was_sent_in_every_attempt() {
    let taken = |pieces: &[Piece], close: Close| {
        let sent = flow(End::Sends("one".into()), &[items(0, 1, 6)], Close::All);
        let failed = flow(End::Takes(1), &[items(0, 1, 4)], Close::Dropped);
        call("fill", vec![sent, failed, flow(End::Takes(2), pieces, close)])
    };
    taken(&[items(0, 1, 6)], Close::All).holds();
    taken(&[items(0, 1, 5)], Close::All).breaks([RULE]);
    taken(&[items(0, 5, 6)], Close::All).breaks([RULE]);
    taken(&[items(0, 1, 4), items(0, 4, 6)], Close::All).breaks([RULE]);
    taken(&[items(0, 1, 4), Piece::Restarted(2), items(0, 1, 6)], Close::All).breaks([RULE]);
}

#[test]
fn a_value_says_how_many_its_caller_sent() {
    let sent = |last: u64| {
        let another = flow(End::Sends("one".into()), &[items(0, 1, 4)], Close::Other("replaced".into()));
        call("fill", vec![another, flow(End::Sends("one".into()), &[items(0, 5, last)], Close::All)])
    };
    sent(6).holds();
    sent(7).breaks([RULE]);
}

#[test]
fn of_streams_both_ways_each_comes_whole() {
    let traded = |down: [Piece; 2], up: u64| {
        let read = flow(End::Reads("one".into()), &down, Close::All);
        let sent = flow(End::Sends("one".into()), &[items(0, 1, up)], Close::All);
        let taken = flow(End::Takes(2), &[items(0, 1, up)], Close::All);
        call("trade", vec![read, sent, taken])
    };
    let goes_on = |first: u64, last: u64| [items(1, 1, 4), items(2, first, last)];
    traded(goes_on(5, 9), 6).holds();
    traded(goes_on(6, 9), 6).breaks([RULE]);
    traded(goes_on(5, 6), 6).breaks([RULE]);
    traded(goes_on(5, 9), 9).breaks([RULE]);
}
