//! The server's answers, in its JSON.

use std::time::{Duration, UNIX_EPOCH};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{
    consumer::Consumer,
    store::{Stored, header_block},
    stream::Stream,
};
use crate::wire::jetstream::ApiError;

/// A time of the server's clock, RFC 3339.
pub(super) fn time(nanos: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(nanos)).to_string()
}

// The answers to publishes are texts, byte by byte: they can be aimed at a stream, which counts them.

pub(super) fn stored(stream: &str, sequence: u64) -> String {
    format!(r#"{{"stream":"{stream}","seq":{sequence}}}"#)
}

pub(super) fn duplicate(stream: &str, sequence: u64) -> String {
    format!(r#"{{"stream":"{stream}","seq":{sequence},"duplicate":true}}"#)
}

pub(super) fn not_stored(stream: &str, error: &ApiError) -> String {
    let ApiError { code, err_code, description } = error;
    format!(
        r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"{description}"}},"stream":"{stream}","seq":0}}"#
    )
}

pub(super) fn error(code: u16, err_code: u32, text: &str) -> Value {
    json!({ "error": { "code": code, "err_code": err_code, "description": text } })
}

pub(super) fn account(streams: usize, consumers: usize, bytes: u64) -> Value {
    json!({
        "type": "io.nats.jetstream.api.v1.account_info_response",
        "memory": 0,
        "storage": bytes,
        "streams": streams,
        "consumers": consumers,
        "limits": { "max_memory": -1, "max_storage": -1, "max_streams": -1, "max_consumers": -1 },
        // The level of nats-server 2.15.
        "api": { "level": 5, "total": 0, "errors": 0 },
    })
}

pub(super) fn stream(stream: &Stream, now: u64) -> Value {
    let store = &stream.store;
    json!({
        "type": "io.nats.jetstream.api.v1.stream_info_response",
        "config": stream.config,
        "created": time(stream.created),
        "state": {
            "messages": store.len(),
            "bytes": store.bytes(),
            "first_seq": store.first_sequence(),
            "last_seq": store.last_sequence(),
            "num_subjects": store.subjects(),
            "consumer_count": stream.consumers.len(),
        },
        "ts": time(now),
    })
}

pub(super) fn consumer(stream: &str, consumer: &Consumer, now: u64) -> Value {
    let facts = consumer.facts();
    json!({
        "type": "io.nats.jetstream.api.v1.consumer_info_response",
        "stream_name": stream,
        "name": consumer.config.durable_name,
        "created": time(consumer.created),
        "config": consumer.config,
        "delivered": { "consumer_seq": facts.delivered.delivery, "stream_seq": facts.delivered.stream },
        "ack_floor": { "consumer_seq": facts.floor.delivery, "stream_seq": facts.floor.stream },
        "num_ack_pending": facts.pending,
        "num_redelivered": facts.redelivered,
        "num_waiting": consumer.pulls.len(),
        "num_pending": facts.unseen,
        "ts": time(now),
    })
}

pub(super) fn names(names: &[&String]) -> Value {
    let streams = if names.is_empty() { Value::Null } else { json!(names) };
    json!({
        "type": "io.nats.jetstream.api.v1.stream_names_response",
        "total": names.len(),
        "offset": 0,
        "limit": 1024,
        "streams": streams,
    })
}

pub(super) fn message(stored: &Stored) -> Value {
    let mut message = json!({
        "subject": stored.subject,
        "seq": stored.sequence,
        "time": time(stored.stored),
    });
    if let Some(headers) = header_block(&stored.headers) {
        message["hdrs"] = json!(BASE64.encode(headers.as_bytes()));
    }
    if !stored.payload.is_empty() {
        message["data"] = json!(BASE64.encode(&stored.payload));
    }
    json!({ "type": "io.nats.jetstream.api.v1.stream_msg_get_response", "message": message })
}

pub(super) fn deleted(kind: &str) -> Value {
    json!({ "type": format!("io.nats.jetstream.api.v1.{kind}_delete_response"), "success": true })
}
