//! Who reads the stream: the product's reader, and what it has been given.

use super::{
    log::{Item, Log},
    setting::Comes,
    world::Pen,
};
use crate::{
    protocol::{
        items::{
            reader::{self, Reader},
            slot::{Head, Slot},
        },
        time::Moment,
    },
    wire::credit::Credit,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Eye {
    pub(super) reader: Reader,
    /// The items of the attempt that counts, and of those that it went on behind.
    pub(super) seen: Vec<Item>,
    /// Whose frame was taken in last.
    pub(super) by: u8,
}

/// What a frame was to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It was taken in, as one of this writer.
    TakenIn {
        by: u8,
        restarted: bool,
    },
    /// Not, but it is this writer's.
    Passed {
        by: u8,
    },
    Foreign,
    /// It does not follow.
    Broken,
}

impl Eye {
    pub(super) fn new() -> Self {
        Self { reader: Reader::new(1, true), seen: Vec::new(), by: 0 }
    }

    /// Reads all that is there from the first slot on.
    pub(super) fn opened(log: &Log) -> Self {
        let mut eye = Self::new();
        while eye.read_on(log).is_some_and(|it| it != Look::Broken) {}
        eye
    }

    /// Takes the next slot, if there is anything in it.
    pub(super) fn read_on(&mut self, log: &Log) -> Option<Look> {
        let slot = self.reader.slot();
        let taken = log.get(slot)?;
        let Slot::Frame(Head { writer, count, .. }) = taken.there else {
            self.reader.take(slot, taken.there, 0);
            return Some(Look::Foreign);
        };
        let by = writer[0];
        let restarted = match self.reader.take(slot, taken.there, count) {
            reader::Taken::Items => false,
            reader::Taken::Restarted { .. } => true,
            reader::Taken::Nothing => return Some(Look::Passed { by }),
            reader::Taken::NotYet | reader::Taken::Broken | reader::Taken::Lost => return Some(Look::Broken),
        };
        if restarted {
            self.seen.clear();
        }
        self.by = by;
        self.seen.extend(&taken.items);
        taken.items.iter().for_each(|_| {
            self.reader.read(1);
        });
        Some(Look::TakenIn { by, restarted })
    }

    /// What it says to whom it reads.
    pub(super) fn credit(&self, now: Moment) -> Credit {
        let mut reader = self.reader;
        reader.say_now(false, now)
    }

    /// Whether the items follow each other, and are of one attempt, or of those that one went on behind.
    pub(super) fn sees_one_stream<'a>(&self, of: impl Fn(u8) -> &'a Pen) -> bool {
        let numbers_follow = self.seen.iter().zip(1..).all(|((_, number), wanted)| *number == wanted);
        let goes_on = |earlier: u8, later: u8| {
            let (earlier, later) = (of(earlier), of(later));
            earlier.writer.epoch() < later.writer.epoch() && later.comes != Comes::Anew
        };
        let unmixed = self.seen.windows(2).all(|it| it[0].0 == it[1].0 || goes_on(it[0].0, it[1].0));
        numbers_follow && unmixed
    }
}
