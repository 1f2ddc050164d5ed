//! The worker's side: pull free slots, run a task per message, store the outcome, ack last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use async_nats::message::OutboundMessage;
use async_nats::{Client, HeaderMap, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use super::outbox::Outbox;
use super::pending::Pending;
use super::streams::LEASE_SECONDS;
use super::wire::{
    CONTENT_TYPE, Delivery, METHOD, RECORDS, REQUESTS, RQ_KIND, RQ_V, Record, SERVICE, VERSION,
    check_pub_ack, number_of, numbered, payload_hash,
};
use crate::path::{Echo, encode};

/// Requests that may run or be on their way at once.
const SLOTS: usize = 1_000;

/// A request stored later than this after it was sent might be an old copy: it would have to be claimed.
const FRESH: u64 = 2_000_000_000;

/// Bytes that a record needs beside its body, at most.
const RECORD_FIELDS: usize = 512;

const WORKER: &str = "worker-1";

/// Serves one method on one connection.
pub(super) struct Worker {
    outbox: Arc<Outbox>,
    /// The headers of every outcome.
    headers: HeaderMap,
    pull_subject: Subject,
    /// One inbox for everything: deliveries (which keep the request's subject), PubAcks and the pulls' statuses.
    ack_prefix: String,
    pull_prefix: String,
    request_prefix: String,
    put_prefix: String,
    attempt_prefix: String,
    /// Requests up to this sequence may have been delivered to somebody before.
    last_sequence: u64,
    next: AtomicU64,
    acks: Pending<Bytes>,
    slots: Mutex<Slots>,
}

impl Worker {
    pub(super) async fn start(client: Client, secret: &str, last_sequence: u64) -> Result<()> {
        let inbox = client.new_inbox();
        let messages = client.subscribe(format!("{inbox}.*.*")).await?;
        let worker = Arc::new(Worker {
            outbox: Outbox::start(client),
            headers: outcome_headers(),
            pull_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{REQUESTS}.{METHOD}").into(),
            ack_prefix: format!("{inbox}.a."),
            pull_prefix: format!("{inbox}.p."),
            request_prefix: format!("rq.req.{SERVICE}.{METHOD}."),
            put_prefix: format!("rq.put.{secret}.out.{SERVICE}."),
            attempt_prefix: format!("{}.", super::token()),
            last_sequence,
            next: AtomicU64::new(0),
            acks: Pending::new(),
            slots: Mutex::new(Slots { free: SLOTS, pulled: 0 }),
        });
        worker.pull_if_due(|_| ());
        tokio::spawn(worker.read(messages));
        Ok(())
    }

    async fn read(self: Arc<Self>, mut messages: Subscriber) {
        while let Some(message) = messages.next().await {
            if let Some(n) = number_of(&message.subject, &self.ack_prefix) {
                self.acks.resolve(n, message.payload);
            } else if message.status.is_some() {
                let given_back = given_back(&message);
                self.pull_if_due(|slots| slots.give_back(given_back));
            } else {
                self.pull_if_due(Slots::deliver);
                let worker = Arc::clone(&self);
                tokio::spawn(async move {
                    // The call it belongs to never returns, and the benchmark ends with this message.
                    worker.serve(message).await.expect("the hot path");
                    worker.pull_if_due(Slots::finish);
                });
            }
        }
    }

    /// One request, from the envelope to the ack.
    async fn serve(&self, request: Message) -> Result<()> {
        let reply = request.reply.as_ref().context("a delivery has a reply subject")?;
        let delivery = Delivery::parse(reply).context("a delivery's reply subject")?;
        let headers = request.headers.as_ref().context("a request has headers")?;
        self.check_envelope(headers, &delivery)?;
        let id = request.subject.strip_prefix(&self.request_prefix).context("a request of this method")?;

        let hash = payload_hash(CONTENT_TYPE, &request.payload);
        let body = Echo::decode(&request.payload)?.encode()?;

        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let record = Record {
            kind: "outcome",
            method: METHOD,
            attempt: delivery.delivered as u32,
            attempt_id: &numbered(&self.attempt_prefix, n),
            write: 1,
            delivered: delivery.delivered,
            sequence: delivery.sequence,
            stored: delivery.stored,
            worker: WORKER,
            lease: LEASE_SECONDS * 1_000,
            hash: &hash,
            status: "ok",
            content_type: CONTENT_TYPE,
            body: &body,
        };
        let record = encode(&record, body.len() + RECORD_FIELDS)?;
        self.store(id, n, record.into()).await?;
        self.outbox.publish(OutboundMessage {
            subject: reply.clone(),
            reply: None,
            payload: Bytes::from_static(b"+ACK"),
            headers: None,
        });
        Ok(())
    }

    /// A caller's own first request, delivered for the first time: one that may run without a claim.
    fn check_envelope(&self, headers: &HeaderMap, delivery: &Delivery) -> Result<()> {
        let (mut version, mut kind, mut left, mut sent, mut content_type) = ("", "", "", "", "");
        // One pass instead of a look-up per header: each look-up hashes the name.
        for (name, values) in headers.iter() {
            let value = values.first().map_or("", |value| value.as_str());
            let name: &str = name.as_ref();
            match name {
                "Rq-V" => version = value,
                "Rq-Kind" => kind = value,
                "Rq-Left" => left = value,
                "Rq-Sent" => sent = value,
                "Content-Type" => content_type = value,
                "Nats-Stream" | "Nats-Subject" | "Nats-Sequence" | "Nats-Time-Stamp" | "Rq-Resend" => {
                    anyhow::bail!("not a caller's first request: {name}: {value}")
                }
                _ => {}
            }
        }
        ensure!(version == VERSION && kind == "call" && content_type == CONTENT_TYPE, "not a call");
        ensure!(left.parse::<u64>()? > 0, "too late");
        let waited = delivery.stored.saturating_sub(sent.parse()?);
        let first = delivery.delivered == 1 && delivery.sequence > self.last_sequence && waited < FRESH;
        ensure!(first, "would have to be claimed: {delivery:?}");
        Ok(())
    }

    /// Writes the outcome where no record is yet, and returns when the server has stored it.
    async fn store(&self, id: &str, n: u64, record: Bytes) -> Result<()> {
        let subject = Subject::from([&*self.put_prefix, id].concat());
        let stored = self.acks.register(n);
        let reply = Some(numbered(&self.ack_prefix, n).into());
        let headers = Some(self.headers.clone());
        self.outbox.publish(OutboundMessage { subject, reply, payload: record, headers });
        check_pub_ack(&stored.await?, RECORDS)
    }

    /// Notes what has happened to the slots, and pulls the free ones if it is time to.
    fn pull_if_due(&self, happened: impl FnOnce(&mut Slots)) {
        let due = {
            let mut slots = self.slots.lock().expect("no panic under this lock");
            happened(&mut slots);
            slots.take_due()
        };
        let Some(batch) = due else { return };
        let pull = format!(r#"{{"batch":{batch},"expires":5000000000,"idle_heartbeat":2000000000}}"#);
        let reply = numbered(&self.pull_prefix, self.next.fetch_add(1, Ordering::Relaxed));
        self.outbox.publish(OutboundMessage {
            subject: self.pull_subject.clone(),
            reply: Some(reply.into()),
            payload: pull.into(),
            headers: None,
        });
    }
}

fn outcome_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(RQ_V.clone(), VERSION);
    headers.insert(RQ_KIND.clone(), "outcome");
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    headers.insert(NATS_MESSAGE_TTL, "120s");
    headers
}

/// Every slot is free, pulled (a message may come for it) or running.
struct Slots {
    free: usize,
    pulled: usize,
}

impl Slots {
    fn deliver(&mut self) {
        self.pulled = self.pulled.saturating_sub(1);
    }

    fn finish(&mut self) {
        self.free += 1;
    }

    fn give_back(&mut self, slots: usize) {
        let slots = slots.min(self.pulled);
        self.pulled -= slots;
        self.free += slots;
    }

    /// Pulling a quarter of the slots at a time keeps pulls rare; pulling when nothing is pulled keeps it going.
    fn take_due(&mut self) -> Option<usize> {
        let due = self.free >= SLOTS / 4 || (self.pulled == 0 && self.free > 0);
        due.then(|| {
            let batch = std::mem::take(&mut self.free);
            self.pulled += batch;
            batch
        })
    }
}

/// Slots of a pull that has ended before it was used up. An idle heartbeat (100) ends nothing.
fn given_back(status: &Message) -> usize {
    if status.status == Some(StatusCode::IDLE_HEARTBEAT) {
        return 0;
    }
    let left = || status.headers.as_ref()?.get("Nats-Pending-Messages")?.as_str().parse().ok();
    left().unwrap_or(0)
}
