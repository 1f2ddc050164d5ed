//! Before the start: be first, or find out who was, wait for it, and claim.

use std::time::Duration;

use super::{Action, Attempt, Outcome, Owner, RETRY, Seen, State, What, claims_first};
use crate::{
    protocol::time::{LeaseTimes, Moment},
    wire::record::{Kind, Reason},
};

impl Attempt {
    pub(super) fn begin(&mut self, now: Moment) -> Action {
        if self.state != State::New {
            return Action::None;
        }
        if !self.is_first() {
            self.state = State::Looking;
            return Action::Read(Duration::ZERO);
        }
        self.start_or_expire(now)
    }

    fn is_expired(&self, now: Moment) -> bool {
        now >= self.delivery.expires
    }

    /// Nothing and nobody is in the way: run, unless the deadline has passed.
    pub(super) fn start_or_expire(&mut self, now: Moment) -> Action {
        if self.cancelled {
            return self.cancel();
        }
        if self.is_expired(now) {
            self.state = State::Settling;
            return self.write(What::Outcome(self.never_ran(Reason::Expired)));
        }
        if self.earlier && self.resumable.is_none() {
            self.state = State::Finding;
            return Action::Find(Duration::ZERO);
        }
        self.state = State::Running;
        Action::Start
    }

    pub(super) fn found(&mut self, found: Result<bool, ()>, now: Moment) -> Action {
        if self.state != State::Finding {
            return Action::None;
        }
        self.resumable = found.ok();
        if let Some(ending) = self.ended.take() {
            return self.settle(ending);
        }
        if std::mem::take(&mut self.rewrite) {
            self.state = State::Claiming;
            return self.write(What::Claim);
        }
        match found {
            Ok(_) => self.start_or_expire(now),
            Err(()) => Action::Find(RETRY),
        }
    }

    pub(super) fn never_ran(&self, reason: Reason) -> Outcome {
        if self.earlier { Outcome::Failed(reason) } else { Outcome::Rejected(reason) }
    }

    /// No record of an attempt: none at all, or a mark.
    pub(super) fn nobody_there(&mut self, sequence: u64, now: Moment) -> Action {
        // A single server that was killed forgets up to 100 ms of deliveries: the owner claims as soon as it is back.
        let forgotten = !self.terms.replicated && !self.delivery.above_bound;
        if forgotten && now < self.delivery.owner_claims_until {
            self.state = State::Standing;
            return Action::Wait(self.delivery.owner_claims_until);
        }
        self.earlier = (self.delivery.count > 1 || forgotten) && !claims_first(self.terms);
        self.sequence = sequence;
        if self.cancelled || self.is_expired(now) {
            return self.start_or_expire(now);
        }
        self.state = State::Claiming;
        self.write(What::Claim)
    }

    pub(super) fn somebody_there(&mut self, seen: Seen, now: Moment) -> Action {
        match seen.kind {
            Kind::Outcome => self.finish(Action::Ack { tell: true }),
            // Somebody with a later version knows what to do with it.
            Kind::Unknown => self.finish(Action::Forget),
            Kind::CancelRequested => {
                self.cancelled = true;
                self.nobody_there(seen.sequence, now)
            }
            Kind::Released => match seen.wait {
                Some(wait) if !wait.is_zero() && !seen.cancelled => self.finish(Action::Nak(wait)),
                _ => self.take_over(&seen, now),
            },
            Kind::Claim => self.watch(seen, now),
        }
    }

    fn watch(&mut self, seen: Seen, now: Moment) -> Action {
        let until = match &self.state {
            State::Watching { sequence, until } if *sequence == seen.sequence => *until,
            // The claim was renewed: its owner lives.
            State::Watching { .. } => return self.finish(Action::Forget),
            // A replicated consumer never forgets a delivery: a higher count means that the lease had run out, and
            // then the owner's silence is proof enough.
            _ if self.terms.replicated && self.delivery.count > seen.delivery => now,
            _ => now + LeaseTimes::takeover(seen.lease),
        };
        let waited = now >= until && matches!(self.state, State::Watching { .. });
        if waited {
            return self.take_over(&seen, now);
        }
        self.state = State::Watching { sequence: seen.sequence, until };
        Action::Ask { worker: seen.worker, attempt_id: seen.attempt_id }
    }

    pub(super) fn owner(&mut self, owner: Owner, now: Moment) -> Action {
        let State::Watching { until, .. } = &self.state else {
            return Action::None;
        };
        match owner {
            Owner::Mine => self.finish(Action::Forget),
            // Look again and ask again: the owner may be on its way back.
            Owner::Gone => Action::Wait((*until).min(now + self.terms.times.heartbeat())),
        }
    }

    fn take_over(&mut self, seen: &Seen, now: Moment) -> Action {
        self.earlier = seen.kind != Kind::Released || seen.attempt > 0;
        self.sequence = seen.sequence;
        self.number = seen.attempt.saturating_add(1);
        self.spent = seen.spent.saturating_add(1);
        if self.cancelled || seen.cancelled {
            return self.cancel();
        }
        if self.terms.once && self.earlier {
            self.state = State::Settling;
            return self.write(What::Outcome(Outcome::Failed(Reason::Interrupted)));
        }
        if self.is_expired(now) {
            return self.start_or_expire(now);
        }
        if self.spent > self.terms.attempts {
            return self.bury(Reason::Exhausted, Outcome::Failed(Reason::Exhausted));
        }
        self.state = State::Claiming;
        self.write(What::Claim)
    }
}
