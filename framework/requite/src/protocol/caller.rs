//! The caller's side of one call: publish until it is known to be stored, then wait, read and ask until it ends or a
//! limit passes. Once acceptance is known it never publishes again.

use std::time::Duration;

use super::time::Moment;
use crate::wire::{PayloadHash, record::Kind};

mod vocabulary;

pub(crate) use vocabulary::{Action, Answer, Event, Limits, Presence, Seen, Streams, Verdict};

/// Between two publishes that nobody answered.
const NO_RESPONDERS_DELAY: Duration = Duration::from_millis(250);
/// Between two publishes that are in doubt by the server's own word; doubles up to [`NO_RESPONDERS_DELAY`].
const DOUBT_DELAY: Duration = Duration::from_millis(10);
/// How long after the deadline the last read may take.
const LAST_READ: Duration = Duration::from_millis(600);
/// Between two reads that failed; doubles up to [`Limits::read_after`].
const READ_DELAY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Not known to be stored.
    Accepting,
    Accepted,
    Started,
    /// Started, and let go for another attempt: no handler runs that could be silent.
    Released,
}

/// What is under way. It is bounded in time and comes back by itself, unless something else takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum UnderWay {
    Nothing,
    Publish,
    Streams,
    Read,
    Workers,
}

/// What the id of a keyed call stands for: the request that was stored under it may have another payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Meaning {
    Unknown,
    /// This call's request was stored, and nobody has looked yet for the record of an earlier one.
    Stored,
    Ours,
}

/// Why the workers are asked, or the record is read a last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lapse {
    Start,
    Silence,
    Deadline,
}

/// One call on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Caller {
    limits: Limits,
    hash: Option<PayloadHash>,
    resend: bool,
    meaning: Meaning,
    phase: Phase,
    accepted_at: Moment,
    /// The last sign that the call goes on; feeds limits of silence.
    heard: Moment,
    /// The last read of the record.
    looked: Moment,
    /// A publish may have been stored although its answer did not come.
    doubt: bool,
    asked_streams: bool,
    /// The re-send's answer is to be followed by a read.
    read_again: bool,
    /// How a re-send was refused: the verdict, unless the record knows better.
    refused: Option<Verdict>,
    under_way: UnderWay,
    /// Failures in a row, of publishes or of reads.
    failures: u32,
    lapse: Option<Lapse>,
    done: bool,
}

impl Caller {
    /// A call to publish. `resend` says that an earlier copy may exist; `hash` is compared where the id came from a
    /// key.
    pub(crate) fn new(limits: Limits, hash: Option<PayloadHash>, resend: bool) -> Self {
        Self {
            limits,
            hash,
            resend,
            meaning: if hash.is_some() { Meaning::Unknown } else { Meaning::Ours },
            phase: Phase::Accepting,
            accepted_at: Moment(0),
            heard: Moment(0),
            looked: Moment(0),
            doubt: false,
            asked_streams: false,
            read_again: false,
            refused: None,
            under_way: UnderWay::Nothing,
            failures: 0,
            lapse: None,
            done: false,
        }
    }

    /// A call that was published before, by whomever.
    pub(crate) fn attached(limits: Limits, hash: Option<PayloadHash>) -> Self {
        Self { phase: Phase::Accepted, ..Self::new(limits, hash, true) }
    }

    /// Whether the request is known to be stored.
    pub(crate) fn is_accepted(&self) -> bool {
        self.phase != Phase::Accepting
    }

    /// Whether an earlier publish of this call may have been stored, whatever the last one's answer was.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt
    }

    /// Whether what is stored under the id is this call's request, and not one with another payload, as far as is known.
    pub(crate) fn is_ours(&self) -> bool {
        self.meaning == Meaning::Ours
    }

    /// Whether a record with this hash is of a request with another payload.
    pub(crate) fn is_anothers(&self, hash: PayloadHash) -> bool {
        self.hash.is_some_and(|own| own != hash)
    }

    /// When to feed [`Event::Due`].
    pub(crate) fn wake_at(&self) -> Moment {
        if !self.is_accepted() {
            return self.limits.accept_by.min(self.limits.deadline);
        }
        if self.lapse == Some(Lapse::Deadline) {
            return self.limits.deadline + LAST_READ;
        }
        if self.is_busy() {
            return self.limits.deadline;
        }
        let limit = self.limit().map_or(Moment::FAR, |(_, at)| at);
        self.next_look().min(self.limits.deadline).min(limit)
    }

    /// The limit of the phase that an accepted call is in.
    fn limit(&self) -> Option<(Lapse, Moment)> {
        match self.phase {
            Phase::Accepted => self.limits.start_within.map(|span| (Lapse::Start, self.accepted_at + span)),
            Phase::Started => self.limits.silent_for.map(|span| (Lapse::Silence, self.heard + span)),
            Phase::Accepting | Phase::Released => None,
        }
    }

    fn is_busy(&self) -> bool {
        self.under_way != UnderWay::Nothing
    }

    fn next_look(&self) -> Moment {
        self.heard.max(self.looked) + self.limits.read_after
    }

    /// Takes in what happened and says what to do.
    pub(crate) fn step(&mut self, event: Event, now: Moment) -> Action {
        if self.done {
            return Action::Wait;
        }
        match event {
            Event::Begin => self.begin(now),
            Event::Answer(answer) => self.answer(&answer, now),
            Event::Read(read) => self.read(read, now),
            Event::Streams(streams) => self.streams(streams),
            Event::Asked(presence) => self.asked(presence, now),
            Event::Pushed(seen) => self.pushed(seen, now),
            Event::Alive => {
                let published = self.is_accepted();
                self.started(now);
                self.stop_publishing(published, now)
            }
            Event::StoredBefore => {
                self.accepted(now);
                self.look(Duration::ZERO, now)
            }
            Event::Reconnected => self.reconnected(now),
            Event::Denied if !self.is_accepted() => self.finish(Verdict::PermissionDenied),
            Event::Denied => Action::Wait,
            Event::Closed => self.closed(),
            Event::Due => self.due(now),
        }
    }

    fn finish(&mut self, verdict: Verdict) -> Action {
        self.done = true;
        Action::Finish(verdict)
    }

    fn begin(&mut self, now: Moment) -> Action {
        self.heard = now;
        self.accepted_at = now;
        if self.is_accepted() { self.look(Duration::ZERO, now) } else { self.publish(true, Duration::ZERO) }
    }

    fn publish(&mut self, with_message_id: bool, after: Duration) -> Action {
        self.under_way = UnderWay::Publish;
        let resend = self.resend;
        // Whatever comes of this one, the next is not the first any more.
        self.read_again = resend;
        self.resend = true;
        Action::Publish { resend, with_message_id, after }
    }

    /// Acceptance became known by other means than the publish's own answer: what may still be waiting to be published
    /// gives way to a read.
    fn stop_publishing(&mut self, accepted_before: bool, now: Moment) -> Action {
        if accepted_before || !self.is_accepted() { Action::Wait } else { self.look(Duration::ZERO, now) }
    }

    /// The end of a connection can leave a publish in doubt that had left before.
    fn closed(&mut self) -> Action {
        self.doubt |= self.under_way == UnderWay::Publish;
        self.finish(Verdict::Closed)
    }

    /// The delay after one more failure in a row.
    fn back_off(&mut self, first: Duration, longest: Duration) -> Duration {
        let delay = first.saturating_mul(1 << self.failures.min(16)).min(longest.max(first));
        self.failures += 1;
        delay
    }

    fn look(&mut self, after: Duration, now: Moment) -> Action {
        self.under_way = UnderWay::Read;
        self.looked = now;
        Action::Read { after }
    }

    fn accepted(&mut self, now: Moment) {
        if !self.is_accepted() {
            self.phase = Phase::Accepted;
            self.accepted_at = now;
            self.heard = now;
            self.refused = None;
            self.failures = 0;
        }
    }

    fn started(&mut self, now: Moment) {
        self.accepted(now);
        self.phase = Phase::Started;
        self.heard = now;
        // A sign of life answers the question that a lapse had raised, except for the deadline's.
        if self.lapse != Some(Lapse::Deadline) {
            self.lapse = None;
        }
    }

    fn answer(&mut self, answer: &Answer, now: Moment) -> Action {
        if self.is_accepted() {
            return self.back(now);
        }
        match answer {
            Answer::Stored if self.read_again => {
                self.accepted(now);
                if self.meaning == Meaning::Unknown {
                    self.meaning = Meaning::Stored;
                }
                self.look(Duration::ZERO, now)
            }
            Answer::Stored => {
                self.accepted(now);
                self.back(now)
            }
            Answer::Exists => {
                self.accepted(now);
                self.look(Duration::ZERO, now)
            }
            Answer::Duplicate => {
                self.doubt = true;
                self.look(Duration::ZERO, now)
            }
            Answer::InDoubt => {
                self.doubt = true;
                let after = self.back_off(DOUBT_DELAY, NO_RESPONDERS_DELAY);
                self.publish_or_give_up(after, now)
            }
            Answer::NoResponders if !self.asked_streams => {
                self.asked_streams = true;
                self.under_way = UnderWay::Streams;
                Action::AskStreams
            }
            Answer::NoResponders => self.publish_or_give_up(NO_RESPONDERS_DELAY, now),
            Answer::Full => self.refuse(Verdict::QueueFull, now),
            Answer::TooLarge => self.refuse(Verdict::TooLarge, now),
            Answer::Refused => self.refuse(Verdict::Refused, now),
            Answer::Closed => self.closed(),
        }
    }

    /// A re-send that is refused may repeat a call that has its outcome already.
    fn refuse(&mut self, verdict: Verdict, now: Moment) -> Action {
        if !self.read_again {
            return self.finish(verdict);
        }
        self.refused = Some(verdict);
        self.look(Duration::ZERO, now)
    }

    /// What was under way is back, with nothing that asks for more.
    fn back(&mut self, now: Moment) -> Action {
        self.under_way = UnderWay::Nothing;
        self.idle(now)
    }

    fn publish_or_give_up(&mut self, after: Duration, now: Moment) -> Action {
        if now + after >= self.limits.accept_by.min(self.limits.deadline) {
            return self.give_up_accepting();
        }
        self.publish(true, after)
    }

    fn give_up_accepting(&mut self) -> Action {
        let verdict = match self.refused {
            Some(refused) => refused,
            None if self.doubt => Verdict::AcceptanceUnknown,
            None => Verdict::NoQuorum,
        };
        self.finish(verdict)
    }

    fn streams(&mut self, streams: Streams) -> Action {
        match streams {
            Streams::NoMethod if !self.doubt => return self.finish(Verdict::NoSuchMethod),
            Streams::NoService if !self.doubt => return self.finish(Verdict::NoStream),
            Streams::Match => {}
            // Nobody could say: ask again after the next publish that nobody answers.
            Streams::NoMethod | Streams::NoService | Streams::Unknown => self.asked_streams = false,
        }
        self.publish(true, NO_RESPONDERS_DELAY)
    }

    fn read(&mut self, read: Result<Option<Seen>, ()>, now: Moment) -> Action {
        if read.is_ok() {
            self.failures = 0;
        }
        if read == Ok(None) && self.meaning == Meaning::Stored {
            self.meaning = Meaning::Ours;
        }
        match read {
            Ok(Some(seen)) => match self.seen(seen, now) {
                finish @ Action::Finish(_) => finish,
                _ => self.after_read(now),
            },
            Ok(None) if !self.is_accepted() => match self.refused {
                Some(verdict) => self.finish(verdict),
                None if self.is_late(now) => self.give_up_accepting(),
                // The server dropped the publish as a duplicate of one that is not finished, or of one that is
                // forgotten: without a message id it tells which.
                None => self.publish(false, Duration::ZERO),
            },
            Ok(None) => self.after_read(now),
            Err(()) if self.lapse.is_some() => self.after_read(now),
            Err(()) if !self.is_accepted() && self.is_late(now) => self.give_up_accepting(),
            Err(()) => {
                let after = self.back_off(READ_DELAY, self.limits.read_after);
                self.look(after, now)
            }
        }
    }

    /// A lapsed limit was followed by a read that did not bring the outcome: ask, then answer.
    fn after_read(&mut self, now: Moment) -> Action {
        match self.lapse {
            Some(Lapse::Deadline) => self.finish(Verdict::DeadlinePassed),
            Some(_) => {
                self.under_way = UnderWay::Workers;
                Action::AskWorkers
            }
            None => self.back(now),
        }
    }

    fn asked(&mut self, presence: Presence, now: Moment) -> Action {
        match (self.lapse, presence) {
            (None | Some(Lapse::Deadline), _) => self.back(now),
            (Some(_), Presence::Owner) => {
                self.started(now);
                self.back(now)
            }
            (Some(Lapse::Start), Presence::Workers) => self.finish(Verdict::NotStarted),
            (Some(Lapse::Start), Presence::Nobody) => self.finish(Verdict::NoWorker),
            (Some(Lapse::Silence), _) => self.finish(Verdict::Silent),
        }
    }

    /// A record that was stored just now.
    fn pushed(&mut self, seen: Seen, now: Moment) -> Action {
        let accepted_before = self.is_accepted();
        match self.seen(seen, now) {
            finish @ Action::Finish(_) => finish,
            _ => {
                if seen.kind == Kind::Claim {
                    self.started(now);
                }
                self.stop_publishing(accepted_before, now)
            }
        }
    }

    fn seen(&mut self, seen: Seen, now: Moment) -> Action {
        if self.is_anothers(seen.hash) {
            return self.finish(Verdict::IdReused);
        }
        self.meaning = Meaning::Ours;
        match seen.kind {
            Kind::Outcome => return self.finish(Verdict::Outcome),
            // A claim that was read may be a dead worker's: it proves a start, and is no sign of life.
            Kind::Claim if self.phase == Phase::Started => {}
            Kind::Claim => self.started(now),
            Kind::Released if seen.attempt > 0 => {
                self.started(now);
                self.phase = Phase::Released;
            }
            Kind::Released | Kind::CancelRequested | Kind::Unknown => self.accepted(now),
        }
        Action::Wait
    }

    fn reconnected(&mut self, now: Moment) -> Action {
        if self.is_accepted() {
            return self.look(Duration::ZERO, now);
        }
        // The answer to what was asked on the old connection does not come any more.
        self.doubt |= self.under_way == UnderWay::Publish;
        self.asked_streams &= self.under_way != UnderWay::Streams;
        self.refused = None;
        self.publish(true, Duration::ZERO)
    }

    fn due(&mut self, now: Moment) -> Action {
        if now >= self.limits.deadline && self.is_accepted() {
            if self.lapse == Some(Lapse::Deadline) {
                return self.finish(Verdict::DeadlinePassed);
            }
            self.lapse = Some(Lapse::Deadline);
            return self.look(Duration::ZERO, now);
        }
        self.idle(now)
    }

    /// Looks whether a limit has passed.
    fn idle(&mut self, now: Moment) -> Action {
        if !self.is_accepted() {
            return if self.is_late(now) { self.give_up_late() } else { Action::Wait };
        }
        if self.is_busy() {
            return Action::Wait;
        }
        if now >= self.limits.deadline {
            return self.due(now);
        }
        match self.limit() {
            Some((lapse, at)) if now >= at => {
                self.lapse = Some(lapse);
                self.look(Duration::ZERO, now)
            }
            _ if now >= self.next_look() => self.look(Duration::ZERO, now),
            _ => Action::Wait,
        }
    }

    /// Whether acceptance has been in doubt for as long as it may.
    fn is_late(&self, now: Moment) -> bool {
        now >= self.limits.accept_by.min(self.limits.deadline)
    }

    fn give_up_late(&mut self) -> Action {
        // What is under way may still be stored.
        self.doubt |= self.under_way == UnderWay::Publish;
        self.give_up_accepting()
    }
}

#[cfg(test)]
mod tests;
