//! Tasks that other requests depend on, beside handlers that may block their thread.
//!
//! Tokio ties a task that yields (`yield_now`, or a used-up budget) to its thread until that has nothing else to run.
//! If what it runs is a handler that blocks, the task stands still as long, with everything that waits for it. So these
//! tasks take no part in tokio's budgets, and pass their turn in a way that lets any thread go on with them.

use std::{future::poll_fn, mem, task::Poll};

use tokio::task::{JoinHandle, unconstrained};

/// Messages that a task may handle in one turn where many can wait.
pub(crate) const TURN: usize = 256;

/// A task of this process. In a simulation, where many processes share a runtime, it stands still with its process.
#[cfg(not(test))]
pub(crate) fn own<F: Future>(task: F) -> F {
    task
}

/// The keeper's task in a simulation: there it has no thread of its own, but it stands still by itself.
#[cfg(not(test))]
pub(crate) fn own_of_keeper<F: Future>(task: F) -> F {
    task
}

#[cfg(test)]
pub(crate) use crate::simulation::standstill::{own, own_of_keeper};

/// Spawns a task without a budget. Whatever can keep it busy for long passes its turn by itself.
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(own(unconstrained(task)))
}

/// Lets the others go first.
pub(crate) async fn pass() {
    let mut passed = false;
    poll_fn(|context| {
        if mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
