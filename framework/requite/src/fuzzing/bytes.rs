//! Takes an input apart into choices. What is used up reads as zeros, so that every input means something.

use std::time::Duration;

use crate::protocol::time::Moment;

/// The rest of an input.
pub(super) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn are_left(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Mostly spans that mean something to a lease of half a minute; some that nobody would think of.
    pub(super) fn span(&mut self) -> Duration {
        match self.byte() % 16 {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(self.number()),
            2 => Duration::from_secs(u64::from(self.byte())),
            3 => Duration::from_nanos(1),
            _ => Duration::from_millis(u64::from(self.byte()) * 100),
        }
    }

    /// A moment at or after `now`, or, where a clock is broken, anywhere.
    pub(super) fn moment(&mut self, now: Moment) -> Moment {
        match self.byte() % 32 {
            0 => Moment(self.number()),
            1 => now - self.span(),
            _ => now + self.span(),
        }
    }
}
