//! A state: what is stored, what each worker has in hand, where each call stands, what is still on its way; and every
//! step from it.

use super::{Protocol, cancel::Cancel, promises::Promise, setting::Fault};
use crate::{
    protocol::{
        attempt::{Attempt, Ending, Event, Outcome, Write},
        caller::Caller,
        time::Moment,
    },
    wire::record::Kind,
};

/// Everything, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) requests: Vec<Request>,
    /// In the order of their deliveries.
    pub(super) hands: Vec<Hand>,
    pub(super) calls: Vec<Party>,
    /// What nobody has heard of yet; whatever is here may also never arrive.
    pub(super) mail: Vec<Mail>,
    /// How much may still go wrong.
    pub(super) faults: u8,
    /// The deadline has passed.
    pub(super) expired: bool,
    /// What was broken by the last step: there is none after it.
    pub(super) broken: Option<Promise>,
}

/// What the server has of one id, and what the promises need to know of its past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) queue: Vec<Message>,
    /// How many copies were stored so far.
    pub(super) copies: u8,
    /// Its message id is known.
    pub(super) remembered: bool,
    pub(super) record: Option<Record>,
    /// The number of the checkpoint that is stored; 0 for none.
    pub(super) checkpoint: u8,
    /// How many deliveries there were; names attempts.
    pub(super) deliveries: u8,
    pub(super) cancel: Cancel,
    /// A caller knows that it is accepted.
    pub(super) accepted: bool,
    /// How often a handler began to work on it.
    pub(super) runs: u8,
    /// How often it was released after an error.
    pub(super) retries: u8,
    /// Another run would have a reason.
    pub(super) excused: bool,
    /// The newest fencing token.
    pub(super) fence: u64,
    /// What callers were told.
    pub(super) answered: Option<Answer>,
    /// What a handler computed and nobody has stored, where that is shown to callers.
    pub(super) computed: Option<Answer>,
    /// Calls of which a copy was stored, and calls that were told that none ever was; a bit for each.
    pub(super) stored_calls: u8,
    pub(super) refused_calls: u8,
    /// Payloads that ran, and payloads that were told never to have run; a bit for each.
    pub(super) ran_payloads: u8,
    pub(super) refused_payloads: u8,
}

/// A copy of a request in the work queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Message {
    pub(super) sequence: u8,
    pub(super) copy: Copy,
    /// Stored soon after it was sent.
    pub(super) fresh: bool,
    /// Stored before the server came up again.
    pub(super) old: bool,
    /// The consumer's delivery count.
    pub(super) count: u64,
    /// To be delivered whoever has it in hand.
    pub(super) available: bool,
}

/// A copy of a request as it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Copy {
    pub(super) call: u8,
    pub(super) payload: u8,
    pub(super) resend: bool,
    pub(super) with_message_id: bool,
    /// How many copies were stored when it was sent.
    pub(super) after: u8,
}

/// The record, as far as it decides anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    /// The attempt's id.
    pub(super) by: u8,
    pub(super) attempt: u32,
    pub(super) write: u32,
    pub(super) spent: u32,
    pub(super) delivery: u64,
    pub(super) payload: u8,
    /// Released, and to be let lie for a while.
    pub(super) waits: bool,
    /// It says that the request is cancelled.
    pub(super) cancelled: bool,
    pub(super) outcome: Option<Outcome>,
}

impl Default for Record {
    /// Nobody's, and of no attempt.
    fn default() -> Self {
        Self {
            sequence: 0,
            kind: Kind::Unknown,
            by: 0,
            attempt: 0,
            write: 0,
            spent: 0,
            delivery: 0,
            payload: 0,
            waits: false,
            cancelled: false,
            outcome: None,
        }
    }
}

/// An outcome, with the attempt that came to it: the values of two attempts are never the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Answer {
    pub(super) by: u8,
    pub(super) outcome: Outcome,
}

/// A delivery in a worker's hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hand {
    pub(super) request: usize,
    pub(super) message: u8,
    pub(super) payload: u8,
    pub(super) by: u8,
    pub(super) attempt: Attempt,
    pub(super) todo: Todo,
    pub(super) handler: bool,
    /// Its handler has begun.
    pub(super) began: bool,
    /// Out of reach.
    pub(super) cut: bool,
    /// Out of reach for as long as the others have to wait before they take over.
    pub(super) late: bool,
    /// The write of which it does not know whether it is stored.
    pub(super) doubt: Option<Write>,
    /// The last checkpoint that its handler knows of.
    pub(super) checkpoint: u8,
    /// The handler waits for the next one to be stored.
    pub(super) stores: bool,
    /// Its worker stops.
    pub(super) drains: bool,
    /// How many long waits it has behind it.
    pub(super) waits: u64,
}

/// What a worker's driver is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Todo {
    Nothing,
    Read,
    Write(Write),
    Ask(u8),
    Wait { until: Moment, watching: bool },
    Find,
    Bury,
    Ack,
    Nak,
}

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Party {
    Idle,
    Calling(Call),
    Done,
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) machine: Caller,
    pub(super) todo: Asking,
    /// The outcome was there before this call.
    pub(super) came_after: bool,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asking {
    Nothing,
    Publish { resend: bool, with_message_id: bool },
    Read,
    Streams,
    Workers,
}

/// What hangs in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mail {
    Publish { request: usize, copy: Copy },
    Write { request: usize, expected: u64, record: Record },
    Checkpoint { request: usize, expected: u64, by: u8, number: u8 },
    Ack { request: usize, message: u8 },
    Nak { request: usize, message: u8 },
}

/// What can happen next. A number names a call, a hand, a request or a piece of mail by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A caller begins.
    Begin(usize),
    /// What a call waits for comes, as things are.
    Answered(usize),
    /// A replica that lags knows of no record.
    ReadTooEarly(usize),
    /// The record, or what is shown in its place, comes on the inbox.
    Pushed(usize),
    /// A sign of life of a running handler comes.
    Signalled(usize),
    /// A message goes to a worker; whether that one was bound before it was stored.
    Deliver {
        request: usize,
        message: usize,
        bound_before: bool,
    },
    /// A worker does what it is to do.
    Do(usize),
    /// A worker that watches a claim looks again, or has waited long enough.
    LookAgain(usize),
    WaitedLongEnough(usize),
    /// A handler stores a checkpoint.
    Checkpoint(usize),
    /// A handler ends.
    End(usize, Ending),
    /// The keeper's heartbeat for what has not claimed yet.
    Beat(usize),
    Reconnect(usize),
    /// The time is over that a worker had to stop.
    DrainEnds(usize),
    LeaseEnds(usize),
    Arrive(usize),
    /// A released request may be started again.
    DelayOver(usize),
    Expire,
    /// A caller asks to cancel a request; whoever is given that looks at the record.
    Cancel(usize),
    LookToCancel(usize),
    Goes(Fault, usize),
}

impl World {
    pub(super) fn new(protocol: &Protocol) -> Self {
        let setting = &protocol.setting;
        let mut world = Self {
            requests: vec![Request::default(); setting.requests],
            hands: Vec::new(),
            calls: vec![Party::Idle; setting.calls.len()],
            mail: Vec::new(),
            faults: setting.budget,
            expired: false,
            broken: None,
        };
        world.begin(protocol, 0);
        world
    }

    pub(super) fn outcome(&self, request: usize) -> Option<Answer> {
        let record = self.requests[request].record?;
        record.outcome.map(|outcome| Answer { by: record.by, outcome })
    }

    /// Notes what was broken, the first thing if there is more.
    pub(super) fn breaks(&mut self, promise: Promise) {
        self.broken.get_or_insert(promise);
    }

    pub(super) fn hands_of(&self, request: usize) -> impl Iterator<Item = &Hand> {
        self.hands.iter().filter(move |hand| hand.request == request)
    }

    /// Every step that is possible.
    pub(super) fn steps(&self, protocol: &Protocol, steps: &mut Vec<Step>) {
        if self.broken.is_some() {
            return;
        }
        self.steps_of_callers(protocol, steps);
        self.steps_of_server(protocol, steps);
        self.steps_of_cancels(protocol, steps);
        for at in 0..self.hands.len() {
            self.steps_of_worker(protocol, at, steps);
        }
        if self.faults > 0 {
            self.faults_of_callers(protocol, steps);
            self.faults_of_server(protocol, steps);
            for at in 0..self.hands.len() {
                self.faults_of_worker(protocol, at, steps);
            }
        }
    }

    pub(super) fn apply(&mut self, protocol: &Protocol, step: Step) {
        match step {
            Step::Begin(call) => self.begin(protocol, call),
            Step::Answered(call) => self.answer(protocol, call),
            Step::ReadTooEarly(call) => self.read_too_early(protocol, call),
            Step::Pushed(call) => self.push(protocol, call),
            Step::Signalled(call) => self.signal(protocol, call),
            Step::Deliver { request, message, bound_before } => {
                self.deliver(protocol, request, message, bound_before);
            }
            Step::Do(at) => self.act(protocol, at),
            Step::LookAgain(at) => {
                self.feed(protocol, at, Event::Due);
            }
            Step::WaitedLongEnough(at) => self.waited(protocol, at),
            Step::Checkpoint(at) => {
                self.hands[at].stores = true;
                self.feed(protocol, at, Event::Checkpoint);
            }
            Step::End(at, ending) => {
                self.hands[at].handler = false;
                self.feed(protocol, at, Event::Ended(ending));
            }
            Step::Beat(at) => {
                self.feed(protocol, at, Event::Beat);
            }
            Step::Reconnect(at) => {
                self.hands[at].cut = false;
                self.feed(protocol, at, Event::Reconnected);
            }
            Step::DrainEnds(at) => self.drain_ends(protocol, at),
            Step::LeaseEnds(at) => self.lose(protocol, at),
            Step::Arrive(at) => self.arrive(protocol, at),
            Step::DelayOver(request) => {
                if let Some(record) = &mut self.requests[request].record {
                    record.waits = false;
                }
            }
            Step::Expire => self.expired = true,
            Step::Cancel(request) => self.cancel(protocol, request),
            Step::LookToCancel(request) => self.look_to_cancel(protocol, request),
            Step::Goes(fault, at) => {
                self.faults -= 1;
                self.go_wrong(protocol, fault, at);
            }
        }
        self.drop_dead_mail(protocol);
    }

    fn go_wrong(&mut self, protocol: &Protocol, fault: Fault, at: usize) {
        match fault {
            Fault::LatePublish | Fault::NoResponders | Fault::QueueFull | Fault::GiveUp | Fault::Leave => {
                self.call_goes_wrong(protocol, fault, at);
            }
            Fault::Restart | Fault::Kill | Fault::ForgetIds => self.server_restarts(fault),
            Fault::Crash => self.crash(at),
            Fault::Cut => self.hands[at].cut = true,
            Fault::Drain => self.drain(protocol, at),
            Fault::LateWrite | Fault::LateSettle | Fault::RecordsFull => {
                self.act_in_vain(protocol, fault, at);
            }
        }
    }

    /// What cannot change anything any more when it arrives is the same as nothing.
    fn drop_dead_mail(&mut self, protocol: &Protocol) {
        let Self { mail, requests, .. } = self;
        mail.retain(|mail| match mail {
            Mail::Publish { .. } => true,
            Mail::Write { request, expected, record } => {
                let last = requests[*request].record.map_or(0, |it| it.sequence);
                *expected == last || !protocol.is_compared(record.kind)
            }
            Mail::Checkpoint { request, expected, .. } => {
                let last = requests[*request].record.map_or(0, |it| it.sequence);
                *expected == last || !protocol.compares_checkpoints
            }
            Mail::Ack { request, message } | Mail::Nak { request, message } => {
                requests[*request].queue.iter().any(|it| it.sequence == *message)
            }
        });
    }
}
