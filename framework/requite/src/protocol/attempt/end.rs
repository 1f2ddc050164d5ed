//! The end of the handler's part, and what is left of it: an outcome, or a released request, and a dead letter before it.

use std::time::Duration;

use super::{Action, Attempt, Ending, Outcome, State, What};
use crate::wire::record::Reason;

impl Attempt {
    pub(super) fn ended(&mut self, ending: Ending) -> Action {
        let busy = self.in_flight.is_some() || self.state == State::Finding;
        match self.state {
            State::Claiming | State::Finding | State::Running if busy => {
                // The first ending stands: a result is not lost to a time-out that is noticed later.
                self.ended.get_or_insert(ending);
                Action::None
            }
            State::Running => self.settle(ending),
            // Not started: the next worker may have it at once. A watched claim is somebody else's affair.
            State::New | State::Looking | State::Standing => self.finish(Action::Nak(Duration::ZERO)),
            State::Watching { .. } => self.finish(Action::Forget),
            State::Claiming | State::Finding | State::Settling | State::Over => Action::None,
        }
    }

    pub(super) fn settle(&mut self, ending: Ending) -> Action {
        let begun = self.is_running();
        self.state = State::Settling;
        match ending {
            // Nothing of this attempt is left over: attempt 0 says that none has begun, so that even a handler that
            // runs at most once may be started by the next worker.
            Ending::HandedOver if !begun => {
                self.number = if self.earlier { self.number.saturating_sub(1).max(1) } else { 0 };
                self.release(Duration::ZERO, self.spent.saturating_sub(1))
            }
            Ending::Killed => self.write(What::Outcome(Outcome::Cancelled)),
            Ending::Value => self.write(What::Outcome(Outcome::Value)),
            Ending::Error { retry: Some(delay) } if !self.terms.once => {
                if self.spent >= self.terms.attempts {
                    return self.bury(Reason::Exhausted, Outcome::Error(Some(Reason::Exhausted)));
                }
                self.release(delay, self.spent)
            }
            Ending::Error { .. } => self.write(What::Outcome(Outcome::Error(None))),
            Ending::Panicked => self.bury(Reason::Panicked, Outcome::Failed(Reason::Panicked)),
            Ending::TimedOut => self.write(What::Outcome(Outcome::Failed(Reason::TimedOut))),
            Ending::Unread => self.write(What::Outcome(Outcome::Failed(Reason::Unread))),
            Ending::TooLarge => self.write(What::Outcome(Outcome::Failed(Reason::TooLarge))),
            Ending::Undecodable => self.bury(Reason::Undecodable, self.never_ran(Reason::Undecodable)),
            Ending::HandedOver if self.terms.once && !self.cancelled => {
                self.write(What::Outcome(Outcome::Failed(Reason::Interrupted)))
            }
            // An attempt that was taken from its handler is not used up.
            Ending::HandedOver => self.release(Duration::ZERO, self.spent.saturating_sub(1)),
        }
    }

    /// Before the start: none of this attempt's handler has run.
    pub(super) fn cancel(&mut self) -> Action {
        self.state = State::Settling;
        self.cancelled = true;
        if !self.earlier {
            self.number = 0;
        }
        self.write(What::Outcome(Outcome::Cancelled))
    }

    fn release(&mut self, delay: Duration, spent: u32) -> Action {
        self.write(What::Released { delay, spent })
    }

    pub(super) fn bury(&mut self, reason: Reason, outcome: Outcome) -> Action {
        self.state = State::Settling;
        self.buried = Some((reason, outcome));
        Action::Bury(reason)
    }

    pub(super) fn buried(&mut self, stored: bool) -> Action {
        match self.buried {
            Some((_, outcome)) if stored => {
                self.buried = None;
                self.write(What::Outcome(outcome))
            }
            Some((reason, _)) => Action::Bury(reason),
            None => Action::None,
        }
    }
}
