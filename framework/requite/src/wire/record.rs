//! The record of a request: who works on it, or how it ended. One record per id, replaced by compare-and-set.

use serde::{Deserialize, Serialize};

use super::PayloadHash;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A worker runs the request, or is about to.
    Claim,
    /// The worker let go: the next one may start.
    Released,
    /// Somebody asked to cancel before any worker wrote a record. Not an outcome.
    CancelRequested,
    /// How the request ended.
    Outcome,
    /// A kind of a later version: no outcome, and nobody takes it over.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// The value of the `Rq-Kind` header.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Released => "released",
            Self::CancelRequested => "cancel-requested",
            Self::Outcome => "outcome",
            Self::Unknown => "unknown",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The handler's value is the body.
    Ok,
    /// The handler may have run; its error is the body where it returned one.
    Failed,
    /// The handler never ran.
    Rejected,
    /// Cancelled.
    Cancelled,
    /// A status of a later version.
    #[serde(other)]
    Unknown,
}

/// Why a request ended without the handler's value, where the handler did not say so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The deadline had passed.
    Expired,
    /// The handler was declared `once`, and an attempt that may have begun did not end.
    Interrupted,
    /// Every attempt that the handler allows was used up.
    Exhausted,
    /// The handler panicked.
    Panicked,
    /// The handler ran into its `max_run`.
    TimedOut,
    /// The handler's value was too large to be stored, or an item of the stream that it returned.
    TooLarge,
    /// The handler returned a stream that was not read to its end: its readers left, or none was heard for its `idle` time.
    Unread,
    /// The request could not be decoded.
    Undecodable,
    /// A reason of a later version of the protocol.
    #[serde(other)]
    Other,
}

impl Reason {
    /// The reason as it stands in records, logs and dead letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::Exhausted => "exhausted",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::TooLarge => "too_large",
            Self::Unread => "unread",
            Self::Undecodable => "undecodable",
            Self::Other => "other",
        }
    }
}

/// One attempt of one worker: its instance's random bits, mixed with a counter.
pub(crate) type AttemptId = [u8; 16];

/// A record as it is encoded: a named MessagePack map. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    #[serde(borrow)]
    pub(crate) method: &'a str,
    pub(crate) attempt: u32,
    #[serde(with = "serde_bytes")]
    pub(crate) attempt_id: AttemptId,
    /// Counts the writes of this attempt, so that a writer in doubt knows which of its own it sees.
    pub(crate) write: u32,
    /// How many attempts are used up, this one included. An attempt that a worker handed over is not.
    pub(crate) spent: u32,
    /// The delivery count that the attempt was given.
    pub(crate) delivery: u64,
    /// The request's sequence in its stream.
    pub(crate) request: u64,
    /// When the server stored the request, in nanoseconds of its clock.
    pub(crate) stored: u64,
    pub(crate) worker: &'a str,
    /// In milliseconds.
    pub(crate) lease: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) hash: PayloadHash,
    /// On a released record: nobody starts before, in nanoseconds of the server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<u64>,
    /// On a claim or a released record: somebody asked to cancel, so no further attempt begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancel: bool,
    /// The text of the last error, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<&'a str>,
    /// How many items the handler's stream has, up to this outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<u64>,
    /// The handler's value, or its error.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<&'a [u8]>,
}

/// The room a record takes beside its body: names of the fields and fixed-size values, with head-room.
const RECORD_OVERHEAD: usize = 420;

impl<'a> Record<'a> {
    /// A record that says no more than this.
    pub(crate) fn of(kind: Kind, method: &'a str) -> Self {
        Self {
            kind,
            method,
            attempt: 0,
            attempt_id: AttemptId::default(),
            write: 0,
            spent: 0,
            delivery: 0,
            request: 0,
            stored: 0,
            worker: "",
            lease: 0,
            hash: PayloadHash::default(),
            not_before: None,
            cancel: false,
            error: None,
            status: None,
            reason: None,
            content_type: None,
            items: None,
            body: None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let texts = self.error.map_or(0, str::len) + self.body.map_or(0, <[u8]>::len);
        let mut bytes = Vec::with_capacity(RECORD_OVERHEAD + texts);
        rmp_serde::encode::write_named(&mut bytes, self)
            .expect("a record has nothing that MessagePack lacks");
        bytes
    }

    /// Reads a record; texts and body are slices of `bytes`.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record() -> Record<'static> {
        Record {
            attempt: 2,
            attempt_id: [7; 16],
            write: 3,
            spent: 2,
            delivery: 4,
            request: 99,
            stored: 1_700_000_000_000_000_000,
            worker: "abcdefghijklmnopqrstuvwxyz",
            lease: 30_000,
            hash: [9; 16],
            status: Some(Status::Ok),
            content_type: Some("application/msgpack"),
            body: Some(b"value"),
            ..Record::of(Kind::Outcome, "charge")
        }
    }

    #[test]
    fn a_record_round_trips() {
        let bytes = record().encode();
        assert!(bytes.len() <= RECORD_OVERHEAD, "{}", bytes.len());
        assert_eq!(Record::decode(&bytes), Some(record()));
    }

    #[test]
    fn unknown_fields_kinds_and_reasons_are_survived() {
        #[derive(Serialize)]
        struct Later<'a> {
            #[serde(flatten)]
            base: std::collections::BTreeMap<&'a str, serde_json::Value>,
        }
        let mut base = std::collections::BTreeMap::new();
        for (k, v) in
            [("kind", "paused"), ("method", "m"), ("worker", "w"), ("status", "odd"), ("reason", "odd")]
        {
            base.insert(k, v.into());
        }
        for k in ["attempt", "write", "spent", "delivery", "request", "stored", "lease", "news"] {
            base.insert(k, 1.into());
        }
        for k in ["attempt_id", "hash"] {
            base.insert(k, vec![1; 16].into());
        }
        let bytes = rmp_serde::to_vec_named(&Later { base }).unwrap();
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.kind, Kind::Unknown);
        assert_eq!((record.status, record.reason), (Some(Status::Unknown), Some(Reason::Other)));
    }

    #[test]
    fn what_is_no_record_is_no_record() {
        assert_eq!(Record::decode(b""), None);
        assert_eq!(Record::decode(b"{\"stream\":\"S\",\"seq\":1}"), None);
    }
}
