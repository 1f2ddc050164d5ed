//! What the servers hold and held: records, dead letters and what is left of the requests, read as `framework/PROTOCOL.md`
//! describes them and without the framework's own code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use data_encoding::BASE64;
use futures_util::StreamExt;
use requite::async_nats::{Client, Message};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{entry, hash};

/// How long an answer of the server may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What a service's streams hold.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Every record that was seen, by `<caller>.<id>`, in the order of their sequences.
    pub records: BTreeMap<String, Vec<Record>>,
    /// The reasons of the dead letters, by `<caller>.<id>`.
    pub dead: BTreeMap<String, Vec<String>>,
    /// Requests that are still stored, by subject, with how many copies.
    pub queued: BTreeMap<String, u64>,
    /// Subjects of which more than one copy was queued at a time.
    pub copied: BTreeSet<String>,
    /// How often requests were delivered.
    pub deliveries: u64,
    /// How many requests were stored, and what asked to cancel some.
    pub stored: u64,
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored, by the server's clock, since 1970.
    pub stored: Duration,
    /// `claim`, `released`, `cancel-requested` or `outcome`.
    pub kind: String,
    /// On a claim or a released record: it was to be cancelled.
    pub cancel: bool,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Why the request ended so.
    pub reason: Option<String>,
    /// What the outcome is, for comparisons; none where it is another record.
    pub outcome: Option<String>,
    /// The hash of the request.
    pub payload: String,
}

/// The fields of a record that are looked at here.
#[derive(Deserialize)]
struct Fields<'a> {
    kind: String,
    attempt: u32,
    #[serde(with = "serde_bytes")]
    hash: &'a [u8],
    status: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    cancel: bool,
    #[serde(default, with = "serde_bytes")]
    body: Option<&'a [u8]>,
}

impl Record {
    fn read(sequence: u64, stored: &str, body: &[u8]) -> anyhow::Result<Self> {
        let fields: Fields<'_> = rmp_serde::from_slice(body).context("a record cannot be read")?;
        let outcome = match (fields.status, fields.body, &fields.reason) {
            (Some(status), ..) if status == "cancelled" => Some(entry::cancelled(fields.attempt > 0)),
            (Some(status), Some(body), _) => Some(format!("{status} {}", hash::body(body))),
            (Some(status), None, Some(reason)) => Some(format!("{status} {reason}")),
            (Some(status), None, None) => Some(status),
            (None, ..) => None,
        };
        Ok(Self {
            sequence,
            stored: humantime::parse_rfc3339(stored)?.duration_since(UNIX_EPOCH)?,
            kind: fields.kind,
            cancel: fields.cancel,
            attempt: fields.attempt,
            reason: fields.reason,
            outcome,
            payload: data_encoding::HEXLOWER.encode(fields.hash),
        })
    }
}

/// Hears every record when it is stored: a stream keeps only the last one of each request, and outcomes not for ever.
#[derive(Clone, Debug)]
pub struct Tap {
    service: String,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    /// By their sequences, with their ids.
    records: BTreeMap<u64, (String, Record)>,
    /// Up to here the stream itself was read.
    read: u64,
}

impl Tap {
    /// Begins to hear.
    ///
    /// # Errors
    ///
    /// When it cannot subscribe.
    pub async fn open(nats: &Client, service: &str) -> anyhow::Result<Self> {
        let tap = Self { service: service.to_owned(), heard: Arc::default() };
        // Frames of items have more tokens.
        let mut inboxes = nats.subscribe(format!("rq.in.*.{service}.*.*")).await?;
        // From now on nothing is missed.
        nats.flush().await?;
        let hears = tap.clone();
        tokio::spawn(async move {
            while let Some(message) = inboxes.next().await {
                let (id, record) = republished(&message).expect("only the server publishes to inboxes");
                hears.heard().records.insert(record.sequence, (id, record));
            }
        });
        Ok(tap)
    }

    /// Reads what was stored since the last time: a connection that was lost has not heard everything.
    ///
    /// # Errors
    ///
    /// When the stream cannot be read.
    pub async fn read(&self, nats: &Client) -> anyhow::Result<()> {
        let next = self.heard().read + 1;
        for message in messages(nats, &format!("rq_OUT_{}", self.service), next).await? {
            // Beside them lie checkpoints and progress.
            if !message.subject.starts_with("rq.out.") {
                self.heard().read = message.sequence;
                continue;
            }
            let record = Record::read(message.sequence, &message.stored, &message.body)?;
            let id = id_at_end(&message.subject)?;
            let mut heard = self.heard();
            heard.records.insert(message.sequence, (id, record));
            heard.read = message.sequence;
        }
        Ok(())
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nobody panics with the records in hand")
    }
}

fn republished(message: &Message) -> anyhow::Result<(String, Record)> {
    let headers = message.headers.as_ref().context("a record has headers")?;
    let last = |name: &str| headers.get_all(name).last().map(|it| it.as_str()).context("no header");
    let record = Record::read(last("Nats-Sequence")?.parse()?, last("Nats-Time-Stamp")?, &message.payload)?;
    Ok((id_at_end(last("Nats-Subject")?)?, record))
}

/// Every subject here ends with caller and id, three tokens.
fn id_at_end(subject: &str) -> anyhow::Result<String> {
    let tokens: Vec<&str> = subject.rsplitn(4, '.').collect();
    ensure!(tokens.len() == 4, "{subject} does not end with caller and id");
    Ok(format!("{}.{}.{}", tokens[2], tokens[1], tokens[0]))
}

impl Store {
    /// Reads a service's streams and what a tap has heard.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn read(nats: &Client, service: &str, tap: &Tap) -> anyhow::Result<Self> {
        let mut store = Self { queued: queued(nats, service).await?, ..Self::default() };
        tap.read(nats).await?;
        for (id, record) in tap.heard().records.values() {
            store.records.entry(id.clone()).or_default().push(record.clone());
        }
        for message in messages(nats, &format!("rq_DEAD_{service}"), 1).await? {
            let reason = message.header("Rq-Reason").unwrap_or_default();
            store.dead.entry(id_at_end(&message.subject)?).or_default().push(reason);
        }
        let requests = ask(nats, &format!("$JS.API.STREAM.INFO.rq_REQ_{service}"), Value::Null).await?;
        let consumers = ask(nats, &format!("$JS.API.CONSUMER.LIST.rq_REQ_{service}"), Value::Null).await?;
        let delivered = consumers["consumers"].as_array().into_iter().flatten();
        // What asks to cancel comes again and again until there is nothing left to do.
        let delivered = delivered.filter(|it| it["name"] != "-cancel");
        store.deliveries = delivered.filter_map(|it| it["delivered"]["consumer_seq"].as_u64()).sum();
        store.stored = requests["state"]["last_seq"].as_u64().unwrap_or_default();
        Ok(store)
    }

    /// The first outcome of a request that was seen.
    pub fn outcome(&self, id: &str) -> Option<&Record> {
        self.records.get(id)?.iter().find(|it| it.kind == "outcome")
    }
}

/// What a server says to a question to its API.
///
/// # Errors
///
/// When there is no answer, or it is an error.
pub async fn ask(nats: &Client, subject: &str, question: Value) -> anyhow::Result<Value> {
    let body = if question.is_null() { String::new() } else { question.to_string() };
    // A connection of Requite has no limit of its own, and servers that elect a leader say nothing.
    let asked = timeout(ANSWER, nats.request(subject.to_owned(), body.into())).await;
    let answer = asked.with_context(|| subject.to_owned())?.with_context(|| subject.to_owned())?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    if answer["error"].is_object() {
        bail!("{subject}: {}", answer["error"]);
    }
    Ok(answer)
}

/// The requests of a service that are stored, by subject.
///
/// # Errors
///
/// When the server does not say.
pub async fn queued(nats: &Client, service: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let subject = format!("$JS.API.STREAM.INFO.rq_REQ_{service}");
    let info = ask(nats, &subject, json!({ "subjects_filter": ">" })).await?;
    let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
    Ok(subjects.into_iter().filter_map(|(subject, count)| Some((subject, count.as_u64()?))).collect())
}

struct Stored {
    sequence: u64,
    stored: String,
    subject: String,
    headers: String,
    body: Vec<u8>,
}

impl Stored {
    fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.trim().to_owned())
    }
}

/// The messages of a stream from a sequence on, oldest first, as its leader has them.
async fn messages(nats: &Client, stream: &str, from: u64) -> anyhow::Result<Vec<Stored>> {
    let info = ask(nats, &format!("$JS.API.STREAM.INFO.{stream}"), Value::Null).await?;
    let last = info["state"]["last_seq"].as_u64().unwrap_or_default();
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    let mut found = Vec::new();
    let mut next = from;
    while next <= last && info["state"]["messages"] != 0 {
        // The next one that there is.
        let answer = ask(nats, &subject, json!({ "seq": next, "next_by_subj": ">" })).await;
        // An outcome may have come to the end of its time since.
        let Ok(answer) = answer else { break };
        let message = &answer["message"];
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        let sequence = message["seq"].as_u64().context("a message has a sequence")?;
        found.push(Stored {
            sequence,
            stored: text("time").to_owned(),
            subject: text("subject").to_owned(),
            headers: String::from_utf8_lossy(&BASE64.decode(text("hdrs").as_bytes())?).into_owned(),
            body: BASE64.decode(text("data").as_bytes())?,
        });
        next = sequence + 1;
    }
    Ok(found)
}
