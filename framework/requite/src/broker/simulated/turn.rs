//! What every part of the server gets for the handling of one event: the time, who listens, and where to put what it
//! sends.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value;

use super::{cluster::Side, network::Network};
use crate::broker::Headers;

/// What a message from the server is; faults choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Published by a client, heard by others.
    Core,
    /// The answer to a publish into a stream.
    PubAck,
    /// Any other answer of the server.
    Answer,
    /// A status on a pull.
    Status,
    /// A message of a consumer.
    Delivery,
    /// A stored message, republished.
    Republished,
}

/// A message that the server itself sends.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The subject that decides who hears it.
    pub(super) to: String,
    /// The subject that is shown, where it is another.
    pub(super) shown: Option<String>,
    pub(super) reply: Option<String>,
    pub(super) headers: Headers,
    pub(super) status: Option<(u16, String)>,
    pub(super) payload: Bytes,
    pub(super) kind: Kind,
}

impl Sent {
    pub(super) fn new(to: impl Into<String>, kind: Kind, payload: impl Into<Bytes>) -> Self {
        Self {
            to: to.into(),
            shown: None,
            reply: None,
            headers: Headers::default(),
            status: None,
            payload: payload.into(),
            kind,
        }
    }

    pub(super) fn status(to: impl Into<String>, code: u16, text: impl Into<String>) -> Self {
        Self { status: Some((code, text.into())), ..Self::new(to, Kind::Status, Bytes::new()) }
    }

    pub(super) fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

/// The handling of one event.
pub(super) struct Turn<'a> {
    /// The server's clock, in nanoseconds since 1970.
    pub(super) now: u64,
    /// Nanoseconds since the simulation began.
    pub(super) elapsed: u64,
    /// Whether the server can commit anything.
    pub(super) quorum: bool,
    pub(super) side: Side,
    /// How far the replica is behind that answers a direct get.
    pub(super) lag: u64,
    pub(super) network: &'a Network,
    pub(super) outbox: &'a mut VecDeque<Sent>,
}

impl Turn<'_> {
    pub(super) fn send(&mut self, sent: Sent) {
        self.outbox.push_back(sent);
    }

    /// Answers a question to the API.
    pub(super) fn answer(&mut self, to: Option<&str>, value: &Value) {
        if let Some(to) = to {
            self.send(Sent::new(to, Kind::Answer, value.to_string()));
        }
    }

    /// Whether anybody listens on the subject.
    pub(super) fn heard(&self, subject: &str) -> bool {
        self.network.heard(subject, self.side)
    }
}
