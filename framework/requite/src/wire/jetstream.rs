//! The parts of the server's JSON API that are spoken: publish acknowledgements, stream and consumer configuration,
//! reads and pulls. Decoded by ourselves because the differences between error codes decide what a caller may do.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// An error of the JetStream API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (JetStream error {})", self.description, self.err_code)
    }
}

/// Error codes whose meaning decides what to do (nats-server `errors.json`).
pub(crate) mod code {
    /// No message with that sequence or subject.
    pub(crate) const NO_MESSAGE: u32 = 10037;
    pub(crate) const CONSUMER_NOT_FOUND: u32 = 10014;
    pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
    /// Compare-and-set lost, or a write of the same subject is under way.
    pub(crate) const WRONG_LAST_SEQUENCE: u32 = 10071;
    pub(crate) const WRONG_LAST_SEQUENCE_IN_PROCESS: u32 = 10164;
    pub(crate) const TEMPORARILY_UNAVAILABLE: u32 = 10163;
    pub(crate) const DUPLICATE_IN_PROCESS: u32 = 10158;
    /// The stream refused to store: full, or one message per subject; the text tells which.
    pub(crate) const STORE_FAILED: u32 = 10077;
    pub(crate) const INSUFFICIENT_RESOURCES: u32 = 10023;
    pub(crate) const STORAGE_EXCEEDED: u32 = 10047;
    pub(crate) const MESSAGE_TOO_LARGE: u32 = 10054;
    pub(crate) const HEADER_TOO_LARGE: u32 = 10097;
    /// The text of [`STORE_FAILED`] that means: a message of this subject is stored already.
    pub(crate) const PER_SUBJECT: &str = "maximum messages per subject exceeded";
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PubAck {
    #[serde(default)]
    pub(crate) error: Option<ApiError>,
    #[serde(default)]
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) duplicate: bool,
}

/// A stream's configuration, as far as it is set by us; the server's answer is compared with what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    pub(crate) storage: String,
    pub(crate) discard: String,
    #[serde(default)]
    pub(crate) discard_new_per_subject: bool,
    #[serde(default = "unlimited")]
    pub(crate) max_msgs_per_subject: i64,
    #[serde(default = "unlimited")]
    pub(crate) max_msgs: i64,
    #[serde(default = "unlimited")]
    pub(crate) max_bytes: i64,
    /// In nanoseconds; 0 is for ever.
    #[serde(default)]
    pub(crate) max_age: u64,
    #[serde(default = "unlimited")]
    pub(crate) max_consumers: i64,
    pub(crate) num_replicas: u8,
    /// In nanoseconds.
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    #[serde(default)]
    pub(crate) allow_direct: bool,
    #[serde(default)]
    pub(crate) allow_msg_ttl: bool,
    #[serde(default)]
    pub(crate) allow_rollup_hdrs: bool,
    #[serde(default)]
    pub(crate) deny_delete: bool,
    #[serde(default)]
    pub(crate) deny_purge: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject_transform: Option<Transform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) republish: Option<Transform>,
}

fn unlimited() -> i64 {
    -1
}

/// A mapping of subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transform {
    pub(crate) src: String,
    pub(crate) dest: String,
}

/// A consumer's configuration, as far as it is set by us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsumerConfig {
    pub(crate) durable_name: String,
    pub(crate) filter_subject: String,
    pub(crate) deliver_policy: String,
    pub(crate) ack_policy: String,
    pub(crate) replay_policy: String,
    /// In nanoseconds.
    pub(crate) ack_wait: u64,
    pub(crate) max_deliver: i64,
    pub(crate) max_ack_pending: i64,
    pub(crate) max_waiting: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) backoff: Vec<u64>,
}

/// The body of a consumer's creation or update.
#[derive(Serialize)]
pub(crate) struct ConsumerRequest<'a> {
    pub(crate) stream_name: &'a str,
    pub(crate) config: &'a ConsumerConfig,
    /// `create`, `update`, or empty for either.
    pub(crate) action: &'a str,
}

/// What a stream holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct StreamState {
    #[serde(default)]
    pub(crate) messages: u64,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) last_seq: u64,
}

/// The answer to a stream's creation, update or info.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    #[serde(default)]
    pub(crate) state: StreamState,
    /// The server's clock when it answered, RFC 3339.
    #[serde(default)]
    pub(crate) ts: String,
}

/// How far a consumer has come in its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct SequenceInfo {
    #[serde(default)]
    pub(crate) stream_seq: u64,
}

/// The answer to a consumer's creation, update or info.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) config: ConsumerConfig,
    /// Up to where everything is settled.
    #[serde(default)]
    pub(crate) ack_floor: SequenceInfo,
    /// Up to where everything has been delivered at least once.
    #[serde(default)]
    pub(crate) delivered: SequenceInfo,
}

/// Asks for the newest message of a subject.
#[derive(Serialize)]
pub(crate) struct ReadRequest<'a> {
    pub(crate) last_by_subj: &'a str,
}

/// Asks for the first message from a sequence on whose subject falls under a filter.
#[derive(Serialize)]
pub(crate) struct NextRequest<'a> {
    pub(crate) seq: u64,
    pub(crate) next_by_subj: &'a str,
}

/// The leader's answer to a read.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReadAnswer {
    pub(crate) message: RawMessage,
}

/// A stored message as the leader returns it; data and headers are base64.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RawMessage {
    pub(crate) seq: u64,
    /// Bytes that are no text have become U+FFFD.
    #[serde(default)]
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) hdrs: String,
    #[serde(default)]
    pub(crate) data: String,
    /// When it was stored, by the server's clock.
    #[serde(default)]
    pub(crate) time: String,
}

impl RawMessage {
    pub(crate) fn payload(&self) -> Option<Bytes> {
        BASE64.decode(self.data.as_bytes()).ok().map(Bytes::from)
    }

    /// The headers as they were published, with the line of the version; empty if there are none.
    pub(crate) fn header_block(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.hdrs.as_bytes()).ok()
    }
}

/// Asks which streams capture a subject.
#[derive(Serialize)]
pub(crate) struct NamesRequest<'a> {
    pub(crate) subject: &'a str,
}

/// The streams that capture a subject.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NamesAnswer {
    #[serde(default)]
    pub(crate) streams: Option<Vec<String>>,
}

/// The body of a pull.
#[derive(Serialize)]
pub(crate) struct PullRequest {
    pub(crate) batch: usize,
    /// In nanoseconds.
    pub(crate) expires: u64,
    /// In nanoseconds; at most half of `expires`.
    pub(crate) idle_heartbeat: u64,
}

/// Decodes an answer that is either an error or a `T`.
///
/// # Errors
///
/// `Ok(Err(_))` is the server's error; `Err(_)` an answer that is neither.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(
    payload: &[u8],
) -> Result<Result<T, ApiError>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Failure {
        error: Option<ApiError>,
    }
    if let Ok(Failure { error: Some(error) }) = serde_json::from_slice(payload) {
        return Ok(Err(error));
    }
    serde_json::from_slice(payload).map(Ok)
}

/// A duration as the API counts it.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
