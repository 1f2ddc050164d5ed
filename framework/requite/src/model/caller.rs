//! Callers: each call driven by the machine of the product, [`Caller`].
//!
//! A call whose acceptance is known reads its record again and again: what it could hear at any time it hears at every
//! time.

use std::time::Duration;

use super::{
    Protocol,
    marks::Mark,
    promises::Promise,
    setting::{Fault, Who},
    world::{Answer, Asking, Call, Copy, Mail, Party, Step, World},
};
use crate::{
    protocol::{
        caller::{self, Action, Caller, Event, Limits, Seen, Streams, Verdict},
        time::Moment,
    },
    wire::{PayloadHash, record::Kind},
};

const NOW: Moment = Moment(0);
const ACCEPT_BY: Moment = Moment(15_000_000_000);
const LIMITS: Limits = Limits {
    accept_by: ACCEPT_BY,
    start_within: None,
    silent_for: None,
    deadline: Moment::FAR,
    read_after: Duration::ZERO,
};

fn hash(payload: u8) -> PayloadHash {
    [payload; 16]
}

fn payload(who: Who) -> u8 {
    match who {
        Who::Keyed(payload) => payload,
        Who::Fresh | Who::Attached => 0,
    }
}

impl World {
    fn call(&mut self, call: usize) -> Option<&mut Call> {
        match &mut self.calls[call] {
            Party::Calling(call) => Some(call),
            Party::Idle | Party::Done => None,
        }
    }

    fn is_running(&self, request: usize) -> bool {
        self.hands_of(request).any(|hand| hand.handler && !hand.cut)
    }

    pub(super) fn steps_of_callers(&self, protocol: &Protocol, steps: &mut Vec<Step>) {
        for (at, party) in self.calls.iter().enumerate() {
            let (request, who) = protocol.setting.calls[at];
            let it = &self.requests[request];
            match party {
                Party::Done => {}
                Party::Idle if who != Who::Attached || it.accepted => steps.push(Step::Begin(at)),
                Party::Idle => {}
                Party::Calling(call) => {
                    let accepted = call.machine.is_accepted();
                    if call.todo != Asking::Nothing {
                        steps.push(Step::Answered(at));
                    }
                    if protocol.setting.terms.replicated && call.todo == Asking::Read && it.record.is_some() {
                        steps.push(Step::ReadTooEarly(at));
                    }
                    // What is accepted reads all the time, and a push tells no more than that.
                    if it.computed.is_some() || it.record.is_some() && !accepted {
                        steps.push(Step::Pushed(at));
                    }
                    if !accepted && self.is_running(request) {
                        steps.push(Step::Signalled(at));
                    }
                }
            }
        }
    }

    pub(super) fn faults_of_callers(&self, protocol: &Protocol, steps: &mut Vec<Step>) {
        for (at, party) in self.calls.iter().enumerate() {
            let Party::Calling(call) = party else { continue };
            let (request, _) = protocol.setting.calls[at];
            let publishes = matches!(call.todo, Asking::Publish { .. });
            let full = publishes && self.requests[request].queue.is_empty();
            let accepting = !call.machine.is_accepted();
            let faults = [
                (Fault::LatePublish, publishes),
                (Fault::NoResponders, publishes),
                (Fault::QueueFull, full),
                (Fault::GiveUp, accepting),
                (Fault::Leave, true),
            ];
            let possible =
                faults.into_iter().filter(|(fault, when)| *when && protocol.setting.allows(*fault));
            steps.extend(possible.map(|(fault, _)| Step::Goes(fault, at)));
        }
    }

    pub(super) fn begin(&mut self, protocol: &Protocol, at: usize) {
        let (request, who) = protocol.setting.calls[at];
        let machine = match who {
            Who::Fresh => Caller::new(LIMITS, None, false),
            Who::Keyed(payload) => Caller::new(LIMITS, Some(hash(payload)), true),
            Who::Attached => Caller::attached(LIMITS, None),
        };
        let came_after = self.outcome(request).is_some();
        self.calls[at] = Party::Calling(Call { machine, todo: Asking::Nothing, came_after });
        self.hear(protocol, at, Event::Begin, None);
    }

    /// Feeds a call; `shown` is the outcome in the record that the event brings.
    fn hear(&mut self, protocol: &Protocol, at: usize, event: Event, shown: Option<Answer>) {
        let (request, _) = protocol.setting.calls[at];
        // A caller that gives up hears of it when the time has come.
        let now = if event == Event::Due { ACCEPT_BY } else { NOW };
        let Some(call) = self.call(at) else { return };
        let action = call.machine.step(event, now);
        let known = call.machine.is_accepted();
        match action {
            Action::Wait => {}
            Action::Publish { resend, with_message_id, .. } => {
                call.todo = Asking::Publish { resend, with_message_id };
            }
            Action::Read { .. } => call.todo = Asking::Read,
            Action::AskStreams => call.todo = Asking::Streams,
            Action::AskWorkers => call.todo = Asking::Workers,
            Action::Finish(verdict) => self.finish(protocol, at, verdict, shown),
        }
        self.requests[request].accepted |= known;
    }

    fn finish(&mut self, protocol: &Protocol, at: usize, verdict: Verdict, shown: Option<Answer>) {
        let (request, who) = protocol.setting.calls[at];
        let Party::Calling(call) = std::mem::replace(&mut self.calls[at], Party::Done) else { return };
        let stored = self.outcome(request);
        let it = &mut self.requests[request];
        let certain = !call.machine.is_in_doubt() && !call.machine.is_accepted();
        let broken = match verdict {
            Verdict::Outcome => {
                if call.came_after {
                    protocol.mark(Mark::Reattach);
                }
                let first = *it.answered.get_or_insert(shown.expect("the outcome was shown"));
                (shown != stored || shown != Some(first)).then_some(Promise::AnswersAreStored)
            }
            Verdict::IdReused => {
                protocol.mark(Mark::IdReused);
                it.refused_payloads |= 1 << payload(who);
                (it.refused_payloads & it.ran_payloads != 0).then_some(Promise::RefusedNeverRan)
            }
            Verdict::QueueFull | Verdict::NoQuorum if certain => {
                protocol.mark(Mark::Unavailable);
                it.refused_calls |= 1 << at;
                (it.refused_calls & it.stored_calls != 0).then_some(Promise::RefusedNeverRan)
            }
            _ => {
                protocol.mark(Mark::Unknown);
                None
            }
        };
        if let Some(promise) = broken {
            self.breaks(promise);
        }
    }

    /// What the call waits for comes, as things are.
    pub(super) fn answer(&mut self, protocol: &Protocol, at: usize) {
        let (request, who) = protocol.setting.calls[at];
        let after = self.requests[request].copies;
        let Some(call) = self.call(at) else { return };
        let (event, shown) = match std::mem::replace(&mut call.todo, Asking::Nothing) {
            Asking::Nothing => return,
            Asking::Publish { resend, with_message_id } => {
                let copy = copy(at, who, resend, with_message_id, after);
                (Event::Answer(self.publish(protocol, request, copy)), None)
            }
            Asking::Read => (Event::Read(Ok(self.seen(request))), self.outcome(request)),
            Asking::Streams => (Event::Streams(Streams::Match), None),
            Asking::Workers => (Event::Asked(caller::Presence::Workers), None),
        };
        self.hear(protocol, at, event, shown);
    }

    pub(super) fn read_too_early(&mut self, protocol: &Protocol, at: usize) {
        if let Some(call) = self.call(at) {
            call.todo = Asking::Nothing;
        }
        self.hear(protocol, at, Event::Read(Ok(None)), None);
    }

    fn seen(&self, request: usize) -> Option<Seen> {
        let record = self.requests[request].record?;
        Some(Seen { kind: record.kind, hash: hash(record.payload), attempt: record.attempt })
    }

    pub(super) fn push(&mut self, protocol: &Protocol, at: usize) {
        let (request, who) = protocol.setting.calls[at];
        let (seen, shown) = match self.requests[request].computed {
            Some(answer) => {
                (Some(Seen { kind: Kind::Outcome, hash: hash(payload(who)), attempt: 1 }), Some(answer))
            }
            None => (self.seen(request), self.outcome(request)),
        };
        if let Some(seen) = seen {
            self.hear(protocol, at, Event::Pushed(seen), shown);
        }
    }

    pub(super) fn signal(&mut self, protocol: &Protocol, at: usize) {
        self.hear(protocol, at, Event::Alive, None);
    }

    pub(super) fn call_goes_wrong(&mut self, protocol: &Protocol, fault: Fault, at: usize) {
        let (request, who) = protocol.setting.calls[at];
        let after = self.requests[request].copies;
        let Some(call) = self.call(at) else { return };
        let event = match (fault, call.todo) {
            (Fault::LatePublish, Asking::Publish { resend, with_message_id }) => {
                let copy = copy(at, who, resend, with_message_id, after);
                self.mail.push(Mail::Publish { request, copy });
                Event::Answer(caller::Answer::InDoubt)
            }
            (Fault::NoResponders, _) => Event::Answer(caller::Answer::NoResponders),
            (Fault::QueueFull, _) => Event::Answer(caller::Answer::Full),
            (Fault::GiveUp, _) => Event::Due,
            _ => {
                self.calls[at] = Party::Done;
                return;
            }
        };
        self.hear(protocol, at, event, None);
    }
}

fn copy(call: usize, who: Who, resend: bool, with_message_id: bool, after: u8) -> Copy {
    let call = u8::try_from(call).expect("few");
    Copy { call, payload: payload(who), resend, with_message_id, after }
}
