//! What a ledger's lines say: what callers, workers and handlers saw, and what was done to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// The process that wrote it.
    pub pid: u32,
    /// What happened.
    pub event: Event,
}

/// A moment by both clocks of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// Since the machine was started, sleep included: the same for all of its processes, and never set.
    pub boot: Duration,
    /// Since 1970, as the server stamps what it stores.
    pub wall: Duration,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is over");
        let part = |number: i64| u64::try_from(number).expect("no machine was started before its clock");
        Self { boot: Duration::from_secs(part(boot.tv_sec)) + Duration::from_nanos(part(boot.tv_nsec)), wall }
    }

    /// The time since an earlier moment; none if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.boot.saturating_sub(earlier.boot)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A call is about to be made.
    Invoke(Invoke),
    /// The call's request is stored.
    Accepted {
        /// Which call.
        call: String,
        /// The request's id.
        id: String,
    },
    /// The call came to its end.
    Result {
        /// Which call.
        call: String,
        /// The request's id, where the caller knows it.
        id: Option<String>,
        /// What it came to.
        answer: Answer,
    },
    /// Something happened to a handler.
    Run(Run),
    /// A handler did something to the world.
    Effect(Effect),
    /// One end of a stream, when nobody uses it any more.
    Flow(Flow),
    /// Whoever fills a stream has come to its middle.
    Midway {
        /// The call, or the worker.
        who: String,
        /// The job.
        job: String,
    },
    /// A handler has found a checkpoint, or stored one.
    Checkpoint(Checkpoint),
    /// A handler is about to say how far it is.
    Reported(Report),
    /// A caller that watches its call was told something.
    Watched {
        /// Which call.
        call: String,
        /// What.
        saw: Saw,
    },
    /// A call is about to be cancelled, or its caller was told what came of that.
    Cancel {
        /// Whose ids.
        caller: String,
        /// The request's id.
        id: String,
        /// Nothing before it is asked.
        told: Option<Told>,
    },
    /// A worker's process.
    Worker {
        /// Its name.
        worker: String,
        /// What happened to it.
        life: Life,
    },
    /// A call is given up: its caller waits for it no more.
    GivenUp {
        /// Which call.
        call: String,
    },
    /// A caller's process was killed: nobody waits for its calls any more.
    CallerKilled {
        /// The process.
        pid: u32,
    },
    /// Something is broken now.
    FaultBegins(Fault),
    /// It is mended.
    FaultEnds {
        /// Its name.
        name: String,
    },
    /// Everything that was asked for is done.
    Drained,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invoke {
    /// Which call; no other has this name.
    pub call: String,
    /// Whose ids.
    pub caller: String,
    /// The method.
    pub method: String,
    /// The id, where it is known before: that of a key, or the one that is attached to.
    pub id: Option<String>,
    /// The hash of the payload; none for a call that attaches and sends nothing.
    pub payload: Option<String>,
    /// From now.
    pub deadline: Duration,
    /// Whether the job is one that has to end as a dead letter.
    pub poison: bool,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The class.
    pub class: Class,
    /// Why, in the words of the error.
    pub reason: String,
    /// The attempt whose outcome it is.
    pub attempt: Option<u32>,
    /// What the outcome is, for comparisons; none where the call has no outcome of its request.
    pub outcome: Option<String>,
    /// How many items the handler has sent, by its value.
    pub sent: Option<u64>,
    /// How many it has taken, by its value.
    pub taken: Option<u64>,
}

/// What the outcome of a cancelled request is, for comparisons.
pub fn cancelled(may_have_run: bool) -> String {
    if may_have_run { "cancelled" } else { "cancelled before the start" }.to_owned()
}

/// What a caller was told of a call that it wanted cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It has ended, and never ran.
    BeforeTheStart,
    /// It is stored that it is cancelled.
    Signalled,
    /// It had ended before.
    AlreadyDone,
    /// Nobody knows, or it was not stored.
    Nothing,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// With a value.
    Ok,
    /// With the handler's error.
    Failed,
    /// Without the handler's word.
    Aborted,
    /// It never ran.
    Rejected,
    /// It was not accepted.
    Unavailable,
    /// Somebody cancelled it.
    Cancelled,
    /// Nobody knows.
    Unknown,
}

/// One run of a handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What happened to it.
    pub step: Step,
    /// Where.
    pub worker: String,
    /// Of which method.
    pub method: String,
    /// For which job.
    pub job: String,
    /// The hash of the request, as the handler got it.
    pub payload: String,
    /// Who asked.
    pub caller: String,
    /// The request's id.
    pub id: String,
    /// What the handler was told.
    pub attempt: u32,
    /// What the handler was told.
    pub key: String,
    /// What the handler was told.
    pub fence: Option<u64>,
}

/// What happened to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// It started.
    Start,
    /// It came to its end, or panics.
    End,
    /// It came to its end with an error that is worth another try.
    Retry,
    /// Its future was dropped before.
    Drop,
}

/// What a handler did to the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Who asked.
    pub caller: String,
    /// The request's id.
    pub id: String,
    /// The attempt that did it.
    pub attempt: u32,
    /// What was shown to the resource that refuses older tokens; none for the resource that takes everything.
    pub fence: Option<u64>,
    /// Whether it was let in.
    pub accepted: bool,
}

/// A checkpoint, as a handler that counts its steps saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Who asked.
    pub caller: String,
    /// The request's id.
    pub id: String,
    /// The handler's attempt.
    pub attempt: u32,
    /// How many steps it says are done; 0 where none was found.
    pub steps: u32,
    /// Whether the handler began with it; else it was told that it is stored.
    pub found: bool,
}

/// How far a handler says it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who asked.
    pub caller: String,
    /// The request's id.
    pub id: String,
    /// The handler's attempt.
    pub attempt: u32,
    /// Counts its reports from 1.
    pub number: u64,
}

/// What a caller that watches is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Saw {
    /// This attempt runs.
    Attempt(u32),
    /// A handler's report.
    Report {
        /// Its attempt.
        attempt: u32,
        /// Its number.
        number: u64,
    },
}

/// What went through one end of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Who asked.
    pub caller: String,
    /// The request's id.
    pub id: String,
    /// Which end.
    pub end: End,
    /// What went through it, in its order.
    pub pieces: Vec<Piece>,
    /// How it ended.
    pub close: Close,
}

/// An end of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The caller's, which reads; of this call.
    Reads(String),
    /// The caller's, which sends; of this call.
    Sends(String),
    /// The handler's, which takes what the caller sends; of this attempt.
    Takes(u32),
    /// The handler's, which sends; of this attempt.
    Fills(u32),
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// Items of one attempt that follow each other.
    Items {
        /// The attempt whose items they are; 0 for a caller's.
        attempt: u32,
        /// The number of the first one.
        first: u64,
        /// The number of the last one.
        last: u64,
    },
    /// The reader was told that this attempt begins the stream anew.
    Restarted(u32),
}

/// How an end of a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Close {
    /// Whoever used it was dropped, and nobody knows more.
    Dropped,
    /// Nothing more comes, or was to be sent.
    All,
    /// The call has ended without a value.
    Failed,
    /// The writer gave up.
    Abandoned,
    /// The reader wanted no more.
    Left,
    /// Nobody waits for the call any more.
    Closed,
    /// For another reason that may be.
    Other(String),
    /// For a reason that should not be.
    Wrong(String),
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It serves.
    Started,
    /// It was asked to stop, and drains.
    Draining,
    /// It is gone, or is about to be.
    Killed,
    /// It stands still.
    Frozen,
    /// It goes on.
    Continued,
}

/// Something that is broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub name: String,
    /// The workers whose leases it may cost, besides those that a [`Life`] says it of.
    pub costs: Vec<String>,
}
