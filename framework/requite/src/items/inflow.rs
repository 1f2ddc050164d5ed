//! The reading end of a stream: what was taken in and not read, between the reader and the task that takes in
//! ([`intake`](super::intake)).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    intake::{Ears, Intake},
    lane::{Lane, Received},
};
use crate::{
    broker::Broker,
    codec::ContentType,
    error::ItemsError,
    name::random_bits,
    protocol::{
        items::{
            reader::{Reader, Taken},
            watch::Watch,
        },
        time::Moment,
    },
    wire::{frame::End, position::Position},
};

/// Frames that may wait for one before them, which is fetched meanwhile; together no more than a window.
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
    /// With a value of this attempt, behind so many items of it.
    Value { attempt: u32, items: u64 },
    /// Otherwise.
    Error { attempt: u32, items: u64 },
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
    pub(super) lane: Lane,
    unread: Mutex<Unread>,
    /// Wakes the task: there is room again, the call has ended, or the reader has left.
    pub(super) moved: Notify,
    pub(super) idle: Duration,
}

pub(super) struct Unread {
    pub(super) reader: Reader,
    next: VecDeque<Next>,
    /// Where the frames begin of which nothing was read, with how many items each has.
    frames: VecDeque<(u64, Position)>,
    /// What is unread of the frame that is read, and where the reader is.
    left: u64,
    position: Position,
    /// Items of the next frame that somebody has read before.
    skip: u64,
    /// Frames that came before those that they follow.
    early: BTreeMap<u64, Received>,
    /// The number of the last item that was handed out.
    handed: u64,
    pub(super) ending: Option<Ending>,
    /// Nothing comes any more, behind what is unread.
    pub(super) closed: Option<Option<ItemsError>>,
    /// Whether the reader was told that it was [closed](Inflow::close).
    has_told_closed: bool,
    pub(super) watch: Watch,
    /// The writer wants to know how far this is.
    pub(super) asked: bool,
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

    pub(super) fn close(&mut self, why: Option<ItemsError>) {
        self.closed.get_or_insert(why);
        self.wake();
    }

    /// What should come cannot be had: there is no use in sending more.
    pub(super) fn fail(&mut self, why: ItemsError, leaves: Moment) {
        self.reader.leave(leaves);
        self.close(Some(why));
    }

    /// What comes next has gone.
    pub(super) fn lose(&mut self, leaves: Moment) {
        self.fail(ItemsError::Lost { item: self.last() + 1 }, leaves);
    }

    /// The number of the last item that came, to this reader or to the one behind which it goes on.
    fn last(&self) -> u64 {
        if self.reader.is_proven() { self.reader.last() } else { self.handed }
    }

    /// Whether there is nothing to take in any more, nor to say.
    pub(super) fn is_done(&self) -> bool {
        if self.reader.leaves() {
            return self.ending.is_some() || self.reader.end().is_some();
        }
        self.closed.is_some()
    }

    /// Whether the writer may not have heard yet that its end is here: what is not stored it keeps until then.
    pub(super) fn answers(&self, now: Moment, idle: Duration) -> bool {
        let has_end = !self.reader.is_stored() && self.reader.end().is_some();
        has_end && (self.asked || (self.ending.is_none() && now < self.watch.hears_until(idle)))
    }

    pub(super) fn hear(&mut self, now: Moment) {
        self.watch.hear(now);
        self.silent = false;
    }

    /// Nothing was heard for too long. Whoever has something to read does not wait.
    pub(super) fn is_silent(&mut self, now: Moment) {
        self.watch.tell(now);
        self.silent = self.next.is_empty();
        self.wake();
    }

    /// Whether all is there that will be.
    pub(super) fn check_end(&mut self, is_workers: bool) {
        let why = match (self.ending, self.reader.end()) {
            (Some(Ending::Unknown), _) => Some(ItemsError::Closed),
            (Some(Ending::Value { attempt, items }), _) if self.has_all(attempt, items) => {
                self.forget_earlier(attempt);
                None
            }
            (Some(Ending::Error { attempt, items }), _) if self.has_all(attempt, items) => {
                Some(ItemsError::Failed)
            }
            (_, Some(End::Finished)) if is_workers => None,
            (_, Some(_)) if is_workers => Some(ItemsError::Abandoned),
            _ => return,
        };
        self.close(why);
    }

    /// As many items of an earlier attempt are not the same.
    fn has_all(&self, attempt: u32, items: u64) -> bool {
        self.reader.is_proven()
            && self.reader.last() >= items
            && (items == 0 || self.reader.epoch() >= attempt)
    }

    /// An attempt that ended without an item has left no frame that says that it began anew.
    fn forget_earlier(&mut self, attempt: u32) {
        if self.closed.is_none() && self.reader.epoch() < attempt && self.reader.last() > 0 {
            self.reader.restart(attempt);
            self.begin_anew(attempt);
        }
    }

    fn begin_anew(&mut self, attempt: u32) {
        self.next.clear();
        self.frames.clear();
        (self.left, self.skip) = (0, 0);
        // Whoever has seen nothing yet has nothing to forget.
        if self.handed > 0 {
            self.next.push_back(Next::Restarted(attempt));
        }
    }

    /// Whether it has the items that somebody has read of it before.
    fn put(&mut self, slot: u64, frame: Received) -> bool {
        let (content_type, count) = (frame.content_type, frame.items.len() as u64);
        let mut start = self.reader.position(slot, count, frame.bytes());
        let skip = std::mem::take(&mut self.skip);
        if skip > count {
            return false;
        }
        let mut items = frame.items.into_iter();
        for item in items.by_ref().take(skip as usize) {
            self.reader.read(item.len() as u64);
        }
        if count > skip {
            start.item += skip;
            self.frames.push_back((count - skip, start));
        }
        self.next.extend(items.map(|item| Next::Item(content_type, item)));
        true
    }

    /// An item was handed out.
    fn passed(&mut self) {
        if self.left == 0
            && let Some((items, start)) = self.frames.pop_front()
        {
            (self.left, self.position) = (items, start);
        }
        self.left -= 1;
        self.handed += 1;
        self.position.item = self.handed;
    }

    /// Takes a frame in, and those that have waited for it; whether that was progress.
    pub(super) fn take(&mut self, mut slot: u64, mut frame: Received, leaves: Moment) -> bool {
        let before = self.reader.slot();
        loop {
            self.asked |= frame.asks || frame.ends();
            let taken = self.reader.take(slot, frame.there, frame.bytes());
            if let Taken::Restarted { epoch } = taken {
                self.begin_anew(epoch);
            }
            let is_whole = match taken {
                Taken::Items | Taken::Restarted { .. } => self.put(slot, frame),
                Taken::Broken => false,
                Taken::Lost => {
                    self.lose(leaves);
                    true
                }
                Taken::Nothing => true,
                Taken::NotYet => {
                    self.put_aside(slot, frame);
                    break;
                }
            };
            if !is_whole {
                self.fail(ItemsError::Broken { item: self.last() }, leaves);
            }
            slot = self.reader.slot();
            if self.early.is_empty() {
                break;
            }
            self.early = self.early.split_off(&slot);
            match self.early.remove(&slot) {
                Some(waiting) => frame = waiting,
                None => break,
            }
        }
        self.wake();
        self.reader.slot() != before
    }

    fn put_aside(&mut self, slot: u64, frame: Received) {
        let bytes: u64 = self.early.values().chain([&frame]).map(Received::bytes).sum();
        if self.early.len() < EARLY && bytes <= self.reader.window_bytes() {
            self.early.insert(slot, frame);
        }
    }

    pub(super) fn is_early(&self, slot: u64) -> bool {
        self.early.contains_key(&slot)
    }

    /// Takes in what has waited for room.
    pub(super) fn take_early(&mut self, leaves: Moment) -> bool {
        let slot = self.reader.slot();
        if !self.reader.has_room() {
            return false;
        }
        self.early.remove(&slot).is_some_and(|frame| self.take(slot, frame, leaves))
    }
}

impl Inflow {
    pub(crate) fn new(lane: Lane, idle: Duration) -> Self {
        Self::behind(lane, idle, Position::default())
    }

    /// The same for a reader that goes on where another was.
    pub(crate) fn behind(lane: Lane, idle: Duration, position: Position) -> Self {
        let position = position.sane();
        let unread = Unread {
            reader: Reader::new(reader_id(), lane.is_stored).within(idle).behind(position),
            next: VecDeque::new(),
            frames: VecDeque::new(),
            left: 0,
            position,
            skip: position.read(),
            early: BTreeMap::new(),
            handed: position.item,
            ending: None,
            closed: None,
            has_told_closed: false,
            watch: Watch::new(lane.hears_from()),
            asked: false,
            silent: false,
            waker: None,
        };
        Self { lane, unread: Mutex::new(unread), moved: Notify::new(), idle }
    }

    pub(super) fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().expect("nobody panics with the unread items in hand")
    }

    /// The next item.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Encoded, ItemsError>>> {
        let mut unread = self.unread();
        match unread.next.pop_front() {
            Some(Next::Item(content_type, item)) => {
                unread.passed();
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
                    let why = why.take();
                    unread.has_told_closed |= why == Some(ItemsError::Closed);
                    return Poll::Ready(why.map(Err));
                }
                if std::mem::take(&mut unread.silent) {
                    return Poll::Ready(Some(Err(ItemsError::Silent { idle: self.idle })));
                }
                unread.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.unread().position
    }

    /// Nobody reads any more.
    pub(crate) fn leave(&self) {
        let at = self.leaves_at(self.lane.broker.now());
        let mut unread = self.unread();
        unread.reader.leave(at);
        if !unread.reader.is_proven() {
            unread.close(None);
        }
        drop(unread);
        self.moved.notify_one();
    }

    pub(super) fn leaves_at(&self, now: Moment) -> Moment {
        if self.lane.is_workers { now + LEAVES_AFTER } else { now }
    }

    /// Nothing more is taken in, nor said: a later attempt may want what comes.
    pub(crate) fn close(&self) {
        let mut unread = self.unread();
        unread.reader.stay();
        unread.ending.get_or_insert(Ending::Unknown);
        unread.close(Some(ItemsError::Closed));
        drop(unread);
        self.moved.notify_one();
    }

    /// Whether the reader was told that.
    pub(crate) fn has_told_closed(&self) -> bool {
        self.unread().has_told_closed
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
        self.unread().hear(self.lane.broker.now());
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
        Ok(Ears { frames: Some(frames.map_err(|_| ItemsError::Closed)?), alive, events })
    }

    /// Takes in until the stream has ended or nobody reads it.
    ///
    /// Where `is_fresh`, nothing can be stored yet.
    pub(crate) async fn run(self: Arc<Self>, ears: Ears, is_fresh: bool) {
        Intake::new(self, ears, is_fresh).run().await;
    }
}
