//! The account of pulls under statuses that may be lost, late, repeated or made up.

use std::{collections::VecDeque, time::Duration};

use super::bytes::Choices;
use crate::protocol::{
    pull::Pulls,
    time::{LeaseTimes, Moment},
};

/// What is on its way from the server.
struct Open {
    token: u64,
    sent: Moment,
    missing: usize,
}

/// No pull asks for more than the free slots. As long as nothing is forgotten or made up, what is held and on its way
/// never exceeds them, and no lease counts from later than the pull that brought the delivery.
pub fn pull(data: &[u8]) {
    let mut choices = Choices::new(data);
    let slots = 1 + usize::from(choices.byte());
    let times = LeaseTimes::new(Duration::from_secs(30));
    let mut pulls = Pulls::new(slots, times);
    let (mut now, mut held) = (Moment(0), 0);
    let mut open: VecDeque<Open> = VecDeque::new();
    // Pulls that are over for the account and may still bring something: after a reset, or a lie.
    let mut honest = true;
    while choices.are_left() {
        match choices.byte() % 10 {
            0..=2 => {
                if let Some(next) = pulls.next(held, now) {
                    let free = slots.saturating_sub(held);
                    assert!((1..=free).contains(&next.batch), "more than free slots");
                    assert!(open.iter().all(|it| it.token < next.token), "a token was used twice");
                    open.push_back(Open { token: next.token, sent: now, missing: next.batch });
                }
            }
            3 | 4 => {
                let which = usize::from(choices.byte()) % open.len().max(1);
                if let Some(from) = open.get_mut(which) {
                    from.missing -= 1;
                    honest &= now <= from.sent + times.heartbeat();
                    let counted = pulls.delivered(now);
                    assert!(!honest || counted <= from.sent, "a lease counts from after its pull");
                    held += 1;
                }
            }
            5 => held -= usize::from(choices.byte()).min(held),
            6 => {
                if let Some(it) = open.remove(usize::from(choices.byte()) % open.len().max(1)) {
                    pulls.ended(it.token, Some(it.missing), now);
                }
            }
            7 => {
                honest = false;
                let missing = choices.flag().then(|| usize::try_from(choices.number()).unwrap_or(usize::MAX));
                pulls.ended(choices.number() % 64, missing, now);
            }
            8 if choices.flag() => {
                honest = false;
                pulls.reset();
            }
            8 => {
                pulls.alive(now);
                pulls.idle(now);
                honest &= !pulls.is_lost(now);
            }
            _ => now = now.max(choices.moment(now)),
        }
        open.retain(|it| it.missing > 0);
        pulls.settle();
        let coming = coming(&open, now, times);
        assert!(!honest || held + coming <= slots, "{held} + {coming} > {slots}");
        if honest && open.is_empty() && held < slots {
            assert!(pulls.clone().next(held, now).is_some(), "free slots, and nothing asks for them");
        }
    }
}

/// Of a pull whose time is over nothing comes any more.
fn coming(open: &VecDeque<Open>, now: Moment, times: LeaseTimes) -> usize {
    open.iter().filter(|it| now <= it.sent + times.heartbeat()).map(|it| it.missing).sum()
}
