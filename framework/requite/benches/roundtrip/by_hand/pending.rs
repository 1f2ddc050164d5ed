//! Those who wait for a message, by the number in its subject.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;

use tokio::sync::oneshot::{self, Receiver, Sender};

/// Maps the number of a request to the task that waits for its answer.
pub(super) struct Pending<T> {
    waiting: Mutex<HashMap<u64, Sender<T>, BuildHasherDefault<Counted>>>,
}

impl<T> Pending<T> {
    pub(super) fn new() -> Pending<T> {
        Pending { waiting: Mutex::default() }
    }

    /// Waits for number `n`. Must be called before the request is published.
    pub(super) fn register(&self, n: u64) -> Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().expect("no panic under this lock").insert(n, sender);
        receiver
    }

    /// Hands `answer` to whoever waits for number `n`, if anybody does.
    pub(super) fn resolve(&self, n: u64, answer: T) {
        let sender = self.waiting.lock().expect("no panic under this lock").remove(&n);
        if let Some(sender) = sender {
            // It fails if the waiting task is gone, which nobody misses.
            let _ = sender.send(answer);
        }
    }
}

/// Hashes numbers that we counted ourselves, which therefore need no protection against chosen keys.
#[derive(Default)]
struct Counted(u64);

impl Hasher for Counted {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, n: u64) {
        // The table takes its buckets from the low bits and its tags from the high ones: multiplying fills both.
        self.0 = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed")
    }
}
