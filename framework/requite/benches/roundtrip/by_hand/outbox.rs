//! What many tasks publish at once goes to the connection as one batch.
//!
//! On a multi-threaded runtime a publish wakes the connection's task into the slot of the task that runs next. It
//! then writes that one message to the socket before any other task gets to publish: a system call per message.
//! Collecting first costs a quarter less CPU time of caller and worker at 64 callers, and nothing measurable at one.

use std::sync::{Arc, Mutex};

use async_nats::Client;
use async_nats::client::traits::Publisher;
use async_nats::message::OutboundMessage;
use tokio::sync::Notify;

/// Messages on their way to the connection, in order.
pub(super) struct Outbox {
    waiting: Mutex<Vec<OutboundMessage>>,
    filled: Notify,
}

impl Outbox {
    pub(super) fn start(client: Client) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox { waiting: Mutex::default(), filled: Notify::new() });
        tokio::spawn(Arc::clone(&outbox).forward(client));
        outbox
    }

    pub(super) fn publish(&self, message: OutboundMessage) {
        let mut waiting = self.waiting.lock().expect("no panic under this lock");
        waiting.push(message);
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
    }

    async fn forward(self: Arc<Self>, client: Client) {
        let mut batch = Vec::new();
        loop {
            self.filled.notified().await;
            // Behind every task that can run now: they are the ones that fill the batch.
            tokio::task::yield_now().await;
            std::mem::swap(&mut batch, &mut *self.waiting.lock().expect("no panic under this lock"));
            for message in batch.drain(..) {
                if client.publish_message(message).await.is_err() {
                    return;
                }
            }
        }
    }
}
