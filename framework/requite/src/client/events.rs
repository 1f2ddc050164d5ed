//! What a caller may watch of its call: what there is to see, and a stream of it for whoever waits elsewhere.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, task::AtomicWaker};

use crate::progress::Progress;

/// A step in the life of a call, as far as this caller saw it; see [`Accepted::events`](super::Accepted::events) and
/// [`Call::on_event`](super::Call::on_event). Whoever begins to watch a call that is under way is first told how it stands:
/// that it is accepted, which attempt runs, how far that is, and whether it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallEvent {
    /// The request was sent; the number counts from 1, and above 1 it was sent again under the same id.
    Sent {
        /// How often this call has been sent.
        number: u32,
    },
    /// The request is stored: from now on it ends in an outcome. For a call with a key that was used before, it is told once
    /// that request is known to have the same payload.
    Accepted {
        /// The request's number in the service's stream of requests, if the server told it to this caller.
        sequence: Option<u64>,
    },
    /// A handler runs it.
    Started {
        /// The worker.
        worker: String,
        /// 1 for the first attempt. Whoever watches was told of none before.
        attempt: u32,
    },
    /// A handler runs it again, after an attempt that was told before: progress begins anew.
    Restarted {
        /// The worker.
        worker: String,
        /// Above 1.
        attempt: u32,
    },
    /// The worker's heartbeat; of several that came while nobody awaited the call, the last.
    Alive {
        /// The worker.
        worker: String,
        /// 1 for the first attempt.
        attempt: u32,
        /// Heartbeats heard by this call.
        heard: u32,
        /// For how long this caller knows that the attempt runs.
        since: Duration,
    },
    /// How far the handler is, by its own word: the newest, some before it may be left out.
    Progress(Progress),
    /// The outcome is here.
    Done {
        /// The attempt whose outcome it is; 0 if it was cancelled before the first one began.
        attempt: u32,
    },
}

impl CallEvent {
    /// Whether it only says more of a state that an earlier one told.
    fn is_repeating(&self) -> bool {
        matches!(self, Self::Progress(_) | Self::Alive { .. })
    }

    /// Whether a later one of the same kind makes this one no news.
    fn is_replaced_by(&self, later: &Self) -> bool {
        matches!(
            (self, later),
            (Self::Progress(_), Self::Progress(_)) | (Self::Alive { .. }, Self::Alive { .. })
        )
    }
}

/// What happens to a call, as a stream that ends with it; from [`Accepted::events`](super::Accepted::events).
///
/// Nothing waits for its reader: of heartbeats and progress that nobody has read yet, it keeps the newest of each attempt.
#[must_use = "events are seen by reading them"]
pub struct CallEvents {
    queue: Arc<Queue>,
}

impl CallEvents {
    /// The next event; nothing after the last. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<CallEvent> {
        StreamExt::next(self).await
    }
}

impl Stream for CallEvents {
    type Item = CallEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<CallEvent>> {
        // Registered before the look: what comes in between wakes us.
        self.queue.reader.register(context.waker());
        let mut unread = self.queue.unread();
        match unread.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if unread.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for CallEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallEvents").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    unread: Mutex<Unread>,
    reader: AtomicWaker,
}

#[derive(Default)]
struct Unread {
    events: VecDeque<CallEvent>,
    ended: bool,
}

impl Queue {
    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().expect("nobody panics with the events in hand")
    }
}

/// Where events are put in; when it is dropped, the stream ends.
pub(super) struct Feed(Arc<Queue>);

impl Feed {
    pub(super) fn put(&self, event: &CallEvent) {
        let mut unread = self.0.unread();
        // Behind the last event that changed the state there are at most two.
        let repeating = unread.events.iter().rev().take_while(|before| before.is_repeating());
        if let Some(back) = repeating.into_iter().position(|before| before.is_replaced_by(event)) {
            let at = unread.events.len() - 1 - back;
            unread.events.remove(at);
        }
        unread.events.push_back(event.clone());
        drop(unread);
        self.0.reader.wake();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.unread().ended = true;
        self.0.reader.wake();
    }
}

/// A stream and its feed.
pub(super) fn events() -> (Feed, CallEvents) {
    let queue = Arc::<Queue>::default();
    (Feed(Arc::clone(&queue)), CallEvents { queue })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(heard: u32) -> CallEvent {
        CallEvent::Alive { worker: String::new(), attempt: 1, heard, since: Duration::ZERO }
    }

    #[tokio::test]
    async fn a_reader_who_is_late_gets_the_newest_of_what_repeats_and_all_of_the_rest() {
        let (feed, mut events) = events();
        let started = CallEvent::Started { worker: String::new(), attempt: 1 };
        let restarted = CallEvent::Restarted { worker: String::new(), attempt: 2 };
        let progress = |done| CallEvent::Progress(Progress::of(done, 9));
        feed.put(&started);
        for n in 1..=5 {
            feed.put(&alive(n));
            feed.put(&progress(n));
        }
        feed.put(&restarted);
        for n in 6..=8 {
            feed.put(&progress(n));
            feed.put(&alive(n));
        }
        drop(feed);
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event);
        }
        assert_eq!(seen, [started, alive(5), progress(5), restarted, progress(8), alive(8)]);
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_who_waits_is_woken() {
        let (feed, mut events) = events();
        let reading = tokio::spawn(async move { (events.next().await, events.next().await) });
        tokio::task::yield_now().await;
        feed.put(&alive(1));
        tokio::task::yield_now().await;
        drop(feed);
        assert_eq!(reading.await.unwrap(), (Some(alive(1)), None));
    }
}
