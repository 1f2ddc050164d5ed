//! Binding a worker to a consumer: what it must know of this incarnation before it may skip a claim.

use crate::{
    broker::{AnyBroker, Broker, api},
    error::SetupError,
    protocol::time::MARGIN,
    wire::jetstream::nanos,
};

use super::method::{Binding, MethodRuntime};

/// Reads stream and consumer. Everything stored above the last sequence read here was stored after this worker was
/// there to see it; everything else may be in somebody's hands.
pub(crate) async fn bind(broker: &AnyBroker, method: &MethodRuntime) -> Result<Binding, SetupError> {
    let stream = &method.service.request_stream;
    let unavailable = |failure: api::ApiFailure| {
        let what = format!("consumer {} of {stream}", method.options.name);
        if failure.is_not_found() {
            SetupError::Missing { what }
        } else {
            SetupError::Unavailable { what, text: failure.to_string() }
        }
    };
    let consumer = api::consumer_info(broker, stream, method.options.name).await.map_err(unavailable)?;
    let wanted = nanos(method.options.lease);
    if consumer.config.ack_wait < wanted {
        return Err(SetupError::Drift {
            what: format!("consumer {} of {stream}", method.options.name),
            setting: "ack_wait",
            wanted: format!("{:?}", method.options.lease),
            found: format!("{:?}", std::time::Duration::from_nanos(consumer.config.ack_wait)),
        });
    }
    let info = api::stream_info(broker, stream).await.map_err(unavailable)?;
    let now = broker.now();
    if let Ok(stamp) = humantime::parse_rfc3339_weak(&info.ts)
        && let Ok(since) = stamp.duration_since(std::time::UNIX_EPOCH)
    {
        method.observe_server_time(nanos(since), now);
    }
    let server = broker.server();
    Ok(Binding {
        last_sequence: info.state.last_seq,
        bound_at: now,
        settled: consumer.ack_floor.stream_seq,
        always_claim: server.clustered && info.config.num_replicas == 1,
    })
}

/// Until when an owner that lost its connection in the same moment may still claim what it runs.
pub(crate) fn owner_claims_until(method: &MethodRuntime, binding: &Binding) -> crate::protocol::time::Moment {
    debug_assert!(method.times.owner_claims_within() > MARGIN);
    binding.bound_at + method.times.owner_claims_within()
}
