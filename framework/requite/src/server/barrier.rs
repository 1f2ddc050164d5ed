//! The barrier: what proves that the heartbeats before it on the same connection have arrived.
//!
//! A single server answers a heartbeat once it has taken it. Of several, a leader that is cut off from the others does
//! so too, for up to 20 s, and only the answer to an ack is true: it is given after the others have agreed. So a
//! message that is settled already is acked once more, which changes nothing and is answered like any ack.

use std::time::Duration;

use bytes::Bytes;

use super::{held::Held, method::MethodRuntime};
use crate::{
    broker::{
        AnyBroker, Broker, Outgoing, SendError,
        api::{self, ApiFailure},
    },
    error::SetupError,
    protocol::time::{LeaseTimes, MARGIN_UNPROVEN, MIN_LEASE_UNPROVEN},
    service::Method,
    subject::ack_by_sequence,
};

/// How long the test at the start may take.
const TEST_WITHIN: Duration = Duration::from_secs(5);

/// What confirms the heartbeats of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The answer to the last heartbeat.
    Heartbeat,
    /// The answer to the ack of a settled message.
    SettledAck,
}

/// Tests the barrier and says which one to use, and under which times.
///
/// # Errors
///
/// If the barrier does not work on a replicated stream and the lease is too short to do without.
pub(crate) async fn choose(
    broker: &AnyBroker,
    stream: &str,
    method: &Method,
    replicas: u8,
) -> Result<(Barrier, LeaseTimes), SetupError> {
    let times = LeaseTimes::new(method.lease);
    if replicas <= 1 {
        return Ok((Barrier::Heartbeat, times));
    }
    let consumer = api::consumer_info(broker, stream, method.name).await;
    // 0 where nothing was settled yet, as on a consumer that was made again while requests wait. No message has this
    // sequence, and its ack is answered like any other.
    let settled = consumer.map_or(0, |info| info.ack_floor.stream_seq);
    let ack = Outgoing::new(ack_by_sequence(stream, method.name, settled), Bytes::from_static(b"+ACK"));
    if broker.request(ack, TEST_WITHIN).await.is_ok_and(|answer| answer.status.is_none()) {
        return Ok((Barrier::SettledAck, times));
    }
    if method.lease < MIN_LEASE_UNPROVEN {
        let (method, lease) = (method.name.into(), method.lease);
        return Err(SetupError::LeaseTooShort { method, lease, least: MIN_LEASE_UNPROVEN });
    }
    tracing::warn!(
        stream,
        method = method.name,
        settled,
        "the ack barrier is not answered: heartbeats alone confirm, and leases end 20 s sooner here"
    );
    Ok((Barrier::Heartbeat, LeaseTimes { margin: MARGIN_UNPROVEN, ..times }))
}

/// Why heartbeats were not confirmed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconfirmed {
    #[error("the worker is not bound")]
    NotBound,
    #[error("no settled message is known: {0}")]
    Unsettled(ApiFailure),
    #[error(transparent)]
    Unanswered(#[from] SendError),
    #[error("status {0}")]
    Refused(u16),
}

/// How long the answer to a barrier is waited for.
///
/// A single server takes in order what comes on one connection, so an answer proves the heartbeats before it however late
/// it is, and where a server has more to do than it gets done every answer is late. Of several the one that answers late
/// may be another one than the heartbeats went to.
pub(crate) fn answer_within(method: &MethodRuntime) -> Duration {
    if method.service.replicas > 1 { method.times.heartbeat() } else { method.times.lease }
}

/// Waits for what confirms the heartbeats up to that of `last`.
///
/// A worker that is not bound does not know whether the stream is still the same one, and in another one the ack would
/// remove somebody's request. So the settled sequence is read anew then, on this connection: the keeper's may be well
/// where the puller's is not, and an election leaves no time to wait for the puller to bind.
pub(crate) async fn confirmed(
    method: &MethodRuntime,
    last: &Held,
    broker: &AnyBroker,
) -> Result<(), Unconfirmed> {
    let bound = method.binding();
    let barrier = match method.barrier {
        // What ended the binding may be the very cut that makes a leader's answers worthless.
        Barrier::Heartbeat if method.service.replicas > 1 && bound.is_none() => {
            return Err(Unconfirmed::NotBound);
        }
        Barrier::Heartbeat => heartbeat(last),
        Barrier::SettledAck => {
            let (stream, consumer) = (&method.service.request_stream, method.options.name);
            let settled = match bound {
                Some(binding) => binding.settled,
                None => {
                    let info = api::consumer_info(broker, stream, consumer).await;
                    info.map_err(Unconfirmed::Unsettled)?.ack_floor.stream_seq
                }
            };
            Outgoing::new(ack_by_sequence(stream, consumer, settled), Bytes::from_static(b"+ACK"))
        }
    };
    match broker.request(barrier, answer_within(method)).await?.status {
        None => Ok(()),
        Some(status) => Err(Unconfirmed::Refused(status)),
    }
}

/// The heartbeat of one delivery.
pub(crate) fn heartbeat(held: &Held) -> Outgoing {
    Outgoing::new(held.ack.to_string(), Bytes::from_static(b"+WPI"))
}
