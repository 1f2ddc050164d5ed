//! The writing end of a stream: producers offer items, a task writes them in frames and hears of credit.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::{Notify, broadcast::error::RecvError};

use super::{
    alarm::Alarm,
    lane::{Lane, Unread, credit_of},
};
use crate::{
    broker::{Broker, Event, SendError, Subscription},
    error::SinkError,
    protocol::{
        items::{
            REFUSED_FOR, SAID_EVERY,
            slot::Slot,
            writer::{Action, Answer, Broken, Writer},
        },
        time::Moment,
    },
    turns,
    wire::frame::{Encoded, End},
};

/// What a producer and the writing task share.
#[derive(Debug)]
pub(crate) struct Outflow {
    lane: Lane,
    writer: Mutex<Writer>,
    /// Wakes the task: something was taken in, or it is over.
    taken: Notify,
    /// Wakes whoever waits for room, for the end, or for what was found.
    moved: Notify,
    /// When the reader was last heard.
    heard: AtomicU64,
    idle: Duration,
    largest: usize,
    /// Whether it belongs to somebody else for as long as it is not used.
    is_idle_until_used: bool,
    /// Whether the task runs: before, the stream may be another's.
    may_write: AtomicBool,
    /// Nobody waits for the call any more.
    is_alone: AtomicBool,
    /// Whether the producer is to let others run before it goes on.
    owes_turn: AtomicBool,
}

/// Frames that a producer sends by itself before the connection gets to write them: more would not stay in the cache.
const TURN: u64 = 4;

/// What came of what the writer asked for.
enum Done {
    Found(Result<Option<(u64, Slot)>, Unread>),
    Seen(u64, Result<Slot, Unread>),
    Written(u64, Answer),
}

type Operation = Pin<Box<dyn Future<Output = Done> + Send>>;

impl Outflow {
    pub(crate) fn new(lane: Lane, writer: Writer, idle: Duration) -> Self {
        let heard = AtomicU64::new(lane.hears_from().0);
        let largest = lane.largest_item();
        let (taken, moved) = (Notify::new(), Notify::new());
        let writer = Mutex::new(writer.of(lane.content_type).fitting(largest));
        let (is_idle_until_used, may_write) = (false, AtomicBool::new(false));
        let (is_alone, owes_turn) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            lane,
            writer,
            taken,
            moved,
            heard,
            idle,
            largest,
            is_idle_until_used,
            may_write,
            is_alone,
            owes_turn,
        }
    }

    /// Leaves the stream to whoever else writes it until something is sent.
    pub(crate) fn idle_until_used(mut self) -> Self {
        self.is_idle_until_used = true;
        let writer = self.writer.into_inner().expect("the writer does not panic");
        Self { writer: Mutex::new(writer.attached()), ..self }
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.lane.is_stored
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("the writer does not panic")
    }

    /// Takes an item in as soon as there is room.
    pub(crate) async fn send(&self, item: &mut Encoded) -> Result<(), SinkError> {
        let bytes = item.item().len();
        if bytes > self.largest {
            return Err(SinkError::TooLarge { bytes, most: self.largest });
        }
        // Before it is offered: an item that was taken is not to be cancelled.
        if self.owes_turn.load(Ordering::Relaxed) {
            self.owes_turn.store(false, Ordering::Relaxed);
            turns::pass().await;
        }
        if self.offer(item)? {
            return Ok(());
        }
        let began = self.lane.broker.now();
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            // Registered before the look: a change in between wakes us.
            moved.as_mut().enable();
            if self.offer(item)? {
                return Ok(());
            }
            self.moved_in_time(began, moved).await?;
        }
    }

    /// Takes an item in, if there is room; whether there was. What is not stored goes out from here once it fills a frame,
    /// which spares the task a turn for each.
    fn offer(&self, item: &mut Encoded) -> Result<bool, SinkError> {
        let mut writer = self.writer();
        let is_taken = writer.offer(item).map_err(|broken| self.error(broken))?;
        let (full, has_more) = match !self.lane.is_stored && self.may_write.load(Ordering::Acquire) {
            true => writer.next_full(self.lane.broker.now()),
            false => (None, true),
        };
        // Handed over before the next one can be. Where the connection is behind it lies there all the same, within the credit:
        // an item that was taken is not to be cancelled.
        let owes_turn = full.as_ref().is_some_and(|full| full.slot.is_multiple_of(TURN));
        let sent = full.and_then(|full| self.lane.send(full).now_or_never());
        drop(writer);
        if has_more {
            self.taken.notify_one();
        }
        if owes_turn {
            self.owes_turn.store(true, Ordering::Relaxed);
        }
        self.sent(sent.unwrap_or(Ok(())));
        Ok(is_taken)
    }

    fn sent(&self, sent: Result<(), SendError>) {
        if let Err(error) = sent {
            self.stop(Broken::Refused(error.to_string()));
        }
    }

    /// How many items earlier writers have stored, behind which this one goes on.
    pub(crate) async fn stored(&self) -> Result<u64, SinkError> {
        self.writer().begin(true);
        self.taken.notify_one();
        self.when(|writer| writer.found()).await
    }

    /// Resolves when all that was taken is stored, or read where it is not stored.
    pub(crate) async fn flush(&self) -> Result<(), SinkError> {
        self.writer().ask();
        self.taken.notify_one();
        self.when(|writer| writer.is_flushed().then_some(())).await
    }

    /// Takes nothing more in: it is counted what there is.
    pub(crate) fn seal(&self) {
        self.writer().seal();
        self.moved.notify_waiters();
    }

    /// Says that nothing comes behind what was taken.
    pub(crate) fn end(&self, end: End) {
        self.writer().end(end);
        self.taken.notify_one();
    }

    /// Says that nothing comes behind what was taken, and that it was not all. Of a stream that was left alone it says nothing
    /// any more, also not that somebody is there who might write.
    pub(crate) fn give_up(&self) {
        if self.is_idle_until_used && !self.writer().has_begun() {
            self.stop(Broken::Stopped);
        } else {
            self.end(End::Abandoned);
        }
    }

    /// Nobody waits for the call any more: what was taken is written to its end, if that was said.
    pub(crate) fn leave(&self) {
        let mut writer = self.writer();
        if !writer.has_ended() {
            writer.stop(Broken::Stopped);
        }
        writer.leave_alone(self.idle, self.lane.broker.now());
        drop(writer);
        self.is_alone.store(true, Ordering::Release);
        self.taken.notify_one();
        self.moved.notify_waiters();
    }

    /// The number of the last item that is stored.
    pub(crate) fn stored_by_now(&self) -> u64 {
        self.writer().stored_by_now()
    }

    /// Resolves when anything is asked of it.
    pub(crate) async fn used(&self) {
        while !self.writer().has_begun() {
            self.taken.notified().await;
        }
    }

    /// Nothing more is written.
    pub(crate) fn stop(&self, why: Broken) {
        self.writer().stop(why);
        self.taken.notify_one();
        self.moved.notify_waiters();
    }

    /// Whether that was so because whoever wrote has no right to any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.writer().broken() == Some(&Broken::Stopped)
    }

    /// The reader's process lives.
    pub(crate) fn hear(&self) {
        self.heard.store(self.lane.broker.now().0, Ordering::Release);
    }

    async fn when<T>(&self, ready: impl Fn(&Writer) -> Option<T>) -> Result<T, SinkError> {
        let began = self.lane.broker.now();
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            {
                let writer = self.writer();
                if let Some(ready) = ready(&writer) {
                    return Ok(ready);
                }
                if let Some(broken) = writer.fails() {
                    return Err(self.error(broken));
                }
            }
            if self.lane.is_stored {
                moved.await;
            } else {
                // It is the reader who is waited for, and not the server.
                self.moved_in_time(began, moved).await?;
            }
        }
    }

    /// Waits for a change, unless nothing was heard of the reader for too long.
    async fn moved_in_time(&self, began: Moment, moved: impl Future<Output = ()>) -> Result<(), SinkError> {
        let heard = Moment(self.heard.load(Ordering::Acquire));
        let (now, silent_at) = (self.lane.broker.now(), began.max(heard) + self.idle);
        if now >= silent_at {
            return Err(SinkError::Silent { idle: self.idle });
        }
        let _ = tokio::time::timeout(silent_at.since(now), moved).await;
        Ok(())
    }

    fn error(&self, broken: Broken) -> SinkError {
        match broken {
            Broken::Replaced => SinkError::Replaced,
            Broken::Refused(text) => SinkError::Refused { text },
            Broken::Closed => SinkError::Closed,
            Broken::Left => SinkError::Left,
            Broken::Stopped if self.lane.is_workers => SinkError::Stopped,
            Broken::Stopped | Broken::Ended => SinkError::Ended,
        }
    }

    /// Writes until nothing can be written any more, or all is written up to the end.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut events = self.lane.broker.events();
        let Ok(mut credits) = self.lane.broker.subscribe(self.lane.credit.clone()).await else {
            return self.stop(Broken::Closed);
        };
        self.may_write.store(true, Ordering::Release);
        let (mut operations, mut action) = (FuturesUnordered::<Operation>::new(), Action::Wait);
        let (mut gone, mut alarm) = (None, Alarm::new());
        let mut alive = tokio::time::interval(SAID_EVERY.min(self.idle / 3));
        loop {
            if action == Action::Wait {
                action = self.next().await;
            }
            let now = self.lane.broker.now();
            let mut wake_at = self.writer().wakes_at();
            match std::mem::replace(&mut action, Action::Wait) {
                Action::Wait => {}
                Action::WaitUntil(until) => wake_at = wake_at.min(until),
                other => {
                    operations.push(self.operation(other));
                    // What is on its way has left room.
                    self.moved.notify_waiters();
                    continue;
                }
            }
            if operations.is_empty() && self.is_done() {
                return self.moved.notify_waiters();
            }
            tokio::select! {
                biased;
                Some(done) = operations.next() => {
                    action = self.done(done, &mut gone);
                    self.moved.notify_waiters();
                }
                () = self.taken.notified() => {}
                message = credits.next() => {
                    let Some(message) = message else {
                        return self.stop(Broken::Closed);
                    };
                    if let Some(credit) = credit_of(&message, &self.lane.credit) {
                        self.hear();
                        self.writer().credit(credit, self.lane.broker.now());
                        self.moved.notify_waiters();
                    }
                }
                event = events.recv() => self.heard_of(event),
                _ = alive.tick(), if self.lane.says_alive() && !self.is_over() => self.lane.say_alive().await,
                () = alarm.rings(wake_at, now) => {}
            }
        }
    }

    /// What the connection says.
    fn heard_of(&self, event: Result<Event, RecvError>) {
        match event {
            Ok(Event::Denied { subject }) => {
                if let Some(text) = self.lane.refusal(&subject) {
                    self.stop(Broken::Refused(text));
                }
            }
            Ok(Event::Closed) | Err(RecvError::Closed) => self.stop(Broken::Closed),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
        }
    }

    /// What is to be done now, once all that can be sent is.
    async fn next(&self) -> Action {
        loop {
            let sending = {
                let (mut writer, now) = (self.writer(), self.lane.broker.now());
                if now >= writer.wakes_at() {
                    // Whoever waits for room gets none any more.
                    self.moved.notify_waiters();
                }
                match writer.next(now) {
                    // Handed over before the next one can be.
                    Action::Send(write) => self.lane.send(write),
                    other => return other,
                }
            };
            self.sent(sending.await);
            self.moved.notify_waiters();
        }
    }

    /// Whether there is nothing left to do. What is not stored is gone with the reader that had it: the next one is told so for
    /// as long as somebody waits for the call.
    fn is_done(&self) -> bool {
        let goes_on = !self.lane.is_stored && !self.is_alone.load(Ordering::Acquire);
        self.is_over() && (!goes_on || self.writer().broken().is_some())
    }

    fn is_over(&self) -> bool {
        let writer = self.writer();
        writer.broken().is_some() || (writer.has_ended() && writer.is_flushed())
    }

    /// What is to be done now; `gone` is since when no look has found anybody who has the stream.
    fn done(&self, done: Done, gone: &mut Option<Moment>) -> Action {
        let now = self.lane.broker.now();
        let mut writer = self.writer();
        if let Done::Found(Err(Unread::Gone(text))) | Done::Seen(_, Err(Unread::Gone(text))) = &done {
            if now.since(*gone.get_or_insert(now)) >= REFUSED_FOR {
                writer.stop(Broken::Refused(text.clone()));
                return Action::Wait;
            }
        } else {
            *gone = None;
        }
        match done {
            Done::Found(found) => writer.found_last(found.map_err(drop)),
            Done::Seen(slot, there) => writer.seen(slot, there.map_err(drop)),
            Done::Written(slot, answer) => writer.answered(slot, answer, now),
        }
    }

    fn operation(&self, action: Action) -> Operation {
        let lane = self.lane.clone();
        match action {
            Action::Find(after) => Box::pin(async move {
                tokio::time::sleep(after).await;
                Done::Found(lane.last().await)
            }),
            Action::Look { slot, after } => Box::pin(async move {
                tokio::time::sleep(after).await;
                Done::Seen(slot, lane.read(slot).await.map(|it| it.map_or(Slot::Empty, |it| it.there)))
            }),
            Action::Write(write) => {
                Box::pin(async move { Done::Written(write.slot, lane.write(write).await) })
            }
            Action::Wait | Action::WaitUntil(_) | Action::Send(_) => Box::pin(std::future::pending()),
        }
    }
}
