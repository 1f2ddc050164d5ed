//! The worker's side of one delivery: be first or claim, run, store the outcome, ack last.
//!
//! [`Attempt::step`] takes what happened and says the one thing to do next. The handler's task and the lease keeper
//! both feed it, under one lock, so a record has one writer and one write in flight: here. What leads to the start is in
//! `start`, what follows from the handler's end in `end`.

use std::time::Duration;

use super::time::Moment;
use crate::wire::record::{AttemptId, Kind, Reason};

mod end;
mod start;
mod vocabulary;

pub(crate) use vocabulary::{
    Action, Delivery, Ending, Event, Outcome, Owner, Seen, Terms, What, Write, Written,
};

#[cfg(test)]
use crate::planted::{Bug, is_planted};

/// Between two looks at a record that could not be read, or a write that could not be made.
const RETRY: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    New,
    /// Reading the record before the start.
    Looking,
    /// Waiting for an owner that may be about to claim.
    Standing,
    /// Somebody's claim is there: watching whether it lives.
    Watching {
        /// The claim's.
        sequence: u64,
        until: Moment,
    },
    /// Before the start; a write is in flight.
    Claiming,
    /// Before the start, under a claim: looking for the checkpoint of an earlier attempt.
    Finding,
    Running,
    /// After the end of the handler's part.
    Settling,
    Over,
}

/// Such handlers claim before they start, so without a record nothing has begun.
fn claims_first(terms: Terms) -> bool {
    terms.once || terms.fenced
}

/// One delivery on its way through a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// The write in flight repeats one that came to nothing.
    repeated: bool,
    /// What happened while a write was in flight.
    ended: Option<Ending>,
    rewrite: bool,
    /// The handler has a checkpoint that is not on its way.
    checkpoint: bool,
    /// Whether there is a checkpoint to go on from; nothing while an earlier attempt's was not looked for.
    resumable: Option<bool>,
    /// The worker stops.
    draining: bool,
    /// A message that asks to cancel came by.
    cancel_heard: bool,
    /// The request is cancelled: no attempt begins any more, and the handler is told.
    cancelled: bool,
    /// The outcome to store once the dead letter is.
    buried: Option<(Reason, Outcome)>,
}

impl Attempt {
    pub(crate) fn new(id: AttemptId, delivery: Delivery, terms: Terms) -> Self {
        // Without a record at most one earlier attempt can have begun, because the second one claims. Whether it did is
        // not known: it must not be the reason why the last attempt is refused.
        let unproven = delivery.count > 1 && !claims_first(terms) && terms.attempts > 1;
        Self {
            id,
            delivery,
            terms,
            state: State::New,
            // 0 is what never began, and no delivery of a server.
            number: u32::try_from(delivery.count).unwrap_or(u32::MAX).max(1),
            spent: 1 + u32::from(unproven),
            earlier: false,
            sequence: 0,
            claimed: false,
            writes: 0,
            in_flight: None,
            repeated: false,
            ended: None,
            rewrite: false,
            checkpoint: false,
            resumable: None,
            draining: false,
            cancel_heard: false,
            cancelled: false,
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
        matches!(self.state, State::Claiming | State::Finding | State::Running | State::Settling)
    }

    /// Whether the handler is to be told that its request is cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Whether somebody may have asked to cancel of which no record says anything yet. What was stored after this worker
    /// bound, it would have heard.
    pub(crate) fn may_be_cancelled(&self) -> bool {
        let begun = matches!(self.state, State::Running | State::Settling | State::Over);
        !begun && (self.cancel_heard || self.delivery.count > 1 || !self.delivery.above_bound)
    }

    /// Whether nothing can have been done for this request before, so that no claim is needed.
    pub(crate) fn is_first(&self) -> bool {
        let Delivery { count, resend, fresh, above_bound, .. } = self.delivery;
        let Terms { once, fenced, always_claim, .. } = self.terms;
        #[cfg(test)]
        let count = if is_planted(Bug::NoClaimOnRedelivery) { 1 } else { count };
        let heard = self.cancel_heard;
        #[cfg(test)]
        let heard = heard && !is_planted(Bug::CancelUnheard);
        let claims = resend || once || fenced || always_claim || heard;
        count == 1 && fresh && above_bound && !claims
    }

    /// Takes in what happened and says what to do.
    pub(crate) fn step(&mut self, event: Event, now: Moment) -> Action {
        if self.is_over() {
            return Action::None;
        }
        match event {
            Event::Begin => self.begin(now),
            Event::Read(Err(())) => Action::Read(RETRY),
            Event::Read(Ok(seen)) => self.read(seen, now),
            Event::Written(written) => self.written(written, now),
            Event::Owner(owner) => self.owner(owner, now),
            Event::Due => Action::Read(Duration::ZERO),
            Event::Found(found) => self.found(found, now),
            Event::Ended(ending) => self.ended(ending),
            Event::Drain => self.drain(),
            Event::LetGo if self.is_running() => Action::None,
            Event::LetGo => self.ended(Ending::HandedOver),
            Event::Beat => self.claim_if_running(!self.claimed && self.in_flight.is_none()),
            Event::Reconnected => self.claim_if_running(true),
            Event::Checkpoint => self.checkpoint(),
            Event::CancelHeard => {
                self.cancel_heard = true;
                self.claim_if_running(!self.claimed && self.in_flight.is_none())
            }
            Event::Cancel => self.told_to_cancel(),
            Event::Buried(stored) => self.buried(stored),
            Event::Lost => self.finish(Action::Forget),
        }
    }

    fn finish(&mut self, action: Action) -> Action {
        self.state = State::Over;
        action
    }

    fn read(&mut self, seen: Option<Seen>, now: Moment) -> Action {
        if let Some(write) = self.in_flight.take() {
            return self.resolve(write, seen, now);
        }
        match (&self.state, seen) {
            (
                State::New
                | State::Claiming
                | State::Finding
                | State::Running
                | State::Settling
                | State::Over,
                _,
            ) => Action::None,
            (_, None) => self.nobody_there(0, now),
            (_, Some(seen)) => self.somebody_there(seen, now),
        }
    }

    fn write(&mut self, what: What) -> Action {
        let what = match what {
            // Nobody is to go on with it.
            What::Released { .. } if self.cancelled => What::Outcome(Outcome::Cancelled),
            what => what,
        };
        self.writes += 1;
        let write = Write { what, expected: self.sequence, number: self.writes };
        self.in_flight = Some(write);
        Action::Write(write)
    }

    fn written(&mut self, written: Written, now: Moment) -> Action {
        let Some(write) = self.in_flight else {
            return Action::None;
        };
        match written {
            Written::Stored(sequence) => self.stored(write, sequence, now),
            // A server that refuses every time is not to be asked in a tight loop.
            Written::InDoubt => Action::Read(if self.repeated { RETRY } else { Duration::ZERO }),
            Written::TooLarge if matches!(write.what, What::Outcome(Outcome::Value | Outcome::Error(_))) => {
                self.write(What::Outcome(Outcome::Failed(Reason::TooLarge)))
            }
            Written::Full if matches!(self.state, State::Claiming) => {
                self.in_flight = None;
                self.finish(Action::Nak(Duration::from_secs(1)))
            }
            // The handler is told, and decides.
            Written::Full | Written::TooLarge if write.what == What::Checkpoint => {
                self.in_flight = None;
                self.go_on()
            }
            // The result is kept as long as the lease lasts: room may come.
            Written::Full | Written::TooLarge => Action::Read(RETRY),
        }
    }

    fn stored(&mut self, write: Write, sequence: u64, now: Moment) -> Action {
        self.in_flight = None;
        self.repeated = false;
        if write.what != What::Checkpoint {
            self.sequence = sequence;
        }
        match write.what {
            What::Checkpoint => {
                self.resumable = Some(true);
                self.go_on()
            }
            What::Outcome(_) => self.finish(Action::Ack { tell: false }),
            What::Released { delay, .. } => self.finish(Action::Nak(delay)),
            What::Claim => {
                self.claimed = true;
                if matches!(self.state, State::Claiming) && self.ended.is_none() {
                    return self.start_or_expire(now);
                }
                self.go_on()
            }
        }
    }

    fn checkpoint(&mut self) -> Action {
        if !self.is_running() {
            return Action::None;
        }
        self.checkpoint = true;
        if self.in_flight.is_some() { Action::None } else { self.go_on() }
    }

    /// What has become due while a write was in flight: the end, or the claim, or the checkpoint, which names the claim.
    fn go_on(&mut self) -> Action {
        if let Some(ending) = self.ended.take() {
            return self.settle(ending);
        }
        if !self.is_running() {
            return Action::None;
        }
        if std::mem::take(&mut self.rewrite) || (self.checkpoint && !self.claimed) {
            return self.write(What::Claim);
        }
        if std::mem::take(&mut self.checkpoint) {
            return self.write(What::Checkpoint);
        }
        self.hand_over()
    }

    fn drain(&mut self) -> Action {
        self.draining = true;
        if self.is_running() { self.hand_over() } else { self.ended(Ending::HandedOver) }
    }

    /// What goes on elsewhere at its checkpoint need not come to its end here. Of a handler that runs at most once nobody
    /// else takes over.
    fn hand_over(&self) -> Action {
        let wanted = self.draining && self.resumable == Some(true) && !self.terms.once;
        if wanted { Action::HandOver } else { Action::None }
    }

    /// The leader's record decides a write that is in doubt.
    fn resolve(&mut self, write: Write, seen: Option<Seen>, now: Moment) -> Action {
        let write = match write.what {
            // It may be on its way still, and must not come after a later one: it names a claim, so the claim is made anew.
            What::Checkpoint => {
                self.checkpoint = true;
                Write { what: What::Claim, ..write }
            }
            _ => write,
        };
        let Some(seen) = seen else {
            return self.repeat(write, 0);
        };
        let own = seen.attempt_id == self.id;
        match seen.kind {
            // An outcome stays as it is, also an own one of an earlier write that was late.
            Kind::Outcome => self.finish(Action::Ack { tell: !own }),
            _ if own && seen.write == write.number => {
                #[cfg(test)]
                crate::simulation::mark(crate::simulation::Mark::DoubtWasStored);
                self.stored(write, seen.sequence, now)
            }
            _ if own || seen.sequence == write.expected => self.repeat(write, seen.sequence),
            // Not an attempt, only a mark. What has begun counts, and its handler is told.
            Kind::CancelRequested if !matches!(self.state, State::Claiming) || self.ended.is_some() => {
                self.cancelled = true;
                self.repeat(write, seen.sequence)
            }
            // Before the start somebody else's claim is as good as one that was found at first.
            _ if matches!(self.state, State::Claiming) && self.ended.is_none() => {
                self.state = State::Looking;
                self.somebody_there(seen, now)
            }
            _ => self.finish(Action::Forget),
        }
    }

    /// The write came to nothing, and the record is still this attempt's to replace: write again, or what has become
    /// due since.
    fn repeat(&mut self, write: Write, sequence: u64) -> Action {
        #[cfg(test)]
        crate::simulation::mark(crate::simulation::Mark::DoubtWasNot);
        self.sequence = sequence;
        self.repeated = true;
        match self.ended.take() {
            Some(ending) => self.settle(ending),
            None => self.write(write.what),
        }
    }

    /// Only what is this attempt's own is its to cancel; once the record says so, every other will find it there.
    fn told_to_cancel(&mut self) -> Action {
        if self.cancelled || !self.is_mine() {
            return Action::None;
        }
        self.cancelled = true;
        self.claim_if_running(true)
    }

    fn claim_if_running(&mut self, wanted: bool) -> Action {
        match self.state {
            State::Running if wanted && self.in_flight.is_none() => return self.write(What::Claim),
            State::Running | State::Finding => self.rewrite |= wanted,
            _ => {}
        }
        Action::None
    }
}

#[cfg(test)]
mod tests;
