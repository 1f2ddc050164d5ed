//! Every error that a user meets: what happened, whether the request may still run, what to do next.

use serde::{Deserialize, Serialize};

use crate::wire::record::Reason;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No server answers at the address.
    #[error("no NATS server answers at {server}: {text}")]
    Unreachable {
        /// Host and port; user names and passwords are left out.
        server: String,
        /// What the connection attempt said.
        text: String,
    },
    /// The server refused the credentials.
    #[error("{server} refused the credentials: {text}")]
    Unauthorized {
        /// Host and port.
        server: String,
        /// What the server said.
        text: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection to {server}: {text}")]
    Tls {
        /// Host and port.
        server: String,
        /// What the TLS library said.
        text: String,
    },
    /// A setting cannot be used.
    #[error("the setting `{name}` cannot be used: {text}")]
    InvalidSetting {
        /// The setting's name, or its environment variable.
        name: &'static str,
        /// What is wrong with it.
        text: String,
    },
}

/// Why a service cannot be set up or served.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The server is older than the oldest that is supported.
    #[error("nats-server {version} is too old: 2.12.8 or newer is needed")]
    ServerTooOld {
        /// The server's version.
        version: String,
    },
    /// A lease is shorter than is safe.
    #[error("the lease of `{method}` is {lease:?}, but at least {least:?} is needed here")]
    LeaseTooShort {
        /// The method.
        method: String,
        /// Its lease.
        lease: std::time::Duration,
        /// The shortest that is safe on this many replicas.
        least: std::time::Duration,
    },
    /// The stream of items may not grow as large as the largest item that the server takes. It would be removed as soon as it
    /// is stored, and with it all others.
    #[error(
        "{stream} may take {bytes} bytes, but one item may need {least}: raise its `max_bytes` on the server, which is `item_bytes` \
         when it is created, or lower `max_payload`"
    )]
    ItemsDoNotFit {
        /// The stream.
        stream: String,
        /// Its limit.
        bytes: u64,
        /// The least that is needed with the server's `max_payload`.
        least: u64,
    },
    /// A stream or consumer does not exist, and set-up may not create it.
    #[error("{what} does not exist; run set-up once with `Setup::Create`")]
    Missing {
        /// Which.
        what: String,
    },
    /// A stream or consumer is configured otherwise than the protocol needs.
    #[error("{what} has `{setting}` {found}, but {wanted} is needed")]
    Drift {
        /// Which.
        what: String,
        /// The setting.
        setting: &'static str,
        /// What the protocol or the handler's options ask for.
        wanted: String,
        /// What the server says.
        found: String,
    },
    /// The server refused.
    #[error("the server refused {what}: {text}")]
    Refused {
        /// The stream or consumer.
        what: String,
        /// What the server said.
        text: String,
    },
    /// The server could not be asked: no JetStream, no quorum, no permission, or no connection.
    #[error("no answer about {what}: {text}")]
    Unavailable {
        /// The stream or consumer.
        what: String,
        /// What happened.
        text: String,
    },
    /// The worker's user may not do what every request needs; [`Permissions::worker`](crate::Permissions::worker) lists
    /// what it must be allowed.
    #[error("no permission to publish to `{subject}`, which a worker needs")]
    PermissionDenied {
        /// The subject that was refused.
        subject: String,
    },
    /// A name of a service or method cannot be used.
    #[error(transparent)]
    Name(#[from] crate::name::InvalidName),
}

/// Why a server does not start, or ends.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A service cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The connection is gone for good while serving; whatever was in hand is taken over by other workers.
    #[error("the connection is closed for good: start the worker again")]
    Closed,
    /// Somebody deleted the stream of a service's records, and it was made anew: this worker can neither read nor write
    /// what the others do. Requests in hand run again, elsewhere.
    #[error("the stream {stream} was deleted and made anew: start the worker again")]
    Replaced {
        /// The stream's name.
        stream: String,
    },
}

/// The value of a [`Progress`](crate::Progress) is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the progress cannot be decoded: {text}")]
#[non_exhaustive]
pub struct ProgressError {
    /// What is wrong with it.
    pub text: String,
}

/// Why a checkpoint is not stored, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The handler has to stop: its lease is lost, or its worker ends. Whether this checkpoint is stored is not known;
    /// another attempt may be under way.
    #[error("the handler has to stop: its request may be in other hands")]
    Stopped,
    /// The record stream is more than 90 % full: what is left is for outcomes. The last checkpoint stands, unless
    /// this one finds room later.
    #[error("there is no room for the checkpoint: {text}")]
    Full {
        /// What the server said.
        text: String,
    },
    /// It is larger than a message may be for the server (`max_payload`). The last checkpoint stands.
    #[error("the checkpoint is too large: {text}")]
    TooLarge {
        /// What the server said, or its limit.
        text: String,
    },
    /// The value has no MessagePack form.
    #[error("the checkpoint cannot be encoded: {text}")]
    Unencodable {
        /// What is in the way.
        text: String,
    },
    /// What was stored is of another type.
    #[error("the checkpoint cannot be decoded: {text}")]
    Undecodable {
        /// What is in the way.
        text: String,
    },
}

/// Why an item was not taken, or does not reach its reader. Items that were taken before are not affected. It can be part of
/// a handler's own error; where that is to be tried again, as after [`Refused`](Self::Refused), it needs a `#[retry]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SinkError {
    /// The item does not fit into one message of the server (`max_payload`). The stream can be used on.
    #[error("the item takes {bytes} bytes, and at most {most} fit")]
    TooLarge {
        /// The item's size, encoded.
        bytes: usize,
        /// The most that one item may take.
        most: usize,
    },
    /// The item cannot be encoded. The stream can be used on.
    #[error("the item cannot be encoded: {text}")]
    Unencodable {
        /// What is in the way.
        text: String,
    },
    /// The reader has not read for so long that there is no room, and was not heard for the stream's `idle` time. The
    /// item was not taken; it may be offered again.
    #[error("nothing was heard of the reader for {idle:?}")]
    Silent {
        /// The stream's `idle` time.
        idle: std::time::Duration,
    },
    /// The reader wants no more items. A handler that dropped its [`Items`](crate::Items) and goes on is not heard of before
    /// a second has passed; if it fails, its next attempt gets what is stored, and then
    /// [`ItemsError::Abandoned`], or [`ItemsError::Lost`] of a `volatile` stream that had items.
    #[error("the reader has left")]
    Left,
    /// Somebody else writes this stream now: another attempt, or another process of the same caller.
    #[error("another writer has taken over the stream")]
    Replaced,
    /// The call has ended: await it for how.
    #[error("the call has ended")]
    Ended,
    /// The handler has to stop, and what it returns counts for nothing: its lease is lost, or its worker ends. Or it has ended
    /// and its sink is in other hands.
    #[error("the handler has to stop: its request may be in other hands")]
    Stopped,
    /// The stream of items took nothing for 15 s: there is none, its servers have no room, or none of them leads it. Or at once:
    /// the server allows this user no items, or what was stored before was removed, its time being over, so that the reader is
    /// past what comes now.
    #[error("items cannot be stored: {text}")]
    Refused {
        /// What the server said, or what there is to do.
        text: String,
    },
    /// The connection is closed for good.
    #[error("the connection is closed for good")]
    Closed,
}

/// Why there is no item in its place. It says whether others follow. It can be part of a handler's own error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ItemsError {
    /// A later attempt began the stream anew: what was read before is of an attempt that came to nothing. The first item
    /// of the new attempt follows, or of one behind it that began anew before there was any.
    #[error("attempt {attempt} has begun the stream anew")]
    Restarted {
        /// Whose first item follows.
        attempt: u32,
    },
    /// The call did not end with a value: await it for why. Nothing follows.
    #[error("the call has failed: await it for why")]
    Failed,
    /// The writer gave up before the end. Nothing follows.
    #[error("the writer gave up before the end")]
    Abandoned,
    /// Nothing was heard of the other side for the stream's `idle` time. Items may follow if it comes back.
    #[error("nothing was heard of the other side for {idle:?}")]
    Silent {
        /// The stream's `idle` time.
        idle: std::time::Duration,
    },
    /// Items were removed before they were read, or before the writer went on behind them: their time was over, or the stream
    /// had no room for them. Nothing follows.
    #[error("item {item} was removed before it was read")]
    Lost {
        /// The number of the first of them, counted from 1.
        item: u64,
    },
    /// An item is of another type, or too deep or too large to be read. Others follow.
    #[error("item {item} cannot be decoded: {text}")]
    Undecodable {
        /// Its number, counted from 1.
        item: u64,
        /// What is in the way.
        text: String,
    },
    /// What came does not follow from what came before. Nothing follows.
    #[error("what came behind item {item} does not follow")]
    Broken {
        /// The number of the last one that did.
        item: u64,
    },
    /// Nobody waits for the call any more, or the connection is closed for good; in a handler: it has to stop, and what it returns
    /// counts for nothing, or it has ended and its items are in other hands. Nothing follows.
    #[error("nobody waits for the call any more")]
    Closed,
}

/// How a call ended otherwise than with a value. Every class says whether the request may still run.
///
/// | class | did it run? | what to do |
/// |---|---|---|
/// | [`Failed`](Self::Failed), [`Aborted`](Self::Aborted) | it ended; the error is stored | a new call, if at all |
/// | [`Cancelled`](Self::Cancelled) | it says so | a new call, if at all |
/// | [`Rejected`](Self::Rejected) | certainly not | mend the request |
/// | [`Unavailable`](Self::Unavailable) | no: it was not accepted | call again |
/// | [`Unknown`](Self::Unknown) | it may still run | call again with the same key, or attach to the id |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The handler's own error.
    #[error("{0}")]
    Failed(E),
    /// The request ended without the handler's word.
    #[error(transparent)]
    Aborted(Aborted),
    /// Somebody cancelled the call.
    #[error(transparent)]
    Cancelled(Cancelled),
    /// The request never ran and never will.
    #[error(transparent)]
    Rejected(Rejected),
    /// The request was not accepted: sending it again is safe.
    #[error(transparent)]
    Unavailable(Unavailable),
    /// The request may be running, or may yet run.
    #[error(transparent)]
    Unknown(Unknown),
}

impl<E> CallError<E> {
    /// Whether the request may be running, or may yet run.
    pub fn may_still_run(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// A call that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled{}", if *may_have_run { "; the handler may have run" } else { " before the handler ran" })]
#[non_exhaustive]
pub struct Cancelled {
    /// Whether the handler may have run, and may have had effects. If not, it never will.
    pub may_have_run: bool,
}

/// Why it is not known that a call is cancelled. In any case it is safe to cancel again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// It was not stored: the call goes on.
    #[error("not cancelled, and the call goes on: {0}")]
    Unavailable(Unavailable),
    /// No server has answered for 15 s, and whether it was stored is not known: the call goes on, or ends as cancelled.
    #[error("no server has answered: the call may be cancelled or go on; cancel it again")]
    Unknown,
    /// The service cannot be a token of a subject.
    #[error(transparent)]
    Name(#[from] crate::name::InvalidName),
}

impl From<Unavailable> for CancelError {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

/// A request that ended without the handler's word. Its effects may have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("aborted in attempt {attempt}: {}{}{text}", reason.as_str(), if text.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct Aborted {
    /// Why.
    pub reason: Reason,
    /// The last error, for people.
    pub text: String,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// Why a request never ran.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The key was used before with another request.
    #[error("the key was used before with another request")]
    IdReused,
    /// The request is larger than the server takes.
    #[error("the request is too large: {text}")]
    TooLarge {
        /// What the server, or the connection, said.
        text: String,
    },
    /// The deadline passed before a handler started.
    #[error("the deadline passed before a handler started")]
    Expired,
    /// The handler's worker could not decode the request.
    #[error("the worker cannot decode the request: {text}")]
    Undecodable {
        /// What its decoder said.
        text: String,
    },
    /// The request could not be encoded.
    #[error("the request cannot be encoded: {text}")]
    Unencodable {
        /// What the encoder said.
        text: String,
    },
    /// Service or method cannot be a token of a subject.
    #[error("{text}")]
    InvalidName {
        /// Which name, and the rule.
        text: String,
    },
    /// A reason of a later version of the protocol.
    #[error("rejected: {}", reason.as_str())]
    Other {
        /// The reason.
        reason: Reason,
    },
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The service's queue is full.
    #[error("the queue is full: {text}")]
    QueueFull {
        /// Which limit, in the server's words.
        text: String,
    },
    /// The service exists, but has no such method.
    #[error("the service has no method `{method}`")]
    NoSuchMethod {
        /// The method.
        method: String,
    },
    /// The service has no stream: it was never set up here, or its stream was deleted.
    #[error("the service `{service}` has no stream here: never set up, or deleted")]
    NoStream {
        /// The service.
        service: String,
    },
    /// The stream exists, but nobody could take the request: an election, or too few servers.
    #[error("no server could take the request: no leader, no quorum, or no connection")]
    NoQuorum,
    /// No worker serves the method; only asked for with `require_worker`.
    #[error("no worker serves `{method}`")]
    NoWorker {
        /// The method.
        method: String,
    },
    /// These credentials may not send this request.
    #[error("no permission to publish on {subject}")]
    PermissionDenied {
        /// The request's subject.
        subject: String,
    },
    /// The server refused for another reason.
    #[error("the server refused: {text}")]
    Refused {
        /// What it said.
        text: String,
    },
    /// The connection is closed for good.
    #[error("the connection is closed")]
    Closed,
}

/// A request that may be running, or may yet run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; attach to {id} to learn how it ends")]
#[non_exhaustive]
pub struct Unknown {
    /// The id to attach to.
    pub id: crate::RequestId,
    /// Which limit passed.
    pub why: Why,
}

/// Which limit passed before the end of a call was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// `accept_within`: the request was sent, and whether it was stored is not known.
    #[error(
        "`accept_within` or the deadline passed, and it is not known whether the request was accepted: another call is safe only with the same key"
    )]
    AcceptanceUnknown,
    /// `accept_within`: the server refuses this client's credentials since, and whether it had stored the request is not
    /// known.
    #[error(
        "`accept_within` passed while the server refuses the credentials, and it is not known whether the request was accepted before: another call is safe only with the same key"
    )]
    Unauthorized,
    /// `start_within`: accepted, and no worker serves the method.
    #[error("`start_within` passed, and no worker serves the method: the request runs once one is started")]
    NoWorker,
    /// `start_within`: accepted, and the workers are busy.
    #[error("`start_within` passed, and the workers are busy: the request runs once they get to it")]
    NotStarted,
    /// `silent_for`: started, and its worker is silent.
    #[error(
        "`silent_for` passed without a sign of its worker: the request may still run, or run again elsewhere"
    )]
    Silent,
    /// The connection was closed for good after the request was sent.
    #[error("the connection is closed for good, and the request may still run")]
    Closed,
    /// `deadline`: accepted, and not ended.
    #[error("the `deadline` passed: a handler that runs may go on, and none starts any more")]
    DeadlinePassed,
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, time::Duration};

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::codec::{self, ContentType, Limits};

    #[test]
    fn what_passed_is_named_as_it_is_set() {
        for (why, limit) in [
            (Why::AcceptanceUnknown, "`accept_within`"),
            (Why::Unauthorized, "`accept_within`"),
            (Why::NoWorker, "`start_within`"),
            (Why::NotStarted, "`start_within`"),
            (Why::Silent, "`silent_for`"),
            (Why::DeadlinePassed, "`deadline`"),
        ] {
            assert!(why.to_string().contains(limit), "{why}");
        }
    }

    fn travels<T: Serialize + DeserializeOwned + PartialEq + Debug>(error: T) {
        for content_type in [ContentType::MessagePack, ContentType::Json] {
            let bytes = codec::encode(content_type, &error).unwrap();
            assert_eq!(codec::decode::<T>(content_type, &bytes, &Limits::default()).unwrap(), error);
        }
    }

    #[test]
    fn errors_of_streams_travel_in_those_of_handlers() {
        let idle = Duration::new(90, 7);
        let text = || "the text".to_owned();
        for error in [
            SinkError::TooLarge { bytes: 2, most: 1 },
            SinkError::Unencodable { text: text() },
            SinkError::Silent { idle },
            SinkError::Left,
            SinkError::Replaced,
            SinkError::Ended,
            SinkError::Stopped,
            SinkError::Refused { text: text() },
            SinkError::Closed,
        ] {
            travels(error);
        }
        for error in [
            ItemsError::Restarted { attempt: 2 },
            ItemsError::Failed,
            ItemsError::Abandoned,
            ItemsError::Silent { idle },
            ItemsError::Lost { item: 3 },
            ItemsError::Undecodable { item: u64::MAX, text: text() },
            ItemsError::Broken { item: 4 },
            ItemsError::Closed,
        ] {
            travels(error);
        }
    }
}
