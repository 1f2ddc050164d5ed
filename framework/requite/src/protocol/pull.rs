//! How many messages to ask for, and how many are still on their way: pulls, and what ended them.

use std::{collections::VecDeque, time::Duration};

use super::time::{LeaseTimes, Moment};

/// A pull whose end was not heard for this long after its time is over was lost.
const LATE: Duration = Duration::from_millis(500);

/// Messages that may be on their way at once: half of what a subscription of the NATS client takes in before it drops
/// some. A worker with many slots finds them filled in several pulls.
const MOST_EXPECTED: usize = 32 * 1024;

/// One pull on its way.
#[derive(Clone, Copy, Debug)]
struct Pull {
    token: u64,
    sent: Moment,
    expires: Moment,
}

/// The pulls of one consumer. What is pulled, held and running never exceeds the slots.
#[derive(Clone, Debug)]
pub(crate) struct Pulls {
    slots: usize,
    times: LeaseTimes,
    open: VecDeque<Pull>,
    /// Messages that the open pulls may still bring.
    expected: usize,
    next_token: u64,
    /// Pulls below this token count no more: what their late ends say is missing is not expected any more.
    counted_from: u64,
    heard: Moment,
    /// The oldest pull that was forgotten, as long as what it brought may still be on its way.
    forgotten: Option<Pull>,
    /// When the oldest of the pulls was sent that ended last.
    last: Moment,
}

/// A pull to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Stands in the reply subject, so that a status tells which pull it ends.
    pub(crate) token: u64,
    pub(crate) batch: usize,
}

impl Pulls {
    pub(crate) fn new(slots: usize, times: LeaseTimes) -> Self {
        Self {
            slots,
            times,
            open: VecDeque::new(),
            expected: 0,
            next_token: 0,
            counted_from: 0,
            heard: Moment(0),
            forgotten: None,
            last: Moment(0),
        }
    }

    /// The pull to send now, where `held` slots are taken: as many as are free and may be on their way, once that is a
    /// quarter of all or nothing is on its way.
    pub(crate) fn next(&mut self, held: usize, now: Moment) -> Option<Next> {
        let most = self.slots.min(MOST_EXPECTED);
        let free = self.slots.saturating_sub(held + self.expected).min(most.saturating_sub(self.expected));
        if free == 0 || (!self.open.is_empty() && self.expected > 0 && free * 4 < most) {
            return None;
        }
        if self.open.is_empty() {
            self.heard = now;
        }
        let token = self.next_token;
        self.next_token += 1;
        self.open.push_back(Pull { token, sent: now, expires: now + self.times.heartbeat() });
        self.expected += free;
        Some(Next { token, batch: free })
    }

    /// A message came. Which pull brought it cannot be told, so its lease counts from the oldest that may have.
    pub(crate) fn delivered(&mut self, now: Moment) -> Moment {
        self.heard = now;
        self.expected = self.expected.saturating_sub(1);
        let oldest = self.forgotten.as_ref().or(self.open.front());
        // How long a message has waited in this process is not known, so `now` is no reason to call it young.
        oldest.map_or(self.last, |pull| pull.sent)
    }

    /// No message is ready. What was read from the connection before the worker was bound again is through, so a pull that
    /// was forgotten brings nothing more once its time is over.
    pub(crate) fn idle(&mut self, now: Moment) {
        self.forgotten = self.forgotten.filter(|pull| now < pull.expires + self.times.heartbeat());
    }

    /// The server gave a sign of life for a pull.
    pub(crate) fn alive(&mut self, now: Moment) {
        self.heard = now;
    }

    /// A status ended a pull; `missing` of its messages will not come.
    pub(crate) fn ended(&mut self, token: u64, missing: Option<usize>, now: Moment) {
        self.heard = now;
        if token < self.counted_from {
            return;
        }
        self.last = self.open.front().map_or(self.last, |pull| pull.sent);
        self.open.retain(|pull| pull.token != token);
        if self.open.is_empty() {
            self.clear();
        } else {
            self.expected = self.expected.saturating_sub(missing.unwrap_or(0));
        }
    }

    /// Forgets every pull: the connection, the leader or the consumer went away. What one of them brought may still be
    /// on its way.
    pub(crate) fn reset(&mut self) {
        self.forgotten = self.forgotten.or(self.open.front().copied());
        self.clear();
    }

    fn clear(&mut self) {
        self.last = self.open.front().map_or(self.last, |pull| pull.sent);
        self.open.clear();
        self.expected = 0;
        self.counted_from = self.next_token;
    }

    /// Drops the record of pulls that brought all they were asked for: their end has no status.
    pub(crate) fn settle(&mut self) {
        if self.expected == 0 {
            self.clear();
        }
    }

    /// Whether pulls were lost in silence: two heartbeats of the server missed, or messages that never came. A pull
    /// that others overlap may just as well have ended without a status, so its time over proves nothing.
    pub(crate) fn is_lost(&mut self, now: Moment) -> bool {
        let Some(oldest) = self.open.front() else {
            return false;
        };
        if now.since(self.heard.max(oldest.sent)) > self.silence() {
            return true;
        }
        while self.open.front().is_some_and(|pull| now > pull.expires + LATE) {
            self.last = self.open.pop_front().map_or(self.last, |pull| pull.sent);
        }
        self.open.is_empty() && self.expected > 0
    }

    fn silence(&self) -> Duration {
        self.times.idle_heartbeat() * 2 + LATE
    }

    /// When to look at [`Self::is_lost`] again.
    pub(crate) fn check_at(&self) -> Option<Moment> {
        let oldest = self.open.front()?;
        let silent = self.heard.max(oldest.sent) + self.silence();
        Some(silent.min(oldest.expires + LATE) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pulls(slots: usize) -> Pulls {
        Pulls::new(slots, LeaseTimes::new(Duration::from_secs(30)))
    }

    #[test]
    fn nothing_is_pulled_for_a_slot_that_is_taken() {
        let mut pulls = pulls(16);
        assert_eq!(pulls.next(0, Moment(1)), Some(Next { token: 0, batch: 16 }));
        assert_eq!(pulls.next(0, Moment(1)), None);
        for _ in 0..16 {
            pulls.delivered(Moment(2));
        }
        pulls.settle();
        assert_eq!(pulls.next(16, Moment(2)), None);
        assert_eq!(pulls.next(15, Moment(2)).map(|next| next.batch), Some(1));
    }

    #[test]
    fn a_quarter_of_free_slots_is_worth_a_pull() {
        let mut pulls = pulls(16);
        pulls.next(0, Moment(1));
        for _ in 0..8 {
            pulls.delivered(Moment(2));
        }
        assert_eq!(pulls.next(5, Moment(2)), None);
        assert_eq!(pulls.next(4, Moment(2)).map(|next| next.batch), Some(4));
    }

    #[test]
    fn no_more_is_on_its_way_than_a_subscription_takes() {
        let mut pulls = pulls(100_000);
        assert_eq!(pulls.next(0, Moment(1)).map(|next| next.batch), Some(MOST_EXPECTED));
        assert_eq!(pulls.next(0, Moment(1)), None);
        for held in 1..=MOST_EXPECTED / 4 {
            assert_eq!(pulls.next(held - 1, Moment(2)), None);
            pulls.delivered(Moment(2));
        }
        let quarter = MOST_EXPECTED / 4;
        assert_eq!(pulls.next(quarter, Moment(2)).map(|next| next.batch), Some(quarter));
        for _ in 0..MOST_EXPECTED {
            pulls.delivered(Moment(3));
        }
        pulls.settle();
        assert_eq!(pulls.next(99_999, Moment(3)).map(|next| next.batch), Some(1));
    }

    #[test]
    fn a_late_end_of_a_forgotten_pull_takes_nothing_from_the_next_one() {
        let mut pulls = pulls(16);
        pulls.next(0, Moment(1));
        pulls.reset();
        assert_eq!(pulls.next(0, Moment(2)), Some(Next { token: 1, batch: 16 }));
        pulls.ended(0, Some(16), Moment(3));
        assert_eq!(pulls.next(0, Moment(3)), None, "twice as many as there are slots");
        pulls.ended(1, Some(16), Moment(4));
        assert_eq!(pulls.next(0, Moment(4)).map(|next| next.batch), Some(16));
    }

    #[test]
    fn silence_is_noticed() {
        let mut pulls = pulls(4);
        assert!(!pulls.is_lost(Moment(u64::MAX)));
        pulls.next(0, Moment(0));
        let check = pulls.check_at().unwrap();
        assert!(!pulls.is_lost(Moment(0)));
        assert!(pulls.is_lost(check));
        pulls.reset();
        assert!(!pulls.is_lost(check));
    }

    #[test]
    fn a_late_delivery_of_a_forgotten_pull_counts_from_that_pull() {
        let mut pulls = pulls(4);
        pulls.next(0, Moment(7));
        pulls.reset();
        pulls.next(0, Moment(3_000_000_000));
        pulls.idle(Moment(3_000_000_000));
        assert_eq!(pulls.delivered(Moment(4_000_000_000)), Moment(7));
        // It waited in this process.
        assert_eq!(pulls.delivered(Moment(90_000_000_000)), Moment(7));
        pulls.idle(Moment(90_000_000_000));
        assert_eq!(pulls.delivered(Moment(90_000_000_000)), Moment(3_000_000_000));
    }

    #[test]
    fn a_delivery_behind_the_end_of_all_pulls_counts_from_the_last_of_them() {
        let mut pulls = pulls(4);
        pulls.next(3, Moment(5));
        pulls.next(2, Moment(6));
        pulls.ended(0, Some(1), Moment(7));
        pulls.ended(1, Some(1), Moment(8));
        assert_eq!(pulls.delivered(Moment(90_000_000_000)), Moment(6));
        pulls.next(3, Moment(91_000_000_000));
        pulls.delivered(Moment(91_000_000_001));
        pulls.settle();
        assert_eq!(pulls.delivered(Moment(99_000_000_000)), Moment(91_000_000_000));
    }

    proptest! {
        #[test]
        fn pulled_and_held_never_exceed_the_slots(slots in 1usize..64, steps in prop::collection::vec((0u8..4, 0usize..8), 1..200)) {
            let mut pulls = pulls(slots);
            let (mut held, mut owed, mut now) = (0usize, VecDeque::<(u64, usize)>::new(), 0u64);
            for (step, n) in steps {
                now += 1_000_000;
                match step {
                    0 => if let Some(next) = pulls.next(held, Moment(now)) { owed.push_back((next.token, next.batch)) },
                    1 => for _ in 0..n {
                        let Some(front) = owed.front_mut() else { break };
                        front.1 -= 1;
                        if front.1 == 0 { owed.pop_front(); }
                        pulls.delivered(Moment(now));
                        held += 1;
                    },
                    2 => held = held.saturating_sub(n),
                    _ => if let Some((token, missing)) = owed.pop_back() { pulls.ended(token, Some(missing), Moment(now)) },
                }
                pulls.settle();
                let coming: usize = owed.iter().map(|(_, n)| n).sum();
                prop_assert!(held + coming <= slots, "{held} + {coming} > {slots}");
            }
        }
    }
}
