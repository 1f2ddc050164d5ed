//! The local view of one lease: held, doubtful or lost, by this process' clock alone.

use super::time::{LeaseTimes, Moment};

/// A lease on one delivery. The server counts its own copy from the delivery or the last heartbeat; this one starts
/// earlier (when the pull was sent, or the heartbeat) and ends a margin sooner, so it never outlives the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    times: LeaseTimes,
    from: Moment,
}

/// What may be done under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseState {
    Held,
    /// Not confirmed for two thirds of its length: still held, but a careful handler starts nothing new.
    Doubtful,
    /// Somebody else may hold the request: nothing at all may be sent for it.
    Lost,
}

impl Lease {
    /// The lease of a delivery that a pull sent at `pulled` brought.
    pub(crate) fn granted(times: LeaseTimes, pulled: Moment) -> Self {
        Self { times, from: pulled }
    }

    pub(crate) fn from(&self) -> Moment {
        self.from
    }

    pub(crate) fn end(&self) -> Moment {
        self.times.end(self.from)
    }

    pub(crate) fn is_lost(&self, now: Moment) -> bool {
        now >= self.end()
    }

    pub(crate) fn state(&self, now: Moment) -> LeaseState {
        if self.is_lost(now) {
            LeaseState::Lost
        } else if now >= self.times.doubtful(self.from) {
            LeaseState::Doubtful
        } else {
            LeaseState::Held
        }
    }

    /// A heartbeat sent at `sent` was confirmed at `answered`. A late answer changes nothing: the server may have given
    /// the request to somebody else in between.
    pub(crate) fn confirm(&mut self, sent: Moment, answered: Moment) {
        if answered < self.end() && sent > self.from {
            self.from = sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn lease(seconds: u64) -> Lease {
        Lease::granted(LeaseTimes::new(Duration::from_secs(seconds)), Moment(100 * SECOND))
    }

    #[test]
    fn a_lease_becomes_doubtful_and_then_lost() {
        let lease = lease(30);
        assert_eq!(lease.state(Moment(119 * SECOND)), LeaseState::Held);
        assert_eq!(lease.state(Moment(120 * SECOND)), LeaseState::Doubtful);
        assert_eq!(lease.state(Moment(128 * SECOND)), LeaseState::Lost);
    }

    #[test]
    fn a_confirmation_after_the_end_does_not_revive() {
        let mut lease = lease(30);
        lease.confirm(Moment(127 * SECOND), Moment(128 * SECOND));
        assert_eq!(lease.state(Moment(128 * SECOND)), LeaseState::Lost);
    }

    proptest! {
        /// Whatever the clock does, a lease that was lost once stays lost, and never ends later than
        /// the newest heartbeat allows.
        #[test]
        fn a_lost_lease_stays_lost(steps in prop::collection::vec((0u64..40, 0u64..40), 1..50)) {
            let mut lease = lease(30);
            let (mut now, mut lost) = (100 * SECOND, false);
            for (wait, answer) in steps {
                let sent = Moment(now + wait * SECOND);
                now = sent.0 + answer * SECOND;
                lost |= lease.state(Moment(now)) == LeaseState::Lost;
                lease.confirm(sent, Moment(now));
                prop_assert!(lease.end() <= sent + Duration::from_secs(28) || lease.from() < sent);
                prop_assert!(!lost || lease.state(Moment(now)) == LeaseState::Lost);
            }
        }
    }
}
