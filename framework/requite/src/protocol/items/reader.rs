//! The reader of a stream: takes the log's slots in their order, each once, and says how much more it takes in.

use std::time::Duration;

use super::{
    FLIGHT, REPEATED_EVERY, SAID_EVERY, UNSTORED_WINDOW_BYTES, WINDOW_BYTES, WINDOW_ITEMS,
    slot::{Head, Slot},
};
use crate::{
    protocol::time::Moment,
    wire::{
        credit::Credit,
        frame::{End, WriterId},
        position::Position,
    },
};

/// What becomes of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its items come next.
    Items,
    /// Its items come next, and are the first of a later attempt that begins anew.
    Restarted { epoch: u32 },
    /// Nothing: it was taken before, or is of a writer that was replaced, or of none; or it comes again behind something
    /// that comes before it.
    Nothing,
    /// Not yet: some before it are missing, or there is no room for it.
    NotYet,
    /// It does not follow from what came before.
    Broken,
    /// What lay there has gone, and a later writer, who found nothing of it, begins before what was taken in.
    Lost,
}

/// One reader of one direction of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// Its own number.
    id: u64,
    is_stored: bool,
    /// The slot that comes next.
    slot: u64,
    /// The highest slot that is known to be taken.
    known: u64,
    epoch: u32,
    writer: WriterId,
    /// Whether the frame of its position was not seen yet. Until then this may be the stream of another call under the same
    /// key, whose writer must hear nothing of this reader.
    is_unproven: bool,
    /// The last item that was taken in.
    last: u64,
    /// Bytes of this writer's items that were taken in.
    bytes: u64,
    /// Taken in and not read.
    unread_items: u64,
    unread_bytes: u64,
    end: Option<End>,
    /// What was last said, and when.
    said: Option<(Credit, Moment)>,
    /// When it is said again, and the longest until then.
    again: Duration,
    said_every: Duration,
    /// From when on no more is wanted, ever; and whether that is now.
    leaves: Moment,
    left: bool,
}

impl Reader {
    /// Of a stream that is stored, or of one that is not.
    pub(crate) fn new(id: u64, is_stored: bool) -> Self {
        Self {
            id,
            is_stored,
            slot: 1,
            known: 0,
            epoch: 1,
            writer: WriterId::default(),
            is_unproven: false,
            last: 0,
            bytes: 0,
            unread_items: 0,
            unread_bytes: 0,
            end: None,
            said: None,
            again: REPEATED_EVERY,
            said_every: SAID_EVERY,
            leaves: Moment::FAR,
            left: false,
        }
    }

    /// The same for a writer that counts a reader as silent after this time: it hears of it three times before.
    pub(crate) fn within(mut self, idle: Duration) -> Self {
        self.said_every = SAID_EVERY.min(idle / 3);
        self.again = self.again.min(self.said_every);
        self
    }

    /// The same for one that goes on where another was: with the frame in which it was.
    pub(crate) fn behind(mut self, position: Position) -> Self {
        if position.slot > 0 {
            let Position { attempt, slot, writer, before, bytes, .. } = position;
            (self.epoch, self.writer, self.slot) = (attempt, writer, slot);
            (self.last, self.bytes, self.is_unproven) = (before, bytes, true);
        }
        self
    }

    /// Where this one is once it has taken a frame in from this slot, with so many items and bytes, and read none of them.
    pub(crate) fn position(&self, slot: u64, items: u64, bytes: u64) -> Position {
        let (before, bytes) = (self.last - items, self.bytes - bytes);
        Position { attempt: self.epoch, item: before, slot, writer: self.writer, before, bytes }
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Whether this is the stream in which its position is.
    pub(crate) fn is_proven(&self) -> bool {
        !self.is_unproven
    }

    /// The slot to fetch next.
    pub(crate) fn slot(&self) -> u64 {
        self.slot
    }

    /// The number of the last item that was taken in.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    pub(crate) fn has_room(&self) -> bool {
        self.unread_items < WINDOW_ITEMS && self.unread_bytes < self.window_bytes()
    }

    /// The most that may be unread.
    pub(crate) fn window_bytes(&self) -> u64 {
        if self.is_stored { WINDOW_BYTES } else { UNSTORED_WINDOW_BYTES }
    }

    /// Whether something is known to be there that has not been taken in.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_unproven || self.slot <= self.known
    }

    /// Whether the next slot must be taken, and is not only on its way: its writer has gone on.
    pub(crate) fn is_due(&self) -> bool {
        let most = if self.is_stored { FLIGHT as u64 } else { 0 };
        self.is_unproven || self.slot + most <= self.known
    }

    /// Of whom it has taken in items last.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The stream has begun anew with a later attempt, which has no items.
    pub(crate) fn restart(&mut self, epoch: u32) {
        (self.epoch, self.last, self.unread_items, self.unread_bytes) = (epoch, 0, 0, 0);
    }

    /// A slot came, of which the items take so many bytes.
    pub(crate) fn take(&mut self, slot: u64, there: Slot, bytes: u64) -> Taken {
        if !self.is_stored
            && let Slot::Frame(head) = there
            && !self.turn_to(head, slot)
        {
            return Taken::Nothing;
        }
        // Writers leave no slot out for long, but who writes what is no frame may write it anywhere.
        if there != Slot::Foreign {
            self.known = self.known.max(slot);
        }
        if slot < self.slot {
            return if self.is_written_anew(there) { Taken::Lost } else { Taken::Nothing };
        }
        if slot > self.slot || !self.has_room() {
            return Taken::NotYet;
        }
        if self.is_unproven && there != Slot::Empty {
            if !self.is_of_position(there) {
                return Taken::Broken;
            }
            self.is_unproven = false;
        }
        let Slot::Frame(head) = there else {
            if there == Slot::Foreign {
                self.slot += 1;
            }
            return Taken::Nothing;
        };
        self.slot += 1;
        if head.epoch < self.epoch || self.is_anothers(head) || self.is_behind_the_end() {
            return Taken::Nothing;
        }
        let is_known = head.writer == self.writer;
        let anew = head.first == 1 && self.last > 0 && head.epoch > self.epoch;
        if head.first != self.last + 1 && !anew {
            return if self.is_stored && is_known { Taken::Nothing } else { Taken::Broken };
        }
        if head.epoch > self.epoch {
            (self.bytes, self.end) = (0, None);
        }
        (self.epoch, self.writer) = (head.epoch, head.writer);
        if anew {
            (self.last, self.unread_items, self.unread_bytes) = (0, 0, 0);
        }
        self.last += head.count;
        self.bytes += bytes;
        self.unread_items += head.count;
        self.unread_bytes += bytes;
        self.end = head.end.or(self.end);
        if anew { Taken::Restarted { epoch: head.epoch } } else { Taken::Items }
    }

    fn is_of_position(&self, there: Slot) -> bool {
        let Slot::Frame(head) = there else { return false };
        (head.epoch, head.writer, head.first) == (self.epoch, self.writer, self.last + 1)
    }

    /// Of two that claim to be the same writer, the one that came first counts.
    fn is_anothers(&self, head: Head) -> bool {
        head.epoch == self.epoch && ![head.writer, WriterId::default()].contains(&self.writer)
    }

    /// What is not stored is listened to behind its end, too, for its writer may not have heard that it is here.
    fn is_behind_the_end(&self) -> bool {
        !self.is_stored && self.end.is_some()
    }

    /// Whether a slot that was passed holds what was not there then. It is empty again once its time is over.
    fn is_written_anew(&self, there: Slot) -> bool {
        let Slot::Frame(head) = there else { return false };
        let is_known = head.epoch < self.epoch || (head.epoch == self.epoch && head.writer == self.writer);
        self.is_stored && !is_known
    }

    /// Each writer of a stream that is not stored has slots of its own. Whether this one's count: a later one's do once the
    /// first of them is here.
    fn turn_to(&mut self, head: Head, slot: u64) -> bool {
        // Without room for it now, it comes again.
        let is_later = head.epoch > self.epoch && !self.is_behind_the_end();
        let begins = is_later && slot == 1 && self.has_room();
        if begins {
            (self.slot, self.known) = (1, 0);
        }
        begins || (head.epoch == self.epoch && !self.is_anothers(head))
    }

    /// An item was handed on; whether the writer should hear that there is room.
    pub(crate) fn read(&mut self, bytes: u64) -> bool {
        self.unread_items -= 1;
        self.unread_bytes -= bytes;
        self.is_news(self.credit())
    }

    /// No more is wanted from then on, ever.
    pub(crate) fn leave(&mut self, at: Moment) {
        if self.is_proven() {
            self.leaves = self.leaves.min(at);
        }
    }

    /// Whether that is said, now or soon: again and again, for a writer may begin later.
    pub(crate) fn leaves(&self) -> bool {
        self.leaves < Moment::FAR
    }

    /// Somebody else may want more.
    pub(crate) fn stay(&mut self) {
        self.leaves = Moment::FAR;
    }

    /// What the writer may send, as things stand.
    fn credit(&self) -> Credit {
        Credit {
            reader: self.id,
            epoch: self.epoch,
            writer: self.writer,
            items: self.last + WINDOW_ITEMS.saturating_sub(self.unread_items),
            bytes: self.bytes + self.window_bytes().saturating_sub(self.unread_bytes),
            left: self.left,
            slot: self.slot,
            misses: false,
        }
    }

    /// A quarter of the window at a time: less would be a message for every few items.
    fn is_news(&self, credit: Credit) -> bool {
        self.said.is_none_or(|(said, _)| {
            credit.epoch != said.epoch
                || credit.left != said.left
                || credit.items >= said.items + WINDOW_ITEMS / 4
                || credit.bytes >= said.bytes + self.window_bytes() / 4
        })
    }

    /// What to say at once: the writer asks, or the next slot is missed.
    pub(crate) fn say_now(&mut self, misses: bool, now: Moment) -> Credit {
        let credit = self.credit();
        self.said = Some((credit, now));
        Credit { misses, ..credit }
    }

    /// What is to be said to the writer now, or until when nothing is.
    pub(crate) fn say(&mut self, now: Moment) -> Result<Credit, Moment> {
        if self.is_unproven {
            return Err(Moment::FAR);
        }
        self.left |= now >= self.leaves;
        let credit = self.credit();
        let is_news = self.is_news(credit);
        let repeat_at = self.said.map_or(now, |(_, at)| at + self.again);
        if !is_news && now < repeat_at {
            return Err(if self.left { repeat_at } else { repeat_at.min(self.leaves) });
        }
        // The last message may be lost, and the writer wait for it.
        self.again = if is_news { REPEATED_EVERY } else { self.again * 2 }.min(self.said_every);
        self.said = Some((credit, now));
        Ok(credit)
    }
}
