//! Answers to requests, by the number in their reply subject: one subscription for all, and one clock that gives up on
//! what takes too long, and on what was asked on a connection that is gone.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use tokio::{sync::oneshot, task::AbortHandle, time::MissedTickBehavior};

use super::{headers::Headers, status};
use crate::{broker::Answer, numbered::Numbered, turns};

/// Looks for what is not answered any more: the exactness of a request's time limit.
const LOOKS_PER_SECOND: u32 = 20;

/// Requests that wait for their answers.
#[derive(Debug)]
pub(super) struct Replies {
    prefix: String,
    next: AtomicU64,
    /// How often was looked for what is not answered: the clock of time limits, which costs a request nothing to read.
    looks: AtomicU64,
    /// Requests below this number were handed over before the connection was last lost.
    lost_below: AtomicU64,
    /// Requests below this number are not waited for any more.
    ended_below: AtomicU64,
    waiting: Mutex<Waiting>,
}

type Waiting = Numbered<Entry>;

#[derive(Debug)]
struct Entry {
    answer: oneshot::Sender<Answer>,
    /// The look at which it is given up.
    until: u64,
}

/// A request that waits: the answer, or nothing if it took too long or went down with the connection. Forgotten when
/// dropped.
pub(super) struct Pending {
    replies: Arc<Replies>,
    number: u64,
    answer: oneshot::Receiver<Answer>,
    /// Whoever answered has taken it off the list.
    ended: bool,
}

impl Replies {
    /// Hears `<prefix>.*` through `answers` and hands each to its request. The tasks keep the connection open: whoever
    /// closes it aborts them.
    pub(super) fn start(prefix: String, answers: Subscriber) -> (Arc<Self>, [AbortHandle; 2]) {
        let prefix = format!("{prefix}.");
        let replies = Arc::new(Self {
            prefix,
            next: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            lost_below: AtomicU64::new(0),
            ended_below: AtomicU64::new(0),
            waiting: Mutex::default(),
        });
        let hear = turns::spawn(hear(Arc::downgrade(&replies), answers));
        let give_up = tokio::spawn(give_up(Arc::downgrade(&replies)));
        (replies, [hear.abort_handle(), give_up.abort_handle()])
    }

    /// Expects one answer; its subject is in the second part.
    pub(super) fn expect(self: &Arc<Self>, within: Duration) -> (Pending, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let entry = Entry { answer, until: self.looks.load(Ordering::Relaxed).saturating_add(looks(within)) };
        self.waiting.lock().expect("nobody panics with the replies in hand").insert(number, entry);
        let pending = Pending { replies: Arc::clone(self), number, answer: receiver, ended: false };
        (pending, numbered(&self.prefix, number))
    }

    /// The connection is lost, and with it the answers to what was asked on it.
    pub(super) fn lost(&self) {
        self.lost_below.store(self.next.load(Ordering::Relaxed), Ordering::Release);
    }

    /// The connection is back. What was asked on the old one ends at the next look and not before, so that whoever
    /// hears of the reconnect itself has turned to the new one by then.
    pub(super) fn back(&self) {
        self.ended_below.store(self.lost_below.load(Ordering::Acquire), Ordering::Release);
    }

    /// The connection is closed for good: nothing is answered any more.
    pub(super) fn closed(&self) {
        self.ended_below.store(u64::MAX, Ordering::Release);
    }

    /// Nobody hears answers any more.
    pub(super) fn end(&self) {
        self.waiting.lock().expect("nobody panics with the replies in hand").clear();
    }

    fn take(&self, number: u64) -> Option<Entry> {
        self.waiting.lock().expect("nobody panics with the replies in hand").remove(&number)
    }
}

impl Future for Pending {
    type Output = Option<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let answer = ready!(self.answer.poll_unpin(context)).ok();
        self.ended = true;
        Poll::Ready(answer)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.ended {
            self.replies.take(self.number);
        }
    }
}

/// How many looks there are within a time; the next one may come at once, so one more than fit.
fn looks(within: Duration) -> u64 {
    let part = within.subsec_nanos() / (1_000_000_000 / LOOKS_PER_SECOND);
    within.as_secs().saturating_mul(u64::from(LOOKS_PER_SECOND)).saturating_add(u64::from(part) + 2)
}

/// One allocation for prefix and number together, of exactly their length: a subject takes it over as it is.
fn numbered(prefix: &str, number: u64) -> String {
    use std::fmt::Write;
    let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let mut text = String::with_capacity(prefix.len() + digits);
    text.push_str(prefix);
    write!(text, "{number}").expect("a string takes everything");
    text
}

async fn hear(replies: Weak<Replies>, mut answers: Subscriber) {
    let mut heard: usize = 0;
    while let Some(message) = answers.next().await {
        heard += 1;
        if heard.is_multiple_of(turns::TURN) {
            turns::pass().await;
        }
        let Some(replies) = replies.upgrade() else {
            return;
        };
        let number = message.subject.strip_prefix(&*replies.prefix).and_then(|number| number.parse().ok());
        if let Some(entry) = number.and_then(|number| replies.take(number)) {
            // Fails if nobody waits any more, which nobody misses.
            let _ = entry.answer.send(answer(message));
        }
    }
}

/// What of a message is kept until somebody looks at it: as little as can be, because many wait at once.
pub(super) fn answer(message: async_nats::Message) -> Answer {
    Answer {
        status: status(message.status),
        description: message.description.unwrap_or_default(),
        headers: message.headers.map(|headers| Box::new(Headers::from_nats(Some(headers)))),
        payload: message.payload,
    }
}

async fn give_up(replies: Weak<Replies>) {
    let mut looks = tokio::time::interval(Duration::from_secs(1) / LOOKS_PER_SECOND);
    // A runtime that stood still may have left answers unread: nobody is given up for that time.
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        looks.tick().await;
        let Some(replies) = replies.upgrade() else {
            return;
        };
        let look = replies.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let ended_below = replies.ended_below.load(Ordering::Acquire);
        // Dropping an entry is the answer "none in time".
        replies
            .waiting
            .lock()
            .expect("nobody panics with the replies in hand")
            .retain(|number, entry| look < entry.until && *number >= ended_below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_never_cut_short() {
        let look = Duration::from_secs(1) / LOOKS_PER_SECOND;
        for within in [Duration::ZERO, Duration::from_millis(1), look, look * 3 / 2, Duration::from_secs(4)] {
            // The first look may come at once.
            let least = look * u32::try_from(looks(within) - 1).unwrap();
            assert!((within..=within + look).contains(&least), "{within:?}: {least:?}");
        }
        assert_eq!(looks(Duration::MAX), u64::MAX);
    }
}
