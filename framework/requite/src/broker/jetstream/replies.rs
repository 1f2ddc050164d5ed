//! Answers to requests, by the number in their reply subject: one subscription for all, and one clock that gives up on
//! what takes too long, and on what was asked on a connection that is gone.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::{sync::oneshot, task::AbortHandle, time::Instant};

use crate::numbered::Numbered;

/// Between two looks for what is not answered any more: the exactness of a request's time limit.
const LOOK: Duration = Duration::from_millis(50);

/// Requests that wait for their answers.
#[derive(Debug)]
pub(super) struct Replies {
    prefix: String,
    next: AtomicU64,
    /// Requests below this number were handed over before the connection was last lost.
    lost_below: AtomicU64,
    /// Requests below this number are not waited for any more.
    ended_below: AtomicU64,
    waiting: Mutex<Waiting>,
}

type Waiting = Numbered<Entry>;

#[derive(Debug)]
struct Entry {
    answer: oneshot::Sender<Message>,
    until: Instant,
}

/// A request that waits; forgotten when dropped.
pub(super) struct Pending {
    replies: Arc<Replies>,
    number: u64,
    answer: oneshot::Receiver<Message>,
}

impl Replies {
    /// Hears `<prefix>.*` through `answers` and hands each to its request. The tasks keep the connection open: whoever
    /// closes it aborts them.
    pub(super) fn start(prefix: String, answers: Subscriber) -> (Arc<Self>, [AbortHandle; 2]) {
        let prefix = format!("{prefix}.");
        let replies = Arc::new(Self {
            prefix,
            next: AtomicU64::new(0),
            lost_below: AtomicU64::new(0),
            ended_below: AtomicU64::new(0),
            waiting: Mutex::default(),
        });
        let hear = tokio::spawn(hear(Arc::downgrade(&replies), answers));
        let give_up = tokio::spawn(give_up(Arc::downgrade(&replies)));
        (replies, [hear.abort_handle(), give_up.abort_handle()])
    }

    /// Expects one answer; its subject is in the second part.
    pub(super) fn expect(self: &Arc<Self>, within: Duration) -> (Pending, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let entry = Entry { answer, until: Instant::now() + within };
        self.waiting.lock().expect("nobody panics with the replies in hand").insert(number, entry);
        (Pending { replies: Arc::clone(self), number, answer: receiver }, numbered(&self.prefix, number))
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

    fn take(&self, number: u64) -> Option<Entry> {
        self.waiting.lock().expect("nobody panics with the replies in hand").remove(&number)
    }
}

impl Pending {
    /// The answer, or nothing if it took too long or went down with the connection.
    pub(super) async fn answer(mut self) -> Option<Message> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.replies.take(self.number);
    }
}

/// One allocation for prefix and number together.
fn numbered(prefix: &str, number: u64) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(prefix.len() + 20);
    text.push_str(prefix);
    write!(text, "{number}").expect("a string takes everything");
    text
}

async fn hear(replies: Weak<Replies>, mut answers: Subscriber) {
    while let Some(message) = answers.next().await {
        let Some(replies) = replies.upgrade() else {
            return;
        };
        let number = message.subject.strip_prefix(&*replies.prefix).and_then(|number| number.parse().ok());
        if let Some(entry) = number.and_then(|number| replies.take(number)) {
            // Fails if nobody waits any more, which nobody misses.
            let _ = entry.answer.send(message);
        }
    }
}

async fn give_up(replies: Weak<Replies>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(replies) = replies.upgrade() else {
            return;
        };
        let (now, ended_below) = (Instant::now(), replies.ended_below.load(Ordering::Acquire));
        // Dropping an entry is the answer "none in time".
        replies
            .waiting
            .lock()
            .expect("nobody panics with the replies in hand")
            .retain(|number, entry| now < entry.until && *number >= ended_below);
    }
}
