//! The worker's side of one delivery: be first or claim, run, store the outcome, ack last.
//!
//! [`Attempt::step`] takes what happened and says the one thing to do next. The handler's task and the lease keeper
//! both feed it, under one lock, so a record has one writer and one write in flight.

use std::time::Duration;

use super::time::{LeaseTimes, Moment};
use crate::wire::record::{AttemptId, Kind, Reason};

/// Between two looks at a record that could not be read, or a write that could not be made.
const RETRY: Duration = Duration::from_millis(250);

/// What is known of a delivery before any record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The consumer's delivery count.
    pub(crate) count: u64,
    /// An earlier copy of the request may exist.
    pub(crate) resend: bool,
    /// The request was stored shortly after it was published.
    pub(crate) fresh: bool,
    /// The request was stored after this worker bound to this incarnation of the stream.
    pub(crate) above_bound: bool,
    /// The deadline has passed, by the server's clock.
    pub(crate) expired: bool,
    /// Until when an owner that lost its connection too may still claim.
    pub(crate) owner_claims_until: Moment,
}

/// What the handler asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Never start again what may have begun.
    pub(crate) once: bool,
    /// The claim's sequence is handed to the handler.
    pub(crate) fenced: bool,
    /// How many attempts may be used up.
    pub(crate) attempts: u32,
    /// The stream has replicas on several servers.
    pub(crate) replicated: bool,
    /// A stream on one server of a cluster: deliveries may be forgotten without a reconnect of ours.
    pub(crate) always_claim: bool,
    pub(crate) times: LeaseTimes,
}

/// A record as the attempt needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) attempt: u32,
    pub(crate) attempt_id: AttemptId,
    pub(crate) write: u32,
    pub(crate) spent: u32,
    pub(crate) delivery: u64,
    pub(crate) worker: String,
    pub(crate) lease: Duration,
    /// How long a released request still has to wait.
    pub(crate) wait: Option<Duration>,
}

/// How the handler's part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A value.
    Value,
    /// The handler's error, and after how long it may be tried again.
    Error {
        retry: Option<Duration>,
    },
    Panicked,
    TimedOut,
    /// The request could not be decoded: the handler never ran in this attempt.
    Undecodable,
    /// The worker stops and lets go.
    HandedOver,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin,
    /// The record was read from the leader; `Err` if that failed.
    Read(Result<Option<Seen>, ()>),
    Written(Written),
    Owner(Owner),
    /// The time of [`Action::Wait`] has come.
    Due,
    Ended(Ending),
    /// The keeper's heartbeat: what still runs claims now.
    Beat,
    /// The connection was lost and is back: claims are written again.
    Reconnected,
    /// The dead letter is stored, or could not be.
    Buried(bool),
    /// The lease is lost.
    Lost,
}

/// The answer to a write of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Stored(u64),
    /// Another record is there, or nobody knows.
    InDoubt,
    /// The record stream is full.
    Full,
    TooLarge,
}

/// What the owner of a claim answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Mine,
    /// It let go, nobody listens there, or nothing was heard for the whole time.
    Gone,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, until the next event.
    None,
    /// Read the record from the leader, after this long.
    Read(Duration),
    Write(Write),
    /// Ask the owner of this attempt.
    Ask {
        worker: String,
        attempt_id: AttemptId,
    },
    Wait(Moment),
    /// Run the handler.
    Start,
    /// Store a dead letter.
    Bury(Reason),
    /// Ack; `tell` the caller that the outcome was stored before.
    Ack {
        tell: bool,
    },
    Nak(Duration),
    /// Stop the handler and send nothing.
    Forget,
}

/// A write of the record by compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) what: What,
    /// The sequence that must be the last on the record's subject; 0 for none.
    pub(crate) expected: u64,
    /// Counts the writes of this attempt.
    pub(crate) number: u32,
}

/// What a write says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Claim,
    Released { delay: Duration, spent: u32 },
    Outcome(Outcome),
}

/// Which outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The handler's value.
    Value,
    /// The handler's error, with the reason if it was not final by itself.
    Error(Option<Reason>),
    /// The handler may have run.
    Failed(Reason),
    /// The handler certainly never ran.
    Rejected(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    /// Reading the record before the start.
    Looking,
    /// Waiting for an owner that may be about to claim.
    Standing,
    /// Somebody's claim is there: watching whether it lives.
    Watching {
        seen: Seen,
        until: Moment,
    },
    /// Before the start; a write is in flight.
    Claiming,
    Running,
    /// After the end of the handler's part.
    Settling,
    Over,
}

/// One delivery on its way through a worker.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    id: AttemptId,
    delivery: Delivery,
    terms: Terms,
    state: State,
    /// 1 for the first attempt.
    number: u32,
    spent: u32,
    /// An earlier attempt may have begun.
    earlier: bool,
    /// The sequence of the record that this attempt wrote or means to replace; 0 for none.
    sequence: u64,
    claimed: bool,
    writes: u32,
    in_flight: Option<Write>,
    /// What happened while a write was in flight.
    ended: Option<Ending>,
    rewrite: bool,
    /// The outcome to store once the dead letter is.
    buried: Option<(Reason, Outcome)>,
}

impl Attempt {
    pub(crate) fn new(id: AttemptId, delivery: Delivery, terms: Terms) -> Self {
        Self {
            id,
            delivery,
            terms,
            state: State::New,
            number: u32::try_from(delivery.count).unwrap_or(u32::MAX),
            // Without a record at most one earlier attempt can have begun: the second one claims.
            spent: u32::try_from(delivery.count.min(2)).unwrap_or(2),
            earlier: false,
            sequence: 0,
            claimed: false,
            writes: 0,
            in_flight: None,
            ended: None,
            rewrite: false,
            buried: None,
        }
    }

    pub(crate) fn id(&self) -> AttemptId {
        self.id
    }

    /// 1 for the first attempt.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn spent(&self) -> u32 {
        self.spent
    }

    /// The delivery count, as it stands in records.
    pub(crate) fn delivery_count(&self) -> u64 {
        self.delivery.count
    }

    /// The fencing token: the claim's sequence, where there is a claim.
    pub(crate) fn fence(&self) -> Option<u64> {
        self.claimed.then_some(self.sequence)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether "is it yours?" is answered with yes.
    pub(crate) fn is_mine(&self) -> bool {
        matches!(self.state, State::Claiming | State::Running | State::Settling)
    }

    /// Whether nothing can have been done for this request before, so that no claim is needed.
    pub(crate) fn is_first(&self) -> bool {
        let Delivery { count, resend, fresh, above_bound, .. } = self.delivery;
        let Terms { once, fenced, always_claim, .. } = self.terms;
        count == 1 && fresh && above_bound && !(resend || once || fenced || always_claim)
    }

    /// Takes in what happened and says what to do.
    pub(crate) fn step(&mut self, event: Event, now: Moment) -> Action {
        if self.is_over() {
            return Action::None;
        }
        match event {
            Event::Begin => self.begin(),
            Event::Read(Err(())) => Action::Read(RETRY),
            Event::Read(Ok(seen)) => self.read(seen, now),
            Event::Written(written) => self.written(written),
            Event::Owner(owner) => self.owner(owner, now),
            Event::Due => Action::Read(Duration::ZERO),
            Event::Ended(ending) => self.ended(ending),
            Event::Beat => self.claim_if_running(!self.claimed),
            Event::Reconnected => self.claim_if_running(true),
            Event::Buried(stored) => self.buried(stored),
            Event::Lost => self.finish(Action::Forget),
        }
    }

    fn finish(&mut self, action: Action) -> Action {
        self.state = State::Over;
        action
    }

    fn begin(&mut self) -> Action {
        if !self.is_first() {
            self.state = State::Looking;
            return Action::Read(Duration::ZERO);
        }
        self.start_or_expire()
    }

    /// Nothing and nobody is in the way: run, unless the deadline has passed.
    fn start_or_expire(&mut self) -> Action {
        if self.delivery.expired {
            self.state = State::Settling;
            return self.write(What::Outcome(self.never_ran(Reason::Expired)));
        }
        self.state = State::Running;
        Action::Start
    }

    fn never_ran(&self, reason: Reason) -> Outcome {
        if self.earlier { Outcome::Failed(reason) } else { Outcome::Rejected(reason) }
    }

    fn read(&mut self, seen: Option<Seen>, now: Moment) -> Action {
        if let Some(write) = self.in_flight.take() {
            return self.resolve(write, seen, now);
        }
        match (&self.state, seen) {
            (State::New | State::Running | State::Settling | State::Claiming | State::Over, _) => {
                Action::None
            }
            (_, None) => self.nothing_there(now),
            (_, Some(seen)) => self.somebody_there(seen, now),
        }
    }

    fn nothing_there(&mut self, now: Moment) -> Action {
        // A single server that was killed forgets up to 100 ms of deliveries: the owner claims as soon as it is back.
        let forgotten = !self.terms.replicated && !self.delivery.above_bound;
        if forgotten && now < self.delivery.owner_claims_until {
            self.state = State::Standing;
            return Action::Wait(self.delivery.owner_claims_until);
        }
        // Such handlers claim before they start, so without a record nothing has begun.
        let claims_first = self.terms.once || self.terms.fenced;
        self.earlier = self.delivery.count > 1 && !claims_first;
        self.sequence = 0;
        if self.delivery.expired {
            return self.start_or_expire();
        }
        self.state = State::Claiming;
        self.write(What::Claim)
    }

    fn somebody_there(&mut self, seen: Seen, now: Moment) -> Action {
        match seen.kind {
            Kind::Outcome => self.finish(Action::Ack { tell: true }),
            // Somebody with a later version knows what to do with it.
            Kind::Unknown | Kind::CancelRequested => self.finish(Action::Forget),
            Kind::Released => match seen.wait {
                Some(wait) if !wait.is_zero() => self.finish(Action::Nak(wait)),
                _ => self.take_over(&seen),
            },
            Kind::Claim => self.watch(seen, now),
        }
    }

    fn watch(&mut self, seen: Seen, now: Moment) -> Action {
        let until = match &self.state {
            State::Watching { seen: before, until } if before.sequence == seen.sequence => *until,
            // The claim was renewed: its owner lives.
            State::Watching { .. } => return self.finish(Action::Forget),
            // A replicated consumer never forgets a delivery: a higher count means that the lease had run out, and
            // then the owner's silence is proof enough.
            _ if self.terms.replicated && self.delivery.count > seen.delivery => now,
            _ => now + LeaseTimes::takeover(seen.lease),
        };
        let ask = Action::Ask { worker: seen.worker.clone(), attempt_id: seen.attempt_id };
        let waited = now >= until && matches!(self.state, State::Watching { .. });
        if waited {
            return self.take_over(&seen);
        }
        self.state = State::Watching { seen, until };
        ask
    }

    fn owner(&mut self, owner: Owner, now: Moment) -> Action {
        let State::Watching { until, .. } = &self.state else {
            return Action::None;
        };
        match owner {
            Owner::Mine => self.finish(Action::Forget),
            // Look again and ask again: the owner may be on its way back.
            Owner::Gone => Action::Wait((*until).min(now + self.terms.times.heartbeat())),
        }
    }

    fn take_over(&mut self, seen: &Seen) -> Action {
        self.earlier = true;
        self.sequence = seen.sequence;
        self.number = seen.attempt.saturating_add(1);
        self.spent = seen.spent.saturating_add(1);
        if self.terms.once {
            self.state = State::Settling;
            return self.write(What::Outcome(Outcome::Failed(Reason::Interrupted)));
        }
        if self.delivery.expired {
            return self.start_or_expire();
        }
        if self.spent > self.terms.attempts {
            return self.bury(Reason::Exhausted, Outcome::Failed(Reason::Exhausted));
        }
        self.state = State::Claiming;
        self.write(What::Claim)
    }

    fn write(&mut self, what: What) -> Action {
        self.writes += 1;
        let write = Write { what, expected: self.sequence, number: self.writes };
        self.in_flight = Some(write);
        Action::Write(write)
    }

    fn written(&mut self, written: Written) -> Action {
        let Some(write) = self.in_flight else {
            return Action::None;
        };
        match written {
            Written::Stored(sequence) => self.stored(write, sequence),
            Written::InDoubt => Action::Read(Duration::ZERO),
            Written::TooLarge if matches!(write.what, What::Outcome(Outcome::Value | Outcome::Error(_))) => {
                self.write(What::Outcome(Outcome::Failed(Reason::TooLarge)))
            }
            Written::Full if matches!(self.state, State::Claiming) => {
                self.in_flight = None;
                self.finish(Action::Nak(Duration::from_secs(1)))
            }
            // The result is kept as long as the lease lasts: room may come.
            Written::Full | Written::TooLarge => Action::Read(RETRY),
        }
    }

    fn stored(&mut self, write: Write, sequence: u64) -> Action {
        self.in_flight = None;
        self.sequence = sequence;
        match write.what {
            What::Outcome(_) => self.finish(Action::Ack { tell: false }),
            What::Released { delay, .. } => self.finish(Action::Nak(delay)),
            What::Claim => {
                self.claimed = true;
                if let Some(ending) = self.ended.take() {
                    return self.settle(ending);
                }
                if matches!(self.state, State::Claiming) {
                    self.state = State::Running;
                    return Action::Start;
                }
                let again = std::mem::take(&mut self.rewrite);
                self.claim_if_running(again)
            }
        }
    }

    /// The leader's record decides a write that is in doubt.
    fn resolve(&mut self, write: Write, seen: Option<Seen>, now: Moment) -> Action {
        match seen {
            None => {
                #[cfg(test)]
                crate::simulation::mark(crate::simulation::Mark::DoubtWasNot);
                self.sequence = 0;
                self.write(write.what)
            }
            // A copy of an earlier write may have been late. One that was the outcome is not written again.
            Some(seen)
                if seen.attempt_id == self.id
                    && (seen.write == write.number || seen.kind == Kind::Outcome) =>
            {
                #[cfg(test)]
                crate::simulation::mark(crate::simulation::Mark::DoubtWasStored);
                self.stored(write, seen.sequence)
            }
            Some(seen) if seen.attempt_id == self.id || seen.sequence == write.expected => {
                self.sequence = seen.sequence;
                self.write(write.what)
            }
            Some(seen) if seen.kind == Kind::Outcome => self.finish(Action::Ack { tell: true }),
            // Before the start somebody else's claim is as good as one that was found at first.
            Some(seen) if matches!(self.state, State::Claiming) => {
                self.state = State::Looking;
                if self.ended.is_some() {
                    return self.finish(Action::Forget);
                }
                self.somebody_there(seen, now)
            }
            Some(_) => self.finish(Action::Forget),
        }
    }

    fn claim_if_running(&mut self, wanted: bool) -> Action {
        if !wanted || !self.is_running() {
            return Action::None;
        }
        if self.in_flight.is_some() {
            self.rewrite = true;
            return Action::None;
        }
        self.write(What::Claim)
    }

    fn ended(&mut self, ending: Ending) -> Action {
        match self.state {
            State::Running | State::Claiming if self.in_flight.is_some() => {
                self.ended = Some(ending);
                Action::None
            }
            State::Running => self.settle(ending),
            // Not started: the next worker may have it at once. A watched claim is somebody else's affair.
            State::New | State::Looking | State::Standing => self.finish(Action::Nak(Duration::ZERO)),
            State::Watching { .. } => self.finish(Action::Forget),
            State::Claiming | State::Settling | State::Over => Action::None,
        }
    }

    fn settle(&mut self, ending: Ending) -> Action {
        self.state = State::Settling;
        match ending {
            Ending::Value => self.write(What::Outcome(Outcome::Value)),
            Ending::Error { retry: Some(delay) } if !self.terms.once => {
                if self.spent >= self.terms.attempts {
                    return self.bury(Reason::Exhausted, Outcome::Error(Some(Reason::Exhausted)));
                }
                self.write(What::Released { delay, spent: self.spent })
            }
            Ending::Error { .. } => self.write(What::Outcome(Outcome::Error(None))),
            Ending::Panicked => self.bury(Reason::Panicked, Outcome::Failed(Reason::Panicked)),
            Ending::TimedOut => self.write(What::Outcome(Outcome::Failed(Reason::TimedOut))),
            Ending::Undecodable => self.bury(Reason::Undecodable, self.never_ran(Reason::Undecodable)),
            Ending::HandedOver if self.terms.once => {
                self.write(What::Outcome(Outcome::Failed(Reason::Interrupted)))
            }
            // An attempt that was taken from its handler is not used up.
            Ending::HandedOver => {
                self.write(What::Released { delay: Duration::ZERO, spent: self.spent.saturating_sub(1) })
            }
        }
    }

    fn bury(&mut self, reason: Reason, outcome: Outcome) -> Action {
        self.state = State::Settling;
        self.buried = Some((reason, outcome));
        Action::Bury(reason)
    }

    fn buried(&mut self, stored: bool) -> Action {
        match self.buried {
            Some((_, outcome)) if stored => {
                self.buried = None;
                self.write(What::Outcome(outcome))
            }
            Some((reason, _)) => Action::Bury(reason),
            None => Action::None,
        }
    }
}
