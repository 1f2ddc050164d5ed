//! Streams and consumers as the tests of the simulation set them up.

use std::time::Duration;

use crate::wire::jetstream::{ConsumerConfig, StreamConfig, nanos};

/// One message per subject, new ones discarded, everything else without limits.
pub(super) fn stream(name: String, subjects: Vec<String>) -> StreamConfig {
    StreamConfig {
        name,
        description: String::new(),
        subjects,
        retention: "limits".into(),
        storage: "file".into(),
        discard: "new".into(),
        discard_new_per_subject: false,
        max_msgs_per_subject: 1,
        max_msgs: -1,
        max_bytes: -1,
        max_age: 0,
        max_consumers: -1,
        num_replicas: 1,
        duplicate_window: 120_000_000_000,
        allow_direct: false,
        allow_msg_ttl: false,
        allow_rollup_hdrs: false,
        deny_delete: false,
        deny_purge: false,
        subject_transform: None,
        republish: None,
    }
}

/// Explicit acks, every limit off.
pub(super) fn consumer(name: &str, filter: String, lease: Duration) -> ConsumerConfig {
    ConsumerConfig {
        durable_name: name.into(),
        filter_subject: filter,
        deliver_policy: "all".into(),
        ack_policy: "explicit".into(),
        replay_policy: "instant".into(),
        ack_wait: nanos(lease),
        max_deliver: -1,
        max_ack_pending: -1,
        max_waiting: 512,
        backoff: Vec::new(),
    }
}
