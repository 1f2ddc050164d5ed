//! The task of a stream's reading end: takes frames in as they come, fetches those that did not, and gives credit.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::broadcast;

use super::{
    alarm::Alarm,
    inflow::{Inflow, Unread},
    lane::{self, Received, credit_of},
};
use crate::{
    broker::{AnySubscription, Broker, Event, Message, Subscription},
    error::ItemsError,
    protocol::time::Moment,
    wire::credit::Credit,
};

/// Between two looks for a frame that was not heard; doubles from the first to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Frames that are fetched at once by who has many to catch up with.
const FETCHES: u64 = 4;
/// Frames that are taken in before anything else is looked at.
const TURN: usize = 32;

/// What a reader hears.
pub(crate) struct Ears {
    /// Nothing once it has left.
    pub(super) frames: Option<AnySubscription>,
    pub(super) alive: Option<AnySubscription>,
    pub(super) events: broadcast::Receiver<Event>,
}

type Fetched = (u64, Result<Option<Received>, lane::Unread>);
type Fetch = Pin<Box<dyn Future<Output = Fetched> + Send>>;

pub(super) struct Intake {
    flow: Arc<Inflow>,
    ears: Ears,
    /// Frames that were heard and not taken in.
    heard: Vec<(u64, Received)>,
    alarm: Alarm,
    fetches: FuturesUnordered<Fetch>,
    /// The slots that are fetched.
    fetching: BTreeSet<u64>,
    /// How many slots to look into at once.
    ahead: u64,
    /// When to look for the next frame, whether it was heard of or not.
    look_at: Moment,
    looks: Duration,
    /// Whether the next frame must be there, and was looked for at once.
    is_needed: bool,
}

impl Intake {
    /// Where `is_fresh`, nothing can be stored yet.
    pub(super) fn new(flow: Arc<Inflow>, ears: Ears, is_fresh: bool) -> Self {
        let look_at = if is_fresh { flow.lane.broker.now() + LOOKS.0 } else { Moment(0) };
        Self {
            flow,
            ears,
            heard: Vec::new(),
            alarm: Alarm::new(),
            fetches: FuturesUnordered::new(),
            fetching: BTreeSet::new(),
            ahead: 1,
            look_at,
            looks: LOOKS.0,
            is_needed: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            // What has come is taken in before anything is missed.
            if !self.hear() {
                return;
            }
            let now = self.flow.lane.broker.now();
            let (said, until) = self.look_around(now);
            if let Some(credit) = said {
                self.flow.lane.give(credit).await;
                continue;
            }
            let Some(until) = until else {
                return;
            };
            tokio::select! {
                biased;
                message = next(&mut self.ears.frames) => match message {
                    Some(message) => self.heard.extend(self.flow.lane.heard(&message)),
                    None => return self.flow.unread().close(Some(ItemsError::Closed)),
                },
                Some((slot, found)) = self.fetches.next() => self.fetched(slot, found),
                () = self.flow.moved.notified() => {}
                message = next(&mut self.ears.alive) => match message {
                    Some(message) => if credit_of(&message, &self.flow.lane.alive).is_some() { self.flow.hear() },
                    // The connection's end is noticed by the frames.
                    None => self.ears.alive = None,
                },
                event = self.ears.events.recv() => match event {
                    // Frames may have been lost, and credit.
                    Ok(Event::Reconnected | Event::Overrun) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.flow.unread().asked = true;
                        self.look_soon();
                    }
                    Ok(Event::Closed) | Err(broadcast::error::RecvError::Closed) => {
                        return self.flow.unread().close(Some(ItemsError::Closed));
                    }
                    Ok(_) => {}
                },
                () = self.alarm.rings(until, now) => {}
            }
        }
    }

    /// What there is to say to the writer, or else until when nothing has to be done; neither at the end.
    fn look_around(&mut self, now: Moment) -> (Option<Credit>, Option<Moment>) {
        let flow = Arc::clone(&self.flow);
        let mut unread = flow.unread();
        if unread.take_early(flow.leaves_at(now)) {
            self.has_moved(&mut unread, now);
        }
        unread.check_end(flow.lane.is_workers);
        if unread.is_done() {
            return self.answer(&mut unread, now);
        }
        if unread.reader.is_proven() && std::mem::take(&mut unread.asked) {
            return (Some(unread.reader.say_now(false, now)), None);
        }
        let say_at = match unread.reader.say(now) {
            Ok(credit) => return (Some(credit), None),
            Err(at) => at,
        };
        if unread.reader.leaves() {
            self.ears.frames = None;
            return (None, Some(say_at));
        }
        let silent_at = unread.watch.tells_at(flow.idle);
        if now >= silent_at {
            unread.is_silent(now);
        }
        let until = say_at.min(silent_at.max(now));
        if !unread.reader.has_room() {
            return (None, Some(until));
        }
        let must_be_there = unread.reader.is_behind() || unread.ending.is_some();
        if must_be_there && !self.is_needed {
            self.look_soon();
            self.is_needed = true;
        }
        if now < self.look_at {
            return (None, Some(until.min(self.look_at)));
        }
        if !flow.lane.is_stored {
            let credit = unread.reader.say_now(true, now);
            self.misses(&mut unread, now);
            return (Some(credit), None);
        }
        self.fetch(&unread);
        (None, Some(until))
    }

    /// All is here. A writer that asks again has not heard so.
    fn answer(&mut self, unread: &mut Unread, now: Moment) -> (Option<Credit>, Option<Moment>) {
        if !unread.answers(now, self.flow.idle) {
            return (None, None);
        }
        // That the caller is there is no reason to go on.
        self.ears.alive = None;
        if std::mem::take(&mut unread.asked) {
            return (Some(unread.reader.say_now(false, now)), None);
        }
        (None, Some(unread.watch.hears_until(self.flow.idle)))
    }

    /// Fetches what comes next, and more behind it if there was more before.
    fn fetch(&mut self, unread: &Unread) {
        let next = unread.reader.slot();
        for slot in (next..next + self.ahead).filter(|slot| !unread.is_early(*slot)) {
            if self.fetching.insert(slot) {
                let lane = self.flow.lane.clone();
                self.fetches.push(Box::pin(async move { (slot, lane.read(slot).await) }));
            }
        }
    }

    fn look_soon(&mut self) {
        (self.look_at, self.looks) = (Moment(0), LOOKS.0);
    }

    fn look_later(&mut self, now: Moment) {
        self.look_at = now + self.looks;
        self.looks = (self.looks * 2).min(LOOKS.1);
    }

    /// Something was taken in.
    fn has_moved(&mut self, unread: &mut Unread, now: Moment) {
        unread.watch.misses_nothing();
        (self.look_at, self.looks) = (now + LOOKS.0, LOOKS.0);
        self.is_needed = false;
    }

    /// Takes in what was heard, all at once; whether there will be more.
    fn hear(&mut self) -> bool {
        let mut is_open = true;
        for _ in 0..TURN {
            match next(&mut self.ears.frames).now_or_never() {
                Some(Some(message)) => self.heard.extend(self.flow.lane.heard(&message)),
                Some(None) => {
                    is_open = false;
                    break;
                }
                None => break,
            }
        }
        if self.heard.is_empty() && is_open {
            return true;
        }
        let now = self.flow.lane.broker.now();
        let flow = Arc::clone(&self.flow);
        let mut unread = flow.unread();
        let (leaves_at, mut has_moved) = (flow.leaves_at(now), false);
        for (slot, frame) in self.heard.drain(..) {
            if !unread.reader.leaves() || unread.reader.end().is_some() {
                unread.hear(now);
                has_moved |= unread.take(slot, frame, leaves_at);
            }
        }
        if has_moved {
            self.has_moved(&mut unread, now);
        }
        if !is_open {
            unread.close(Some(ItemsError::Closed));
        }
        is_open
    }

    fn fetched(&mut self, slot: u64, found: Result<Option<Received>, lane::Unread>) {
        self.fetching.remove(&slot);
        let now = self.flow.lane.broker.now();
        let flow = Arc::clone(&self.flow);
        let mut unread = flow.unread();
        let is_next = unread.reader.slot() == slot;
        if unread.reader.slot() > slot || unread.reader.leaves() {
            // It came meanwhile, or nobody wants it.
            return;
        }
        match found {
            Ok(Some(frame)) => {
                unread.hear(now);
                if unread.take(slot, frame, flow.leaves_at(now)) {
                    self.has_moved(&mut unread, now);
                    self.ahead = (self.ahead * 2).min(FETCHES);
                    // There may be more behind it.
                    self.look_soon();
                }
            }
            Ok(None) => {
                self.ahead = 1;
                if is_next {
                    self.misses(&mut unread, now);
                }
            }
            Err(_) => self.look_later(now),
        }
    }

    /// What comes next is not there.
    fn misses(&mut self, unread: &mut Unread, now: Moment) {
        let has_ended = unread.ending.is_some();
        let is_gone = match has_ended || self.flow.lane.is_stored {
            _ if !has_ended && !unread.reader.is_due() => {
                unread.watch.misses_nothing();
                false
            }
            true => unread.watch.is_removed(now),
            false => unread.watch.is_lost(now),
        };
        if is_gone {
            unread.lose(self.flow.leaves_at(now));
        }
        self.look_later(now);
    }
}

/// The next message; never one of a subscription that is not there.
async fn next<S: Subscription>(messages: &mut Option<S>) -> Option<Message> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}
