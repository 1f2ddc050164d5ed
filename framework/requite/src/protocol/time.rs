//! Times of the protocol: moments of a clock that counts suspended time, and everything that follows from a lease.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point of the machine's boot-time clock, in nanoseconds; comparable within one process only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) const FAR: Self = Self(u64::MAX);

    /// The time since `earlier`, zero if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The server's clock as this process knows it: a time stamp of the server, and when it was heard.
///
/// The estimate never runs ahead of the server by more than the drift of two clocks, because the stamp was made before
/// it was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerClock {
    /// Nanoseconds since 1970 by the server's clock.
    stamp: u64,
    heard: Moment,
}

impl ServerClock {
    /// Takes over a newer stamp; an older one changes nothing.
    pub(crate) fn observe(&mut self, stamp: u64, now: Moment) {
        if self.now(now).is_none_or(|known| stamp > known) {
            *self = Self { stamp, heard: now };
        }
    }

    /// A lower bound of the server's clock, or nothing before the first stamp.
    pub(crate) fn now(&self, now: Moment) -> Option<u64> {
        (self.stamp != 0).then(|| self.stamp.saturating_add(nanos(now.since(self.heard))))
    }
}

/// The shortest lease that is allowed.
pub(crate) const MIN_LEASE: Duration = Duration::from_secs(6);
/// The shortest lease on a replicated stream: an election takes 4 to 9 s.
pub(crate) const MIN_LEASE_REPLICATED: Duration = Duration::from_secs(20);
/// How long heartbeats go unanswered while a leader is elected: up to 9 s, and one for the answer.
const ELECTION: Duration = Duration::from_secs(10);
/// The shortest lease where the barrier does not work: a leader without a quorum confirms heartbeats for up to 20 s.
pub(crate) const MIN_LEASE_UNPROVEN: Duration = Duration::from_secs(60);
/// What a local lease ends before the server's: time stamps on disk are cut to whole seconds, and timers are late.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);
/// The margin where only heartbeats confirm, on a replicated stream.
pub(crate) const MARGIN_UNPROVEN: Duration = Duration::from_secs(22);
/// How long an owner is asked before silence counts as gone.
pub(crate) const ASK_OWNER: Duration = Duration::from_secs(2);
/// A request stored later than this after `Rq-Sent` may be a first copy that was overtaken.
pub(crate) const FRESH: Duration = Duration::from_secs(2);

/// Every time that follows from a lease, the same for both brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeaseTimes {
    pub(crate) lease: Duration,
    pub(crate) margin: Duration,
}

impl LeaseTimes {
    pub(crate) const fn new(lease: Duration) -> Self {
        Self { lease, margin: MARGIN }
    }

    /// Between two heartbeats, and the longest a pull stays open.
    pub(crate) fn heartbeat(&self) -> Duration {
        (self.lease / 6).min(Duration::from_secs(5))
    }

    /// The server notices a dead pull by missing these; at most half of the pull's time.
    pub(crate) fn idle_heartbeat(&self) -> Duration {
        self.heartbeat() * 2 / 5
    }

    /// The local end of a lease that the server counts from `from` at the earliest.
    pub(crate) fn end(&self, from: Moment) -> Moment {
        from + (self.lease.saturating_sub(self.margin))
    }

    /// How old a request may be when it starts before a heartbeat is confirmed. Until one is, its lease counts from the
    /// publish, and on several servers what is left has to outlast an election between two heartbeats.
    pub(crate) fn starts_unproven_within(&self, replicated: bool) -> Duration {
        let third = self.lease / 3;
        if !replicated {
            return third;
        }
        third.min(self.lease.saturating_sub(self.margin + self.heartbeat() + ELECTION))
    }

    /// From when the time to the first heartbeat of a delivery counts, whose lease counts from `from`. A delivery may be
    /// nearly as old as a pull when it arrives, and after the first heartbeat an election's time must be left.
    pub(crate) fn beats_from(&self, arrived: Moment, from: Moment) -> Moment {
        arrived.min(from + self.heartbeat() / 3)
    }

    /// When a lease confirmed at `from` becomes doubtful.
    pub(crate) fn doubtful(&self, from: Moment) -> Moment {
        from + self.lease * 2 / 3
    }

    /// How long a newcomer watches an unchanged claim of `lease` before it takes over.
    pub(crate) fn takeover(lease: Duration) -> Duration {
        lease + MARGIN
    }

    /// How long after binding a request without a claim may still be claimed by its owner.
    pub(crate) fn owner_claims_within(&self) -> Duration {
        self.heartbeat() + MARGIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A delivery arrives at the latest when its pull expires. What is left of its lease by then must carry it to
        /// its first heartbeat and the answer: no delivery is lost on arrival.
        #[test]
        fn no_delivery_is_lost_on_arrival(lease_ms in 6_000u64..86_400_000, sent in 0u64..u64::MAX / 4) {
            let times = LeaseTimes::new(Duration::from_millis(lease_ms));
            let sent = Moment(sent);
            let arrives = sent + times.heartbeat();
            prop_assert!(times.end(sent) > arrives + times.heartbeat());
            prop_assert!(times.idle_heartbeat() * 2 < times.heartbeat());
        }

        /// The first heartbeat is sent just before an election, and the next one as late as can be after it. The lease
        /// counts from a pull that waited, or from the publish of a request that waited.
        #[test]
        fn what_starts_unproven_outlasts_an_election(lease_ms in 20_000u64..86_400_000, age in 0.0..1.0) {
            let times = LeaseTimes::new(Duration::from_millis(lease_ms));
            let (heartbeat, election) = (times.heartbeat(), Duration::from_secs(9));
            let from = Moment(0);
            for oldest in [heartbeat, times.starts_unproven_within(true)] {
                let arrived = from + oldest.mul_f64(age);
                let first = (times.beats_from(arrived, from) + heartbeat).max(arrived);
                prop_assert!(first + election + heartbeat < times.end(from));
            }
            prop_assert!(times.starts_unproven_within(true) <= times.starts_unproven_within(false));
        }

        /// The server's lease, counted from a heartbeat sent at `from`, ends after the local one even if its stamps
        /// are cut to whole seconds.
        #[test]
        fn the_local_lease_ends_before_the_servers(lease_ms in 6_000u64..86_400_000, from in 0u64..u64::MAX / 4) {
            let times = LeaseTimes::new(Duration::from_millis(lease_ms));
            let server = Moment(from) + times.lease - Duration::from_secs(1);
            prop_assert!(times.end(Moment(from)) < server);
            prop_assert!(times.doubtful(Moment(from)) <= times.end(Moment(from)));
        }
    }

    #[test]
    fn the_server_clock_never_goes_back() {
        let mut clock = ServerClock::default();
        assert_eq!(clock.now(Moment(5)), None);
        clock.observe(100, Moment(10));
        clock.observe(90, Moment(15));
        assert_eq!(clock.now(Moment(20)), Some(110));
        clock.observe(300, Moment(20));
        assert_eq!(clock.now(Moment(21)), Some(301));
    }
}
