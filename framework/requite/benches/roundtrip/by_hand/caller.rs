//! The caller's side: publish, have the PubAck checked, wait for the record on the inbox, decode it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::header::{NATS_MESSAGE_ID, NATS_STREAM, NATS_SUBJECT};
use async_nats::message::OutboundMessage;
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::StreamExt;

use super::outbox::Outbox;
use super::pending::Pending;
use super::wire::{
    CALLER, CONTENT_TYPE, METHOD, RECORDS, REQUESTS, RQ_KIND, RQ_LEFT, RQ_SENT, RQ_V, Record, Rejection,
    SERVICE, TYPE, VERSION, check_pub_ack, number_of, numbered, payload_hash,
};
use crate::path::Echo;

/// The deadline that every call states, in milliseconds: 24 h.
const LEFT: &str = "86400000";

/// How long [`Caller::check`] waits for the last PubAcks.
const LAST_ACKS: Duration = Duration::from_secs(10);

/// Makes calls on one connection, from any number of tasks.
pub(super) struct Caller {
    outbox: Arc<Outbox>,
    /// The headers that are the same in every request: a clone of a map costs half of building one.
    headers: HeaderMap,
    /// Everything of a name but the number of the call.
    request_prefix: String,
    message_id_prefix: String,
    ack_prefix: String,
    record_prefix: String,
    next: AtomicU64,
    clock: ServerClock,
    shared: Arc<Shared>,
}

/// What the calls share with the task that reads.
struct Shared {
    outcomes: Pending<Result<Message>>,
    /// PubAcks received and found right.
    accepted: AtomicU64,
}

impl Caller {
    pub(super) async fn start(client: Client, server_time: &str) -> Result<Caller> {
        let instance = super::token();
        let ack_prefix = format!("{}.", client.new_inbox());
        let inbox_prefix = format!("rq.in.{CALLER}.{SERVICE}.{instance}.");
        let acks = client.subscribe(format!("{ack_prefix}*")).await?;
        let inbox = client.subscribe(format!("rq.in.{CALLER}.>")).await?;
        client.flush().await?;
        let shared = Arc::new(Shared { outcomes: Pending::new(), accepted: AtomicU64::new(0) });
        tokio::spawn(read_inbox(inbox, inbox_prefix, Arc::clone(&shared)));
        tokio::spawn(read_acks(acks, ack_prefix.clone(), Arc::clone(&shared)));
        Ok(Caller {
            outbox: Outbox::start(client),
            headers: common_headers(),
            request_prefix: format!("rq.req.{SERVICE}.{METHOD}.{CALLER}.{instance}."),
            message_id_prefix: format!("{METHOD}.{CALLER}.{instance}."),
            ack_prefix,
            record_prefix: format!("rq.out.{SERVICE}.{CALLER}.{instance}."),
            next: AtomicU64::new(0),
            clock: ServerClock::start(server_time)?,
            shared,
        })
    }

    pub(super) async fn call(&self, echo: &Echo) -> Result<Echo> {
        let body = echo.encode()?;
        let hash = payload_hash(CONTENT_TYPE, &body);
        let (n, outcome) = self.publish(body, None).await?;
        self.decode(n, &hash, &outcome)
    }

    /// Fails unless the call is refused because its time is over.
    pub(super) async fn call_without_time(&self, echo: &Echo) -> Result<()> {
        let (n, outcome) = self.publish(echo.encode()?, Some("0")).await?;
        self.check_origin(n, &outcome)?;
        let rejection: Rejection<'_> = rmp_serde::from_slice(&outcome.payload)?;
        let Rejection { kind, stored, status, reason } = rejection;
        ensure!((kind, status, reason) == ("outcome", "rejected", "expired"), "{kind} {status} {reason}");
        self.clock.observe(stored);
        Ok(())
    }

    /// Publishes a request and waits for what comes on its inbox.
    async fn publish(&self, body: Vec<u8>, left: Option<&'static str>) -> Result<(u64, Message)> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut headers = self.headers(n);
        if let Some(left) = left {
            headers.insert(RQ_LEFT.clone(), left);
        }
        let outcome = self.shared.outcomes.register(n);
        self.outbox.publish(OutboundMessage {
            subject: numbered(&self.request_prefix, n).into(),
            reply: Some(numbered(&self.ack_prefix, n).into()),
            payload: body.into(),
            headers: Some(headers),
        });
        Ok((n, outcome.await??))
    }

    /// Waits until every call's PubAck has been received; a wrong one has failed its call.
    pub(super) async fn check(&self) -> Result<()> {
        let started = Instant::now();
        let published = self.next.load(Ordering::Relaxed);
        while self.shared.accepted.load(Ordering::Relaxed) < published {
            ensure!(started.elapsed() < LAST_ACKS, "some PubAcks of {published} calls are missing");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn headers(&self, n: u64) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(NATS_MESSAGE_ID, numbered(&self.message_id_prefix, n));
        headers.insert(RQ_SENT.clone(), self.clock.now().to_string());
        headers
    }

    /// Believes a message on the inbox only if it is the stored record of exactly this call.
    fn check_origin(&self, n: u64, message: &Message) -> Result<()> {
        let headers = message.headers.as_ref().context("a record has headers")?;
        let stream = headers.get(NATS_STREAM).context("a record names its stream")?;
        ensure!(stream.as_str() == RECORDS, "a message of another stream");
        let subject = headers.get_last(NATS_SUBJECT).context("a record names its subject")?;
        ensure!(number_of(subject.as_str(), &self.record_prefix) == Some(n), "the record of another call");
        Ok(())
    }

    fn decode(&self, n: u64, hash: &[u8], message: &Message) -> Result<Echo> {
        self.check_origin(n, message)?;
        let record: Record<'_> = rmp_serde::from_slice(&message.payload)?;
        ensure!(record.kind == "outcome" && record.method == METHOD && record.attempt >= 1, "no outcome");
        ensure!(record.hash == hash, "the outcome of another payload");
        ensure!(record.status == "ok" && record.content_type == CONTENT_TYPE, "the call failed");
        self.clock.observe(record.stored);
        Echo::decode(record.body)
    }
}

fn common_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(RQ_V.clone(), VERSION);
    headers.insert(RQ_KIND.clone(), "call");
    headers.insert(RQ_LEFT.clone(), LEFT);
    headers.insert(TYPE.clone(), CONTENT_TYPE);
    headers
}

async fn read_inbox(mut inbox: Subscriber, prefix: String, shared: Arc<Shared>) {
    while let Some(message) = inbox.next().await {
        if let Some(n) = number_of(&message.subject, &prefix) {
            shared.outcomes.resolve(n, Ok(message));
        }
    }
}

/// A call does not wait for its PubAck, but it fails by a wrong one.
async fn read_acks(mut acks: Subscriber, prefix: String, shared: Arc<Shared>) {
    while let Some(ack) = acks.next().await {
        let Some(n) = number_of(&ack.subject, &prefix) else { continue };
        match check_pub_ack(&ack.payload, REQUESTS) {
            Ok(()) => _ = shared.accepted.fetch_add(1, Ordering::Relaxed),
            Err(error) => shared.outcomes.resolve(n, Err(error)),
        }
    }
}

/// A lower bound of the server's time: a time stamp of the server, and the monotonic time since it was seen.
struct ServerClock {
    started: Instant,
    /// The server's time at `started`, in Unix nanoseconds, at least.
    base: AtomicU64,
}

impl ServerClock {
    fn start(server_time: &str) -> Result<ServerClock> {
        let time = humantime::parse_rfc3339(server_time).context("the server's time")?;
        let unix = time.duration_since(std::time::UNIX_EPOCH).context("a time after 1970")?;
        Ok(ServerClock { started: Instant::now(), base: AtomicU64::new(unix.as_nanos() as u64) })
    }

    fn now(&self) -> u64 {
        self.base.load(Ordering::Relaxed) + self.since_start()
    }

    /// Each time stamp gives a lower bound; the highest is the best.
    fn observe(&self, stored: u64) {
        self.base.fetch_max(stored.saturating_sub(self.since_start()), Ordering::Relaxed);
    }

    fn since_start(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}
