//! Processes that stand still: tasks of many processes share the simulation's one thread, and all of one process, or
//! all that runs beside its handlers, are held back together.
//!
//! A held task is not polled; what it waits for happens meanwhile. So it finds its timers late and its messages
//! waiting, as after `SIGSTOP`, a suspended machine, or handlers that blocked every thread.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use crate::planted::{Bug, is_planted};

/// What can stand still by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The runtime of the handlers, with everything that shares it.
    Handlers,
    /// The lease keeper's thread.
    Keeper,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    waiting: Vec<Waker>,
}

/// The tasks of a process.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    handlers: Arc<Mutex<Gate>>,
    keeper: Arc<Mutex<Gate>>,
}

tokio::task_local! {
    static OF: (Tasks, Part);
}

impl Tasks {
    fn gate(&self, part: Part) -> &Mutex<Gate> {
        match part {
            Part::Handlers => &self.handlers,
            Part::Keeper => &self.keeper,
        }
    }

    /// Holds the tasks of a part back.
    pub(super) fn stop(&self, part: Part) {
        self.gate(part).lock().expect("nothing panics with a gate in hand").closed = true;
    }

    /// Lets them go on.
    pub(super) fn go_on(&self, part: Part) {
        let mut gate = self.gate(part).lock().expect("nothing panics with a gate in hand");
        gate.closed = false;
        let waiting = std::mem::take(&mut gate.waiting);
        drop(gate);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// A future that belongs to the handlers' part, as does everything that it spawns.
    pub(super) fn hold<F: Future>(&self, task: F) -> Held<F> {
        Held { of: Some((self.clone(), Part::Handlers)), task: Box::pin(task) }
    }
}

/// A task of the process, and the part of it, that spawns it.
pub(crate) fn own<F: Future>(task: F) -> Held<F> {
    Held { of: OF.try_with(Clone::clone).ok(), task: Box::pin(task) }
}

/// The keeper's task of the process that spawns it.
pub(crate) fn own_of_keeper<F: Future>(task: F) -> Held<F> {
    let part = if is_planted(Bug::BeatsAmongHandlers) { Part::Handlers } else { Part::Keeper };
    Held { of: OF.try_with(|(tasks, _)| (tasks.clone(), part)).ok(), task: Box::pin(task) }
}

/// A task that stands still with its process.
pub(crate) struct Held<F> {
    of: Option<(Tasks, Part)>,
    task: Pin<Box<F>>,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(of) = self.of.clone() else { return self.task.as_mut().poll(context) };
        let mut gate = of.0.gate(of.1).lock().expect("nothing panics with a gate in hand");
        if gate.closed {
            gate.waiting.push(context.waker().clone());
            return Poll::Pending;
        }
        drop(gate);
        OF.sync_scope(of, || self.task.as_mut().poll(context))
    }
}
