//! The two ends of a stream, step by step; over a wire that loses, and ([`log`]) over a log that does worse.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    SAID_EVERY, WINDOW_BYTES, WINDOW_ITEMS,
    reader::{Reader, Taken},
    slot::{Head, Slot},
    writer::{Action, Answer, Broken, Write, Writer},
};
use crate::{
    protocol::time::Moment,
    wire::{
        credit::Credit,
        frame::{End, Frame},
        position::Position,
    },
};

mod ends;
mod frames;
mod log;

/// What a write is to whoever reads it.
fn read(write: &Write) -> (Head, Vec<Bytes>) {
    let Frame { epoch, writer, settled, first, end, items, .. } = Frame::decode(&write.payload).unwrap();
    let count = items.len() as u64;
    assert_eq!((write.first, write.count, write.end), (first, count, end));
    let items = items.into_iter().map(|item| Bytes::copy_from_slice(item)).collect();
    (Head { epoch, writer, settled, first, count, end }, items)
}

fn item(epoch: u32, number: u64) -> Bytes {
    format!("{epoch}.{number}").into()
}

fn head(epoch: u32, first: u64, count: u64) -> Head {
    let writer = [u8::try_from(epoch).unwrap(); 16];
    Head { epoch, writer, settled: first - 1, first, count, end: None }
}

/// The answer to what a writer stored, and what it does next.
fn stored(writer: &mut Writer, slot: u64) -> Action {
    assert_eq!(writer.answered(slot, Answer::Stored, Moment(1)), Action::Wait);
    writer.next(Moment(1))
}

fn write(writer: &mut Writer) -> Write {
    match writer.next(Moment(1)) {
        Action::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

/// Frames of one item each.
fn full_frames(count: u64) -> Writer {
    let mut writer = Writer::new(1, [1; 16]).fitting(8);
    for number in 1..=count {
        assert_eq!(writer.offer_bytes(&[u8::try_from(number).unwrap(); 8]), Ok(true));
    }
    writer
}

#[test]
fn what_gathers_while_a_frame_is_on_its_way_goes_into_the_next() {
    let mut writer = Writer::new(1, [1; 16]);
    assert_eq!(writer.offer_bytes(&item(1, 1)), Ok(true));
    assert_eq!(write(&mut writer).count, 1);
    for number in 2..=5 {
        assert_eq!(writer.offer_bytes(&item(1, number)), Ok(true));
        assert_eq!(writer.next(Moment(1)), Action::Wait);
    }
    let Action::Write(second) = stored(&mut writer, 1) else { panic!() };
    assert_eq!((second.slot, second.first, second.count, second.end), (2, 2, 4, None));
    writer.end(End::Finished);
    assert!(!writer.is_flushed());
    let Action::Write(last) = stored(&mut writer, 2) else { panic!() };
    assert_eq!((last.first, last.count, last.end), (6, 0, Some(End::Finished)));
    assert_eq!(stored(&mut writer, 3), Action::Wait);
    assert!(writer.is_flushed());
    assert_eq!(writer.offer_bytes(&item(1, 6)), Err(Broken::Ended));
}

#[test]
fn a_writer_without_credit_takes_nothing_and_absolute_limits_may_come_twice_or_late() {
    let mut writer = Writer::new(1, [1; 16]);
    let large = vec![0; WINDOW_BYTES as usize / 8];
    let mut sent = 0;
    loop {
        while writer.offer_bytes(&large) == Ok(true) {
            sent += 1;
        }
        let Action::Write(write) = writer.next(Moment(1)) else { break };
        writer.answered(write.slot, Answer::Stored, Moment(1));
    }
    assert_eq!(sent, 8);
    let more = Credit { epoch: 1, items: WINDOW_ITEMS, bytes: WINDOW_BYTES + 1, ..Credit::default() };
    for credit in [Credit { epoch: 0, ..more }, Credit { bytes: 0, items: 0, ..more }] {
        writer.credit(credit, Moment(1));
        assert_eq!(writer.offer_bytes(&large), Ok(false));
    }
    writer.credit(more, Moment(1));
    writer.credit(more, Moment(1));
    assert_eq!(writer.offer_bytes(&large), Ok(true));
    assert_eq!(writer.offer_bytes(&large), Ok(false));
}

#[test]
fn a_reader_says_what_it_has_room_for_and_repeats_it() {
    let mut reader = Reader::new(1, true);
    let frame = |epoch, first, count| Slot::Frame(head(epoch, first, count));
    let start = Moment(1_000_000_000);
    let at_first = Credit {
        epoch: 1,
        items: WINDOW_ITEMS,
        bytes: WINDOW_BYTES,
        slot: 1,
        reader: 1,
        ..Credit::default()
    };
    assert_eq!(reader.say(start), Ok(at_first));
    assert!(reader.say(start).is_err());
    assert_eq!(reader.say(start + super::REPEATED_EVERY), Ok(at_first));
    assert_eq!(reader.take(1, frame(1, 1, 2), WINDOW_BYTES), Taken::Items);
    assert!(!reader.has_room());
    assert_eq!(reader.take(2, frame(1, 3, 1), 1), Taken::NotYet);
    assert!(reader.is_behind());
    reader.read(WINDOW_BYTES);
    let more =
        Credit { writer: [1; 16], bytes: 2 * WINDOW_BYTES, items: WINDOW_ITEMS + 1, slot: 2, ..at_first };
    assert_eq!(reader.say(start + super::REPEATED_EVERY), Ok(more));
    // Of the next attempt, bytes count anew, and what is unread does not count any more.
    assert_eq!(reader.take(2, frame(2, 1, 1), 5), Taken::Restarted { epoch: 2 });
    let anew = Credit {
        epoch: 2,
        writer: [2; 16],
        items: WINDOW_ITEMS,
        bytes: WINDOW_BYTES,
        slot: 3,
        reader: 1,
        ..Credit::default()
    };
    assert_eq!(reader.say(start + super::REPEATED_EVERY), Ok(anew));
    assert_eq!(reader.take(3, frame(1, 2, 1), 5), Taken::Nothing);
    assert_eq!(reader.take(4, Slot::Foreign, 5), Taken::Nothing);
    assert_eq!(reader.take(5, frame(2, 2, 1), 5), Taken::Items);
    assert_eq!(reader.take(6, frame(3, 4, 1), 5), Taken::Broken);
    reader.leave(start + super::REPEATED_EVERY);
    assert!(reader.say(start + super::REPEATED_EVERY).unwrap().left);
}

/// Whoever can write it somewhere can write it anywhere: nothing before it is missed.
#[test]
fn what_is_no_frame_is_passed_and_says_nothing_of_the_slots_before_it() {
    let mut reader = Reader::new(1, true);
    let frame = |first| Slot::Frame(head(1, first, 1));
    assert_eq!(reader.take(1, frame(1), 1), Taken::Items);
    assert_eq!(reader.take(1000, Slot::Foreign, 0), Taken::NotYet);
    assert!(!reader.is_behind());
    assert_eq!(reader.take(2, Slot::Foreign, 0), Taken::Nothing);
    assert_eq!((reader.slot(), reader.take(3, frame(2), 1)), (3, Taken::Items));
    reader.take(5, frame(3), 1);
    assert!(reader.is_behind());
}

#[test]
fn who_joins_goes_on_behind_the_last_and_not_behind_an_end() {
    for (end, epoch) in [(None, 1), (None, 7), (Some(End::Finished), 1), (Some(End::Abandoned), 2)] {
        let mut writer = Writer::joining([9; 16]);
        assert_eq!(writer.next(Moment(1)), Action::Wait);
        writer.begin(true);
        assert_eq!(writer.next(Moment(1)), Action::Find(std::time::Duration::ZERO));
        let look = |slot| Action::Look { slot, after: std::time::Duration::ZERO };
        let last = Head { end, ..head(epoch, 3, 2) };
        assert_eq!(writer.found_last(Ok(Some((5, Slot::Frame(last))))), look(2));
        for slot in 2..=5 {
            let there = Slot::Frame(if slot == 5 { last } else { head(epoch, 1, slot - 2) });
            assert_eq!(writer.seen(slot, Ok(there)), look(slot + 1));
        }
        let began = writer.seen(6, Ok(Slot::Empty));
        if end == Some(End::Finished) {
            assert_eq!(writer.broken(), Some(&Broken::Ended));
            continue;
        }
        let Action::Write(began) = began else { panic!("{began:?}") };
        assert_eq!((began.slot, began.first, began.count), (6, 5, 0));
        assert_eq!((writer.epoch(), writer.found()), (epoch + 1, None));
        assert_eq!(stored(&mut writer, 6), Action::Wait);
        assert_eq!((writer.found(), writer.last()), (Some(4), 4));
    }
    let mut alone = Writer::joining([9; 16]);
    assert_eq!(alone.offer_bytes(&item(1, 1)), Ok(false));
    alone.found_last(Ok(None));
    assert_eq!((alone.epoch(), alone.found()), (1, Some(0)));
    assert_eq!(alone.offer_bytes(&item(1, 1)), Ok(true));
}

/// A wire that loses frames and words of credit, and brings some late.
#[derive(Default)]
struct Wire {
    down: VecDeque<Write>,
    up: VecDeque<Credit>,
}

proptest! {
    #[test]
    fn what_is_not_stored_comes_without_gap_or_repeat_if_it_comes_at_all(
        epoch in 1u32..3,
        steps in proptest::collection::vec((0u8..7, 0usize..4), 1..300),
    ) {
        let (mut wire, mut now) = (Wire::default(), Moment(1));
        let mut writer = Writer::unstored(epoch, [1; 16]);
        let (mut reader, mut seen) = (Reader::new(1, false), Vec::new());
        let settled = (0..400).map(|n| (if n % 2 == 0 { 5 } else { 6 }, 0));
        for (what, at) in steps.into_iter().chain(settled) {
            now = now + std::time::Duration::from_millis(100);
            match what {
                0 if writer.last() < 20 => {
                    let next = item(epoch, writer.last() + 1);
                    let _ = writer.offer_bytes(&next);
                }
                // Lost.
                1 => { wire.down.remove(at); }
                2 => { wire.up.remove(at); }
                // Overtaken.
                3 if at < wire.down.len() => wire.down.swap(0, at),
                5 => {
                    while let Action::Send(write) = writer.next(now) {
                        wire.down.push_back(write);
                    }
                }
                6 => {
                    while let Some(write) = wire.down.pop_front() {
                        let (head, items) = read(&write);
                        let taken = reader.take(write.slot, Slot::Frame(head), head.count);
                        if taken == Taken::Items {
                            items.iter().for_each(|_| { reader.read(1); });
                            seen.extend(items);
                        }
                        prop_assert_ne!(taken, Taken::Broken);
                        wire.up.push_back(reader.say_now(reader.is_behind(), now));
                    }
                    while let Some(credit) = wire.up.pop_front() {
                        writer.credit(credit, now);
                    }
                }
                _ => {}
            }
            let wanted: Vec<_> = (1..=seen.len() as u64).map(|n| item(epoch, n)).collect();
            prop_assert_eq!(&seen, &wanted);
        }
        prop_assert!(writer.is_flushed());
        prop_assert_eq!(seen.len() as u64, writer.last());
        prop_assert_eq!(writer.stored_by_now(), writer.last());
    }
}

#[test]
fn who_comes_when_another_one_has_read_all_is_told_of_a_place_behind_it() {
    let mut writer = Writer::unstored(1, [1; 16]).up();
    let credit = |slot| Credit { reader: slot, epoch: 1, items: 9, bytes: 99, slot, ..Credit::default() };
    assert_eq!(writer.offer_bytes(&item(1, 1)), Ok(true));
    writer.end(End::Finished);
    assert!(matches!(writer.next(Moment(1)), Action::Send(_)));
    writer.credit(credit(2), Moment(1));
    assert!(writer.is_flushed());
    assert_eq!(writer.next(Moment(1)), Action::Wait);

    writer.credit(credit(1), Moment(2));
    let Action::Send(told) = writer.next(Moment(2)) else { panic!() };
    assert_eq!((told.slot, told.first, told.count), (2, 2, 0));
    let mut reader = Reader::new(1, false);
    assert_eq!(reader.take(told.slot, Slot::Frame(read(&told).0), 0), Taken::NotYet);
    assert!(reader.is_due());

    writer.credit(credit(3), Moment(3));
    assert!(writer.is_flushed());
}

#[test]
fn what_found_its_slot_taken_comes_again_with_all_behind_it() {
    let mut writer = full_frames(1);
    write(&mut writer);
    writer.answered(1, Answer::Stored, Moment(1));
    for number in 2..=6 {
        assert_eq!(writer.offer_bytes(&[number; 8]), Ok(true));
        writer.next(Moment(1));
    }
    writer.answered(3, Answer::InDoubt, Moment(1));
    assert_eq!(writer.seen(3, Ok(Slot::Foreign)), Action::Wait);
    assert_eq!(stored(&mut writer, 2), Action::Wait);
    assert_eq!(stored(&mut writer, 4), Action::Wait);
    writer.answered(5, Answer::InDoubt, Moment(1));
    writer.seen(5, Ok(Slot::Frame(Head { writer: [1; 16], ..head(1, 5, 1) })));
    let again = write(&mut writer);
    assert_eq!((again.slot, again.first, read(&again).0.settled), (6, 3, 2));
    assert_eq!((write(&mut writer).first, write(&mut writer).first), (4, 5));

    let mut reader = Reader::new(1, true);
    let slots = [(1, 1), (2, 2), (3, 0), (4, 4), (5, 5), (6, 3), (7, 4), (8, 5)];
    let taken = slots.map(|(slot, first)| match first {
        0 => reader.take(slot, Slot::Foreign, 0),
        first => reader.take(slot, Slot::Frame(head(1, first, 1)), 8),
    });
    use Taken::{Items, Nothing};
    assert_eq!(taken, [Items, Items, Nothing, Nothing, Nothing, Items, Items, Items]);
}

#[test]
fn a_slot_is_due_once_its_writer_cannot_have_it_on_its_way() {
    let mut reader = Reader::new(1, true);
    for (slot, is_due) in [(2, false), (4, false), (5, true)] {
        assert_eq!(reader.take(slot, Slot::Frame(head(1, slot, 1)), 1), Taken::NotYet);
        assert_eq!((reader.is_behind(), reader.is_due()), (true, is_due));
    }
}

#[test]
fn who_goes_on_where_another_reader_was_takes_what_follows_and_gives_the_same_credit() {
    let mut reader = Reader::new(1, true);
    for slot in 1..=5 {
        assert_eq!(reader.take(slot, Slot::Frame(head(1, slot * 2 - 1, 2)), 20), Taken::Items);
    }
    let position = reader.position(5, 2, 20);
    assert_eq!((position.item, position.slot, position.bytes), (8, 5, 80));
    let mut next = Reader::new(1, true).behind(position);
    assert_eq!((next.slot(), next.last()), (5, 8));
    for slot in 5..=6 {
        assert_eq!(next.take(slot, Slot::Frame(head(1, slot * 2 - 1, 2)), 20), Taken::Items);
    }
    assert_eq!(reader.take(6, Slot::Frame(head(1, 11, 2)), 20), Taken::Items);
    // Nothing was said yet.
    assert!((0..12).all(|_| reader.read(10)) && (0..4).all(|_| next.read(10)));
    assert_eq!(next.say_now(false, Moment(1)), reader.say_now(false, Moment(1)));
}

#[test]
fn who_looks_for_a_position_says_nothing_before_it_is_found() {
    let position = Position { attempt: 1, item: 8, slot: 5, writer: [1; 16], before: 7, bytes: 70 };
    let behind = || Reader::new(1, true).behind(position);
    let wanted = Head { writer: [1; 16], ..head(1, 8, 2) };
    for other in [
        Head { writer: [2; 16], ..wanted },
        Head { epoch: 2, ..wanted },
        Head { epoch: 2, first: 1, ..wanted },
        Head { first: 9, ..wanted },
    ] {
        let mut reader = behind();
        reader.leave(Moment(1));
        assert_eq!(reader.say(Moment(2)), Err(Moment::FAR));
        assert!(!reader.leaves() && reader.is_due());
        assert_eq!(reader.take(5, Slot::Empty, 0), Taken::Nothing);
        assert_eq!(reader.take(5, Slot::Frame(other), 20), Taken::Broken);
        assert!(!reader.is_proven());
    }
    assert_eq!(behind().take(5, Slot::Foreign, 0), Taken::Broken);
    let mut reader = behind();
    assert_eq!(reader.take(5, Slot::Frame(wanted), 20), Taken::Items);
    assert!(reader.is_proven() && !reader.is_due() && reader.say(Moment(2)).is_ok());
}

#[test]
fn a_stream_that_is_not_stored_has_one_writer() {
    let frame = |writer, first| Slot::Frame(Head { writer: [writer; 16], ..head(1, first, 1) });
    let mut reader = Reader::new(1, false);
    assert_eq!(reader.take(1, frame(1, 1), 1), Taken::Items);
    assert_eq!(reader.take(2, frame(9, 2), 1), Taken::Nothing);
    assert_eq!(reader.take(2, frame(1, 2), 1), Taken::Items);
    let mut second = Writer::unstored(1, [9; 16]);
    second.offer_bytes(b"1").unwrap();
    second.next(Moment(1));
    second.credit(reader.say_now(false, Moment(1)), Moment(1));
    assert_eq!((second.broken(), second.is_flushed()), (Some(&Broken::Replaced), false));
}
