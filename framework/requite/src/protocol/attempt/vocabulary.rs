//! What an attempt hears and what it asks for.

use std::time::Duration;

use crate::{
    protocol::time::{LeaseTimes, Moment},
    wire::record::{AttemptId, Kind, Reason},
};

/// What is known of a delivery before any record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Delivery {
    /// The consumer's delivery count.
    pub(crate) count: u64,
    /// An earlier copy of the request may exist.
    pub(crate) resend: bool,
    /// The request was stored shortly after it was published.
    pub(crate) fresh: bool,
    /// The request was stored after this worker bound to this incarnation of the stream.
    pub(crate) above_bound: bool,
    /// When the deadline passes, by the server's clock as far as it is known: nothing starts after it, however long the
    /// attempt had to wait.
    pub(crate) expires: Moment,
    /// Until when an owner that lost its connection too may still claim.
    pub(crate) owner_claims_until: Moment,
}

/// What the handler asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    /// Never start again what may have begun.
    pub(crate) once: bool,
    /// The claim's sequence is handed to the handler.
    pub(crate) fenced: bool,
    /// How many attempts may be used up.
    pub(crate) attempts: u32,
    /// The stream has replicas on several servers.
    pub(crate) replicated: bool,
    /// A stream on one server of a cluster: deliveries may be forgotten without a reconnect of ours.
    pub(crate) always_claim: bool,
    pub(crate) times: LeaseTimes,
}

/// A record as the attempt needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) attempt: u32,
    pub(crate) attempt_id: AttemptId,
    pub(crate) write: u32,
    pub(crate) spent: u32,
    pub(crate) delivery: u64,
    pub(crate) worker: String,
    pub(crate) lease: Duration,
    /// How long a released request still has to wait.
    pub(crate) wait: Option<Duration>,
    /// Somebody asked to cancel.
    pub(crate) cancelled: bool,
}

impl Seen {
    /// A record that cannot be decoded.
    pub(crate) fn unreadable(sequence: u64) -> Self {
        Self {
            sequence,
            kind: Kind::Unknown,
            attempt: 0,
            attempt_id: AttemptId::default(),
            write: 0,
            spent: 0,
            delivery: 0,
            worker: String::new(),
            lease: Duration::ZERO,
            wait: None,
            cancelled: false,
        }
    }

    /// There is no record, but a stored message that asks to cancel.
    pub(crate) fn cancel_stored() -> Self {
        Self { kind: Kind::CancelRequested, cancelled: true, ..Self::unreadable(0) }
    }
}

/// How the handler's part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// A value.
    Value,
    /// The handler's error, and after how long it may be tried again.
    Error {
        retry: Option<Duration>,
    },
    Panicked,
    TimedOut,
    /// The handler was told that its request is cancelled, and did not end in time.
    Killed,
    /// The request could not be decoded: the handler never ran in this attempt.
    Undecodable,
    /// The handler streamed to a caller who did not read for too long.
    Unread,
    /// The handler returned a stream with an item that no message takes.
    TooLarge,
    /// The worker stops: the handler was dropped, or never started.
    HandedOver,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin,
    /// The record was read from the leader; `Err` if that failed.
    Read(Result<Option<Seen>, ()>),
    Written(Written),
    Owner(Owner),
    /// The time of [`Action::Wait`] has come.
    Due,
    /// Whether there is a checkpoint, says the leader; `Err` if it could not be asked.
    Found(Result<bool, ()>),
    Ended(Ending),
    /// The worker begins to stop: what has not started is let go, and so is a handler at its checkpoint.
    Drain,
    /// The worker's time is over: what has not started is let go. A running handler's own task says when it is dropped.
    LetGo,
    /// The keeper's heartbeat: what still runs claims now.
    Beat,
    /// The connection was lost and is back: claims are written again.
    Reconnected,
    /// The handler has a checkpoint to store.
    Checkpoint,
    /// A message that asks to cancel came by: whether it counts, the record says.
    CancelHeard,
    /// The request is cancelled, says who has seen that stored.
    Cancel,
    /// The dead letter is stored, or could not be.
    Buried(bool),
    /// The lease is lost.
    Lost,
}

/// The answer to a write of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Stored(u64),
    /// Another record is there, or nobody knows.
    InDoubt,
    /// The record stream is full.
    Full,
    TooLarge,
}

/// What the owner of a claim answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Mine,
    /// It let go, nobody listens there, or nothing was heard for the whole time.
    Gone,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, until the next event.
    None,
    /// Read the record from the leader, after this long.
    Read(Duration),
    Write(Write),
    /// Ask the owner of this attempt.
    Ask {
        worker: String,
        attempt_id: AttemptId,
    },
    Wait(Moment),
    /// Look for the checkpoint of an earlier attempt, after this long.
    Find(Duration),
    /// Run the handler.
    Start,
    /// Store a dead letter.
    Bury(Reason),
    /// Ack; `tell` the caller that the outcome was stored before.
    Ack {
        tell: bool,
    },
    Nak(Duration),
    /// Drop the handler, which goes on elsewhere.
    HandOver,
    /// Stop the handler and send nothing.
    Forget,
}

/// A write by compare-and-set of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) what: What,
    /// The sequence that must be the last on the record's subject; 0 for none.
    pub(crate) expected: u64,
    /// Counts the writes of this attempt.
    pub(crate) number: u32,
}

/// What a write says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Claim,
    /// The handler's newest checkpoint. It lies beside the record, whose last sequence must be the claim's.
    Checkpoint,
    Released {
        delay: Duration,
        spent: u32,
    },
    Outcome(Outcome),
}

/// Which outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The handler's value.
    Value,
    /// The handler's error, with the reason if it was not final by itself.
    Error(Option<Reason>),
    /// The handler may have run.
    Failed(Reason),
    /// The handler certainly never ran.
    Rejected(Reason),
    /// Cancelled. Attempt 0 in the record says that the handler certainly never ran.
    Cancelled,
}
