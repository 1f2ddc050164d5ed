//! Items on their way into frames: taken in within the reader's credit, handed on as many at a time as there are.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{FRAME_BYTES, FRAME_ITEMS, WINDOW_BYTES, WINDOW_ITEMS};
use crate::wire::{
    credit::Credit,
    frame::{End, ITEM_OVERHEAD},
};

/// A frame for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) slot: u64,
    pub(crate) first: u64,
    pub(crate) end: Option<End>,
    /// The reader is to say at once how far it is.
    pub(crate) ask: bool,
    pub(crate) items: Vec<Bytes>,
}

/// What one writer has taken in and not handed on.
#[derive(Debug)]
pub(super) struct Gather {
    /// The number of the first item that is here.
    pub(super) first: u64,
    items: VecDeque<Bytes>,
    /// What the items take in a frame.
    size: usize,
    /// Bytes of all items that were taken.
    taken: u64,
    credit: Credit,
    ending: Option<End>,
    /// Whether the end has been handed on.
    has_ended: bool,
}

impl Gather {
    /// A first writer may send at once; a later one waits for credit.
    pub(super) fn new(epoch: u32) -> Self {
        let credit = match epoch {
            1 => Credit { items: WINDOW_ITEMS, bytes: WINDOW_BYTES, ..Credit::default() },
            _ => Credit::default(),
        };
        let (items, size, taken, ending, has_ended) = (VecDeque::new(), 0, 0, None, false);
        Self { first: 1, items, size, taken, credit, ending, has_ended }
    }

    /// The number of the last item that was taken in.
    pub(super) fn last(&self) -> u64 {
        self.first - 1 + self.items.len() as u64
    }

    pub(super) fn has_room(&self) -> bool {
        self.last() < self.credit.items && self.taken < self.credit.bytes && self.size < FRAME_BYTES * 2
    }

    pub(super) fn put(&mut self, item: Bytes) {
        self.taken += item.len() as u64;
        self.size += item.len() + ITEM_OVERHEAD;
        self.items.push_back(item);
    }

    pub(super) fn end(&mut self, end: End) {
        self.ending.get_or_insert(end);
    }

    pub(super) fn ending(&self) -> Option<End> {
        self.ending
    }

    pub(super) fn credit(&mut self, credit: Credit) {
        self.credit.items = self.credit.items.max(credit.items);
        self.credit.bytes = self.credit.bytes.max(credit.bytes);
    }

    /// No credit, as of a writer that is not the first.
    pub(super) fn drop_credit(&mut self) {
        self.credit = Credit::default();
    }

    /// Whether all was handed on, the end too.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.ending.is_some() == self.has_ended
    }

    /// How many items the next frame has; nothing if there is nothing to say.
    pub(super) fn next_frame(&self) -> Option<usize> {
        let (mut count, mut size) = (0, 0);
        for item in self.items.iter().take(FRAME_ITEMS) {
            size += item.len() + ITEM_OVERHEAD;
            if count > 0 && size > FRAME_BYTES {
                break;
            }
            count += 1;
        }
        (count > 0 || !self.is_empty()).then_some(count)
    }

    /// The frame of the first `count` items, which stay here until they are [handed on](Self::hand_on).
    pub(super) fn frame(&self, slot: u64, count: usize) -> Write {
        let end = self.ending.filter(|_| count == self.items.len());
        Write {
            slot,
            first: self.first,
            end,
            ask: false,
            items: self.items.iter().take(count).cloned().collect(),
        }
    }

    /// A frame without items, which says no more than who writes from here on.
    pub(super) fn empty_frame(&self, slot: u64) -> Write {
        Write { slot, first: self.first, end: None, ask: false, items: Vec::new() }
    }

    /// The items and the end in this frame need not be said again.
    pub(super) fn hand_on(&mut self, write: &Write) {
        let count = write.items.len();
        self.has_ended |= write.end.is_some();
        self.size -= self.items.drain(..count).map(|item| item.len() + ITEM_OVERHEAD).sum::<usize>();
        self.first += count as u64;
    }
}
