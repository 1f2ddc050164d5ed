//! Who watches a call, and in which order they learn what: whoever begins late is first told how the call stands. Apart
//! from the watch, which finds out what there is to tell, because observers come also while a task sees the call through.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::events::CallEvent;
use crate::progress::Progress;

pub(super) type Observer = Box<dyn FnMut(&CallEvent) + Send>;

/// All that are told of one call.
#[derive(Default)]
pub(super) struct Observers {
    standing: Standing,
    all: Vec<Observer>,
    /// Nothing more will be told.
    ended: bool,
}

impl Observers {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn tell(&mut self, event: &CallEvent) {
        self.standing.note(event);
        for observer in &mut self.all {
            observer(event);
        }
    }

    /// Tells an observer how the call stands, and from now on what the others are told.
    pub(super) fn add(&mut self, mut observer: Observer) {
        self.standing.tell(&mut observer);
        // With an observer that is not kept, its stream ends.
        if !self.ended {
            self.all.push(observer);
        }
    }

    /// Moves them to where others can be added from elsewhere; what is told here is told there until this is dropped.
    pub(super) fn share(&mut self) -> Shared {
        let standing = self.standing.clone();
        let there = Self { standing, all: mem::take(&mut self.all), ended: self.ended };
        let shared = Shared(Arc::new(Mutex::new(there)));
        let telling = Telling(shared.clone());
        self.all.push(Box::new(move |event| telling.0.lock().tell(event)));
        shared
    }
}

/// Observers of a call that a task sees through. One lock is held while an event is told and while an observer is added:
/// so nothing is missed in between, and nothing told twice.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Observers>>);

impl Shared {
    pub(super) fn add(&self, observer: Observer) {
        self.lock().add(observer);
    }

    /// An observer that panics ends the call, and the streams of the others have to end with it.
    fn lock(&self) -> MutexGuard<'_, Observers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task's end of what is shared. Dropped with the task, also when that is aborted, it ends all streams of events.
struct Telling(Shared);

impl Drop for Telling {
    fn drop(&mut self) {
        let all = {
            let mut observers = self.0.lock();
            observers.ended = true;
            mem::take(&mut observers.all)
        };
        // Not under the lock: what an observer owns is the user's.
        drop(all);
    }
}

/// How a call stands: what still holds of all that was told.
#[derive(Clone, Default)]
struct Standing {
    /// With the request's number, if that is known.
    accepted: Option<Option<u64>>,
    started: Option<(String, u32)>,
    progress: Option<Progress>,
    done: Option<u32>,
}

impl Standing {
    fn note(&mut self, event: &CallEvent) {
        match event {
            CallEvent::Sent { .. } | CallEvent::Alive { .. } => {}
            CallEvent::Accepted { sequence } => self.accepted = Some(*sequence),
            CallEvent::Started { worker, attempt } | CallEvent::Restarted { worker, attempt } => {
                self.started = Some((worker.clone(), *attempt));
                self.progress = None;
            }
            CallEvent::Progress(progress) => self.progress = Some(progress.clone()),
            CallEvent::Done { attempt } => self.done = Some(*attempt),
        }
    }

    fn tell(&self, observer: &mut Observer) {
        if let Some(sequence) = self.accepted {
            observer(&CallEvent::Accepted { sequence });
        }
        if let Some((worker, attempt)) = &self.started {
            observer(&CallEvent::Started { worker: worker.clone(), attempt: *attempt });
        }
        if let Some(progress) = &self.progress {
            observer(&CallEvent::Progress(progress.clone()));
        }
        if let Some(attempt) = self.done {
            observer(&CallEvent::Done { attempt });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    type Seen = Arc<Mutex<Vec<CallEvent>>>;

    /// An observer, and what it has seen.
    fn observer() -> (Observer, Seen) {
        let seen = Seen::default();
        let sees = Arc::clone(&seen);
        (Box::new(move |event| sees.lock().unwrap().push(event.clone())), seen)
    }

    fn started(attempt: u32) -> CallEvent {
        CallEvent::Started { worker: "w".into(), attempt }
    }

    fn restarted(attempt: u32) -> CallEvent {
        CallEvent::Restarted { worker: "w".into(), attempt }
    }

    fn progress(done: u32) -> CallEvent {
        CallEvent::Progress(Progress::of(done, 9))
    }

    const ACCEPTED: CallEvent = CallEvent::Accepted { sequence: Some(7) };
    const DONE: CallEvent = CallEvent::Done { attempt: 2 };

    /// Everything that can happen to a call, in its order.
    fn life() -> [CallEvent; 8] {
        let sent = CallEvent::Sent { number: 1 };
        [sent, ACCEPTED, started(1), progress(1), progress(2), restarted(2), progress(3), DONE]
    }

    /// What an observer has to see that comes when so many events were told.
    fn expected(late: usize) -> Vec<CallEvent> {
        let mut stands = match late {
            0 | 1 => vec![],
            2 => vec![ACCEPTED],
            3 => vec![ACCEPTED, started(1)],
            4 => vec![ACCEPTED, started(1), progress(1)],
            5 => vec![ACCEPTED, started(1), progress(2)],
            6 => vec![ACCEPTED, started(2)],
            7 => vec![ACCEPTED, started(2), progress(3)],
            _ => vec![ACCEPTED, started(2), progress(3), DONE],
        };
        stands.extend_from_slice(&life()[late..]);
        stands
    }

    #[test]
    fn whoever_comes_late_is_told_how_the_call_stands_and_then_the_rest() {
        let life = life();
        for shared_at in 0..=life.len() {
            for late in 0..=life.len() {
                let mut observers = Observers::default();
                let (first, first_saw) = observer();
                let (second, second_saw) = observer();
                observers.add(first);
                let (mut shared, mut second) = (None, Some(second));
                for told in 0..=life.len() {
                    if told == shared_at {
                        shared = Some(observers.share());
                    }
                    if let Some(observer) = second.take_if(|_| told == late) {
                        match &shared {
                            Some(shared) => shared.add(observer),
                            None => observers.add(observer),
                        }
                    }
                    if let Some(event) = life.get(told) {
                        observers.tell(event);
                    }
                }
                assert_eq!(*first_saw.lock().unwrap(), life, "shared at {shared_at}");
                assert_eq!(*second_saw.lock().unwrap(), expected(late), "{late}, shared at {shared_at}");
            }
        }
    }

    #[test]
    fn whoever_comes_after_the_end_is_told_how_it_ended_and_let_go() {
        let mut observers = Observers::default();
        let shared = observers.share();
        let (early, early_saw) = observer();
        shared.add(early);
        for event in life() {
            observers.tell(&event);
        }
        drop(observers);
        assert_eq!(Arc::strong_count(&early_saw), 1);
        let (late, late_saw) = observer();
        shared.add(late);
        assert_eq!(*late_saw.lock().unwrap(), expected(life().len()));
        assert_eq!(Arc::strong_count(&late_saw), 1);
    }

    #[test]
    fn an_observer_that_panics_keeps_none_of_the_others() {
        let mut observers = Observers::default();
        let shared = observers.share();
        let (other, other_saw) = observer();
        shared.add(Box::new(|_| panic!("on purpose")));
        shared.add(other);
        let told = catch_unwind(AssertUnwindSafe(|| observers.tell(&ACCEPTED)));
        assert!(told.is_err());
        drop(observers);
        assert_eq!(Arc::strong_count(&other_saw), 1);
    }
}
