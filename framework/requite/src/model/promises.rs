//! What must hold in every state.

use stateright::Property;

use super::{
    Protocol,
    cancel::Cancel,
    world::{Party, Request, Step, World},
};
use crate::protocol::attempt::Ending;

macro_rules! promises {
    ($($promise:ident: $name:literal),+ $(,)?) => {
        /// What a step can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Promise {
            $($promise),+
        }

        impl Promise {
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$promise => $name),+
                }
            }
        }

        fn of_steps() -> Vec<Property<Protocol>> {
            vec![$(Property::always($name, |_, world: &World| world.broken != Some(Promise::$promise))),+]
        }
    };
}

promises! {
    OneOutcome: "an outcome is never replaced",
    AnswersAreStored: "an answer is the stored outcome, and all answers are the same",
    NoRunAfterOutcome: "no run begins after the outcome is stored",
    RunsHaveReasons: "a second run has a reason: a lost lease, a dead worker, a retry, a hand-over",
    OneAtATime: "no two workers that can be reached run a request at once",
    Once: "a handler that runs at most once starts at most once",
    FencesGrow: "fencing tokens grow",
    RefusedNeverRan: "what was refused never ran, and never will",
    AttemptsAreCounted: "no more attempts than allowed",
    NotAfterTheDeadline: "nothing starts after the deadline",
    CancelledDoesNotBegin: "what a record says is cancelled does not begin, and `never ran` is true",
    LostIsLost: "with its lease an attempt ends",
    CheckpointsStand: "a checkpoint is replaced by later ones of whoever holds the request, and the next attempt finds it",
    HandedOverAtCheckpoint: "a worker that stops lets no handler run on behind its checkpoint",
    OneThingAtATime: "one write in flight for a record and worker",
}

pub(super) const KEPT: &str = "what was accepted is queued, or its outcome is stored";
pub(super) const QUEUED_ONCE: &str = "an id is never queued twice";
pub(super) const ENDS: &str = "if nothing goes wrong any more, every request and every call ends";

/// Every promise; those that a state shows by itself first.
pub(super) fn properties() -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(KEPT, |_, world: &World| world.keeps_what_was_accepted()),
        Property::always(QUEUED_ONCE, |_, world: &World| world.requests.iter().all(|it| it.queue.len() < 2)),
        Property::always(ENDS, |protocol: &Protocol, world: &World| {
            protocol.with_bug(|| world.ends(protocol))
        }),
    ];
    all.extend(of_steps());
    all
}

/// More steps than any request needs to its end.
const MANY: usize = 200;

impl World {
    /// Not only what a caller knows to be accepted: whatever was stored.
    fn keeps_what_was_accepted(&self) -> bool {
        let is_kept = |(request, it): (usize, &Request)| {
            let taken = it.accepted || it.copies > 0;
            !taken || !it.queue.is_empty() || self.outcome(request).is_some()
        };
        self.requests.iter().enumerate().all(is_kept)
    }

    /// Nothing goes wrong any more, nothing that hangs in the network arrives, and whoever has something to do does it.
    fn ends(&self, protocol: &Protocol) -> bool {
        if self.broken.is_some() {
            return true;
        }
        let mut world = self.clone();
        world.faults = 0;
        world.mail.clear();
        for turn in 0..MANY {
            let Some(step) = world.next(protocol, turn) else {
                return world.is_at_its_end() || world.broken.is_some();
            };
            world.apply(protocol, step);
        }
        false
    }

    fn is_at_its_end(&self) -> bool {
        let kept = self.requests.iter().enumerate().all(|(request, it)| {
            let settled = it.queue.is_empty() && it.cancel != Cancel::Stored;
            settled && (it.copies == 0 || self.outcome(request).is_some())
        });
        kept && self.hands.is_empty() && !self.calls.iter().any(|it| matches!(it, Party::Calling(_)))
    }

    /// One of the steps that lead on, so that everybody's turn comes.
    fn next(&self, protocol: &Protocol, turn: usize) -> Option<Step> {
        let mut steps = Vec::new();
        self.steps(protocol, &mut steps);
        steps.retain(|step| match *step {
            Step::Answered(call) => self.has_news(protocol, call),
            Step::Do(_) | Step::WaitedLongEnough(_) | Step::Reconnect(_) => true,
            // To wait on is for those who must not take over yet.
            Step::LookAgain(at) => !self.may_have_waited(at, true),
            Step::End(_, ending) => !matches!(ending, Ending::Error { retry: Some(_) }),
            Step::DelayOver(_) | Step::Deliver { .. } | Step::LookToCancel(_) => true,
            _ => false,
        });
        (!steps.is_empty()).then(|| steps[turn % steps.len()])
    }

    /// A call that is accepted reads in vain until there is an outcome.
    fn has_news(&self, protocol: &Protocol, call: usize) -> bool {
        let (request, _) = protocol.setting.calls[call];
        match &self.calls[call] {
            Party::Calling(it) => !it.machine.is_accepted() || self.outcome(request).is_some(),
            Party::Idle | Party::Done => false,
        }
    }
}
