//! The writer of a stream: gathers items into frames, within its reader's credit, and puts each frame into the log once, or
//! sends it until the reader has it where nothing is stored.

use std::time::Duration;

pub(crate) use super::gather::Write;
use super::{
    FLIGHT,
    flight::{AGAIN, Flight},
    gather::{Author, Gather},
    passed::Passed,
    readers::Readers,
    slot::Slot,
    unstored::Unstored,
};
use crate::{
    codec::ContentType,
    protocol::time::Moment,
    wire::{
        credit::Credit,
        frame::{Encoded, End, LAST, WriterId},
    },
};

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored,
    /// The slot is taken, or nobody knows.
    InDoubt,
    /// There is no log, or it is full, or it refuses.
    Refused(String),
    Closed,
}

/// Why nothing more is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// A later writer has the stream.
    Replaced,
    /// The log takes nothing.
    Refused(String),
    /// The connection is closed for good.
    Closed,
    /// The reader wants no more.
    Left,
    /// Whoever wrote has no right to any more, or nobody is there to read it.
    Stopped,
    /// Nothing comes behind the end.
    Ended,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Nothing, until something changes.
    Wait,
    /// Find a slot that is taken, with none behind it for long.
    Find(Duration),
    /// Look what lies in the slot.
    Look { slot: u64, after: Duration },
    /// Store a frame in a slot that has to be empty.
    Write(Write),
    /// Send a frame, and go on.
    Send(Write),
    /// Nothing, until then or until something changes.
    WaitUntil(Moment),
}

/// Where a writer stands with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Nobody has asked for anything yet.
    Idle,
    /// Looks for the end of the log, or is about to.
    Finding {
        asked: bool,
    },
    /// Passes the last frames, to the first slot that is empty.
    Passing,
    /// The first frame of this writer is on its way, and empty.
    Beginning,
    Open,
}

/// One writer of one direction of one call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    epoch: u32,
    /// Whether its number follows from what it finds, until it has begun.
    joins: bool,
    writer: WriterId,
    /// In which items come.
    content_type: ContentType,
    /// Whether it is somebody else's until it is used.
    is_attached: bool,
    /// Whether it is a caller's: attempts read it, each from the first item on.
    is_up: bool,
    state: State,
    /// Whether it goes on behind what an earlier writer has stored, or begins anew with item 1.
    resumes: bool,
    /// The slot that comes next.
    slot: u64,
    passed: Passed,
    /// The last item that earlier writers have stored.
    found: u64,
    gather: Gather,
    /// What is on its way to be stored.
    flight: Flight,
    readers: Readers,
    /// Whether the reader wants no more, and only what was taken before is still written.
    is_left: bool,
    /// Whether nothing more is taken in: what was, is all.
    is_sealed: bool,
    /// Of a stream that is not stored.
    unstored: Option<Unstored>,
    /// Before it looks again.
    again: Duration,
    broken: Option<Broken>,
}

impl Writer {
    /// A writer that finds nothing before it if it is the first: it may send at once. A later one looks for the end of the
    /// log, and waits for credit.
    pub(crate) fn new(epoch: u32, writer: WriterId) -> Self {
        Self {
            epoch,
            joins: false,
            writer,
            content_type: ContentType::MessagePack,
            is_attached: false,
            is_up: false,
            state: State::Idle,
            resumes: false,
            slot: 1,
            passed: Passed::default(),
            found: 0,
            gather: Gather::new(epoch),
            flight: Flight::default(),
            readers: Readers::default(),
            is_left: false,
            is_sealed: false,
            unstored: None,
            again: AGAIN.0,
            broken: None,
        }
    }

    /// A writer that does not know how many came before it: its number follows the last one's, and it goes on behind what
    /// that has stored.
    pub(crate) fn joining(writer: WriterId) -> Self {
        Self { joins: true, ..Self::new(1, writer) }
    }

    /// The writer of a stream that is not stored: it begins with item 1, whoever came before it.
    pub(crate) fn unstored(epoch: u32, writer: WriterId) -> Self {
        let unstored = Some(Unstored::new(epoch == 1));
        Self { unstored, gather: Gather::unstored(epoch), ..Self::new(epoch, writer) }
    }

    /// The same with items in this encoding.
    pub(crate) fn of(self, content_type: ContentType) -> Self {
        Self { content_type, ..self }
    }

    /// The same where no message takes a larger item.
    pub(crate) fn fitting(mut self, largest_item: usize) -> Self {
        self.gather.fit(largest_item);
        self
    }

    /// The same of a caller's stream.
    pub(crate) fn up(self) -> Self {
        Self { is_up: true, ..self }
    }

    /// The same of somebody else's call, whose stream is left alone until it is used.
    pub(crate) fn attached(self) -> Self {
        Self { is_attached: true, ..self }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Why what was taken is not certain to be stored, or read where it is not stored.
    pub(crate) fn fails(&self) -> Option<Broken> {
        let has_lost = self.unstored.as_ref().is_some_and(Unstored::has_lost);
        has_lost.then_some(Broken::Left).or_else(|| self.broken.clone())
    }

    /// The last item of this writer, those that are not written yet too.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn last(&self) -> u64 {
        self.gather.last()
    }

    /// The last item that is stored, of this writer or of those that it goes on behind; or that the reader has.
    pub(crate) fn stored_by_now(&self) -> u64 {
        match &self.unstored {
            Some(unstored) => unstored.read_by_now(&self.gather),
            None => self.flight.settled(),
        }
    }

    /// Begins to write, behind what is stored or anew. What was begun already goes on.
    pub(crate) fn begin(&mut self, resumes: bool) {
        if self.state == State::Idle {
            self.resumes = resumes || self.joins;
            let is_first = self.epoch == 1 && !self.joins;
            self.state = if is_first || self.unstored.is_some() {
                State::Open
            } else {
                State::Finding { asked: false }
            };
        }
    }

    /// Whether anything was asked for.
    pub(crate) fn has_begun(&self) -> bool {
        self.state != State::Idle
    }

    /// How many items earlier writers have stored, once that is certain: none of them can add any more.
    pub(crate) fn found(&self) -> Option<u64> {
        (self.state == State::Open).then_some(self.found)
    }

    /// Takes an item in, if there is credit for it; whether it has.
    pub(crate) fn offer(&mut self, item: &mut Encoded) -> Result<bool, Broken> {
        let has_room = self.has_room()?;
        if has_room {
            self.gather.put_own(item);
        }
        Ok(has_room)
    }

    /// The same for whoever encodes nothing.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn offer_bytes(&mut self, item: &[u8]) -> Result<bool, Broken> {
        let mut own = Encoded::default();
        own.anew().extend_from_slice(item);
        self.offer(&mut own)
    }

    /// Whether an item can be taken in.
    fn has_room(&mut self) -> Result<bool, Broken> {
        // Whatever came of the call behind that.
        if self.is_left {
            return Err(Broken::Left);
        }
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if self.is_sealed {
            return Err(Broken::Stopped);
        }
        if self.gather.ending().is_some() {
            return Err(Broken::Ended);
        }
        self.begin(false);
        Ok(self.state == State::Open && self.gather.has_room())
    }

    /// Takes nothing more in, and goes on with what it has.
    pub(crate) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Nothing comes behind what was taken.
    pub(crate) fn end(&mut self, end: End) {
        self.begin(false);
        self.gather.end(end);
    }

    /// Whether everything that was taken is stored, or read where it is not stored, the end too.
    pub(crate) fn is_flushed(&self) -> bool {
        if self.is_left
            && let Some(unstored) = &self.unstored
        {
            return !unstored.has_lost();
        }
        let is_written = self.flight.is_empty() && self.unstored.as_ref().is_none_or(Unstored::is_empty);
        matches!(self.state, State::Idle | State::Open) && is_written && self.gather.is_empty()
    }

    /// Whoever waits until everything is written is not to wait for the reader to say so by itself.
    pub(crate) fn ask(&mut self) {
        if let Some(unstored) = &mut self.unstored {
            unstored.ask();
        }
    }

    /// Whether an end was asked for.
    pub(crate) fn has_ended(&self) -> bool {
        self.gather.ending().is_some()
    }

    /// Nobody waits for the call any more. What is not stored goes on for as long as its reader is heard within `idle`.
    pub(crate) fn leave_alone(&mut self, idle: Duration, now: Moment) {
        match self.unstored {
            Some(_) if self.is_left => self.stop(Broken::Left),
            Some(_) => self.readers.lasts(idle, now),
            None => {}
        }
    }

    pub(crate) fn stop(&mut self, why: Broken) {
        self.broken.get_or_insert(why);
    }

    /// What the reader says.
    pub(crate) fn credit(&mut self, credit: Credit, now: Moment) {
        self.readers.hear(credit, now);
        // Nothing of this one is taken in any more. Where it waits for room it would not hear of that by writing.
        if credit.epoch > self.epoch && self.state == State::Open {
            self.stop(Broken::Replaced);
        }
        self.broken = self.broken.take().or_else(|| self.readers.miss(credit, self.epoch, self.writer));
        if credit.epoch != self.epoch {
            return;
        }
        self.gather.credit(credit);
        if let Some(unstored) = &mut self.unstored {
            // Nobody has seen to it that there is one only.
            if ![self.writer, WriterId::default()].contains(&credit.writer) {
                self.broken.get_or_insert(Broken::Replaced);
                return;
            }
            unstored.acknowledge(credit, &mut self.gather, now);
        }
    }

    /// When there is something to do whatever else happens: all readers have left.
    pub(crate) fn wakes_at(&self) -> Moment {
        let has_gone_on = self.is_left || self.broken.is_some();
        self.readers.ends().filter(|_| !has_gone_on).unwrap_or(Moment::FAR)
    }

    /// Nobody reads any more. What was taken is still stored: whoever reads later must not think that less was all, and
    /// an attempt that still comes must not wait for what nobody sends. What is not stored is gone, and that attempt told so as
    /// long as somebody waits for its call.
    fn leave(&mut self) {
        let is_ours = self.has_begun() || !(self.joins || self.is_attached);
        let has_no_later = self.unstored.is_some() && (!self.is_up || self.readers.is_alone());
        if has_no_later || !is_ours {
            return self.stop(Broken::Left);
        }
        self.is_left = true;
        if let Some(unstored) = &mut self.unstored {
            unstored.lose(&mut self.gather);
        }
        if self.is_up {
            self.end(End::Abandoned);
        }
    }

    /// What there is to do, beside what was asked for before and is not answered yet.
    pub(crate) fn next(&mut self, now: Moment) -> Action {
        if now >= self.wakes_at() {
            self.leave();
        }
        // Nobody is there to hear of the end.
        let is_unheard = self.is_left && self.unstored.is_some() && self.readers.have_left();
        if self.broken.is_some() || is_unheard {
            return Action::Wait;
        }
        let author = self.author();
        match (self.state, &mut self.unstored) {
            (State::Idle | State::Passing | State::Beginning | State::Finding { asked: true }, _) => {
                Action::Wait
            }
            (State::Finding { asked: false }, _) => {
                self.state = State::Finding { asked: true };
                Action::Find(Duration::ZERO)
            }
            (State::Open, None) => match self.flight.next(author, &mut self.gather, self.slot) {
                Some(write) => {
                    self.slot += 1;
                    Action::Write(write)
                }
                None => Action::Wait,
            },
            (State::Open, Some(unstored)) => match unstored.next(author, &mut self.gather, now) {
                Ok(write) => Action::Send(write),
                Err(Moment::FAR) => Action::Wait,
                Err(until) => Action::WaitUntil(until),
            },
        }
    }

    /// The next frame to send where nothing is stored, if it is full and it is its turn; what else there is to do waits for
    /// [`next`](Self::next). Whether that has to be asked, too.
    pub(crate) fn next_full(&mut self, now: Moment) -> (Option<Write>, bool) {
        let author = self.author();
        match &mut self.unstored {
            Some(unstored) if self.state == State::Open && self.broken.is_none() => {
                let is_timed = !unstored.is_empty();
                let write = unstored.next_full(author, &mut self.gather, now);
                (write, !is_timed || !self.gather.is_empty())
            }
            _ => (None, true),
        }
    }

    fn author(&self) -> Author {
        let Self { epoch, writer, content_type, .. } = *self;
        Author { epoch, writer, content_type, is_stored: self.unstored.is_none(), settled: 0 }
    }

    /// A slot that is taken, if any is, and what lies there; `Err` if that could not be found out.
    pub(crate) fn found_last(&mut self, found: Result<Option<(u64, Slot)>, ()>) -> Action {
        match found {
            Err(()) => Action::Find(self.wait()),
            // Behind nobody there is nobody to be shut out.
            Ok(None) if self.joins => {
                self.state = State::Open;
                Action::Wait
            }
            Ok(None) => self.begin_here(),
            Ok(Some((slot, there))) => {
                self.slot = match there {
                    // When that was written, all before these was known to be stored.
                    Slot::Frame(head) => {
                        self.passed.ahead(head);
                        slot.saturating_sub(FLIGHT as u64 - 1).max(1)
                    }
                    // Slots before it may be empty, and stay so.
                    Slot::Empty | Slot::Foreign => 1,
                };
                (self.state, self.again) = (State::Passing, AGAIN.0);
                Action::Look { slot: self.slot, after: Duration::ZERO }
            }
        }
    }

    /// Writes the frame that shuts out whoever came before.
    fn begin_here(&mut self) -> Action {
        let (last, end) = self.passed.last();
        if self.joins {
            self.epoch = self.passed.epoch().saturating_add(1);
            if self.epoch > 1 {
                self.gather.drop_credit();
            }
            if end == Some(End::Finished) {
                self.stop(Broken::Ended);
                return Action::Wait;
            }
        }
        if self.resumes {
            // Nobody ever sent so many: a frame was forged. Readers would not take what comes behind it.
            if last > LAST / 2 {
                self.stop(Broken::Refused(format!("an item {last} cannot be there")));
                return Action::Wait;
            }
            self.found = last;
            self.gather.first = last.saturating_add(1);
        }
        self.state = State::Beginning;
        let settled = self.gather.first - 1;
        let author = Author { settled, ..self.author() };
        let empty = self.flight.begin(author.empty(self.slot, self.gather.first, false));
        self.slot += 1;
        Action::Write(empty)
    }

    /// Whether a frame in a slot of the log is a later writer's, or one that came at the same time and was faster.
    fn is_shut_out_by(&mut self, there: Slot) -> bool {
        let joins = self.joins && self.state != State::Open;
        match there {
            Slot::Frame(head) if head.epoch >= self.epoch && !joins => self.stop(Broken::Replaced),
            Slot::Frame(head) => self.passed.push(head),
            Slot::Empty | Slot::Foreign => {}
        }
        self.broken.is_some()
    }

    /// The answer to a write into this slot.
    pub(crate) fn answered(&mut self, slot: u64, answer: Answer, now: Moment) -> Action {
        match answer {
            Answer::Stored => self.stored(slot),
            Answer::InDoubt => return Action::Look { slot, after: self.flight.doubt(slot) },
            Answer::Refused(text) => match self.flight.refused(slot, now) {
                Some(after) => return Action::Look { slot, after },
                None => self.stop(Broken::Refused(text)),
            },
            Answer::Closed => self.stop(Broken::Closed),
        }
        Action::Wait
    }

    fn stored(&mut self, slot: u64) {
        self.flight.stored(slot, &mut self.gather);
        self.readers.begin(slot);
        self.state = State::Open;
    }

    /// What lies in the slot that was looked at; `Err` if nobody knows.
    pub(crate) fn seen(&mut self, slot: u64, there: Result<Slot, ()>) -> Action {
        if self.broken.is_some() {
            return Action::Wait;
        }
        let is_passing = self.state == State::Passing;
        match there {
            Err(()) if is_passing => return Action::Look { slot, after: self.wait() },
            Err(()) => {
                // A log that is not there cannot be read either: only another refusal says that it is still not there.
                let again = self.flight.again_if_refused(slot).map(Action::Write);
                return again.unwrap_or_else(|| Action::Look { slot, after: self.flight.wait(slot) });
            }
            Ok(Slot::Empty) if is_passing => return self.begin_here(),
            Ok(Slot::Empty) => return self.flight.again(slot).map_or(Action::Wait, Action::Write),
            Ok(Slot::Frame(head)) if head.writer == self.writer => self.stored(slot),
            Ok(there) => {
                if self.is_shut_out_by(there) {
                    return Action::Wait;
                }
                match self.state {
                    State::Passing => {
                        self.slot += 1;
                        return Action::Look { slot: self.slot, after: Duration::ZERO };
                    }
                    State::Beginning => return self.begin_here(),
                    _ => self.flight.displaced(slot),
                }
            }
        }
        Action::Wait
    }

    fn wait(&mut self) -> Duration {
        let wait = self.again;
        self.again = (wait * 2).min(AGAIN.1);
        wait
    }
}
