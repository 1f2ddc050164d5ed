//! Frames of a stream that is not stored: kept until the reader has said that it has them, and sent again until then.

use std::{collections::VecDeque, time::Duration};

use super::gather::{Author, Gather, Write};
use crate::{protocol::time::Moment, wire::credit::Credit};

/// How long a frame may go without a word of the reader before it is sent again; doubles from the first to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// The frames that the reader may not have. They are bounded by its credit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unstored {
    /// The slot of the next frame.
    slot: u64,
    kept: VecDeque<Write>,
    /// How many of those at the front are to be sent again, and from which on.
    resend: Option<usize>,
    /// When the first is sent again.
    again_at: Moment,
    again: Duration,
    /// The reader has to hear of this writer, or of how far it is.
    announce: bool,
    /// The reader is asked how far it is.
    ask: bool,
    /// Whether items were given up that the reader may not have.
    has_lost: bool,
}

impl Unstored {
    /// A first writer has credit from the start. A later one is heard of by an empty frame, and gets it then.
    pub(super) fn new(is_first: bool) -> Self {
        let (kept, resend, again_at) = (VecDeque::new(), None, Moment::FAR);
        Self {
            slot: 1,
            kept,
            resend,
            again_at,
            again: AGAIN.0,
            announce: !is_first,
            ask: false,
            has_lost: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The number of the last item that the reader has.
    pub(super) fn read_by_now(&self, gather: &Gather) -> u64 {
        self.kept.front().map_or(gather.first, |write| write.first) - 1
    }

    /// The reader wants no more: what it has not said that it has is lost.
    pub(super) fn lose(&mut self, gather: &mut Gather) {
        let has_unsent = gather.lose(self.read_by_now(gather) + 1);
        self.has_lost = has_unsent || self.kept.iter().any(|write| write.count > 0);
        self.kept.clear();
        self.resend = None;
    }

    pub(super) fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Asks the reader to say how far it is, once all is sent.
    pub(super) fn ask(&mut self) {
        self.ask = true;
    }

    /// The next frame to send, or until when there is none.
    pub(super) fn next(&mut self, author: Author, gather: &mut Gather, now: Moment) -> Result<Write, Moment> {
        if let Some(at) = self.resend.take() {
            if at + 1 < self.kept.len() {
                self.resend = Some(at + 1);
            }
            if let Some(write) = self.kept.get(at) {
                return Ok(write.clone());
            }
        }
        if std::mem::take(&mut self.announce) {
            let write = author.empty(self.slot, gather.first, true);
            return Ok(self.keep(write, now));
        }
        if let Some(write) = gather.next_frame(author, self.slot) {
            return Ok(self.keep(write, now));
        }
        if std::mem::take(&mut self.ask) && !self.kept.is_empty() {
            let write = author.empty(self.slot, gather.first, true);
            return Ok(self.keep(write, now));
        }
        match self.kept.front() {
            Some(first) if now >= self.again_at => {
                self.again = (self.again * 2).min(AGAIN.1);
                self.again_at = now + self.again;
                Ok(first.asking())
            }
            Some(_) => Err(self.again_at),
            None => Err(Moment::FAR),
        }
    }

    /// The next frame to send, if it is full and nothing is to be sent before it.
    pub(super) fn next_full(&mut self, author: Author, gather: &mut Gather, now: Moment) -> Option<Write> {
        let is_next = self.resend.is_none() && !self.announce && gather.has_full_frame();
        let write = is_next.then(|| gather.next_frame(author, self.slot))??;
        Some(self.keep(write, now))
    }

    fn keep(&mut self, write: Write, now: Moment) -> Write {
        self.slot += 1;
        if self.kept.is_empty() {
            (self.again, self.again_at) = (AGAIN.0, now + AGAIN.0);
        }
        self.kept.push_back(write.clone());
        write
    }

    /// The reader has all below its slot; where it `misses` that one, others have come behind it.
    pub(super) fn acknowledge(&mut self, credit: Credit, gather: &mut Gather, now: Moment) {
        let Credit { slot, misses, left, .. } = credit;
        let before = self.kept.len();
        while let Some(write) = self.kept.pop_front_if(|write| write.slot < slot) {
            gather.recycle(write.payload, self.kept.is_empty());
        }
        let gone = before - self.kept.len();
        if gone > 0 {
            (self.again, self.again_at) = (AGAIN.0, now + AGAIN.0);
            self.resend = self.resend.map(|at| at.saturating_sub(gone));
        }
        if misses && self.kept.front().is_some_and(|write| write.slot == slot) {
            self.resend = Some(0);
            self.again_at = now + self.again;
        }
        // Another reader had all of it. Nothing that comes by itself would say that what this one waits for is gone.
        self.announce |= self.kept.is_empty() && gather.is_empty() && slot < self.slot && !left;
    }
}
