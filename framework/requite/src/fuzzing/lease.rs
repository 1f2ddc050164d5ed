//! A lease under clocks that run, stand still, jump and turn back.

use std::time::Duration;

use super::bytes::Choices;
use crate::protocol::{
    lease::{Lease, LeaseState},
    time::{LeaseTimes, MARGIN, MARGIN_UNPROVEN, Moment, ServerClock},
};

/// A lease never ends later than its newest heartbeat allows; it is doubtful before it is lost, and once it was seen
/// lost no answer revives it.
pub fn lease(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut times = LeaseTimes::new(choices.span().max(Duration::from_secs(6)));
    times.margin = if choices.flag() && times.lease > 2 * MARGIN_UNPROVEN { MARGIN_UNPROVEN } else { MARGIN };
    let pulled = Moment(choices.number());
    let (mut lease, mut newest, mut now) = (Lease::granted(times, pulled), pulled, pulled);
    let mut clock = ServerClock::default();
    while choices.are_left() {
        let sent = choices.moment(now);
        now = choices.moment(sent);
        let before = lease;
        lease.confirm(sent, now);
        assert!(lease.from() >= before.from(), "a confirmation took time away");
        if before.is_lost(now) {
            assert_eq!(lease, before, "a late answer counted");
        }
        newest = newest.max(sent);
        assert!(lease.from() <= newest, "the lease counts from a time at which nothing was sent");
        assert!(lease.end() <= newest + (times.lease - times.margin));
        check_state(&lease, times, now);
        check_clock(&mut clock, &mut choices, now);
    }
}

fn check_state(lease: &Lease, times: LeaseTimes, now: Moment) {
    let servers_end = lease.from() + times.lease;
    match lease.state(now) {
        LeaseState::Held => assert!(now < times.doubtful(lease.from()) && now < servers_end),
        LeaseState::Doubtful => assert!(now < lease.end() && now < servers_end),
        LeaseState::Lost => assert!(lease.is_lost(now) && lease.is_lost(now + Duration::from_secs(1))),
    }
}

/// The estimate of the server's time is a lower bound that does not go back while the local clock does not.
fn check_clock(clock: &mut ServerClock, choices: &mut Choices<'_>, now: Moment) {
    let (before, stamp) = (clock.now(now), choices.number());
    clock.observe(stamp, now);
    let after = clock.now(now);
    assert!(after >= before, "the server's clock went back");
    assert!(after.unwrap_or(0) <= stamp.max(before.unwrap_or(0)), "ahead of everything that was heard");
}
