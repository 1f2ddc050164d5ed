//! Frames of a stream that is stored, on their way to the log: full ones several at a time, so that its answers are not
//! waited for one by one.

use std::{collections::VecDeque, time::Duration};

use super::{
    FLIGHT, REFUSED_FOR,
    gather::{Author, Gather, Write},
};
use crate::protocol::time::Moment;

/// Between two tries to store a frame; doubles from the first to the second.
pub(super) const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What has become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Unknown,
    Stored,
    /// Somebody else has its slot.
    Displaced,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sent {
    write: Write,
    fate: Fate,
    again: Duration,
    /// Whether it has been in doubt before.
    doubted: bool,
    refused_since: Option<Moment>,
}

/// The frames on their way, in the order of their slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// To be sent in other slots: the frame that was displaced, and those behind it, which do not follow without it.
    displaced: VecDeque<Write>,
    /// The last item that is stored, and all before it.
    settled: u64,
    /// Whether anything of this writer is stored. Before, it may turn out that the stream is somebody else's.
    has_begun: bool,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.displaced.is_empty()
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Sends the frame that shuts earlier writers out; what is before its first item is stored.
    pub(super) fn begin(&mut self, write: Write) -> Write {
        self.settled = write.first - 1;
        self.sent.clear();
        self.put(write)
    }

    /// The next frame to send, in this slot.
    pub(super) fn next(&mut self, author: Author, gather: &mut Gather, slot: u64) -> Option<Write> {
        self.turn_back(gather);
        let most = if self.has_begun { FLIGHT } else { 1 };
        if self.sent.len() >= most || self.sent.iter().any(|it| it.fate == Fate::Displaced) {
            return None;
        }
        let author = Author { settled: self.settled, ..author };
        let write = match self.displaced.pop_front() {
            Some(write) => author.again(&write, slot),
            // What is not full may still grow while others are on their way.
            None if self.sent.is_empty() || gather.has_full_frame() => gather.next_frame(author, slot)?,
            None => return None,
        };
        Some(self.put(write))
    }

    /// Once nothing is on its way any more, what was displaced has to be sent again, with all behind it.
    fn turn_back(&mut self, gather: &mut Gather) {
        let Some(first) = self.sent.iter().position(|it| it.fate == Fate::Displaced) else {
            return;
        };
        if self.sent.iter().all(|it| it.fate != Fate::Unknown) {
            let behind: Vec<_> = self.sent.drain(first..).map(|it| it.write).collect();
            behind.into_iter().rev().for_each(|write| self.displaced.push_front(write));
            self.settle(gather);
        }
    }

    fn put(&mut self, write: Write) -> Write {
        let sent = Sent {
            write: write.clone(),
            fate: Fate::Unknown,
            again: AGAIN.0,
            doubted: false,
            refused_since: None,
        };
        self.sent.push_back(sent);
        write
    }

    fn of(&mut self, slot: u64) -> Option<&mut Sent> {
        self.sent.iter_mut().find(|it| it.write.slot == slot && it.fate == Fate::Unknown)
    }

    /// The same frame, to be sent into the same slot.
    pub(super) fn again(&mut self, slot: u64) -> Option<Write> {
        self.of(slot).map(|it| it.write.clone())
    }

    /// The same of one that was refused before.
    pub(super) fn again_if_refused(&mut self, slot: u64) -> Option<Write> {
        self.of(slot).filter(|it| it.refused_since.is_some()).map(|it| it.write.clone())
    }

    pub(super) fn stored(&mut self, slot: u64, gather: &mut Gather) {
        if let Some(sent) = self.of(slot) {
            sent.fate = Fate::Stored;
            self.has_begun = true;
            self.settle(gather);
        }
    }

    fn settle(&mut self, gather: &mut Gather) {
        while let Some(sent) = self.sent.pop_front_if(|it| it.fate == Fate::Stored) {
            self.settled = sent.write.last();
            gather.recycle(sent.write.payload, self.sent.is_empty());
        }
    }

    /// Somebody else has the slot.
    pub(super) fn displaced(&mut self, slot: u64) {
        if let Some(sent) = self.of(slot) {
            sent.fate = Fate::Displaced;
        }
    }

    /// How long to wait until the slot of a frame in doubt is looked at. Where the first look finds nothing, it may have
    /// been at a replica that lags.
    pub(super) fn doubt(&mut self, slot: u64) -> Duration {
        match self.of(slot) {
            Some(sent) if sent.doubted => sent.wait(),
            Some(sent) => {
                sent.doubted = true;
                Duration::ZERO
            }
            None => Duration::ZERO,
        }
    }

    /// How long to wait until the slot is looked at again.
    pub(super) fn wait(&mut self, slot: u64) -> Duration {
        self.of(slot).map_or(AGAIN.0, Sent::wait)
    }

    /// The same for a frame that was refused; nothing if that has been so for too long.
    pub(super) fn refused(&mut self, slot: u64, now: Moment) -> Option<Duration> {
        let sent = self.of(slot)?;
        let since = *sent.refused_since.get_or_insert(now);
        (now.since(since) < REFUSED_FOR).then(|| sent.wait())
    }
}

impl Sent {
    fn wait(&mut self) -> Duration {
        let wait = self.again;
        self.again = (wait * 2).min(AGAIN.1);
        wait
    }
}
