//! A file stream: published with 256 acks outstanding, and read by an ordered push consumer with flow control, as
//! async-nats' `jetstream` feature does it. That feature is not in this build, so a few requests are written out here;
//! acks come to one subject, in their order, which is cheaper than the client's future for each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::{Client, Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};
use requite_test::NatsServer;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{connect, subscribe, window::Window};
use crate::path::{check, decode, encode, item};

/// Acks that may be outstanding.
const IN_FLIGHT: u64 = 256;
/// Bytes of items that may be, if that is less: what Requite has on its way.
const NARROW: u64 = 4 << 20;

const STREAM: &str = "hand";
const ITEMS: &str = "hand.items";
const ACKS: &str = "_INBOX.hand.acks";
const DELIVERIES: &str = "_INBOX.hand.deliveries";

pub(crate) struct Stored {
    writer: Client,
    reader: Client,
    is_narrow: bool,
}

impl Stored {
    pub(crate) async fn set_up(server: &NatsServer, is_narrow: bool) -> Result<Self> {
        let [writer, reader] = [connect(server, "writer").await?, connect(server, "reader").await?];
        Ok(Self { writer, reader, is_narrow })
    }

    /// Whether fewer acks are outstanding where their bytes count.
    pub(crate) fn is_narrower(size: usize) -> bool {
        narrow(size) < IN_FLIGHT
    }

    pub(crate) async fn run(&mut self, items: u64, size: usize) -> Result<Duration> {
        let acks = subscribe(&self.writer, ACKS).await?;
        let deliveries = subscribe(&self.reader, DELIVERIES).await?;
        self.create().await?;
        let began = Instant::now();
        let reading = tokio::spawn(read(self.reader.clone(), deliveries, items, size));
        let in_flight = if self.is_narrow { narrow(size) } else { IN_FLIGHT };
        write(&self.writer, (acks, in_flight), items, size).await?;
        reading.await??;
        let took = began.elapsed();
        ask(&self.writer, format!("$JS.API.STREAM.DELETE.{STREAM}"), &json!({})).await?;
        Ok(took)
    }

    /// The stream, and the consumer that async-nats makes for an ordered one.
    async fn create(&self) -> Result<()> {
        let stream = json!({
            "name": STREAM,
            "subjects": [ITEMS],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_bytes": 1 << 30,
        });
        ask(&self.writer, format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
        let consumer = json!({
            "name": "ordered",
            "deliver_subject": DELIVERIES,
            "deliver_policy": "all",
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": true,
            "idle_heartbeat": 5_000_000_000_u64,
            "mem_storage": true,
            "num_replicas": 1,
        });
        let subject = format!("$JS.API.CONSUMER.CREATE.{STREAM}.ordered");
        ask(&self.reader, subject, &json!({ "stream_name": STREAM, "config": consumer })).await?;
        Ok(())
    }
}

fn narrow(size: usize) -> u64 {
    IN_FLIGHT.min(NARROW / size as u64).max(1)
}

async fn write(
    writer: &Client,
    (mut acks, in_flight): (Subscriber, u64),
    items: u64,
    size: usize,
) -> Result<()> {
    let mut window = Window::new(in_flight);
    for number in 1..=items {
        while !window.has_room(number) {
            window.move_to(stored_to(&acks.next().await.context("closed")?)?);
        }
        // Those that are here already make room for as many at once.
        while let Some(ack) = acks.next().now_or_never() {
            window.move_to(stored_to(&ack.context("closed")?)?);
        }
        writer.publish_with_reply(ITEMS, ACKS, encode(&item(number, size))?).await?;
    }
    while window.last() < items {
        window.move_to(stored_to(&acks.next().await.context("closed")?)?);
    }
    Ok(())
}

async fn read(reader: Client, mut deliveries: Subscriber, items: u64, size: usize) -> Result<()> {
    let mut last = 0;
    while last < items {
        let message = deliveries.next().await.context("closed")?;
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            // A request of flow control is answered once all before it is read; a stalled consumer says so here.
            let stalled = message.headers.as_ref().and_then(|it| it.get("Nats-Consumer-Stalled"));
            if let Some(subject) = message.reply.or(stalled.map(|it| it.as_str().into())) {
                reader.publish(subject, "".into()).await?;
            }
            continue;
        }
        last += 1;
        ensure!(delivery(&message) == Some(last), "delivery {last} is missing");
        check(&decode(&message.payload)?, last, size)?;
    }
    Ok(())
}

/// The consumer's sequence, in `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<stored>.<pending>`.
fn delivery(message: &Message) -> Option<u64> {
    message.reply.as_ref()?.split('.').nth(6)?.parse().ok()
}

/// The server's answer to a publish into a stream.
#[derive(Deserialize)]
struct PubAck {
    #[serde(default)]
    seq: u64,
    error: Option<Value>,
}

/// The stream was empty, so its sequences are the items' numbers.
fn stored_to(message: &Message) -> Result<u64> {
    let ack: PubAck = serde_json::from_slice(&message.payload).context("not a PubAck")?;
    match ack.error {
        Some(error) => bail!("{STREAM} refused an item: {error}"),
        None => Ok(ack.seq),
    }
}

async fn ask(client: &Client, subject: String, request: &Value) -> Result<Value> {
    let answer = client.request(subject.clone(), serde_json::to_vec(request)?.into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    if let Some(error) = answer.get("error") {
        bail!("{subject}: {error}");
    }
    Ok(answer)
}
