//! Header names, each with who writes and who reads it.

/// Version of the protocol; written on every message of ours, read by every receiver.
pub(crate) const VERSION: &str = "Rq-V";
/// What the message is; written by callers (`call`) and workers (a record's kind), read by both.
pub(crate) const KIND: &str = "Rq-Kind";
/// Milliseconds to the deadline, counted from the server's time stamp of the request; caller to worker.
pub(crate) const LEFT: &str = "Rq-Left";
/// Present when an earlier copy of the request may exist; caller to worker.
pub(crate) const RESEND: &str = "Rq-Resend";
/// A lower bound of the server's clock when the caller published, in nanoseconds since 1970; caller to worker.
pub(crate) const SENT: &str = "Rq-Sent";
/// The caller's key, base64url; caller to worker and observers.
pub(crate) const KEY: &str = "Rq-Key";
/// The encoding of the body; caller to worker.
pub(crate) const CONTENT_TYPE: &str = "Content-Type";
/// W3C trace context; caller to worker.
pub(crate) const TRACE_PARENT: &str = "traceparent";
/// Why a message became a dead letter; worker to observers.
pub(crate) const REASON: &str = "Rq-Reason";
/// The request's stream sequence on a dead letter; worker to observers.
pub(crate) const SEQUENCE: &str = "Rq-Sequence";
/// The size of the request's body on a dead letter that holds only its first half; worker to observers.
pub(crate) const CUT_FROM: &str = "Rq-Cut-From";

/// The value of [`KIND`] on a request.
pub(crate) const KIND_CALL: &str = "call";
/// The value of [`KIND`] on a message that asks to cancel a request.
pub(crate) const KIND_CANCEL: &str = "cancel";
/// The value of [`KIND`] on the message that set-up sends through each consumer.
pub(crate) const KIND_SETUP: &str = "setup";
/// [`KIND`] of a checkpoint, which lies beside the record.
pub(crate) const KIND_CHECKPOINT: &str = "checkpoint";
/// [`KIND`] of progress, which lies beside the record too.
pub(crate) const KIND_PROGRESS: &str = "progress";
/// [`KIND`] of a frame of items.
pub(crate) const KIND_ITEMS: &str = "items";

/// The server deduplicates publishes by this id within the stream's window.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
/// Compare-and-set: the publish is refused unless this is the last sequence on its subject.
pub(crate) const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
/// Whose last sequence [`EXPECTED_LAST`] is about, where it is another subject's than the message's own.
pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// How long the server keeps the message.
pub(crate) const TTL: &str = "Nats-TTL";
/// Written by the server on what it republishes or reads back: the stream's name.
pub(crate) const STREAM: &str = "Nats-Stream";
/// Written by the server: the stored subject.
pub(crate) const SUBJECT: &str = "Nats-Subject";
/// Written by the server: the stored sequence.
pub(crate) const STORED_SEQUENCE: &str = "Nats-Sequence";
/// Written by the server: when it stored the message.
pub(crate) const TIME_STAMP: &str = "Nats-Time-Stamp";
/// On the status that ends a pull: how many messages it will not bring any more.
pub(crate) const PENDING_MESSAGES: &str = "Nats-Pending-Messages";

/// Headers that only the server writes. A request that carries one was not published by a caller: it is a reply of the
/// server, or a stored message, that somebody aimed at the request stream.
pub(crate) const SERVER_ONLY: [&str; 4] = [STREAM, SUBJECT, STORED_SEQUENCE, TIME_STAMP];
