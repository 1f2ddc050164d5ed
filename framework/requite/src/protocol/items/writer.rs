//! The writer of a stream: gathers items into frames, within its reader's credit, and puts each frame into the log once, or
//! sends it until the reader has it where nothing is stored.

use std::time::Duration;

pub(crate) use super::gather::Write;
use super::{
    gather::{Author, Gather},
    readers::Readers,
    unstored::Unstored,
};
use crate::{
    codec::ContentType,
    protocol::time::Moment,
    wire::{
        credit::Credit,
        frame::{End, WriterId},
    },
};

/// Between two tries to write a frame; doubles from the first to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a log that takes nothing is put up with.
const REFUSED_FOR: Duration = Duration::from_secs(15);

/// What is known of a frame in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Head {
    pub(crate) epoch: u32,
    pub(crate) writer: WriterId,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) end: Option<End>,
}

impl Head {
    /// The number of its last item, or of the one before it.
    pub(crate) fn last(&self) -> u64 {
        self.first.saturating_sub(1).saturating_add(self.count)
    }
}

/// What lies in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Empty,
    Frame(Head),
    /// Nothing that a writer of ours wrote.
    Foreign,
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, until something changes.
    Wait,
    /// Find the last slot that is taken.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has asked for anything yet.
    Idle,
    /// Looks for the end of the log.
    Finding,
    /// The first frame of this writer is on its way, and empty.
    Beginning,
    Open,
}

/// One writer of one direction of one call.
#[derive(Debug)]
pub(crate) struct Writer {
    epoch: u32,
    /// Whether its number follows from what it finds, until it has begun.
    joins: bool,
    writer: WriterId,
    /// In which items come.
    content_type: ContentType,
    /// Whether it is a caller's: attempts read it, each from the first item on.
    is_up: bool,
    state: State,
    /// Whether it goes on behind what an earlier writer has stored, or begins anew with item 1.
    resumes: bool,
    /// The slot of the frame that is on its way, or comes next.
    slot: u64,
    /// The last item that earlier writers have stored.
    found: u64,
    gather: Gather,
    readers: Readers,
    /// Whether the reader wants no more, and whoever comes after it is told so.
    is_left: bool,
    /// The frame on its way: written again, it says the same.
    sent: Option<Write>,
    /// Of a stream that is not stored.
    unstored: Option<Unstored>,
    again: Duration,
    /// Whether the frame on its way has been in doubt before.
    doubted: bool,
    refused_since: Option<Moment>,
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
            is_up: false,
            state: State::Idle,
            resumes: false,
            slot: 1,
            found: 0,
            gather: Gather::new(epoch),
            readers: Readers::default(),
            is_left: false,
            sent: None,
            unstored: None,
            again: AGAIN.0,
            doubted: false,
            refused_since: None,
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
        Self { unstored: Some(Unstored::new(epoch == 1)), ..Self::new(epoch, writer) }
    }

    /// The same with items in this encoding.
    pub(crate) fn of(self, content_type: ContentType) -> Self {
        Self { content_type, ..self }
    }

    /// The same of a caller's stream.
    pub(crate) fn up(self) -> Self {
        Self { is_up: true, ..self }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
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
            // What is on its way counts only once it is known to be stored.
            None => match &self.sent {
                Some(sent) if self.state == State::Open => sent.first - 1,
                _ => self.gather.first - 1,
            },
        }
    }

    /// Begins to write, behind what is stored or anew. What was begun already goes on.
    pub(crate) fn begin(&mut self, resumes: bool) {
        if self.state == State::Idle {
            self.resumes = resumes || self.joins;
            let is_first = self.epoch == 1 && !self.joins;
            self.state = if is_first || self.unstored.is_some() { State::Open } else { State::Finding };
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
    pub(crate) fn offer(&mut self, item: &[u8]) -> Result<bool, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if self.is_left {
            return Err(Broken::Left);
        }
        if self.gather.ending().is_some() {
            return Err(Broken::Ended);
        }
        self.begin(false);
        if self.state != State::Open || !self.gather.has_room() {
            return Ok(false);
        }
        self.gather.put(item);
        Ok(true)
    }

    /// Nothing comes behind what was taken.
    pub(crate) fn end(&mut self, end: End) {
        self.begin(false);
        self.gather.end(end);
    }

    /// Whether everything that was taken is stored, or read where it is not stored, the end too.
    pub(crate) fn is_flushed(&self) -> bool {
        let is_written = self.sent.is_none() && self.unstored.as_ref().is_none_or(Unstored::is_empty);
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

    pub(crate) fn stop(&mut self, why: Broken) {
        self.broken.get_or_insert(why);
    }

    /// What the reader says.
    pub(crate) fn credit(&mut self, credit: Credit, now: Moment) {
        self.readers.hear(credit, now);
        if credit.epoch != self.epoch {
            return;
        }
        self.gather.credit(credit);
        if let Some(unstored) = &mut self.unstored {
            unstored.acknowledge(credit.slot, credit.misses, now);
        }
    }

    /// When there is something to do whatever else happens: all readers have left.
    pub(crate) fn wakes_at(&self) -> Moment {
        self.readers.ends().filter(|_| !self.is_left).unwrap_or(Moment::FAR)
    }

    /// Nobody reads any more. An attempt that still comes must not wait for what nobody sends.
    fn leave(&mut self) {
        let is_ours = self.has_begun() || !self.joins;
        if self.is_up && self.unstored.is_none() && is_ours {
            self.is_left = true;
            self.end(End::Abandoned);
        } else {
            self.stop(Broken::Left);
        }
    }

    /// What there is to do; while a frame is on its way to be stored, nothing.
    pub(crate) fn next(&mut self, now: Moment) -> Action {
        if now >= self.wakes_at() {
            self.leave();
        }
        if self.broken.is_some() || self.sent.is_some() {
            return Action::Wait;
        }
        let author = self.author();
        match (self.state, &mut self.unstored) {
            (State::Idle, _) => Action::Wait,
            (State::Finding, _) => Action::Find(Duration::ZERO),
            (State::Beginning, _) => {
                let empty = author.empty(self.slot, self.gather.first, false);
                self.write(empty)
            }
            (State::Open, None) => match self.gather.next_frame(author, self.slot) {
                Some(write) => self.write(write),
                None => Action::Wait,
            },
            (State::Open, Some(unstored)) => match unstored.next(author, &mut self.gather, now) {
                Ok(write) => Action::Send(write),
                Err(Moment::FAR) => Action::Wait,
                Err(until) => Action::WaitUntil(until),
            },
        }
    }

    fn author(&self) -> Author {
        let Self { epoch, writer, content_type, .. } = *self;
        Author { epoch, writer, content_type, is_stored: self.unstored.is_none() }
    }

    fn write(&mut self, write: Write) -> Action {
        self.sent = Some(write.clone());
        Action::Write(write)
    }

    /// The last slot that is taken, and what lies there; `Err` if that could not be found out.
    pub(crate) fn found_last(&mut self, found: Result<Option<(u64, Slot)>, ()>, now: Moment) -> Action {
        let Ok(last) = found else {
            return Action::Find(self.wait());
        };
        self.again = AGAIN.0;
        // Behind nobody there is nobody to be shut out.
        self.state = if last.is_none() && self.joins { State::Open } else { State::Beginning };
        if let Some((slot, there)) = last {
            self.slot = slot;
            self.pass(there);
        }
        self.next(now)
    }

    /// Somebody else has the slot: on to the next one, unless whoever has it came later.
    fn pass(&mut self, there: Slot) {
        self.slot += 1;
        let Slot::Frame(head) = there else {
            return;
        };
        let has_begun = self.state == State::Open;
        if self.joins && !has_begun {
            self.epoch = self.epoch.max(head.epoch.saturating_add(1));
            self.gather.drop_credit();
            if head.end == Some(End::Finished) {
                self.stop(Broken::Ended);
            }
        }
        if head.epoch >= self.epoch {
            self.stop(Broken::Replaced);
        }
        if self.resumes && !has_begun {
            self.found = head.last();
            self.gather.first = self.found.saturating_add(1);
        }
    }

    /// The answer to the write.
    pub(crate) fn answered(&mut self, answer: Answer, now: Moment) -> Action {
        match answer {
            Answer::Stored => self.stored(now),
            Answer::InDoubt => {
                // Where the first look finds nothing, it may have been at a replica that lags.
                let after = if self.doubted { self.wait() } else { Duration::ZERO };
                self.doubted = true;
                Action::Look { slot: self.slot, after }
            }
            Answer::Refused(text) => {
                let since = *self.refused_since.get_or_insert(now);
                if now.since(since) >= REFUSED_FOR {
                    self.stop(Broken::Refused(text));
                    return Action::Wait;
                }
                Action::Look { slot: self.slot, after: self.wait() }
            }
            Answer::Closed => {
                self.stop(Broken::Closed);
                Action::Wait
            }
        }
    }

    /// What lies in the slot of a write that is in doubt; `Err` if nobody knows.
    pub(crate) fn seen(&mut self, slot: Result<Slot, ()>, now: Moment) -> Action {
        if self.broken.is_some() {
            return Action::Wait;
        }
        match slot {
            Err(()) => Action::Look { slot: self.slot, after: self.wait() },
            Ok(Slot::Frame(head)) if head.writer == self.writer => self.stored(now),
            Ok(Slot::Empty) => self.write_again(),
            Ok(there) => {
                self.pass(there);
                if self.broken.is_some() {
                    return Action::Wait;
                }
                self.write_again()
            }
        }
    }

    fn write_again(&mut self) -> Action {
        let Some(sent) = self.sent.take() else {
            return Action::Wait;
        };
        // What a writer begins with follows from what is before it.
        let write = match self.state {
            State::Open => Write { slot: self.slot, ..sent },
            _ => self.author().empty(self.slot, self.gather.first, false),
        };
        self.write(write)
    }

    fn wait(&mut self) -> Duration {
        let wait = self.again;
        self.again = (wait * 2).min(AGAIN.1);
        wait
    }

    fn stored(&mut self, now: Moment) -> Action {
        self.again = AGAIN.0;
        self.doubted = false;
        self.refused_since = None;
        self.slot += 1;
        self.sent = None;
        self.state = State::Open;
        self.next(now)
    }
}
