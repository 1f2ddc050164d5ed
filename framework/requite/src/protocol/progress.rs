//! How often progress travels: what a handler reports in between is replaced by what it reports next.

use std::time::Duration;

use super::time::Moment;

/// Between two signals of one attempt.
const SIGNAL_EVERY: Duration = Duration::from_millis(100);
/// Between two writes of one attempt, those at checkpoints apart. A handler that is done sooner stores nothing.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// How long stored progress is kept, so that a request that is over leaves it behind for no longer than this.
pub(crate) const KEPT: Duration = Duration::from_secs(120);
/// While the handler runs, what it reported last is written again before it is gone.
const STORE_AGAIN: Duration = Duration::from_secs(60);

/// The reports of one attempt, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    reported: u64,
    signalled: u64,
    /// 0 also for one that could not be stored.
    stored: u64,
    /// No signal before.
    signal_from: Moment,
    /// No write before, unless there is a checkpoint.
    store_from: Moment,
    checkpoint: bool,
}

/// What has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Tell the caller the newest.
    Signal,
    /// Store the newest.
    Store,
    /// Nothing, before then.
    Wait(Moment),
}

impl Pace {
    /// The number of the newest report, counted from 1.
    pub(crate) fn newest(&self) -> u64 {
        self.reported
    }

    /// There is a new report. Whether whoever looks at what is due has to look anew: where a signal is due already, it will.
    pub(crate) fn report(&mut self, now: Moment) -> bool {
        let told = self.reported == self.signalled;
        if self.reported == 0 {
            self.store_from = now + STORE_EVERY;
        }
        self.reported += 1;
        told
    }

    /// There is a checkpoint: the newest report is stored with it.
    pub(crate) fn checkpoint(&mut self) {
        self.checkpoint = self.stored < self.reported;
    }

    /// What there is to do; it counts as done.
    pub(crate) fn due(&mut self, now: Moment) -> Due {
        let signal_from = if self.signalled < self.reported { self.signal_from } else { Moment::FAR };
        if signal_from <= now {
            self.signalled = self.reported;
            self.signal_from = now + SIGNAL_EVERY;
            return Due::Signal;
        }
        let store_from = match self.stored {
            _ if self.checkpoint => now,
            stored if stored < self.reported => self.store_from,
            0 => Moment::FAR,
            // Measured from the last write, behind which `store_from` lies by as much as it waits.
            _ => self.store_from + (STORE_AGAIN - STORE_EVERY),
        };
        if store_from <= now {
            self.checkpoint = false;
            self.stored = self.reported;
            self.store_from = now + STORE_EVERY;
            return Due::Store;
        }
        Due::Wait(signal_from.min(store_from))
    }

    /// What was to be stored was not.
    pub(crate) fn not_stored(&mut self) {
        self.stored = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Does what is due until nothing is, and returns it with the number of the newest report.
    fn all(pace: &mut Pace, now: Moment) -> (Vec<Due>, Moment) {
        let mut done = Vec::new();
        loop {
            match pace.due(now) {
                Due::Wait(until) => return (done, until),
                due => done.push(due),
            }
        }
    }

    #[test]
    fn the_first_report_is_signalled_at_once_and_stored_after_a_second() {
        let (mut pace, start) = (Pace::default(), Moment(1_000_000_000_000));
        assert_eq!(all(&mut pace, start), (vec![], Moment::FAR));
        assert!(pace.report(start));
        assert_eq!(all(&mut pace, start), (vec![Due::Signal], start + STORE_EVERY));
        assert_eq!(all(&mut pace, start + STORE_EVERY).0, [Due::Store]);
        let again = start + STORE_EVERY + STORE_AGAIN;
        assert_eq!(all(&mut pace, start + STORE_EVERY * 2), (vec![], again));
        assert_eq!(all(&mut pace, again).0, [Due::Store]);
    }

    #[test]
    fn a_checkpoint_stores_what_is_new() {
        let (mut pace, start) = (Pace::default(), Moment(1_000_000_000_000));
        pace.checkpoint();
        assert_eq!(all(&mut pace, start).0, []);
        pace.report(start);
        pace.checkpoint();
        assert_eq!(all(&mut pace, start).0, [Due::Signal, Due::Store]);
        pace.checkpoint();
        assert_eq!(all(&mut pace, start).0, []);
    }

    #[test]
    fn what_could_not_be_stored_is_tried_again_after_a_second() {
        let (mut pace, start) = (Pace::default(), Moment(1_000_000_000_000));
        pace.report(start);
        let stored = start + STORE_EVERY;
        assert_eq!(all(&mut pace, stored).0, [Due::Signal, Due::Store]);
        pace.not_stored();
        assert_eq!(all(&mut pace, stored), (vec![], stored + STORE_EVERY));
        assert_eq!(all(&mut pace, stored + STORE_EVERY).0, [Due::Store]);
    }

    proptest! {
        /// Reports come whenever they like; whoever sends them looks when he is told to.
        #[test]
        fn signals_and_writes_keep_their_distance_and_the_last_report_gets_through(
            gaps in prop::collection::vec(0u64..400_000_000, 1..200)
        ) {
            let (mut pace, mut now, mut wake) = (Pace::default(), Moment(1_000_000_000_000), Moment::FAR);
            let (mut signals, mut writes) = (Vec::new(), Vec::new());
            let mut look = |pace: &mut Pace, at: Moment, signals: &mut Vec<Moment>| {
                let (done, until) = all(pace, at);
                signals.extend(done.iter().filter(|due| **due == Due::Signal).map(|_| at));
                writes.extend(done.iter().filter(|due| **due == Due::Store).map(|_| at));
                until
            };
            for gap in gaps {
                let next = now + Duration::from_nanos(gap);
                while wake <= next {
                    let at = wake;
                    wake = look(&mut pace, at, &mut signals);
                }
                now = next;
                if pace.report(now) {
                    wake = look(&mut pace, now, &mut signals);
                }
            }
            let last = now;
            while signals.last().is_none_or(|at| *at < last) && pace.signalled < pace.reported {
                let at = wake;
                wake = look(&mut pace, at, &mut signals);
            }
            prop_assert!(signals.last().is_some_and(|at| *at <= last + SIGNAL_EVERY));
            prop_assert_eq!(pace.signalled, pace.reported);
            prop_assert!(signals.windows(2).all(|two| two[1].since(two[0]) >= SIGNAL_EVERY));
            prop_assert!(writes.windows(2).all(|two| two[1].since(two[0]) >= STORE_EVERY));
        }
    }
}
