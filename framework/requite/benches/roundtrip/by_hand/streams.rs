//! The two streams and the consumer, created with the server's JSON API.

use anyhow::{Context, Result, bail, ensure};
use async_nats::Client;
use serde_json::{Value, json};

use super::wire::{METHOD, RECORDS, REQUESTS, SERVICE};

const SECOND: u64 = 1_000_000_000;

/// The lease: how long the server waits for an ack.
pub(super) const LEASE_SECONDS: u64 = 30;

/// What set-up learned from the server.
pub(super) struct Created {
    /// The server's time, in RFC 3339.
    pub(super) time: String,
    /// The last sequence of the request stream when the worker bound to it.
    pub(super) last_sequence: u64,
}

/// Creates requests, records and consumer. Records are published under `secret` only; the stream's transform takes
/// it out of the subject that is stored.
pub(super) async fn create(client: &Client, secret: &str) -> Result<Created> {
    let created = create_stream(client, requests()).await?;
    create_stream(client, records(secret)).await?;
    let consumer = json!({
        "durable_name": METHOD,
        "ack_policy": "explicit",
        "ack_wait": LEASE_SECONDS * SECOND,
        "max_deliver": -1,
        "max_ack_pending": -1,
        "filter_subject": format!("rq.req.{SERVICE}.{METHOD}.*.*.*"),
    });
    let subject = format!("$JS.API.CONSUMER.CREATE.{REQUESTS}.{METHOD}.rq.req.{SERVICE}.{METHOD}.*.*.*");
    ask(client, subject, &json!({ "stream_name": REQUESTS, "config": consumer, "action": "create" })).await?;
    Ok(Created {
        time: created["created"].as_str().context("the server's time")?.to_owned(),
        last_sequence: created["state"]["last_seq"].as_u64().context("the last sequence")?,
    })
}

/// When the stream of requests was made, by the server's clock, in RFC 3339.
pub(super) async fn created(client: &Client) -> Result<String> {
    let info = ask(client, format!("$JS.API.STREAM.INFO.{REQUESTS}"), &json!({})).await?;
    Ok(info["created"].as_str().context("the server's time")?.to_owned())
}

fn requests() -> Value {
    json!({
        "name": REQUESTS,
        "subjects": [format!("rq.req.{SERVICE}.{METHOD}.*.*.*")],
        "storage": "file",
        "retention": "workqueue",
        "discard": "new",
        "discard_new_per_subject": true,
        "max_msgs_per_subject": 1,
        "max_msgs": 1_000_000,
        "max_bytes": 1 << 30,
        "duplicate_window": 120 * SECOND,
    })
}

fn records(secret: &str) -> Value {
    json!({
        "name": RECORDS,
        "subjects": [format!("rq.put.{secret}.out.{SERVICE}.*.*.*")],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_msgs": 8_000_000,
        "max_bytes": 1 << 30,
        "allow_direct": true,
        "allow_msg_ttl": true,
        "subject_transform": { "src": format!("rq.put.{secret}.>"), "dest": "rq.>" },
        "republish": {
            "src": format!("rq.out.{SERVICE}.*.*.*"),
            "dest": format!("rq.in.{{{{wildcard(1)}}}}.{SERVICE}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}"),
        },
    })
}

/// Creates a stream and compares what the server made of it: an older server ignores unknown settings in silence.
async fn create_stream(client: &Client, config: Value) -> Result<Value> {
    let name = config["name"].as_str().context("a stream has a name")?;
    let created = ask(client, format!("$JS.API.STREAM.CREATE.{name}"), &config).await?;
    for (setting, asked) in config.as_object().context("a configuration is an object")? {
        let got = &created["config"][setting];
        ensure!(got == asked, "{name}: asked for {setting} = {asked}, the server made it {got}");
    }
    Ok(created)
}

async fn ask(client: &Client, subject: String, request: &Value) -> Result<Value> {
    let answer = client.request(subject.clone(), serde_json::to_vec(request)?.into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    if let Some(error) = answer.get("error") {
        bail!("{subject}: {error}");
    }
    Ok(answer)
}
