//! What handlers and callers saw, written down outside the broker: the truth that the checks hold against the promises.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::plan::{End, Item, Links};
use crate::{CancelAnswer, ItemsError, wire::record::Reason};

/// A checkpoint: how far the handlers of a request have come, each from where the last one had been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) tag: u32,
    pub(super) steps: u32,
}

/// One run of a handler.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The process that ran it.
    pub(super) worker: String,
    pub(super) method: &'static str,
    pub(super) tag: u32,
    /// `<caller>.<id>`.
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) fence: Option<u64>,
    /// The checkpoint that it found, and those of its own of which it was told that they are stored.
    pub(super) found: Option<Reached>,
    pub(super) stored: Vec<Reached>,
    /// The numbers of its caller's items that it took, and whether that was all of them.
    pub(super) taken: Vec<u64>,
    pub(super) took_all: bool,
    /// The number of the last item that it sent.
    pub(super) sent: u64,
    pub(super) began: Duration,
    /// It was told that its request is cancelled.
    pub(super) cancelled: bool,
    pub(super) over: Option<(Duration, Over)>,
}

impl Run {
    /// Whether it knows of a checkpoint that is stored.
    pub(super) fn has_checkpoint(&self) -> bool {
        self.found.is_some() || !self.stored.is_empty()
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// By itself.
    Ended(End),
    /// Its future was dropped.
    Dropped,
    /// With its process.
    Died,
}

/// What a caller was told in the end, or what a stored outcome says. Values and errors name the run that made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Value(usize),
    Failed(usize),
    Aborted(Reason),
    Rejected(Reason),
    Cancelled { may_have_run: bool },
    IdReused,
    Unavailable(String),
    Unknown(String),
}

impl Answer {
    /// Whether it is the request's outcome, and not only this caller's.
    pub(super) fn is_outcome(&self) -> bool {
        let is_own = matches!(self, Self::IdReused | Self::Unavailable(_) | Self::Unknown(_));
        !is_own
    }
}

/// One call as its caller saw it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) tag: u32,
    /// `<caller>.<id>`, where it is known.
    pub(super) id: Option<String>,
    /// The process that made it.
    pub(super) by: usize,
    pub(super) began: Duration,
    pub(super) deadline: Duration,
    pub(super) accepted: bool,
    /// The reports that it was told: of which attempt, and how many that had made by then.
    pub(super) progress: Vec<(u64, u64)>,
    /// What it read of the call's stream, if it did.
    pub(super) read: Option<Read>,
    /// Nothing if the caller dropped it.
    pub(super) ended: Option<(Duration, Answer)>,
    pub(super) dropped: bool,
}

/// What a caller read of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    /// The items since the stream last began anew.
    pub(super) items: Vec<Item>,
    pub(super) restarts: u32,
    /// Nothing came behind it, or it wanted no more.
    pub(super) is_over: bool,
    pub(super) has_left: bool,
    /// What came last in its place, if not the end.
    pub(super) error: Option<ItemsError>,
}

/// What a worker could not do for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Exchange messages on some of its connections.
    Cut(Links),
    /// The same, because they end at a leader that is cut off from the other servers.
    Split(Links),
    /// Get an answer of JetStream: there is no leader.
    Leaderless,
    /// Anything.
    Stopped,
    /// Run anything beside its handlers, its keeper apart.
    Blocked,
}

/// A time in which a worker was not well.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// Nothing for all workers.
    pub(super) worker: Option<String>,
    pub(super) kind: Kind,
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Trouble {
    /// Whether no heartbeat came through.
    pub(super) fn silences_keeper(&self) -> bool {
        !matches!(self.kind, Kind::Cut(Links::Puller) | Kind::Split(Links::Puller) | Kind::Blocked)
    }

    /// Whether handlers went on, or could be ended.
    pub(super) fn holds_handlers(&self) -> bool {
        matches!(self.kind, Kind::Stopped | Kind::Blocked)
    }
}

/// A stop of the server.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) at: Duration,
    pub(super) pause: Duration,
    /// It was killed, and forgot what its consumers had not written.
    pub(super) lost: bool,
}

/// Everything that was seen in one run of the simulation.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) runs: Vec<Run>,
    pub(super) calls: Vec<Call>,
    /// What was cancelled, as `<caller>.<id>`, and what came of it; nothing where that is not known.
    pub(super) cancels: Vec<(String, Option<CancelAnswer>)>,
    /// When a process died, or left after it was drained.
    pub(super) died: BTreeMap<String, Duration>,
    /// When a process was told to drain.
    pub(super) drained: BTreeMap<String, Duration>,
    /// The names of the keepers' connections, by process.
    pub(super) keepers: BTreeMap<String, String>,
    pub(super) troubles: Vec<Trouble>,
    /// Which calling processes were cut off, from when to when.
    pub(super) cut_callers: Vec<(usize, Duration, Duration)>,
    pub(super) stops: Vec<Stop>,
    /// When the server's clock was stepped.
    pub(super) steps: Vec<Duration>,
    /// From when on NAKs hung in the network.
    pub(super) late_naks: Vec<Duration>,
}

/// The pen.
#[derive(Clone)]
pub(super) struct History {
    begin: Instant,
    seen: Arc<Mutex<Seen>>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), seen: Arc::default() }
    }

    /// Since the simulation began.
    pub(super) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(super) fn write(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no check runs with the history in hand")
    }

    pub(super) fn read(&self) -> Seen {
        self.write().clone()
    }

    /// A handler begins; what comes back notes its end.
    pub(super) fn begin(&self, run: impl FnOnce(Duration) -> Run) -> Running {
        let run = run(self.now());
        let mut seen = self.write();
        seen.runs.push(run);
        let number = seen.runs.len() - 1;
        Running { history: self.clone(), number }
    }

    pub(super) fn call(&self, call: Call) -> usize {
        let mut seen = self.write();
        seen.calls.push(call);
        seen.calls.len() - 1
    }

    pub(super) fn returned(&self, call: usize, answer: Answer) {
        let now = self.now();
        self.write().calls[call].ended = Some((now, answer));
    }

    pub(super) fn died(&self, worker: &str) {
        let now = self.now();
        self.write().died.insert(worker.to_owned(), now);
    }

    /// A split cluster is whole again, or was never split.
    pub(super) fn healed(&self) {
        let now = self.now();
        for trouble in &mut self.write().troubles {
            if let Kind::Split(_) = trouble.kind {
                trouble.to = trouble.to.min(now);
            }
        }
    }

    pub(super) fn trouble(&self, worker: Option<&str>, kind: Kind, span: Duration) {
        let from = self.now();
        let trouble = Trouble { worker: worker.map(str::to_owned), kind, from, to: from + span };
        self.write().troubles.push(trouble);
    }

    /// A calling process is cut off.
    pub(super) fn cut_caller(&self, caller: usize, span: Duration) {
        let from = self.now();
        self.write().cut_callers.push((caller, from, from + span));
    }
}

/// A run under way; dropped without an end, it was dropped by the server.
pub(super) struct Running {
    history: History,
    pub(super) number: usize,
}

impl Running {
    pub(super) fn end(&self, end: End) {
        self.over(Over::Ended(end));
    }

    /// The checkpoint of an earlier run.
    pub(super) fn found(&self) -> Option<Reached> {
        self.history.write().runs[self.number].found
    }

    pub(super) fn cancelled(&self) {
        self.history.write().runs[self.number].cancelled = true;
    }

    /// Changes what is known of the run.
    pub(super) fn note(&self, change: impl FnOnce(&mut Run)) {
        change(&mut self.history.write().runs[self.number]);
    }

    /// A checkpoint is stored.
    pub(super) fn stored(&self, reached: Reached) {
        self.history.write().runs[self.number].stored.push(reached);
    }

    fn over(&self, over: Over) {
        let now = self.history.now();
        let run = &mut self.history.write().runs[self.number];
        run.over = run.over.or(Some((now, over)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.over(Over::Dropped);
    }
}

impl Seen {
    /// Whether the server's clock was stepped by then. A lease may end too early then, and a request that hung in the
    /// network may count as fresh.
    pub(super) fn is_stepped(&self, by: Duration) -> bool {
        self.steps.iter().any(|at| *at <= by)
    }

    /// Puts the end of a process over the ends of its runs: what its tasks did afterwards happened nowhere.
    pub(super) fn bury_the_dead(&mut self) {
        for run in &mut self.runs {
            if let Some(died) = self.died.get(&run.worker)
                && run.over.is_none_or(|(at, over)| at > *died || (at == *died && over == Over::Dropped))
            {
                run.over = Some((*died, Over::Died));
            }
        }
    }
}
