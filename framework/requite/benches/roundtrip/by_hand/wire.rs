//! What crosses the wire: names, headers, the record and the server's answers.

use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use async_nats::header::HeaderName;
use ring::digest::{Context as Digest, SHA256};
use serde::{Deserialize, Serialize, Serializer};

pub(super) const SERVICE: &str = "bench";
pub(super) const METHOD: &str = "echo";
pub(super) const CALLER: &str = "caller";
pub(super) const REQUESTS: &str = "rq_REQ_bench";
pub(super) const RECORDS: &str = "rq_OUT_bench";
pub(super) const CONTENT_TYPE: &str = "application/msgpack";
pub(super) const VERSION: &str = "1";

pub(super) static RQ_V: HeaderName = HeaderName::from_static("Rq-V");
pub(super) static RQ_KIND: HeaderName = HeaderName::from_static("Rq-Kind");
pub(super) static RQ_LEFT: HeaderName = HeaderName::from_static("Rq-Left");
pub(super) static RQ_SENT: HeaderName = HeaderName::from_static("Rq-Sent");
pub(super) static TYPE: HeaderName = HeaderName::from_static("Content-Type");

/// The stored outcome of one request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record<'a> {
    pub(super) kind: &'a str,
    pub(super) method: &'a str,
    pub(super) attempt: u32,
    pub(super) attempt_id: &'a str,
    /// Counts the writes of one attempt, so that a writer recognises its own.
    pub(super) write: u32,
    /// How often the server has delivered the request.
    pub(super) delivered: u64,
    /// The request's sequence in its stream.
    pub(super) sequence: u64,
    /// When the request was stored, in the server's Unix nanoseconds.
    pub(super) stored: u64,
    pub(super) worker: &'a str,
    /// In milliseconds.
    pub(super) lease: u64,
    #[serde(serialize_with = "as_bin")]
    pub(super) hash: &'a [u8],
    pub(super) status: &'a str,
    pub(super) content_type: &'a str,
    #[serde(serialize_with = "as_bin")]
    pub(super) body: &'a [u8],
}

/// The stored outcome of a request that never ran.
#[derive(Debug, Deserialize)]
pub(super) struct Rejection<'a> {
    pub(super) kind: &'a str,
    pub(super) stored: u64,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
}

/// serde takes a slice of bytes for a sequence of numbers; MessagePack has a type for it.
fn as_bin<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// The hash of a request's payload that its record carries.
pub(super) fn payload_hash(content_type: &str, body: &[u8]) -> [u8; 16] {
    let mut digest = Digest::new(&SHA256);
    digest.update(content_type.as_bytes());
    digest.update(&[0]);
    digest.update(body);
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest.finish().as_ref()[..16]);
    hash
}

/// The server's answer to a publish into a stream.
#[derive(Deserialize)]
struct PubAck<'a> {
    #[serde(default)]
    stream: &'a str,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<serde_json::Value>,
}

/// Fails unless `answer` says that the message is stored in `stream`, and was not there before.
pub(super) fn check_pub_ack(answer: &[u8], stream: &str) -> Result<()> {
    // Empty: the server's "no responders".
    let ack: PubAck<'_> = serde_json::from_slice(answer).context("not a PubAck")?;
    if let Some(error) = ack.error {
        bail!("{stream} refused the message: {error}");
    }
    ensure!(ack.stream == stream && ack.seq > 0 && !ack.duplicate, "not stored in {stream} by this publish");
    Ok(())
}

/// What the reply subject of a delivery says about it.
#[derive(Debug, PartialEq)]
pub(super) struct Delivery {
    pub(super) delivered: u64,
    pub(super) sequence: u64,
    pub(super) stored: u64,
}

impl Delivery {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<stored>.<pending>`, or the
    /// newer form with domain and account in front of the stream, and possibly a token more at the end.
    pub(super) fn parse(reply: &str) -> Option<Delivery> {
        let tokens = reply.strip_prefix("$JS.ACK.")?;
        let newer = tokens.bytes().filter(|&byte| byte == b'.').count() >= 8;
        let mut tokens = tokens.split('.').skip(if newer { 4 } else { 2 });
        let mut number = || tokens.next()?.parse().ok();
        let (delivered, sequence) = (number()?, number()?);
        let _consumer_sequence = number()?;
        Some(Delivery { delivered, sequence, stored: number()? })
    }
}

/// `<prefix><n>`, allocated once and at its exact size, so that it becomes a subject without a copy.
pub(super) fn numbered(prefix: &str, n: u64) -> String {
    let digits = n.checked_ilog10().map_or(1, |log| log as usize + 1);
    let mut name = String::with_capacity(prefix.len() + digits);
    name.push_str(prefix);
    write!(name, "{n}").expect("a String takes everything");
    name
}

/// The number behind `prefix`, if `name` starts with it and nothing else follows.
pub(super) fn number_of(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.parse().ok()
}
