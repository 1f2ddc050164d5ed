//! What a call hears and what it asks for.

use std::time::Duration;

use crate::{
    protocol::time::Moment,
    wire::{PayloadHash, record::Kind},
};

/// The limits of a call; a moment is absolute, a duration counts from the last sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// Until when acceptance may stay in doubt.
    pub(crate) accept_by: Moment,
    /// How long after acceptance the handler must have started.
    pub(crate) start_within: Option<Duration>,
    /// The longest silence of a started handler.
    pub(crate) silent_for: Option<Duration>,
    pub(crate) deadline: Moment,
    /// After this much silence the record is read.
    pub(crate) read_after: Duration,
}

/// What a record says to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) hash: PayloadHash,
    /// 0 on a released record: no handler has begun.
    pub(crate) attempt: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin,
    Answer(Answer),
    /// The record was read; `Err` if that failed. `Ok(None)` proves nothing.
    Read(Result<Option<Seen>, ()>),
    Streams(Streams),
    /// Whether the owner, or any worker at all, answered.
    Asked(Presence),
    /// The record came on the inbox.
    Pushed(Seen),
    /// A signal came: the handler runs.
    Alive,
    /// A worker says that the outcome is stored.
    StoredBefore,
    Reconnected,
    /// The server refused the publish.
    Denied,
    /// The connection is closed for good.
    Closed,
    /// The time of [`Caller::wake_at`] has come.
    Due,
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored,
    Duplicate,
    Exists,
    InDoubt,
    NoResponders,
    Full,
    TooLarge,
    Refused,
    Closed,
}

/// Which streams there are for the request's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// There is one: its leader is not to be reached.
    Match,
    /// The service has a stream, but not for this method.
    NoMethod,
    NoService,
    /// Nobody could say.
    Unknown,
}

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// A worker runs this call.
    Owner,
    /// Workers serve the method, none runs this call as far as they say.
    Workers,
    Nobody,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publish the request, after this long.
    Publish {
        resend: bool,
        with_message_id: bool,
        after: Duration,
    },
    /// Read the record, after this long.
    Read {
        after: Duration,
    },
    /// Ask which streams take the request.
    AskStreams,
    /// Ask who runs the call.
    AskWorkers,
    /// Wait for the next event, or for [`Caller::wake_at`].
    Wait,
    Finish(Verdict),
}

/// How a call ends for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// The last record that was seen is the outcome.
    Outcome,
    IdReused,
    TooLarge,
    QueueFull,
    NoSuchMethod,
    NoStream,
    PermissionDenied,
    Refused,
    /// Nobody took the request for as long as it was allowed.
    NoQuorum,
    Closed,
    /// May have been accepted; whether is not known.
    AcceptanceUnknown,
    /// Accepted; no worker serves the method.
    NoWorker,
    /// Accepted; the workers are busy.
    NotStarted,
    /// Started; nothing was heard for too long.
    Silent,
    /// The deadline passed.
    DeadlinePassed,
}
