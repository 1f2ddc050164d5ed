//! The seam to the broker: one trait, spoken by the client and the server alike, implemented twice.
//!
//! [`jetstream`] is the real one and the only module that names `async_nats`; [`simulated`] runs in memory and in
//! virtual time. The seam lies at the level of NATS messages, so that everything above it, decoders included, is the
//! same code on both.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::{
    protocol::time::Moment,
    wire::{VERSION, header},
};

mod any;
pub(crate) mod api;
pub(crate) mod jetstream;
pub(crate) mod simulated;

pub(crate) use any::{AnyBroker, AnySubscription};
pub(crate) use jetstream::Subject;
pub(crate) use jetstream::headers::Headers;
pub(crate) use jetstream::readable::{headers_of, what_cannot_be_read};

/// A message on its way to the broker.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: Subject,
    pub(crate) reply: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
}

impl Outgoing {
    pub(crate) fn new(subject: impl Into<Subject>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), reply: None, headers: Headers::default(), payload: payload.into() }
    }

    /// A question, its answer or a signal: nothing but the protocol's version beside its body.
    pub(crate) fn control(subject: impl Into<Subject>, payload: impl Into<Bytes>) -> Self {
        Self::new(subject, payload).headers(Headers::default().with(header::VERSION, VERSION))
    }

    pub(crate) fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

/// A message from the broker.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) subject: Subject,
    pub(crate) reply: Option<Subject>,
    pub(crate) headers: Headers,
    /// A status of the server instead of a message, such as 404 or 503.
    pub(crate) status: Option<u16>,
    /// The text of the status.
    pub(crate) description: Option<String>,
    pub(crate) payload: Bytes,
}

impl Message {
    /// Whether it can be what [`Outgoing::control`] makes. Whoever asks the server for a stored message also says where it is
    /// brought; but then it has headers of the server's.
    pub(crate) fn is_control(&self) -> bool {
        self.headers.first(header::VERSION) == Some(VERSION) && self.is_unmarked()
    }

    /// Whether the server says nothing of having stored it.
    pub(crate) fn is_unmarked(&self) -> bool {
        self.headers.firsts().all(|(name, _)| !header::SERVER_ONLY.contains(&name))
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// A status of the server instead of an answer, such as 404.
    pub(crate) status: Option<u16>,
    /// The text of the status; empty where there is none.
    pub(crate) description: String,
    /// Of what was stored; most answers have none, and are the smaller for it.
    pub(crate) headers: Option<Box<Headers>>,
    pub(crate) payload: Bytes,
}

/// Why a message did not leave, or its answer did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// Nobody listens on the subject: the message was not taken.
    #[error("no responders")]
    NoResponders,
    /// No answer in time, or the connection that it was asked on is gone: whether the message was taken is not known.
    #[error("no answer in time")]
    TimedOut,
    /// Larger than the server takes: it never left.
    #[error("larger than the server's limit of {max} bytes")]
    TooLarge {
        /// The server's `max_payload`.
        max: usize,
    },
    /// The connection is closed for good.
    #[error("connection closed")]
    Closed,
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Connected again: subscriptions are back, messages meanwhile are lost.
    Reconnected,
    Disconnected,
    /// The server refused a publish or a subscription on this subject.
    Denied {
        subject: String,
    },
    /// A subscription was too slow: messages were dropped.
    Overrun,
    /// The server refused the credentials.
    Unauthorized {
        text: String,
    },
    Closed,
}

/// The server that a connection talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    /// New after every start of the server.
    pub(crate) id: String,
    pub(crate) version: String,
    /// Whether the server is part of a cluster.
    pub(crate) clustered: bool,
    /// The largest message in bytes, headers included.
    pub(crate) max_payload: usize,
}

/// One connection to a broker. Clones share the connection.
///
/// `publish` and `request` hand their message over when they are called, not when they are first polled: a future that
/// carried the message would be part of every future above it, and those are allocated once for each request.
pub(crate) trait Broker: Clone + Send + Sync + 'static {
    type Subscription: Subscription;

    /// Hands a message to the connection; nothing is known about its arrival.
    fn publish(&self, message: Outgoing) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Publishes and waits for one answer, for which the connection need not be borrowed; `reply` of the message is not
    /// looked at. A 503 without a payload is [`SendError::NoResponders`], every other status an answer.
    fn request(
        &self,
        message: Outgoing,
        within: Duration,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send + use<Self>;

    /// As [`Self::request`], of a worker instead of the server: it must not get to know where the server's answers
    /// arrive, or it could forge them.
    fn ask(
        &self,
        message: Outgoing,
        within: Duration,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send {
        self.request(message, within)
    }

    /// Hears what is published on `subject` from now on; a publish after this call on the same connection is heard.
    fn subscribe(
        &self,
        subject: String,
    ) -> impl Future<Output = Result<Self::Subscription, SendError>> + Send;

    /// Whether the connection is up as far as this side knows. What is published while it is down is delivered later,
    /// which must not happen to acks and heartbeats: ask before.
    fn is_connected(&self) -> bool;

    /// What happens to the connection from now on.
    fn events(&self) -> broadcast::Receiver<Event>;

    fn server(&self) -> ServerFacts;

    /// An inbox prefix of this connection's own, without a trailing dot.
    fn new_inbox(&self) -> String;

    /// A second connection with the same options.
    fn connect_again(&self, name: &str) -> impl Future<Output = Result<Self, crate::ConnectError>> + Send;

    /// The clock of this side: counts suspended time.
    fn now(&self) -> Moment;
}

/// What a subscription hears.
pub(crate) trait Subscription: Send + 'static {
    /// The next message; nothing once the connection is closed.
    fn next(&mut self) -> impl Future<Output = Option<Message>> + Send;

    /// Ends the interest: what is on its way still comes, then nothing does.
    fn end(&mut self) -> impl Future<Output = ()> + Send;
}
