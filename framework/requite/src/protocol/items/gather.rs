//! Items on their way into frames: taken in within the reader's credit, handed on as many at a time as there are.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    FRAME_BYTES, FRAME_ITEMS, UNSTORED_FRAME_BYTES, UNSTORED_WINDOW_BYTES, WINDOW_BYTES, WINDOW_ITEMS,
};
use crate::{
    codec::ContentType,
    wire::{
        credit::Credit,
        frame::{Encoded, End, Frame, ITEM_OVERHEAD, Packed, WriterId, asking},
    },
};

/// A frame for a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) slot: u64,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) end: Option<End>,
    /// All of it, as it is sent.
    pub(crate) payload: Bytes,
}

/// As much room of frames is kept. More would not stay in the cache.
const SPARE: usize = 4 * FRAME_BYTES;

impl Write {
    /// The number of its last item, or of the one before it.
    pub(super) fn last(&self) -> u64 {
        self.first - 1 + self.count
    }

    /// The reader is to say at once how far it is.
    pub(super) fn asking(&self) -> Self {
        Self { payload: asking(&self.payload), ..self.clone() }
    }
}

/// What a writer says of itself in its frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Author {
    pub(super) epoch: u32,
    pub(super) writer: WriterId,
    pub(super) content_type: ContentType,
    /// Whether its frames lie in slots whose subjects have their numbers.
    pub(super) is_stored: bool,
    /// The last item that is stored, and all before it; 0 where nothing is stored.
    pub(super) settled: u64,
}

impl Author {
    fn write(self, slot: u64, first: u64, end: Option<End>, ask: bool, packed: Packed) -> Write {
        let Self { epoch, writer, content_type, is_stored, settled } = self;
        let content_type = content_type.as_str();
        let count = packed.count() as u64;
        let named = (!is_stored).then_some(slot);
        let head =
            Frame { epoch, writer, slot: named, settled, first, end, ask, content_type, items: Vec::new() };
        Write { slot, first, count, end, payload: packed.seal(&head) }
    }

    /// The same frame, for another slot.
    pub(super) fn again(self, write: &Write, slot: u64) -> Write {
        let frame = Frame::decode(&write.payload).expect("our own frame");
        let payload = Frame { settled: self.settled, ..frame }.encode().into();
        Write { slot, payload, ..*write }
    }

    /// A frame without items, which says no more than who writes from here on.
    pub(super) fn empty(self, slot: u64, first: u64, ask: bool) -> Write {
        self.write(slot, first, None, ask, Packed::with_capacity(0))
    }
}

/// What one writer has taken in and not put into a frame that is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gather {
    /// The number of the first item that is here.
    pub(super) first: u64,
    /// How many there are, and what they take in frames.
    count: u64,
    size: usize,
    /// Frames that take no more items like their last, and one that does.
    full: VecDeque<Packed>,
    open: Option<Packed>,
    /// What the last frame took: the next one may be as large.
    last_size: usize,
    /// The room of full frames that are done with. Where the allocator gives back what is freed, fresh room of that size comes
    /// from the kernel, page by page.
    spare: Vec<Vec<u8>>,
    /// Bytes of all items that were taken.
    taken: u64,
    credit: Credit,
    ending: Option<End>,
    /// Whether the end has been handed on.
    has_ended: bool,
    /// What a frame may take, and all that is here.
    most: usize,
    room: usize,
}

impl Gather {
    /// A first writer may send at once; a later one waits for credit.
    pub(super) fn new(epoch: u32) -> Self {
        let credit = match epoch {
            1 => Credit { items: WINDOW_ITEMS, bytes: WINDOW_BYTES, ..Credit::default() },
            _ => Credit::default(),
        };
        Self {
            first: 1,
            count: 0,
            size: 0,
            full: VecDeque::new(),
            open: None,
            last_size: 0,
            spare: Vec::new(),
            taken: 0,
            credit,
            ending: None,
            has_ended: false,
            most: FRAME_BYTES,
            room: FRAME_BYTES * 2,
        }
    }

    /// The same of a stream that is not stored.
    pub(super) fn unstored(epoch: u32) -> Self {
        let stored = Self::new(epoch);
        let credit = Credit { bytes: stored.credit.bytes.min(UNSTORED_WINDOW_BYTES), ..stored.credit };
        Self { most: UNSTORED_FRAME_BYTES, room: FRAME_BYTES, credit, ..stored }
    }

    /// Where messages may not be larger than this, frames are not either.
    pub(super) fn fit(&mut self, largest_item: usize) {
        let most = largest_item + ITEM_OVERHEAD;
        if most < self.most {
            (self.most, self.room) = (most, most * 2);
        }
    }

    /// The number of the last item that was taken in.
    pub(super) fn last(&self) -> u64 {
        self.first - 1 + self.count
    }

    pub(super) fn has_room(&self) -> bool {
        let has_credit = self.last() < self.credit.items && self.taken < self.credit.bytes;
        #[cfg(test)]
        if !has_credit && self.credit.items > 0 {
            crate::simulation::mark(crate::simulation::Mark::CreditSpent);
        }
        has_credit && self.size < self.room
    }

    pub(super) fn put(&mut self, item: &[u8]) {
        let most = item.len() + ITEM_OVERHEAD;
        let full = self.most;
        self.full.extend(self.open.take_if(|open| open.size() + most > full));
        let open = self.open.get_or_insert_with(|| match self.spare.pop() {
            Some(room) => Packed::within(room),
            None => Packed::with_capacity(most.max(self.last_size)),
        });
        let before = open.size();
        open.push(item);
        self.size += open.size() - before;
        self.took(item.len());
    }

    /// The same of an item that a frame can take over.
    pub(super) fn put_own(&mut self, item: &mut Encoded) {
        let (len, most) = (item.item().len(), item.item().len() + ITEM_OVERHEAD);
        let fits = self.open.as_ref().is_some_and(|open| open.size() + most <= self.most);
        // A small one is cheaper to copy than to give a room of its own for.
        if fits || len * 4 < self.most {
            return self.put(item.item());
        }
        self.full.extend(self.open.take());
        let packed = item.pack(self.spare.pop(), self.last_size);
        self.size += packed.size();
        self.open = Some(packed);
        self.took(len);
    }

    /// The open frame has taken an item of this length. It is full where another one like it has no room: when no more may
    /// come, for want of credit, nothing would push it out.
    fn took(&mut self, len: usize) {
        self.count += 1;
        self.taken += len as u64;
        let (most, next) = (self.most, len + ITEM_OVERHEAD);
        let is_full = |open: &mut Packed| open.size() + next > most || open.count() == FRAME_ITEMS;
        self.full.extend(self.open.take_if(is_full));
    }

    /// A frame is done with, and nobody else has it any more, as a rule. Behind the last that was on its way more may not
    /// come for long.
    pub(super) fn recycle(&mut self, mut frame: Bytes, is_last: bool) {
        if is_last {
            self.spare = Vec::new();
            return;
        }
        if frame.len() * 2 > self.most && self.spare.len() < SPARE / self.most && frame.is_unique() {
            // Otherwise all of it would move to where its room begins.
            frame.truncate(0);
            self.spare.push(frame.into());
        }
    }

    pub(super) fn end(&mut self, end: End) {
        self.ending.get_or_insert(end);
    }

    /// What is here does not go on, nor does what has from the `first` item on. An end that nobody was told was theirs.
    /// Whether items were here.
    pub(super) fn lose(&mut self, first: u64) -> bool {
        let had_items = self.count > 0;
        (self.first, self.count, self.size) = (first, 0, 0);
        self.full.clear();
        (self.open, self.spare) = (None, Vec::new());
        self.ending = self.ending.filter(|_| self.has_ended);
        had_items
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
        self.count == 0 && self.ending.is_some() == self.has_ended
    }

    /// Whether there is a frame that takes no more items like its last.
    pub(super) fn has_full_frame(&self) -> bool {
        !self.full.is_empty()
    }

    /// The next frame, which is not here any more then; nothing if there is nothing to say.
    pub(super) fn next_frame(&mut self, author: Author, slot: u64) -> Option<Write> {
        if self.is_empty() {
            return None;
        }
        let packed = self.full.pop_front().or_else(|| self.open.take());
        let packed = packed.unwrap_or_else(|| Packed::with_capacity(0));
        let (first, count) = (self.first, packed.count() as u64);
        (self.first, self.count) = (first + count, self.count - count);
        self.last_size = packed.size();
        self.size -= self.last_size;
        let end = self.ending.filter(|_| self.count == 0);
        self.has_ended |= end.is_some();
        Some(author.write(slot, first, end, false, packed))
    }
}
