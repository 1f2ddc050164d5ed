//! What a reader makes of what it does not hear: a writer that is silent, and a frame that is missing.

use std::time::Duration;

use crate::protocol::time::Moment;

/// How long a slot is looked for that must be there, because its writer has gone on or the call has ended.
const MISSING_FOR: Duration = Duration::from_secs(5);
/// A writer that sends again what is missing, or says that it is there, does so more often.
const BREAK: Duration = Duration::from_secs(2);

/// When a writer was heard, and since when its next frame is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    heard: Moment,
    /// Since when there was no long break.
    back: Moment,
    /// When its silence was told.
    told: Moment,
    missing: Option<Moment>,
}

impl Watch {
    /// Of a writer whose silence counts from this moment on, or from when it is first heard.
    pub(crate) fn new(from: Moment) -> Self {
        Self { heard: from, back: from, told: Moment(0), missing: None }
    }

    pub(crate) fn hear(&mut self, now: Moment) {
        let had_break = now.since(self.heard) >= BREAK;
        self.back = if had_break { now } else { self.back.min(now) };
        self.heard = now;
    }

    /// Until when it may be silent, for all that it was heard.
    pub(crate) fn hears_until(&self, idle: Duration) -> Moment {
        self.heard + idle
    }

    /// When its silence is to be told, again and again.
    pub(crate) fn tells_at(&self, idle: Duration) -> Moment {
        self.heard.max(self.told) + idle
    }

    pub(crate) fn tell(&mut self, now: Moment) {
        self.told = now;
    }

    /// Nothing is missing.
    pub(crate) fn misses_nothing(&mut self) {
        self.missing = None;
    }

    /// The next frame is not where it was written; whether it never will be.
    pub(crate) fn is_removed(&mut self, now: Moment) -> bool {
        now.since(*self.missing.get_or_insert(now)) >= MISSING_FOR
    }

    /// The next frame of what is not stored did not come; whether it never will. A writer that was away has to be there for a
    /// while, to be asked for it.
    pub(crate) fn is_lost(&mut self, now: Moment) -> bool {
        let since = self.back.max(*self.missing.get_or_insert(now));
        now.since(since) >= MISSING_FOR && self.heard >= since + BREAK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(3);
    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Moment {
        Moment(1) + SECOND * seconds
    }

    #[test]
    fn who_is_silent_has_lost_nothing() {
        let mut watch = Watch::new(at(0));
        for second in 1..60 {
            let now = at(second);
            if now >= watch.tells_at(IDLE) {
                watch.tell(now);
                assert_eq!(watch.tells_at(IDLE), now + IDLE);
            }
            assert!(!watch.is_lost(now), "{second}");
        }
        assert_eq!(watch.hears_until(IDLE), at(0) + IDLE);
    }

    #[test]
    fn who_was_away_is_asked_before_anything_counts_as_lost() {
        let mut watch = Watch::new(at(0));
        assert!(!watch.is_lost(at(1)));
        for second in 20..25 {
            watch.hear(at(second));
            assert!(!watch.is_lost(at(second)), "{second}");
        }
        watch.hear(at(25));
        assert!(watch.is_lost(at(25)));
    }

    #[test]
    fn what_its_writer_does_not_send_is_lost() {
        let mut watch = Watch::new(at(0));
        let lost = (1..).find(|second| {
            watch.hear(at(*second));
            watch.is_lost(at(*second))
        });
        assert_eq!(lost, Some(6));
        watch.misses_nothing();
        assert!(!watch.is_lost(at(7)));
    }

    #[test]
    fn what_is_not_where_it_was_stored_is_removed_whoever_is_heard() {
        let mut watch = Watch::new(at(0));
        assert!(!watch.is_removed(at(1)));
        assert!(!watch.is_removed(at(5)));
        assert!(watch.is_removed(at(6)));
    }
}
