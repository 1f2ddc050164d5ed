//! The two ends of a stream over a log that loses answers, answers late, and is written by several at once.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    WINDOW_BYTES, WINDOW_ITEMS,
    reader::{Reader, Taken},
    writer::{Action, Answer, Broken, Head, Slot, Write, Writer},
};
use crate::{
    protocol::time::Moment,
    wire::{
        credit::Credit,
        frame::{End, Frame},
    },
};

/// What lies in the slots: who wrote it, and the items.
type Log = BTreeMap<u64, (Slot, Vec<Bytes>)>;

/// What a write is to whoever reads it.
fn read(write: &Write) -> (Head, Vec<Bytes>) {
    let Frame { epoch, writer, first, end, items, .. } = Frame::decode(&write.payload).unwrap();
    let count = items.len() as u64;
    assert_eq!((write.first, write.count, write.end), (first, count, end));
    let items = items.into_iter().map(|item| Bytes::copy_from_slice(item)).collect();
    (Head { epoch, writer, first, count, end }, items)
}

fn item(epoch: u32, number: u64) -> Bytes {
    format!("{epoch}.{number}").into()
}

/// A writer, what it wants next, and a frame of it that is still on its way to the log.
struct Pen {
    writer: Writer,
    action: Action,
    late: Option<Write>,
    most: u64,
}

impl Pen {
    fn new(epoch: u32, resumes: bool, most: u64) -> Self {
        let mut writer = Writer::new(epoch, [u8::try_from(epoch).unwrap(); 16]);
        writer.begin(resumes);
        Self { writer, action: Action::Wait, late: None, most }
    }

    fn fill(&mut self) {
        while self.writer.last() < self.most && self.writer.found().is_some() {
            let next = item(self.writer.epoch(), self.writer.last() + 1);
            if self.writer.offer(&next) != Ok(true) {
                break;
            }
        }
        if self.writer.last() >= self.most {
            self.writer.end(End::Finished);
        }
    }

    /// A frame that was sent long ago arrives.
    fn arrive(&mut self, log: &mut Log) -> bool {
        self.late.take().is_some_and(|write| put(log, &write))
    }

    /// One step: `luck` says whether the write arrives, and whether its answer does.
    fn step(&mut self, log: &mut Log, luck: (bool, bool)) {
        self.fill();
        let action = std::mem::replace(&mut self.action, Action::Wait);
        let action = if action == Action::Wait { self.writer.next(Moment(1)) } else { action };
        self.action = match action {
            Action::Wait | Action::WaitUntil(_) | Action::Send(_) => Action::Wait,
            Action::Find(_) if !luck.0 => self.writer.found_last(Err(()), Moment(1)),
            Action::Find(_) => self
                .writer
                .found_last(Ok(log.last_key_value().map(|(slot, (there, _))| (*slot, *there))), Moment(1)),
            Action::Look { .. } if !luck.0 => self.writer.seen(Err(()), Moment(1)),
            Action::Look { slot, .. } => {
                let there = log.get(&slot).map_or(Slot::Empty, |(there, _)| *there);
                self.writer.seen(Ok(there), Moment(1))
            }
            Action::Write(write) => {
                let stored = if luck.0 {
                    put(log, &write)
                } else {
                    self.late = Some(write);
                    false
                };
                let answer = if stored && luck.1 { Answer::Stored } else { Answer::InDoubt };
                self.writer.answered(answer, Moment(1))
            }
        };
    }
}

fn put(log: &mut Log, write: &Write) -> bool {
    let empty = !log.contains_key(&write.slot);
    if empty {
        let (head, items) = read(write);
        log.insert(write.slot, (Slot::Frame(head), items));
    }
    empty
}

/// Reads until nothing comes any more.
#[derive(Default)]
struct Eye {
    seen: Vec<Bytes>,
    restarts: Vec<u32>,
}

fn read_all(reader: &mut Reader, log: &Log, eye: &mut Eye) {
    while let Some((there, items)) = log.get(&reader.slot()) {
        let bytes = items.iter().map(|it| it.len() as u64).sum();
        match reader.take(reader.slot(), *there, bytes) {
            Taken::Items => eye.seen.extend(items.iter().cloned()),
            Taken::Restarted { epoch } => {
                eye.restarts.push(epoch);
                eye.seen = items.clone();
            }
            Taken::Nothing => continue,
            other => panic!("{other:?} at slot {}", reader.slot()),
        }
        for it in items {
            reader.read(it.len() as u64);
        }
    }
}

/// What a reader may have seen when all is over: the items of the last attempt from its first on, and before them those
/// that it found of earlier ones.
fn is_one_attempts(seen: &[Bytes], resumes: bool) -> bool {
    let parse = |it: &Bytes| {
        let (epoch, number) = std::str::from_utf8(it).unwrap().split_once('.').unwrap();
        (epoch.parse::<u32>().unwrap(), number.parse::<u64>().unwrap())
    };
    let parsed: Vec<_> = seen.iter().map(parse).collect();
    let in_order = parsed.iter().zip(1..).all(|((_, number), wanted)| *number == wanted);
    let ascending = parsed.windows(2).all(|it| it[0].0 <= it[1].0);
    let unmixed = resumes || parsed.windows(2).all(|it| it[0].0 == it[1].0);
    in_order && ascending && unmixed
}

proptest! {
    /// Attempts one after the other, each begun while the one before may still write, under every mishap of a log.
    #[test]
    fn whatever_happens_a_reader_sees_one_attempt_without_gap_or_repeat(
        resumes in any::<bool>(),
        steps in proptest::collection::vec((0usize..3, any::<(bool, bool)>(), 0u8..4), 1..200),
    ) {
        let (mut log, mut reader, mut eye) = (Log::new(), Reader::new(1, true), Eye::default());
        let mut pens = vec![Pen::new(1, false, 12)];
        for (who, luck, what) in steps {
            let at = who.min(pens.len() - 1);
            match what {
                0 if pens.len() < 3 => {
                    let epoch = u32::try_from(pens.len()).unwrap() + 1;
                    pens.push(Pen::new(epoch, resumes, 12));
                }
                1 => { pens[at].arrive(&mut log); }
                2 => {
                    read_all(&mut reader, &log, &mut eye);
                    if let Ok(credit) = reader.say(Moment(u64::MAX)) {
                        pens.iter_mut().for_each(|pen| pen.writer.credit(credit, Moment(1)));
                    }
                }
                _ => pens[at].step(&mut log, luck),
            }
            read_all(&mut reader, &log, &mut eye);
            prop_assert!(is_one_attempts(&eye.seen, resumes), "{:?}", eye.seen);
        }
        // Nothing goes wrong any more: the last one comes to its end.
        let last = pens.len() - 1;
        for _ in 0..200 {
            pens[last].step(&mut log, (true, true));
            read_all(&mut reader, &log, &mut eye);
            if let Ok(credit) = reader.say(Moment(u64::MAX)) {
                pens[last].writer.credit(credit, Moment(1));
            }
        }
        for pen in &mut pens {
            pen.arrive(&mut log);
        }
        read_all(&mut reader, &log, &mut eye);
        prop_assert!(pens[last].writer.is_flushed());
        prop_assert_eq!(reader.end(), Some(End::Finished));
        prop_assert_eq!(eye.seen.len(), 12);
        prop_assert!(is_one_attempts(&eye.seen, resumes), "{:?}", eye.seen);
        prop_assert!(!resumes || eye.restarts.is_empty());
        for earlier in &pens[..last] {
            prop_assert!(earlier.writer.broken().is_none_or(|it| *it == Broken::Replaced));
        }
    }
}

fn write(writer: &mut Writer) -> Write {
    match writer.next(Moment(1)) {
        Action::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_gathers_while_a_frame_is_on_its_way_goes_into_the_next() {
    let mut writer = Writer::new(1, [1; 16]);
    assert_eq!(writer.offer(&item(1, 1)), Ok(true));
    assert_eq!(write(&mut writer).count, 1);
    for number in 2..=5 {
        assert_eq!(writer.offer(&item(1, number)), Ok(true));
        assert_eq!(writer.next(Moment(1)), Action::Wait);
    }
    let Action::Write(second) = writer.answered(Answer::Stored, Moment(1)) else { panic!() };
    assert_eq!((second.slot, second.first, second.count, second.end), (2, 2, 4, None));
    writer.end(End::Finished);
    assert!(!writer.is_flushed());
    let Action::Write(last) = writer.answered(Answer::Stored, Moment(1)) else { panic!() };
    assert_eq!((last.first, last.count, last.end), (6, 0, Some(End::Finished)));
    assert_eq!(writer.answered(Answer::Stored, Moment(1)), Action::Wait);
    assert!(writer.is_flushed());
    assert_eq!(writer.offer(&item(1, 6)), Err(Broken::Ended));
}

#[test]
fn a_writer_without_credit_takes_nothing_and_absolute_limits_may_come_twice_or_late() {
    let mut writer = Writer::new(1, [1; 16]);
    let large = vec![0; WINDOW_BYTES as usize / 8];
    let mut sent = 0;
    loop {
        match writer.offer(&large) {
            Ok(true) => sent += 1,
            Ok(false) => match writer.next(Moment(1)) {
                Action::Write(_) => {
                    writer.answered(Answer::Stored, Moment(1));
                }
                _ if writer.is_flushed() => break,
                _ => {
                    writer.answered(Answer::Stored, Moment(1));
                }
            },
            Err(broken) => panic!("{broken:?}"),
        }
    }
    assert_eq!(sent, 8);
    let more = Credit { epoch: 1, items: WINDOW_ITEMS, bytes: WINDOW_BYTES + 1, ..Credit::default() };
    for credit in [Credit { epoch: 2, ..more }, Credit { bytes: 0, items: 0, ..more }] {
        writer.credit(credit, Moment(1));
        assert_eq!(writer.offer(&large), Ok(false));
    }
    writer.credit(more, Moment(1));
    writer.credit(more, Moment(1));
    assert_eq!(writer.offer(&large), Ok(true));
    assert_eq!(writer.offer(&large), Ok(false));
}

#[test]
fn a_reader_says_what_it_has_room_for_and_repeats_it() {
    let mut reader = Reader::new(1, true);
    let frame = |epoch, first, count| {
        Slot::Frame(Head { epoch, writer: [u8::try_from(epoch).unwrap(); 16], first, count, end: None })
    };
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
    let more = Credit { bytes: 2 * WINDOW_BYTES, items: WINDOW_ITEMS + 1, slot: 2, ..at_first };
    assert_eq!(reader.say(start + super::REPEATED_EVERY), Ok(more));
    // Of the next attempt, bytes count anew, and what is unread does not count any more.
    assert_eq!(reader.take(2, frame(2, 1, 1), 5), Taken::Restarted { epoch: 2 });
    let anew = Credit {
        epoch: 2,
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
    assert_eq!(reader.take(6, frame(2, 4, 1), 5), Taken::Broken);
    reader.leave(start + super::REPEATED_EVERY);
    assert!(reader.say(start + super::REPEATED_EVERY).unwrap().left);
}

/// Attempts read a caller's stream one after the other, each from the first item on.
#[test]
fn a_callers_stream_that_is_left_ends_for_the_attempts_behind() {
    let mut writer = Writer::new(1, [1; 16]).up();
    writer.offer(b"1").unwrap();
    write(&mut writer);
    let left = Credit { reader: 1, epoch: 1, left: true, ..Credit::default() };
    writer.credit(left, Moment(1));
    let at = writer.wakes_at();
    writer.answered(Answer::Stored, Moment(1));
    assert_eq!(writer.offer(b"2"), Ok(true));
    let Action::Write(last) = writer.next(at) else { panic!("the end is not written") };
    assert_eq!((last.slot, last.count, last.end), (2, 1, Some(End::Abandoned)));
    assert_eq!((writer.offer(b"3"), writer.wakes_at()), (Err(Broken::Left), Moment::FAR));
    assert_eq!(writer.answered(Answer::Stored, at), Action::Wait);
    assert!(writer.is_flushed() && writer.has_ended() && writer.broken().is_none());

    // Whoever only attached has no say in that; nor does an end help where nothing is stored.
    for mut writer in [Writer::joining([1; 16]).up(), Writer::unstored(1, [1; 16]).up()] {
        writer.credit(left, Moment(1));
        assert_eq!(writer.next(at), Action::Wait);
        assert_eq!(writer.broken(), Some(&Broken::Left));
    }
}

/// Whoever can write it somewhere can write it anywhere: nothing before it is missed.
#[test]
fn what_is_no_frame_is_passed_and_says_nothing_of_the_slots_before_it() {
    let mut reader = Reader::new(1, true);
    let frame = |first| Slot::Frame(Head { epoch: 1, writer: [1; 16], first, count: 1, end: None });
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
        let last = Head { epoch, writer: [1; 16], first: 3, count: 2, end };
        writer.found_last(Ok(Some((5, Slot::Frame(last)))), Moment(1));
        if end == Some(End::Finished) {
            assert_eq!(writer.broken(), Some(&Broken::Ended));
            continue;
        }
        assert_eq!((writer.epoch(), writer.found()), (epoch + 1, None));
        writer.answered(Answer::Stored, Moment(1));
        assert_eq!((writer.found(), writer.last()), (Some(4), 4));
    }
    let mut alone = Writer::joining([9; 16]);
    assert_eq!(alone.offer(&item(1, 1)), Ok(false));
    alone.found_last(Ok(None), Moment(1));
    assert_eq!((alone.epoch(), alone.found()), (1, Some(0)));
    assert_eq!(alone.offer(&item(1, 1)), Ok(true));
}

#[test]
fn a_log_that_refuses_for_long_breaks_the_stream() {
    let mut writer = Writer::new(1, [1; 16]);
    writer.offer(&item(1, 1)).unwrap();
    write(&mut writer);
    let mut now = Moment(1);
    let mut refusals = VecDeque::new();
    while writer.broken().is_none() {
        refusals.push_back(writer.answered(Answer::Refused("full".into()), now));
        now = now + std::time::Duration::from_secs(1);
        writer.seen(Ok(Slot::Empty), Moment(1));
    }
    assert_eq!(refusals.len(), 16);
    assert_eq!(writer.broken(), Some(&Broken::Refused("full".into())));
}

#[test]
fn an_end_that_is_said_while_a_frame_is_on_its_way_follows_in_one_of_its_own() {
    let mut writer = Writer::new(1, [1; 16]);
    writer.offer(&item(1, 1)).unwrap();
    let first = write(&mut writer);
    writer.end(End::Finished);
    writer.answered(Answer::InDoubt, Moment(1));
    assert_eq!(writer.seen(Ok(Slot::Empty), Moment(1)), Action::Write(first));
    let Action::Write(end) = writer.answered(Answer::Stored, Moment(1)) else { panic!() };
    assert_eq!((end.slot, end.first, end.end), (2, 2, Some(End::Finished)));
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
                    let _ = writer.offer(&next);
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
fn items_of_a_power_of_two_fill_a_frame_with_what_encodes_them() {
    for size in [16, 64, 128].map(|kib| kib << 10) {
        let mut writer = Writer::new(1, [1; 16]);
        // MessagePack puts five bytes before as many.
        let item = vec![0; size + 5];
        while writer.offer(&item) == Ok(true) {}
        let Action::Write(first) = writer.next(Moment(1)) else { panic!() };
        assert_eq!(first.count * size as u64, 256 << 10);
    }
}
