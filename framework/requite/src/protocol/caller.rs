//! The caller's side of one call: publish until it is known to be stored, then wait, read and ask until it ends or a
//! limit passes. Once acceptance is known it never publishes again.

use std::time::Duration;

use super::time::Moment;
use crate::wire::{PayloadHash, record::Kind};

/// Between two publishes that nobody answered.
const NO_RESPONDERS_DELAY: Duration = Duration::from_millis(250);
/// Between two publishes that are in doubt by the server's own word.
const DOUBT_DELAY: Duration = Duration::from_millis(10);
/// How long after the deadline the last read may take.
const LAST_READ: Duration = Duration::from_millis(600);
/// Between two reads that failed.
const READ_DELAY: Duration = Duration::from_millis(250);

/// The limits of a call; a moment is absolute, a duration counts from the last sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Until when acceptance may stay in doubt.
    pub(crate) accept_by: Moment,
    /// How long after acceptance the handler must have started.
    pub(crate) start_within: Option<Duration>,
    /// The longest silence of a started handler.
    pub(crate) silent_for: Option<Duration>,
    pub(crate) deadline: Moment,
    /// After this much silence the record is read.
    pub(crate) read_after: Duration,
}

/// What a record says to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) hash: PayloadHash,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin,
    Answer(Answer),
    /// The record was read; `Err` if that failed. `Ok(None)` proves nothing.
    Read(Result<Option<Seen>, ()>),
    Streams(Streams),
    /// Whether the owner, or any worker at all, answered.
    Asked(Presence),
    /// The record came on the inbox.
    Pushed(Seen),
    /// A signal came: the handler runs.
    Alive,
    /// A worker says that the outcome is stored.
    StoredBefore,
    Reconnected,
    /// The server refused the publish.
    Denied,
    /// The time of [`Caller::wake_at`] has come.
    Due,
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored,
    Duplicate,
    Exists,
    InDoubt,
    NoResponders,
    Full,
    TooLarge,
    Refused,
    Closed,
}

/// Which streams there are for the request's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// There is one: its leader is not to be reached.
    Match,
    /// The service has a stream, but not for this method.
    NoMethod,
    NoService,
    /// Nobody could say.
    Unknown,
}

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// A worker runs this call.
    Owner,
    /// Workers serve the method, none runs this call as far as they say.
    Workers,
    Nobody,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publish the request, after this long.
    Publish {
        resend: bool,
        with_message_id: bool,
        after: Duration,
    },
    /// Read the record, after this long.
    Read {
        after: Duration,
    },
    /// Ask which streams take the request.
    AskStreams,
    /// Ask who runs the call.
    AskWorkers,
    /// Wait for the next event, or for [`Caller::wake_at`].
    Wait,
    Finish(Verdict),
}

/// How a call ends for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The last record that was seen is the outcome.
    Outcome,
    IdReused,
    TooLarge,
    QueueFull,
    NoSuchMethod,
    NoStream,
    PermissionDenied,
    Refused,
    /// Nobody took the request for as long as it was allowed.
    NoQuorum,
    Closed,
    /// May have been accepted; whether is not known.
    AcceptanceUnknown,
    /// Accepted; no worker serves the method.
    NoWorker,
    /// Accepted; the workers are busy.
    NotStarted,
    /// Started; nothing was heard for too long.
    Silent,
    /// The deadline passed.
    DeadlinePassed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not known to be stored.
    Accepting,
    Accepted,
    Started,
}

/// Why the workers are asked, or the record is read a last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lapse {
    Start,
    Silence,
    Deadline,
}

/// One call on its way.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    limits: Limits,
    hash: Option<PayloadHash>,
    resend: bool,
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
    /// There is no room for a re-send; what came of an earlier copy is still to be read.
    full: bool,
    busy: bool,
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
            phase: Phase::Accepting,
            accepted_at: Moment(0),
            heard: Moment(0),
            looked: Moment(0),
            doubt: false,
            asked_streams: false,
            read_again: false,
            full: false,
            busy: false,
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

    /// Whether the handler is known to have started.
    pub(crate) fn is_started(&self) -> bool {
        self.phase == Phase::Started
    }

    /// Whether an earlier publish of this call may have been stored, whatever the last one's answer was.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt
    }

    /// When to feed [`Event::Due`].
    pub(crate) fn wake_at(&self) -> Moment {
        if !self.is_accepted() {
            return self.limits.accept_by.min(self.limits.deadline);
        }
        if self.lapse == Some(Lapse::Deadline) {
            return self.limits.deadline + LAST_READ;
        }
        // What is under way is bounded in time and comes back by itself.
        if self.busy {
            return self.limits.deadline;
        }
        let limit = match self.phase {
            Phase::Started => self.limits.silent_for.map(|span| self.heard + span),
            _ => self.limits.start_within.map(|span| self.accepted_at + span),
        };
        self.next_look().min(self.limits.deadline).min(limit.unwrap_or(Moment::FAR))
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
            Event::Pushed(seen) => self.seen(seen, now),
            Event::Alive => {
                self.started(now);
                Action::Wait
            }
            Event::StoredBefore => {
                self.accepted(now);
                self.look(Duration::ZERO, now)
            }
            Event::Reconnected => self.reconnected(now),
            Event::Denied if !self.is_accepted() => self.finish(Verdict::PermissionDenied),
            Event::Denied => Action::Wait,
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
        self.busy = true;
        self.full = false;
        let resend = self.resend;
        // Whatever comes of this one, the next is not the first any more.
        self.read_again = resend;
        self.resend = true;
        Action::Publish { resend, with_message_id, after }
    }

    fn look(&mut self, after: Duration, now: Moment) -> Action {
        self.busy = true;
        self.looked = now;
        Action::Read { after }
    }

    fn accepted(&mut self, now: Moment) {
        if !self.is_accepted() {
            self.phase = Phase::Accepted;
            self.accepted_at = now;
            self.heard = now;
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
        self.busy = false;
        if self.is_accepted() {
            return self.idle(now);
        }
        match answer {
            Answer::Stored => {
                self.accepted(now);
                if self.read_again { self.look(Duration::ZERO, now) } else { self.idle(now) }
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
                self.publish_or_give_up(DOUBT_DELAY, now)
            }
            Answer::NoResponders if !self.asked_streams => {
                self.asked_streams = true;
                self.busy = true;
                Action::AskStreams
            }
            Answer::NoResponders => self.publish_or_give_up(NO_RESPONDERS_DELAY, now),
            Answer::Full if self.read_again => {
                self.full = true;
                self.look(Duration::ZERO, now)
            }
            Answer::Full => self.finish(Verdict::QueueFull),
            Answer::TooLarge => self.finish(Verdict::TooLarge),
            Answer::Refused => self.finish(Verdict::Refused),
            Answer::Closed => self.finish(Verdict::Closed),
        }
    }

    fn publish_or_give_up(&mut self, after: Duration, now: Moment) -> Action {
        if now + after >= self.limits.accept_by.min(self.limits.deadline) {
            return self.give_up_accepting();
        }
        self.publish(true, after)
    }

    fn give_up_accepting(&mut self) -> Action {
        let verdict = if self.doubt { Verdict::AcceptanceUnknown } else { Verdict::NoQuorum };
        self.finish(verdict)
    }

    fn streams(&mut self, streams: Streams) -> Action {
        self.busy = false;
        match streams {
            Streams::NoMethod if !self.doubt => self.finish(Verdict::NoSuchMethod),
            Streams::NoService if !self.doubt => self.finish(Verdict::NoStream),
            Streams::Match => self.publish(true, NO_RESPONDERS_DELAY),
            _ => {
                // Nobody could say: ask again after the next publish that nobody answers.
                self.asked_streams = false;
                self.publish(true, NO_RESPONDERS_DELAY)
            }
        }
    }

    fn read(&mut self, read: Result<Option<Seen>, ()>, now: Moment) -> Action {
        self.busy = false;
        match read {
            Ok(Some(seen)) => {
                if let action @ Action::Finish(_) = self.seen(seen, now) {
                    return action;
                }
                self.after_read(now)
            }
            Ok(None) if !self.is_accepted() && self.full => self.finish(Verdict::QueueFull),
            Ok(None) if !self.is_accepted() => {
                // The server dropped the publish as a duplicate of one that is not finished, or of one that is
                // forgotten: without a message id it tells which.
                if now >= self.limits.accept_by {
                    self.give_up_accepting()
                } else {
                    self.publish(false, Duration::ZERO)
                }
            }
            Ok(None) => self.after_read(now),
            Err(()) if self.lapse.is_some() => self.after_read(now),
            Err(()) if !self.is_accepted() && now >= self.limits.accept_by => self.give_up_accepting(),
            Err(()) => self.look(READ_DELAY, now),
        }
    }

    /// A lapsed limit was followed by a read that did not bring the outcome: ask, then answer.
    fn after_read(&mut self, now: Moment) -> Action {
        match self.lapse {
            Some(Lapse::Deadline) => self.finish(Verdict::DeadlinePassed),
            Some(_) => {
                self.busy = true;
                Action::AskWorkers
            }
            None => self.idle(now),
        }
    }

    fn asked(&mut self, presence: Presence, now: Moment) -> Action {
        self.busy = false;
        match (self.lapse, presence) {
            (None | Some(Lapse::Deadline), _) => self.idle(now),
            (Some(_), Presence::Owner) => {
                self.started(now);
                self.idle(now)
            }
            (Some(Lapse::Start), Presence::Workers) => self.finish(Verdict::NotStarted),
            (Some(Lapse::Start), Presence::Nobody) => self.finish(Verdict::NoWorker),
            (Some(Lapse::Silence), _) => self.finish(Verdict::Silent),
        }
    }

    fn seen(&mut self, seen: Seen, now: Moment) -> Action {
        if self.hash.is_some_and(|hash| hash != seen.hash) {
            return self.finish(Verdict::IdReused);
        }
        match seen.kind {
            Kind::Outcome => self.finish(Verdict::Outcome),
            // A claim may be a dead worker's: it proves a start, but only a new one is a sign of life.
            Kind::Claim => {
                if !self.is_started() {
                    self.started(now);
                }
                Action::Wait
            }
            Kind::Released | Kind::CancelRequested | Kind::Unknown => {
                self.accepted(now);
                Action::Wait
            }
        }
    }

    fn reconnected(&mut self, now: Moment) -> Action {
        if self.is_accepted() {
            return self.look(Duration::ZERO, now);
        }
        if self.busy {
            // The answer to what was asked on the old connection does not come any more.
            self.doubt = true;
        }
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

    /// Nothing is under way: look whether a limit has passed.
    fn idle(&mut self, now: Moment) -> Action {
        if self.busy {
            return self.give_up_if_late(now);
        }
        if now >= self.limits.deadline && self.is_accepted() {
            return self.due(now);
        }
        let lapsed = |limit: Option<Duration>, since: Moment| limit.is_some_and(|limit| now >= since + limit);
        match self.phase {
            Phase::Accepting => self.give_up_if_late(now),
            Phase::Accepted if lapsed(self.limits.start_within, self.accepted_at) => {
                self.lapse = Some(Lapse::Start);
                self.look(Duration::ZERO, now)
            }
            Phase::Started if lapsed(self.limits.silent_for, self.heard) => {
                self.lapse = Some(Lapse::Silence);
                self.look(Duration::ZERO, now)
            }
            _ if now >= self.next_look() => self.look(Duration::ZERO, now),
            _ => Action::Wait,
        }
    }

    fn give_up_if_late(&mut self, now: Moment) -> Action {
        if self.phase == Phase::Accepting && now >= self.limits.accept_by.min(self.limits.deadline) {
            // What is under way may still be stored.
            self.doubt |= self.busy;
            return self.give_up_accepting();
        }
        Action::Wait
    }
}
