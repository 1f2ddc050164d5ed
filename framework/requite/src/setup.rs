//! Set-up: the streams and consumers of a service as configuration, created where they are missing and compared with
//! what the server returns where they are not. Drift is an error that names the setting; nothing is mended in silence,
//! but for a longer `ack_wait`.

use std::time::Duration;

#[cfg(test)]
use crate::planted::{Bug, is_planted};
use crate::{
    broker::{
        Broker, Outgoing, SendError, Subscription,
        api::{self, ApiFailure},
    },
    error::SetupError,
    name::{Instance, random_bits},
    protocol::time::{MIN_LEASE, MIN_LEASE_REPLICATED},
    service::Method,
    subject::{self, ServiceSubjects},
    wire::{
        VERSION, header,
        jetstream::{ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo, Transform, nanos},
    },
};

/// Ids of publishes are remembered this long.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Dead letters are kept this long.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Open pulls per consumer: two for each of a thousand workers.
const MAX_WAITING: i64 = 2_048;
/// The oldest nats-server on which compare-and-set through a transform was seen to hold, on three replicas too.
const MIN_SERVER: (u64, u64, u64) = (2, 12, 8);

/// What a stored message takes beside its headers and body: its subject, and the server's own 34 bytes.
const BESIDE_MESSAGE: u64 = 1024;

/// Whether streams and consumers that are missing are created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setup {
    /// Create what is missing; for development, tests and services that own their streams.
    #[default]
    Create,
    /// Everything must be there: what is missing is an error. A stream that vanished is not made again empty.
    Verify,
}

/// How large a service's streams may grow, and on how many servers they live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// Servers that hold each stream: 1, 3 or 5; 1 by default.
    pub replicas: u8,
    /// Requests that may wait or run; above this, callers get `Unavailable(QueueFull)`. 1,000,000 by default.
    pub queued_requests: u64,
    /// Bytes that waiting and running requests may take; 512 MiB by default.
    pub queued_bytes: u64,
    /// Bytes that records may take; 1 GiB by default. A record takes about 500 bytes and its value, for as long as it
    /// is retained.
    pub record_bytes: u64,
    /// Bytes that the items of streams may take; the oldest give way, and whoever has not read them by then is told that
    /// they are lost. 1 GiB by default: what is unread of a stream is at most 16,384 items or 8 MiB, and one item. At least
    /// the server's `max_payload` and 1 KiB.
    pub item_bytes: u64,
    /// Bytes that dead letters may take; the oldest give way. 64 MiB by default.
    pub dead_letter_bytes: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            replicas: 1,
            queued_requests: 1_000_000,
            queued_bytes: 512 << 20,
            record_bytes: 1 << 30,
            item_bytes: 1 << 30,
            dead_letter_bytes: 64 << 20,
        }
    }
}

/// Everything set-up needs to know of one service.
pub(crate) struct Plan<'a> {
    pub(crate) subjects: &'a ServiceSubjects,
    /// Version and description of the service, for people who look at its streams.
    pub(crate) about: String,
    pub(crate) methods: &'a [Method],
    pub(crate) limits: StreamLimits,
    pub(crate) setup: Setup,
}

/// The names that set-up found or made.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The secret in the subject to which records are written.
    pub(crate) secret: String,
    /// The secret in the subject to which items are written, where there are streams.
    pub(crate) item_secret: Option<String>,
    pub(crate) replicas: u8,
}

/// Creates or verifies everything a service needs.
pub(crate) async fn prepare<B: Broker>(broker: &B, plan: &Plan<'_>) -> Result<Prepared, SetupError> {
    check_server(broker)?;
    for method in plan.methods {
        check_lease(method, plan.limits.replicas)?;
    }
    let (secret, _) = put_with_secret(broker, plan, &plan.subjects.record_stream(), records).await?;
    let item_secret = if plan.methods.iter().any(Method::stores_items) {
        check_item_bytes(broker, plan, as_limit(plan.limits.item_bytes))?;
        let (secret, found) = put_with_secret(broker, plan, &plan.subjects.item_stream(), items).await?;
        check_item_bytes(broker, plan, found.config.max_bytes)?;
        Some(secret)
    } else {
        None
    };
    put_stream(broker, plan.setup, &requests(plan)).await?;
    put_stream(broker, plan.setup, &dead_letters(plan)).await?;
    for method in plan.methods {
        put_consumer(broker, plan, method).await?;
    }
    Ok(Prepared { secret, item_secret, replicas: plan.limits.replicas })
}

fn check_server<B: Broker>(broker: &B) -> Result<(), SetupError> {
    let version = broker.server().version;
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(major), Some(minor), Some(patch)) if (major, minor, patch) < MIN_SERVER => {
            Err(SetupError::ServerTooOld { version })
        }
        _ => Ok(()),
    }
}

fn check_lease(method: &Method, replicas: u8) -> Result<(), SetupError> {
    let least = if replicas > 1 { MIN_LEASE_REPLICATED } else { MIN_LEASE };
    #[cfg(test)]
    let least = if is_planted(Bug::ShortLease) { MIN_LEASE } else { least };
    if method.lease < least {
        return Err(SetupError::LeaseTooShort { method: method.name.into(), lease: method.lease, least });
    }
    Ok(())
}

/// A server acknowledges what is larger than its stream may be, tells whoever listens now, and removes it with all that was
/// there: neither end of a stream of items would know.
fn check_item_bytes<B: Broker>(broker: &B, plan: &Plan<'_>, max_bytes: i64) -> Result<(), SetupError> {
    let least = broker.server().max_payload as u64 + BESIDE_MESSAGE;
    // Below 0 there is no limit.
    match u64::try_from(max_bytes) {
        Ok(bytes) if bytes < least => {
            Err(SetupError::ItemsDoNotFit { stream: plan.subjects.item_stream(), bytes, least })
        }
        _ => Ok(()),
    }
}

fn base(name: String, subjects: Vec<String>, limits: &StreamLimits) -> StreamConfig {
    StreamConfig {
        name,
        description: "Requite; change it by set-up, not by hand".into(),
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
        num_replicas: limits.replicas,
        duplicate_window: nanos(DUPLICATE_WINDOW),
        allow_direct: false,
        allow_msg_ttl: false,
        allow_rollup_hdrs: false,
        deny_delete: false,
        deny_purge: false,
        subject_transform: None,
        republish: None,
    }
}

fn as_limit(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(crate) fn requests(plan: &Plan<'_>) -> StreamConfig {
    let subjects = plan.methods.iter().map(|method| plan.subjects.requests(method.name)).collect();
    let config = StreamConfig {
        retention: "workqueue".into(),
        description: plan.about.clone(),
        discard_new_per_subject: true,
        max_msgs: as_limit(plan.limits.queued_requests),
        max_bytes: as_limit(plan.limits.queued_bytes),
        ..base(plan.subjects.request_stream(), subjects, &plan.limits)
    };
    #[cfg(test)]
    if is_planted(Bug::DiscardOld) {
        return StreamConfig { discard: "old".into(), discard_new_per_subject: false, ..config };
    }
    #[cfg(test)]
    if is_planted(Bug::MessageIdAlone) {
        return StreamConfig { discard_new_per_subject: false, max_msgs_per_subject: -1, ..config };
    }
    config
}

fn records(plan: &Plan<'_>, secret: &str) -> StreamConfig {
    let transform = |(src, dest)| Some(Transform { src, dest });
    StreamConfig {
        max_bytes: as_limit(plan.limits.record_bytes),
        allow_direct: true,
        allow_msg_ttl: true,
        subject_transform: transform(plan.subjects.record_transform(secret)),
        republish: transform(plan.subjects.record_republish()),
        ..base(plan.subjects.record_stream(), plan.subjects.records_put(secret), &plan.limits)
    }
}

/// Every slot is a subject of its own, so that a frame is one message and nobody replaces it.
fn items(plan: &Plan<'_>, secret: &str) -> StreamConfig {
    let transform = |(src, dest)| Some(Transform { src, dest });
    StreamConfig {
        discard: "old".into(),
        max_bytes: as_limit(plan.limits.item_bytes),
        allow_direct: true,
        allow_msg_ttl: true,
        subject_transform: transform(plan.subjects.record_transform(secret)),
        republish: transform(plan.subjects.item_republish()),
        ..base(plan.subjects.item_stream(), plan.subjects.item_puts(secret).into(), &plan.limits)
    }
}

fn dead_letters(plan: &Plan<'_>) -> StreamConfig {
    StreamConfig {
        discard: "old".into(),
        max_bytes: as_limit(plan.limits.dead_letter_bytes),
        max_age: nanos(DEAD_LETTER_AGE),
        ..base(plan.subjects.dead_letter_stream(), vec![plan.subjects.dead_letters()], &plan.limits)
    }
}

fn consumer(plan: &Plan<'_>, method: &Method) -> ConsumerConfig {
    ConsumerConfig {
        durable_name: method.name.into(),
        filter_subject: plan.subjects.requests(method.name),
        deliver_policy: "all".into(),
        ack_policy: "explicit".into(),
        replay_policy: "instant".into(),
        ack_wait: nanos(method.lease),
        #[cfg(test)]
        max_deliver: if is_planted(Bug::MaxDeliver) { 3 } else { -1 },
        #[cfg(not(test))]
        max_deliver: -1,
        max_ack_pending: -1,
        max_waiting: MAX_WAITING,
        backoff: Vec::new(),
    }
}

/// The record stream comes first. It carries a secret, as the item stream does: it is made with the stream and read back
/// from it.
async fn put_with_secret<B: Broker>(
    broker: &B,
    plan: &Plan<'_>,
    name: &str,
    config: fn(&Plan<'_>, &str) -> StreamConfig,
) -> Result<(String, StreamInfo), SetupError> {
    let found = match api::stream_info(broker, name).await {
        Err(failure) if failure.is_not_found() && plan.setup == Setup::Create => {
            let secret = data_encoding::HEXLOWER.encode(&random_bits());
            match api::create_stream(broker, &config(plan, &secret)).await {
                Ok(info) => info,
                // Another worker made it in the same moment, with its own secret: that one counts.
                Err(refused) => api::stream_info(broker, name).await.map_err(|_| api_error(name, refused))?,
            }
        }
        other => other.map_err(|failure| api_error(name, failure))?,
    };
    let secret = secret(plan.subjects, &found)
        .ok_or_else(|| drift(name, "subject_transform", "a transform with a secret", "none"))?;
    compare_stream(&config(plan, &secret), &found.config)?;
    Ok((secret, found))
}

/// The secret in the transform of a record stream or an item stream.
pub(crate) fn secret(subjects: &ServiceSubjects, stream: &StreamInfo) -> Option<String> {
    let transform = stream.config.subject_transform.as_ref()?;
    subjects.secret_of_transform(&transform.src).map(str::to_owned)
}

async fn put_stream<B: Broker>(broker: &B, setup: Setup, wanted: &StreamConfig) -> Result<(), SetupError> {
    let name = &wanted.name;
    let found = match api::stream_info(broker, name).await {
        Err(failure) if failure.is_not_found() && setup == Setup::Create => {
            match api::create_stream(broker, wanted).await {
                Ok(info) => info,
                Err(refused) => api::stream_info(broker, name).await.map_err(|_| api_error(name, refused))?,
            }
        }
        other => other.map_err(|failure| api_error(name, failure))?,
    };
    let missing: Vec<_> =
        wanted.subjects.iter().filter(|it| !found.config.subjects.contains(it)).cloned().collect();
    if setup == Setup::Create && !missing.is_empty() {
        // A new method of a service that exists: its subject joins, none leaves while an older worker serves it.
        let mut joined = found.config.clone();
        joined.subjects.extend(missing);
        let updated =
            api::update_stream(broker, &joined).await.map_err(|failure| api_error(name, failure))?;
        return compare_stream(wanted, &updated.config);
    }
    compare_stream(wanted, &found.config)
}

async fn put_consumer<B: Broker>(broker: &B, plan: &Plan<'_>, method: &Method) -> Result<(), SetupError> {
    let stream = plan.subjects.request_stream();
    let wanted = consumer(plan, method);
    let what = || format!("consumer {} of {stream}", method.name);
    let found = match api::consumer_info(broker, &stream, method.name).await {
        Err(failure) if failure.is_not_found() && plan.setup == Setup::Create => {
            match api::put_consumer(broker, &stream, &wanted, "create").await {
                Ok(info) => info,
                Err(refused) => api::consumer_info(broker, &stream, method.name)
                    .await
                    .map_err(|_| api_error(&what(), refused))?,
            }
        }
        other => other.map_err(|failure| api_error(&what(), failure))?,
    };
    let found = lengthen(broker, plan, &wanted, found).await?;
    compare_consumer(&what(), &wanted, &found.config)?;
    if plan.limits.replicas > 1 && found.ack_floor.stream_seq == 0 && plan.setup == Setup::Create {
        settle_one(broker, plan.subjects, method).await?;
    }
    Ok(())
}

/// A longer lease in code is safe to apply under running workers: theirs end sooner than the server's.
async fn lengthen<B: Broker>(
    broker: &B,
    plan: &Plan<'_>,
    wanted: &ConsumerConfig,
    found: ConsumerInfo,
) -> Result<ConsumerInfo, SetupError> {
    let longer = found.config.ack_wait < wanted.ack_wait;
    if !longer || plan.setup == Setup::Verify {
        return Ok(found);
    }
    let raised = ConsumerConfig { ack_wait: wanted.ack_wait, ..found.config };
    let stream = plan.subjects.request_stream();
    let failed = |failure| api_error(&stream, failure);
    api::put_consumer(broker, &stream, &raised, "update").await.map_err(failed)?;
    // The answer to the first update after a start of the server is the consumer as it was before.
    api::consumer_info(broker, &stream, &raised.durable_name).await.map_err(failed)
}

/// Sends one message through a consumer, so that there is a settled sequence whose ack proves a quorum.
async fn settle_one<B: Broker>(
    broker: &B,
    subjects: &ServiceSubjects,
    method: &Method,
) -> Result<(), SetupError> {
    let stream = subjects.request_stream();
    let headers = crate::broker::Headers::default()
        .with(header::VERSION, VERSION)
        .with(header::KIND, header::KIND_SETUP);
    let message = Outgoing::new(subjects.setup_request(method.name, Instance::random().as_str()), Vec::new())
        .headers(headers);
    match api::store(broker, message, api::ANSWER_WITHIN).await {
        api::StoreAnswer::Stored(_) => {}
        other => return Err(SetupError::Unavailable { what: stream, text: format!("{other:?}") }),
    }
    // Pulled and acked here where nobody serves yet; a worker that is faster acks it unseen.
    let pull = crate::wire::jetstream::PullRequest {
        batch: 1,
        expires: nanos(Duration::from_secs(2)),
        idle_heartbeat: 0,
    };
    let body = serde_json::to_vec(&pull).expect("plain structs have a JSON form");
    // No request: a delivery keeps its own subject, by which no waiting request would be found.
    let inbox = broker.new_inbox();
    let closed = |error: SendError| SetupError::Unavailable { what: stream.clone(), text: error.to_string() };
    let mut deliveries = broker.subscribe(inbox.clone()).await.map_err(closed)?;
    let mut message = Outgoing::new(subject::api::pull(&stream, method.name), body);
    message.reply = Some(inbox);
    broker.publish(message).await.map_err(closed)?;
    let pulled = tokio::time::timeout(api::ANSWER_WITHIN, deliveries.next()).await;
    if let Ok(Some(message)) = pulled
        && let Some(reply) = message.reply
    {
        let ours = message.headers.first(header::KIND) == Some(header::KIND_SETUP);
        // A request that waited here before is handed back: a worker may have it at once.
        let answer = if ours { "+ACK" } else { "-NAK" };
        let _ = broker.request(Outgoing::new(reply.to_string(), answer), api::ANSWER_WITHIN).await;
    }
    Ok(())
}

fn api_error(what: &str, failure: ApiFailure) -> SetupError {
    let what = what.to_owned();
    match failure {
        failure if failure.is_not_found() => SetupError::Missing { what },
        ApiFailure::Api(error) => SetupError::Refused { what, text: error.to_string() },
        other => SetupError::Unavailable { what, text: other.to_string() },
    }
}

fn drift(what: &str, setting: &'static str, wanted: impl ToString, found: impl ToString) -> SetupError {
    SetupError::Drift { what: what.into(), setting, wanted: wanted.to_string(), found: found.to_string() }
}

macro_rules! compare {
    ($what:expr, $wanted:expr, $found:expr, $($field:ident),+) => {
        $(if $wanted.$field != $found.$field {
            return Err(drift($what, stringify!($field), format!("{:?}", $wanted.$field), format!("{:?}", $found.$field)));
        })+
    };
}

/// Limits may be changed by operators; what the protocol rests on may not.
fn compare_stream(wanted: &StreamConfig, found: &StreamConfig) -> Result<(), SetupError> {
    compare!(
        &wanted.name,
        wanted,
        found,
        retention,
        storage,
        discard,
        discard_new_per_subject,
        max_msgs_per_subject,
        max_age,
        num_replicas,
        allow_direct,
        allow_msg_ttl,
        allow_rollup_hdrs,
        subject_transform,
        republish
    );
    if let Some(missing) = wanted.subjects.iter().find(|subject| !found.subjects.contains(subject)) {
        return Err(drift(&wanted.name, "subjects", missing, format!("{:?}", found.subjects)));
    }
    Ok(())
}

fn compare_consumer(what: &str, wanted: &ConsumerConfig, found: &ConsumerConfig) -> Result<(), SetupError> {
    compare!(
        what,
        wanted,
        found,
        filter_subject,
        deliver_policy,
        ack_policy,
        ack_wait,
        max_deliver,
        max_ack_pending,
        backoff
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker::simulated::Simulation, name::Name};

    #[tokio::test(start_paused = true)]
    async fn lease_is_lengthened_also_after_a_restart_of_the_server() {
        let simulation = Simulation::new(1);
        let broker = simulation.connect("worker").unwrap();
        let (namespace, service): (Name, Name) = ("rq".parse().unwrap(), "svc".parse().unwrap());
        let subjects = ServiceSubjects::new(&namespace, &service);
        let set_up = async |lease| {
            let methods = [Method { lease, ..Method::new("svc", "m") }];
            let (limits, setup) = (StreamLimits::default(), Setup::Create);
            let plan = Plan { subjects: &subjects, about: String::new(), methods: &methods, limits, setup };
            prepare(&broker, &plan).await
        };
        set_up(MIN_LEASE).await.unwrap();
        simulation.restart(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        set_up(MIN_LEASE * 2).await.unwrap();
        let found = api::consumer_info(&broker, &subjects.request_stream(), "m").await.unwrap();
        assert_eq!(found.config.ack_wait, nanos(MIN_LEASE * 2));
    }
}
