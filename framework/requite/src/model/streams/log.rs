//! The slots of the stream, each written once, and what is on its way to them.

use crate::{
    protocol::items::{
        FLIGHT,
        slot::{Head, Slot},
        writer::Write,
    },
    wire::frame::Frame,
};

/// An item: who sent it, and its number.
pub(super) type Item = (u8, u64);

/// An item as it travels: as short as can be, so that frames are of one item.
pub(super) fn encode((by, number): Item) -> [u8; 1] {
    [by << 4 | u8::try_from(number).expect("few")]
}

/// The most that an item takes.
pub(super) const LARGEST: usize = 1;

/// A slot that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    pub(super) there: Slot,
    pub(super) items: Vec<Item>,
}

/// What a frame is to whoever reads it.
fn read(write: &Write) -> Taken {
    let Frame { epoch, writer, settled, first, end, items, .. } =
        Frame::decode(&write.payload).expect("a writer's own frame");
    let items: Vec<Item> = items.iter().map(|item| (item[0] >> 4, u64::from(item[0] & 15))).collect();
    let count = items.len() as u64;
    Taken { there: Slot::Frame(Head { epoch, writer, settled, first, count, end }), items }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Log {
    /// From slot 1 on.
    slots: Vec<Option<Taken>>,
    /// The slot that was written last.
    last: Option<u64>,
}

impl Log {
    pub(super) fn get(&self, slot: u64) -> Option<&Taken> {
        self.slots.get(at(slot))?.as_ref()
    }

    pub(super) fn there(&self, slot: u64) -> Slot {
        self.get(slot).map_or(Slot::Empty, |it| it.there)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// One more than the last slot that is taken.
    pub(super) fn end(&self) -> u64 {
        self.slots.len() as u64 + 1
    }

    /// The slots with a frame in them.
    pub(super) fn frames(&self) -> impl Iterator<Item = u64> {
        (1..self.end()).filter(|slot| matches!(self.there(*slot), Slot::Frame(_)))
    }

    /// A frame arrives; whether it was stored.
    pub(super) fn put(&mut self, write: &Write, into_empty: bool) -> bool {
        let is_free = self.there(write.slot) == Slot::Empty || !into_empty;
        if is_free {
            self.set(write.slot, read(write));
        }
        is_free
    }

    /// What is no frame of anybody's takes a slot.
    pub(super) fn occupy(&mut self, slot: u64) {
        self.set(slot, Taken { there: Slot::Foreign, items: Vec::new() });
    }

    fn set(&mut self, slot: u64, taken: Taken) {
        self.slots.resize(self.slots.len().max(at(slot) + 1), None);
        self.slots[at(slot)] = Some(taken);
        self.last = Some(slot);
    }

    /// Whether a slot is empty that no frame can be on its way to.
    pub(super) fn leaves_out(&self) -> bool {
        let last = self.frames().max().unwrap_or(0);
        (1..=last.saturating_sub(FLIGHT as u64)).any(|slot| self.there(slot) == Slot::Empty)
    }
}

fn at(slot: u64) -> usize {
    usize::try_from(slot).expect("few") - 1
}
