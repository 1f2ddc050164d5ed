//! Pending calls and their mail: records, signals and changes of the connection, handed from the listeners to whoever
//! waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use crate::{broker::Message, wire::signal::SignalKind};

/// Something a pending call must hear of.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    /// A record came on the inbox.
    Record(Message),
    Signal {
        kind: SignalKind,
        worker: String,
        attempt: u32,
        n: u64,
    },
    Reconnected,
    /// The server refused to take the request.
    Denied,
}

/// The mail of one call.
#[derive(Default)]
pub(super) struct Mailbox {
    mail: Mutex<VecDeque<Mail>>,
    arrived: Notify,
}

impl Mailbox {
    pub(super) fn put(&self, mail: Mail) {
        self.mail.lock().expect("nobody panics with a mailbox in hand").push_back(mail);
        self.arrived.notify_one();
    }

    /// The next piece of mail. Cancelling loses nothing.
    pub(super) async fn next(&self) -> Mail {
        loop {
            if let Some(mail) = self.mail.lock().expect("nobody panics with a mailbox in hand").pop_front() {
                return mail;
            }
            // A piece that came since the look has left its permit here.
            self.arrived.notified().await;
        }
    }
}

/// The mailboxes of all pending calls, by `<service>.<id>`. Several calls of one process may share a key.
#[derive(Default)]
pub(super) struct Pending {
    boxes: Mutex<HashMap<Box<str>, Vec<Arc<Mailbox>>>>,
}

impl Pending {
    pub(super) fn add(&self, key: &str) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        self.boxes
            .lock()
            .expect("nobody panics with the mailboxes in hand")
            .entry(key.into())
            .or_default()
            .push(Arc::clone(&mailbox));
        mailbox
    }

    pub(super) fn remove(&self, key: &str, mailbox: &Arc<Mailbox>) {
        let mut boxes = self.boxes.lock().expect("nobody panics with the mailboxes in hand");
        if let Some(of_key) = boxes.get_mut(key) {
            of_key.retain(|it| !Arc::ptr_eq(it, mailbox));
            if of_key.is_empty() {
                boxes.remove(key);
            }
        }
    }

    pub(super) fn deliver(&self, key: &str, mail: Mail) {
        let boxes = self.boxes.lock().expect("nobody panics with the mailboxes in hand");
        if let Some((last, others)) = boxes.get(key).and_then(|of_key| of_key.split_last()) {
            for mailbox in others {
                mailbox.put(mail.clone());
            }
            last.put(mail);
        }
    }

    pub(super) fn deliver_to_all(&self, mail: &Mail) {
        let boxes = self.boxes.lock().expect("nobody panics with the mailboxes in hand");
        // In a steady order: calls that react to one event do so alike in every run of a simulation.
        let mut steady: Vec<_> = boxes.iter().collect();
        steady.sort_unstable_by_key(|(key, _)| *key);
        for mailbox in steady.into_iter().flat_map(|(_, of_key)| of_key) {
            mailbox.put(mail.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.boxes.lock().unwrap().is_empty()
    }
}
