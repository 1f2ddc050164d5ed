//! What the model is asked about: who takes part, what may go wrong, and how often.

use std::time::Duration;

use crate::protocol::{
    attempt::{Ending, Terms},
    time::LeaseTimes,
};

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// How a caller comes by its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Calls under a new id.
    Fresh,
    /// Calls under a key, with this payload; so may others.
    Keyed(u8),
    /// Attaches to a call that another one has made.
    Attached,
}

/// What goes wrong. Each costs one of the faults that a setting allows, whenever it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A worker dies; another one starts in its place.
    Crash,
    /// A worker's connections break, or its process stands still: it is back before its lease ends, or loses it.
    Cut,
    /// A worker stops in good order and lets go of what it has.
    Drain,
    /// The only server restarts: all connections break, and the ids of what is finished are forgotten.
    Restart,
    /// The only server is killed: it also forgets to whom it gave what.
    Kill,
    /// A rolling upgrade of several servers: the ids of what is finished are forgotten.
    ForgetIds,
    /// The write of a record is not answered; it arrives at any time, or never.
    LateWrite,
    /// An ack or a NAK arrives at any time, or never.
    LateSettle,
    /// The record stream is full.
    RecordsFull,
    /// A publish of a request is not answered; it arrives at any time, or never.
    LatePublish,
    /// Nobody takes a publish.
    NoResponders,
    /// The request stream is full.
    QueueFull,
    /// A caller's `accept_within` passes.
    GiveUp,
    /// A caller dies.
    Leave,
}

/// One configuration, explored to its end.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) terms: Terms,
    /// The calls, each with its request's position.
    pub(super) calls: &'static [(usize, Who)],
    pub(super) requests: usize,
    /// How many deliveries the workers can have in hand at a time, all together.
    pub(super) slots: usize,
    /// How a handler may end.
    pub(super) endings: &'static [Ending],
    /// How many checkpoints its runs may store, all together.
    pub(super) checkpoints: u8,
    /// The requests have a deadline, and it may pass at any time.
    pub(super) deadline: bool,
    /// A caller may cancel each request, at any time.
    pub(super) cancels: bool,
    /// Workers may have started after a request was stored.
    pub(super) backlog: bool,
    pub(super) faults: &'static [Fault],
    /// How many of them strike in one run.
    pub(super) budget: u8,
}

impl Setting {
    pub(super) fn allows(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// The request cannot be decoded: its handler never runs.
    pub(super) fn undecodable(&self) -> bool {
        self.endings == [Ending::Undecodable]
    }
}

const PLAIN: Terms = Terms {
    once: false,
    fenced: false,
    attempts: 2,
    replicated: false,
    always_claim: false,
    times: LeaseTimes::new(LEASE),
};
const REPLICATED: Terms = Terms { replicated: true, ..PLAIN };

const VALUE: &[Ending] = &[Ending::Value];
const RETRIED: &[Ending] = &[Ending::Value, Ending::Error { retry: Some(Duration::from_secs(1)) }];
const FAILING: &[Ending] = &[Ending::Error { retry: None }, Ending::Panicked, Ending::TimedOut];
const UNDECODABLE: &[Ending] = &[Ending::Undecodable];

const ONE: &[(usize, Who)] = &[(0, Who::Fresh)];
const WATCHED: &[(usize, Who)] = &[(0, Who::Fresh), (0, Who::Attached)];
const SAME_KEY: &[(usize, Who)] = &[(0, Who::Keyed(0)), (0, Who::Keyed(0))];
const OTHER_PAYLOAD: &[(usize, Who)] = &[(0, Who::Keyed(0)), (0, Who::Keyed(1))];
const TWO_REQUESTS: &[(usize, Who)] = &[(0, Who::Fresh), (1, Who::Keyed(0))];

const WORKERS: &[Fault] =
    &[Fault::Crash, Fault::Cut, Fault::Drain, Fault::LateWrite, Fault::LateSettle, Fault::RecordsFull];
const ONE_SERVER: &[Fault] = &[
    Fault::Crash,
    Fault::Cut,
    Fault::Drain,
    Fault::Restart,
    Fault::Kill,
    Fault::LateWrite,
    Fault::LateSettle,
];
const CALLERS: &[Fault] = &[
    Fault::LatePublish,
    Fault::NoResponders,
    Fault::QueueFull,
    Fault::GiveUp,
    Fault::Leave,
    Fault::ForgetIds,
    Fault::Crash,
    Fault::Cut,
    Fault::LateSettle,
];
const CALLERS_AND_ONE_SERVER: &[Fault] = &[
    Fault::LatePublish,
    Fault::NoResponders,
    Fault::QueueFull,
    Fault::GiveUp,
    Fault::Leave,
    Fault::Restart,
    Fault::Kill,
    Fault::Crash,
];

/// What is explored, with faults enough for a run of continuous integration; the smallest first.
pub(super) fn settings() -> Vec<Setting> {
    let plain = Setting {
        name: "one server",
        terms: PLAIN,
        calls: ONE,
        requests: 1,
        slots: 3,
        endings: VALUE,
        checkpoints: 0,
        deadline: false,
        cancels: false,
        backlog: true,
        faults: ONE_SERVER,
        budget: 2,
    };
    let replicated = Setting { terms: REPLICATED, backlog: false, faults: WORKERS, ..plain.clone() };
    let once = |terms| Terms { once: true, fenced: true, ..terms };
    let fenced = |terms| Terms { fenced: true, ..terms };
    let same_key = Setting { calls: SAME_KEY, faults: CALLERS, slots: 2, ..replicated.clone() };
    let watched =
        Setting { calls: WATCHED, faults: CALLERS_AND_ONE_SERVER, slots: 2, backlog: false, ..plain.clone() };
    let two = Setting { calls: TWO_REQUESTS, requests: 2, slots: 2, backlog: false, ..plain.clone() };
    vec![
        Setting { name: "three servers, once", terms: once(REPLICATED), budget: 4, ..replicated.clone() },
        Setting { name: "three servers, failing", endings: FAILING, ..replicated.clone() },
        Setting { name: "three servers, deadline", deadline: true, backlog: true, ..replicated.clone() },
        Setting { name: "three servers, checkpoints", checkpoints: 2, ..replicated.clone() },
        Setting {
            name: "three servers, cancelled",
            cancels: true,
            endings: RETRIED,
            budget: 1,
            ..replicated.clone()
        },
        Setting { name: "three servers", endings: RETRIED, ..replicated },
        Setting { name: "same key, three servers", ..same_key.clone() },
        Setting { name: "same key, another payload", calls: OTHER_PAYLOAD, ..same_key.clone() },
        Setting { name: "new id, three servers", calls: ONE, ..same_key },
        Setting { name: "attached, one server", budget: 1, ..watched.clone() },
        Setting { name: "same key, one server", calls: SAME_KEY, budget: 1, ..watched },
        Setting { name: "two requests, one server", budget: 1, ..two },
        Setting { name: "one server, undecodable", endings: UNDECODABLE, budget: 1, ..plain.clone() },
        Setting { name: "one server, fenced", terms: fenced(PLAIN), budget: 1, ..plain.clone() },
        Setting { name: "one server, retries", endings: RETRIED, budget: 1, ..plain.clone() },
        Setting { name: "one server, checkpoints", checkpoints: 2, budget: 1, ..plain.clone() },
        Setting { name: "one server, cancelled", cancels: true, budget: 1, ..plain.clone() },
        Setting { name: "one server, deadline", deadline: true, ..plain.clone() },
        Setting { name: "one server, once", terms: once(PLAIN), ..plain.clone() },
        plain,
    ]
}
