//! Who reads a stream: when the last one has left, the stream ends, and not before. And whether they can read it.

use std::time::Duration;

use super::{REPEATED_EVERY, SAID_EVERY, writer::Broken};
use crate::{
    protocol::time::Moment,
    wire::{credit::Credit, frame::WriterId},
};

/// What a writer is told that found nothing of what its reader has read.
const GONE: &str =
    "what was stored before was removed, its time being over, and the reader is past that place";

/// A reader that was not heard for this long has left without a word.
const GONE_AFTER: Duration = Duration::from_secs(SAID_EVERY.as_secs() * 3);
/// When the last one that was heard has left, another one may not have been heard yet: it repeats its first word by then.
const GRACE: Duration = Duration::from_secs(REPEATED_EVERY.as_secs() * 2);

/// The readers that were heard, each with when it was last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Readers {
    heard: Vec<(u64, Moment)>,
    /// When the stream ends, if nobody else is heard.
    ends: Option<Moment>,
    /// How long it lasts without a word, and until when that is: nobody waits for the call any more.
    lasts: Option<(Duration, Moment)>,
    /// The slot of the first frame that is stored.
    began: Option<u64>,
}

impl Readers {
    /// Takes note of what one says.
    pub(super) fn hear(&mut self, credit: Credit, now: Moment) {
        // Who only says that a caller is there reads nothing.
        if credit.epoch == 0 {
            return;
        }
        if let Some((idle, until)) = &mut self.lasts {
            *until = now + *idle;
        }
        self.heard.retain(|(reader, at)| *reader != credit.reader && now.since(*at) < GONE_AFTER);
        if !credit.left {
            self.heard.push((credit.reader, now));
        }
        self.ends = if self.heard.is_empty() { self.ends.or(Some(now + GRACE)) } else { None };
    }

    /// Whether nobody reads, for all that was heard.
    pub(super) fn have_left(&self) -> bool {
        self.heard.is_empty()
    }

    /// When the stream ends because all have left.
    pub(super) fn ends(&self) -> Option<Moment> {
        self.lasts.map(|(_, until)| until).into_iter().chain(self.ends).min()
    }

    /// Whether nobody waits for the call any more.
    pub(super) fn is_alone(&self) -> bool {
        self.lasts.is_some()
    }

    /// From now on, who is not heard for this long has left.
    pub(super) fn lasts(&mut self, idle: Duration, now: Moment) {
        self.lasts.get_or_insert((idle, now + idle));
    }

    /// A frame is stored.
    pub(super) fn begin(&mut self, slot: u64) {
        self.began.get_or_insert(slot);
    }

    /// Why one of them cannot read on with what this writer has stored. Who is past its first frame has read that; otherwise
    /// something else lay there, which has gone.
    pub(super) fn miss(&self, credit: Credit, epoch: u32, writer: WriterId) -> Option<Broken> {
        let began = self.began?;
        let is_anothers = credit.epoch == epoch && credit.writer != writer;
        if credit.slot > began && (is_anothers || (1..epoch).contains(&credit.epoch)) {
            return Some(Broken::Refused(GONE.into()));
        }
        (is_anothers && credit.writer != WriterId::default()).then_some(Broken::Replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_when_the_last_reader_has_left_and_no_other_is_heard() {
        let mut readers = Readers::default();
        let says = |reader, left| Credit { reader, epoch: 1, left, ..Credit::default() };
        let start = Moment(1);
        readers.hear(says(1, false), start);
        readers.hear(says(2, false), start);
        readers.hear(says(2, true), start);
        assert_eq!(readers.ends(), None);
        readers.hear(says(1, true), start);
        readers.hear(Credit::default(), start + GRACE);
        assert_eq!(readers.ends(), Some(start + GRACE));
        // One that had not been heard yet.
        readers.hear(says(3, false), start + GRACE);
        assert_eq!(readers.ends(), None);
        // One that has not been heard for long does not count.
        readers.hear(says(4, true), start + GRACE + GONE_AFTER);
        assert_eq!(readers.ends(), Some(start + GRACE + GONE_AFTER + GRACE));
    }
}
