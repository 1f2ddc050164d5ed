//! A log that loses answers, answers late and in any order, is written by several at once, and has what is no frame put
//! into it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::{
        FLIGHT,
        reader::{Reader, Taken},
        slot::Slot,
        writer::{Action, Answer, Broken, Write, Writer},
    },
    item, read,
};
use crate::{protocol::time::Moment, wire::frame::End};

/// How many items an attempt sends.
const ITEMS: u64 = 24;

#[derive(Default)]
struct Log {
    /// What lies in the slots: who wrote it, and the items.
    slots: BTreeMap<u64, (Slot, Vec<Bytes>)>,
    /// The slot that a frame was stored in last.
    last: Option<u64>,
}

impl Log {
    fn put(&mut self, write: &Write) -> bool {
        let empty = !self.slots.contains_key(&write.slot);
        if empty {
            let long_before = 1..=write.slot.saturating_sub(FLIGHT as u64);
            long_before.for_each(|slot| assert!(self.slots.contains_key(&slot), "a slot was left out"));
            let (head, items) = read(write);
            self.slots.insert(write.slot, (Slot::Frame(head), items));
            self.last = Some(write.slot);
        }
        empty
    }

    /// What is no frame of anybody's.
    fn occupy(&mut self, ahead: u64) {
        let slot = self.last.unwrap_or(0) + ahead;
        if slot > 0 {
            self.slots.entry(slot).or_insert((Slot::Foreign, Vec::new()));
        }
    }

    fn there(&self, slot: u64) -> Slot {
        self.slots.get(&slot).map_or(Slot::Empty, |(there, _)| *there)
    }

    /// What whoever looks for the end may find: the frame that was stored last, or any with none right behind it.
    fn some_last(&self, luck: usize) -> Option<u64> {
        let is_frame = |slot| matches!(self.there(slot), Slot::Frame(_));
        let is_one = |slot: &u64| (*slot == 1 || is_frame(*slot)) && !is_frame(slot + 1);
        let mut found: Vec<u64> = self.slots.keys().copied().filter(is_one).collect();
        if self.there(1) == Slot::Empty {
            found.clear();
        }
        found.extend(self.last);
        found.get(luck % found.len().max(1)).copied()
    }
}

/// A writer, what it asked for, and frames of it that are still on their way to the log.
struct Pen {
    writer: Writer,
    asked: Vec<Action>,
    late: Vec<Write>,
}

impl Pen {
    fn new(epoch: u32, resumes: bool) -> Self {
        // Two or three items fill a frame.
        let mut writer = Writer::new(epoch, [u8::try_from(epoch).unwrap(); 16]).fitting(10);
        writer.begin(resumes);
        Self { writer, asked: Vec::new(), late: Vec::new() }
    }

    fn fill(&mut self) {
        while self.writer.last() < ITEMS && self.writer.found().is_some() {
            let next = item(self.writer.epoch(), self.writer.last() + 1);
            if self.writer.offer_bytes(&next) != Ok(true) {
                break;
            }
        }
        if self.writer.last() >= ITEMS {
            self.writer.end(End::Finished);
        }
    }

    /// A frame that was sent long ago arrives.
    fn arrive(&mut self, log: &mut Log, which: usize) {
        if !self.late.is_empty() {
            let write = self.late.swap_remove(which % self.late.len());
            log.put(&write);
        }
    }

    /// One step: `luck` says whether a write arrives, and whether its answer does; `which` of all that was asked for.
    fn step(&mut self, log: &mut Log, luck: (bool, bool), which: usize) {
        self.fill();
        loop {
            match self.writer.next(Moment(1)) {
                Action::Wait => break,
                action => self.asked.push(action),
            }
        }
        if self.asked.is_empty() {
            return;
        }
        let next = match self.asked.remove(which % self.asked.len()) {
            Action::Wait | Action::WaitUntil(_) | Action::Send(_) => Action::Wait,
            Action::Find(_) if !luck.0 => self.writer.found_last(Err(())),
            Action::Find(_) => {
                let last = log.some_last(which).map(|slot| (slot, log.there(slot)));
                self.writer.found_last(Ok(last))
            }
            Action::Look { slot, .. } if !luck.0 => self.writer.seen(slot, Err(())),
            Action::Look { slot, .. } => self.writer.seen(slot, Ok(log.there(slot))),
            Action::Write(write) => {
                let slot = write.slot;
                let stored = luck.0 && log.put(&write);
                if !luck.0 {
                    self.late.push(write);
                }
                let answer = if stored && luck.1 { Answer::Stored } else { Answer::InDoubt };
                self.writer.answered(slot, answer, Moment(1))
            }
        };
        if next != Action::Wait {
            self.asked.push(next);
        }
    }
}

/// Reads until nothing comes any more.
#[derive(Default)]
struct Eye {
    seen: Vec<Bytes>,
    restarts: Vec<u32>,
}

fn read_all(reader: &mut Reader, log: &Log, eye: &mut Eye) {
    while let Some((there, items)) = log.slots.get(&reader.slot()) {
        let bytes = items.iter().map(|it| it.len() as u64).sum();
        match reader.take(reader.slot(), *there, bytes) {
            Taken::Items => eye.seen.extend(items.iter().cloned()),
            Taken::Restarted { epoch } => {
                eye.restarts.push(epoch);
                eye.seen = items.clone();
            }
            Taken::Nothing => continue,
            other => panic!("{other:?} before slot {} of {:#?}", reader.slot(), log.slots),
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
        steps in proptest::collection::vec((0usize..4, any::<(bool, bool)>(), 0u8..8, 0usize..8), 1..300),
    ) {
        let (mut log, mut reader, mut eye) = (Log::default(), Reader::new(1, true), Eye::default());
        let mut pens = vec![Pen::new(1, false)];
        for (who, luck, what, which) in steps {
            let at = who.min(pens.len() - 1);
            match what {
                0 if pens.len() < 4 => {
                    let epoch = u32::try_from(pens.len()).unwrap() + 1;
                    pens.push(Pen::new(epoch, resumes));
                }
                1 => pens[at].arrive(&mut log, which),
                2 => {
                    if let Ok(credit) = reader.say(Moment(u64::MAX)) {
                        pens.iter_mut().for_each(|pen| pen.writer.credit(credit, Moment(1)));
                    }
                }
                3 if which < 4 => log.occupy(which as u64),
                _ => pens[at].step(&mut log, luck, which),
            }
            read_all(&mut reader, &log, &mut eye);
            prop_assert!(is_one_attempts(&eye.seen, resumes), "{:?}", eye.seen);
        }
        // Nothing goes wrong any more: the last one comes to its end.
        let last = pens.len() - 1;
        for _ in 0..400 {
            pens[last].step(&mut log, (true, true), 0);
            read_all(&mut reader, &log, &mut eye);
            if let Ok(credit) = reader.say(Moment(u64::MAX)) {
                pens[last].writer.credit(credit, Moment(1));
            }
        }
        for pen in &mut pens {
            while !pen.late.is_empty() {
                pen.arrive(&mut log, 0);
            }
        }
        read_all(&mut reader, &log, &mut eye);
        prop_assert!(pens[last].writer.is_flushed());
        prop_assert_eq!(reader.end(), Some(End::Finished));
        prop_assert_eq!((eye.seen.len() as u64, pens[last].writer.stored_by_now()), (ITEMS, ITEMS));
        prop_assert!(is_one_attempts(&eye.seen, resumes), "{:?}", eye.seen);
        prop_assert!(!resumes || eye.restarts.is_empty());
        for earlier in &pens[..last] {
            prop_assert!(earlier.writer.broken().is_none_or(|it| *it == Broken::Replaced));
        }
    }
}
