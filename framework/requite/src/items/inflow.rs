//! The reading end of a stream: a task takes in frames as they come, fetches those that did not, and gives credit; a
//! reader takes the items.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, broadcast};

use super::lane::{Lane, Received, credit_of};
use crate::{
    broker::{AnySubscription, Broker, Event, Message, Subscription},
    codec::ContentType,
    error::ItemsError,
    name::random_bits,
    protocol::{
        items::reader::{Reader, Taken},
        time::Moment,
    },
    wire::{credit::Credit, frame::End},
};

/// Between two looks for a frame that was not heard; doubles from the first to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long a slot is looked for that must be there, because a later one is or the call has ended.
const MISSING_FOR: Duration = Duration::from_secs(5);

/// Frames that may wait for one before them; it is fetched meanwhile.
const EARLY: usize = 16;

/// A handler that has dropped its items may be about to end. Only one that goes on without them has its caller told.
const LEAVES_AFTER: Duration = Duration::from_secs(1);

/// Few readers of a stream, and 64 random bits each.
fn reader_id() -> u64 {
    let mut id = [0; 8];
    id.copy_from_slice(&random_bits()[..8]);
    u64::from_be_bytes(id)
}

/// How a call ended, as far as its stream is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a value, behind so many items.
    Value(u64),
    /// Otherwise, behind so many items.
    Error(u64),
    /// Nobody waits for it any more.
    Unknown,
}

/// An item that was read, to be decoded.
pub(crate) struct Encoded {
    pub(crate) number: u64,
    pub(crate) content_type: ContentType,
    pub(crate) item: Bytes,
}

/// What comes next.
enum Next {
    Item(ContentType, Bytes),
    Restarted(u32),
}

/// What the task and the reader share.
#[derive(Debug)]
pub(crate) struct Inflow {
    lane: Lane,
    unread: Mutex<Unread>,
    /// Wakes the task: there is room again, the call has ended, or the reader has left.
    moved: Notify,
    idle: Duration,
}

struct Unread {
    reader: Reader,
    next: VecDeque<Next>,
    /// Frames that came before those that they follow.
    early: BTreeMap<u64, Received>,
    /// The number of the last item that was handed out.
    handed: u64,
    ending: Option<Ending>,
    /// Nothing comes any more, behind what is unread.
    closed: Option<Option<ItemsError>>,
    /// When the other side was last heard.
    heard: Moment,
    /// The writer wants to know how far this is.
    asked: bool,
    /// Silence that nobody was told of yet.
    silent: bool,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unread").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Unread {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn close(&mut self, why: Option<ItemsError>) {
        self.closed.get_or_insert(why);
        self.wake();
    }

    /// What should come cannot be had: there is no use in sending more.
    fn fail(&mut self, why: ItemsError, leaves: Moment) {
        self.reader.leave(leaves);
        self.close(Some(why));
    }

    /// Whether there is nothing to take in any more, nor to say.
    fn is_done(&self) -> bool {
        let has_end = self.ending.is_some() || self.reader.end().is_some();
        self.closed.is_some() && (has_end || !self.reader.is_leaving())
    }

    /// Whether all is there that will be.
    fn check_end(&mut self, is_workers: bool) {
        let last = self.reader.last();
        let why = match (self.ending, self.reader.end()) {
            (Some(Ending::Unknown), _) => Some(ItemsError::Closed),
            (Some(Ending::Value(items)), _) if last >= items => None,
            (Some(Ending::Error(items)), _) if last >= items => Some(ItemsError::Failed),
            (_, Some(End::Finished)) if is_workers => None,
            (_, Some(_)) if is_workers => Some(ItemsError::Abandoned),
            _ => return,
        };
        self.close(why);
    }

    fn put(&mut self, frame: Received) {
        let content_type = frame.content_type;
        self.next.extend(frame.items.into_iter().map(|item| Next::Item(content_type, item)));
    }

    /// Takes a frame in, and those that have waited for it; whether that was progress.
    fn take(&mut self, mut slot: u64, mut frame: Received, leaves: Moment) -> bool {
        let before = self.reader.slot();
        loop {
            self.asked |= frame.asks;
            match self.reader.take(slot, frame.there, frame.bytes()) {
                Taken::Items => self.put(frame),
                Taken::Restarted { epoch } => {
                    self.next.clear();
                    // Whoever has seen nothing yet has nothing to forget.
                    if self.handed > 0 {
                        self.next.push_back(Next::Restarted(epoch));
                    }
                    self.put(frame);
                }
                Taken::Broken => self.fail(ItemsError::Broken { item: self.reader.last() }, leaves),
                Taken::Nothing => {}
                Taken::NotYet => {
                    if self.early.len() < EARLY {
                        self.early.insert(slot, frame);
                    }
                    break;
                }
            }
            slot = self.reader.slot();
            self.early = self.early.split_off(&slot);
            match self.early.remove(&slot) {
                Some(waiting) => frame = waiting,
                None => break,
            }
        }
        self.wake();
        self.reader.slot() != before
    }
}

impl Inflow {
    pub(crate) fn new(lane: Lane, idle: Duration) -> Self {
        let unread = Unread {
            reader: Reader::new(reader_id(), lane.is_stored),
            next: VecDeque::new(),
            early: BTreeMap::new(),
            handed: 0,
            ending: None,
            closed: None,
            heard: lane.hears_from(),
            asked: false,
            silent: false,
            waker: None,
        };
        Self { lane, unread: Mutex::new(unread), moved: Notify::new(), idle }
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().expect("nobody panics with the unread items in hand")
    }

    /// The next item.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Encoded, ItemsError>>> {
        let mut unread = self.unread();
        match unread.next.pop_front() {
            Some(Next::Item(content_type, item)) => {
                unread.handed += 1;
                if unread.reader.read(item.len() as u64) {
                    self.moved.notify_one();
                }
                Poll::Ready(Some(Ok(Encoded { number: unread.handed, content_type, item })))
            }
            Some(Next::Restarted(attempt)) => {
                unread.handed = 0;
                Poll::Ready(Some(Err(ItemsError::Restarted { attempt })))
            }
            None => {
                if let Some(why) = &mut unread.closed {
                    return Poll::Ready(why.take().map(Err));
                }
                if std::mem::take(&mut unread.silent) {
                    return Poll::Ready(Some(Err(ItemsError::Silent { idle: self.idle })));
                }
                unread.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nobody reads any more.
    pub(crate) fn leave(&self) {
        let at = self.leaves_at(self.lane.broker.now());
        self.unread().reader.leave(at);
        self.moved.notify_one();
    }

    fn leaves_at(&self, now: Moment) -> Moment {
        if self.lane.is_workers { now + LEAVES_AFTER } else { now }
    }

    /// Nothing more is taken in, nor said: a later attempt may want what comes.
    pub(crate) fn close(&self) {
        let mut unread = self.unread();
        unread.reader.stay();
        unread.close(Some(ItemsError::Closed));
        drop(unread);
        self.moved.notify_one();
    }

    /// The call has ended.
    pub(crate) fn end(&self, ending: Ending) {
        let mut unread = self.unread();
        unread.ending.get_or_insert(ending);
        unread.check_end(self.lane.is_workers);
        drop(unread);
        self.moved.notify_one();
    }

    /// The other side lives.
    pub(crate) fn hear(&self) {
        self.unread().heard = self.lane.broker.now();
    }

    /// Begins to listen; what is stored before this is found by looking.
    pub(crate) async fn listen(&self) -> Result<Ears, ItemsError> {
        let broker = &self.lane.broker;
        let events = broker.events();
        let frames = broker.subscribe(self.lane.listens()).await;
        let alive = match self.lane.is_workers {
            true => Some(broker.subscribe(self.lane.alive.clone()).await.map_err(|_| ItemsError::Closed)?),
            false => None,
        };
        Ok(Ears { frames: frames.map_err(|_| ItemsError::Closed)?, alive, events })
    }

    /// Takes in until the stream has ended or nobody reads it.
    ///
    /// Where `is_fresh`, nothing can be stored yet.
    pub(crate) async fn run(self: Arc<Self>, ears: Ears, is_fresh: bool) {
        let look_at = if is_fresh { self.lane.broker.now() + LOOKS.0 } else { Moment(0) };
        let mut task = Task {
            flow: self,
            ears,
            fetch: None,
            look_at,
            looks: LOOKS.0,
            missing_since: None,
            is_needed: false,
        };
        task.run().await;
    }
}

/// What a reader hears.
pub(crate) struct Ears {
    frames: AnySubscription,
    alive: Option<AnySubscription>,
    events: broadcast::Receiver<Event>,
}

type Fetch = Pin<Box<dyn Future<Output = (u64, Result<Option<Received>, ()>)> + Send>>;

struct Task {
    flow: Arc<Inflow>,
    ears: Ears,
    fetch: Option<Fetch>,
    /// When to look for the next frame, whether it was heard of or not.
    look_at: Moment,
    looks: Duration,
    /// Whether the next frame must be there, and was looked for at once.
    is_needed: bool,
    /// Since when it is missing then.
    missing_since: Option<Moment>,
}

impl Task {
    async fn run(&mut self) {
        loop {
            let now = self.flow.lane.broker.now();
            let (said, until) = self.look_around(now);
            if let Some(credit) = said {
                let left = credit.left;
                self.flow.lane.give(credit).await;
                if left {
                    return;
                }
                continue;
            }
            let Some(until) = until else {
                return;
            };
            tokio::select! {
                biased;
                message = self.ears.frames.next() => match message {
                    Some(message) => self.heard(&message),
                    None => return self.flow.unread().close(Some(ItemsError::Closed)),
                },
                (slot, found) = async { self.fetch.as_mut().expect("checked").await }, if self.fetch.is_some() => {
                    self.fetch = None;
                    self.fetched(slot, found);
                }
                () = self.flow.moved.notified() => {}
                message = alive(&mut self.ears.alive) => match message {
                    Some(message) => if credit_of(&message, &self.flow.lane.alive).is_some() { self.flow.hear() },
                    // The connection's end is noticed by the frames.
                    None => self.ears.alive = None,
                },
                event = self.ears.events.recv() => match event {
                    // Frames may have been lost.
                    Ok(Event::Reconnected | Event::Overrun) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.look_soon();
                    }
                    Ok(Event::Closed) | Err(broadcast::error::RecvError::Closed) => {
                        return self.flow.unread().close(Some(ItemsError::Closed));
                    }
                    Ok(_) => {}
                },
                () = tokio::time::sleep(until.since(now)) => {}
            }
        }
    }

    /// What there is to say to the writer, or else until when nothing has to be done; neither at the end.
    fn look_around(&mut self, now: Moment) -> (Option<Credit>, Option<Moment>) {
        let mut unread = self.flow.unread();
        unread.check_end(self.flow.lane.is_workers);
        if unread.is_done() {
            return (None, None);
        }
        if std::mem::take(&mut unread.asked) {
            return (Some(unread.reader.say_now(false, now)), None);
        }
        let say_at = match unread.reader.say(now) {
            Ok(credit) => return (Some(credit), None),
            Err(at) => at,
        };
        if unread.closed.is_some() {
            return (None, Some(say_at));
        }
        let silent_at = unread.heard + self.flow.idle;
        if now >= silent_at {
            (unread.heard, unread.silent) = (now, true);
            unread.wake();
        }
        if self.fetch.is_some() || !unread.reader.has_room() {
            return (None, Some(say_at.min(silent_at.max(now))));
        }
        let must_be_there = unread.reader.is_behind() || unread.ending.is_some();
        if must_be_there && !self.is_needed {
            (self.is_needed, self.look_at, self.looks) = (true, Moment(0), LOOKS.0);
        }
        if now < self.look_at {
            return (None, Some(say_at.min(silent_at.max(now)).min(self.look_at)));
        }
        let (slot, lane) = (unread.reader.slot(), self.flow.lane.clone());
        if !lane.is_stored {
            let credit = unread.reader.say_now(true, now);
            let is_behind = unread.reader.is_behind();
            let since = *self.missing_since.get_or_insert(now);
            if is_behind && now.since(since) >= MISSING_FOR {
                let item = unread.reader.last() + 1;
                unread.fail(ItemsError::Lost { item }, self.flow.leaves_at(now));
            }
            drop(unread);
            if !is_behind {
                self.missing_since = None;
            }
            self.look_later(now);
            return (Some(credit), None);
        }
        self.fetch = Some(Box::pin(async move { (slot, lane.read(slot).await) }));
        (None, Some(say_at.min(silent_at.max(now))))
    }

    fn look_soon(&mut self) {
        (self.look_at, self.looks) = (Moment(0), LOOKS.0);
    }

    fn heard(&mut self, message: &Message) {
        let Some((slot, frame)) = self.flow.lane.heard(message) else {
            return;
        };
        let now = self.flow.lane.broker.now();
        let mut unread = self.flow.unread();
        unread.heard = now;
        if unread.take(slot, frame, self.flow.leaves_at(now)) {
            (self.look_at, self.looks, self.missing_since) = (now + LOOKS.0, LOOKS.0, None);
            self.is_needed = false;
        }
    }

    fn fetched(&mut self, slot: u64, found: Result<Option<Received>, ()>) {
        let now = self.flow.lane.broker.now();
        let flow = Arc::clone(&self.flow);
        let mut unread = flow.unread();
        if unread.reader.slot() != slot {
            // It came meanwhile.
            return;
        }
        match found {
            Ok(Some(frame)) => {
                unread.heard = now;
                unread.take(slot, frame, flow.leaves_at(now));
                // There may be more behind it.
                (self.look_at, self.looks, self.missing_since) = (Moment(0), LOOKS.0, None);
                self.is_needed = false;
            }
            Ok(None) => {
                let is_due = unread.reader.is_behind() || unread.ending.is_some();
                let since = *self.missing_since.get_or_insert(now);
                if !is_due {
                    self.missing_since = None;
                } else if now.since(since) >= MISSING_FOR {
                    let item = unread.reader.last() + 1;
                    unread.fail(ItemsError::Lost { item }, flow.leaves_at(now));
                }
                self.look_later(now);
            }
            Err(()) => self.look_later(now),
        }
    }

    fn look_later(&mut self, now: Moment) {
        self.look_at = now + self.looks;
        self.looks = (self.looks * 2).min(LOOKS.1);
    }
}

async fn alive<S: Subscription>(messages: &mut Option<S>) -> Option<Message> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}
