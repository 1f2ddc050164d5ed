//! Who reads a stream: the last one that leaves ends it, and no other.

use std::time::Duration;

use super::SAID_EVERY;
use crate::{protocol::time::Moment, wire::credit::Credit};

/// A reader that was not heard for this long has left without a word.
const GONE_AFTER: Duration = Duration::from_secs(SAID_EVERY.as_secs() * 3);

/// The readers that were heard, each with when it was last.
#[derive(Debug, Default)]
pub(super) struct Readers(Vec<(u64, Moment)>);

impl Readers {
    /// Takes note of what one says; whether it was the last, and has left.
    pub(super) fn heard(&mut self, credit: Credit, now: Moment) -> bool {
        self.0.retain(|(reader, at)| *reader != credit.reader && now.since(*at) < GONE_AFTER);
        // Who only says that a caller is there reads nothing.
        if !credit.left && credit.epoch > 0 {
            self.0.push((credit.reader, now));
        }
        credit.left && self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_reader_that_leaves_ends_the_stream() {
        let mut readers = Readers::default();
        let says = |reader, left| Credit { reader, epoch: 1, left, ..Credit::default() };
        let start = Moment(1);
        assert!(!readers.heard(says(1, false), start));
        assert!(!readers.heard(says(2, false), start));
        assert!(!readers.heard(says(2, true), start));
        assert!(readers.heard(says(1, true), start));
        // One that has not been heard for long does not count.
        assert!(!readers.heard(says(3, false), start));
        assert!(readers.heard(says(4, true), start + GONE_AFTER));
    }
}
