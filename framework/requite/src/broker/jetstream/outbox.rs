//! What many tasks publish at once goes to the connection as one batch.
//!
//! On a runtime of several threads a publish wakes the connection's task into the slot of the task that runs next; it
//! then writes that one message to the socket before any other task gets to publish: a system call for each message.
//! Collected first, they share one. `cargo bench --bench roundtrip` shows the difference.

use std::sync::{Arc, Mutex, MutexGuard};

use async_nats::{Client, client::traits::Publisher, message::OutboundMessage};
use tokio::sync::Notify;

use crate::{broker::SendError, turns};

/// Messages that may wait here; above this, publishers wait. As many again wait in `async_nats`.
const CAPACITY: usize = 16 * 1024;

/// Messages on their way to the connection, in order. Dropping it lets what waits go out and then ends.
#[derive(Debug)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Woken when the first message waits, and when the last handle is gone.
    filled: Notify,
    /// Woken when all waiting messages were taken.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<OutboundMessage>,
    /// Nobody can publish any more.
    closed: bool,
    /// The connection is closed for good: nothing is taken any more.
    ended: bool,
}

impl Queue {
    fn has_room(&self) -> bool {
        self.ended || self.waiting.len() < CAPACITY
    }
}

impl Outbox {
    /// Starts to forward to `client`.
    pub(super) fn start(client: Client) -> Self {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Notify::new(), emptied: Notify::new() });
        turns::spawn(forward(Arc::clone(&shared), client));
        Self { shared }
    }

    /// Waits until there is room again. Awaited after a message was handed over, so the capacity is a mark and not a
    /// wall: each publisher may be one message above it.
    pub(super) async fn room(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            if self.shared.lock().has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// Hands a message over, and says whether there is room for the next. Not async, so that no future has to carry it.
    ///
    /// # Errors
    ///
    /// If the connection is closed for good.
    pub(super) fn publish(&self, message: OutboundMessage) -> Result<bool, SendError> {
        let mut queue = self.shared.lock();
        if queue.ended {
            return Err(SendError::Closed);
        }
        queue.waiting.push(message);
        let (first, has_room) = (queue.waiting.len() == 1, queue.has_room());
        drop(queue);
        if first {
            self.shared.filled.notify_one();
        }
        Ok(has_room)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics with the outbox in hand")
    }

    /// Whoever waits for room would wait for ever.
    fn end(&self) {
        let mut queue = self.lock();
        queue.ended = true;
        queue.waiting.clear();
        drop(queue);
        self.emptied.notify_waiters();
    }
}

async fn forward(shared: Arc<Shared>, client: Client) {
    let mut batch = Vec::new();
    loop {
        shared.filled.notified().await;
        // Behind every task that can run now: they are the ones that fill the batch.
        turns::pass().await;
        let closed = {
            let mut queue = shared.lock();
            std::mem::swap(&mut batch, &mut queue.waiting);
            queue.closed
        };
        shared.emptied.notify_waiters();
        for message in batch.drain(..) {
            if client.publish_message(message).await.is_err() {
                return shared.end();
            }
        }
        if closed {
            return;
        }
    }
}
