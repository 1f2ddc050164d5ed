//! Random operations of callers, workers and observers on any broker, and what they see.
//!
//! A sequence is made of phases: operations that take no time beside the lease, then a wait well beyond it. So a
//! machine that is a little slow sees the same.

use std::{fmt::Debug, time::Duration};

use bytes::Bytes;

use super::super::{configs, faults::Random};
use crate::{
    broker::{Broker, Headers, Message, Outgoing, SendError, Subscription, api},
    name::Name,
    subject::{self, AckSubject, ServiceSubjects},
    wire::{
        header,
        jetstream::{ConsumerConfig, StreamConfig, Transform},
    },
};

const LEASE: Duration = Duration::from_millis(900);
const BEYOND_LEASE: Duration = Duration::from_millis(1_400);
/// A message with a time to live of 2 s is gone then; the server looks once a second.
const BEYOND_TTL: Duration = Duration::from_millis(3_600);
/// What one phase may take by itself.
const PHASE: Duration = Duration::from_millis(140);
const PHASES: usize = 3;
/// Lets the server finish what it does beside the answer.
const SETTLE: Duration = Duration::from_millis(3);
const SHORT: Duration = Duration::from_millis(30);
/// A pull with time for two heartbeats, far from its end.
const LONG: Duration = Duration::from_millis(250);
/// Longer than any pull here is silent, and than any answer takes.
const SILENCE: Duration = Duration::from_millis(300);
const NAK_DELAY: Duration = Duration::from_millis(40);

const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// One sequence under way.
struct Player<'a, B: Broker> {
    broker: &'a B,
    random: Random,
    subjects: ServiceSubjects,
    inbox: String,
    pulled: B::Subscription,
    pushed: B::Subscription,
    /// Reply subjects of all deliveries so far.
    deliveries: Vec<String>,
    pulls: u64,
    spent: Duration,
    expiring: bool,
    seen: Vec<String>,
}

/// Plays the sequence of a seed: one line for every step. `between` passes the time between two phases, at least as
/// long as it is told.
pub(super) async fn play<B: Broker>(
    broker: &B,
    seed: u64,
    namespace: &str,
    between: impl AsyncFn(Duration),
) -> Vec<String> {
    let (namespace, service): (Name, Name) = (namespace.parse().unwrap(), "svc".parse().unwrap());
    let subjects = ServiceSubjects::new(&namespace, &service);
    let inbox = broker.new_inbox();
    let pulled = broker.subscribe(format!("{inbox}.*")).await.unwrap();
    let pushed = broker.subscribe(format!("{namespace}.in.>")).await.unwrap();
    let mut player = Player {
        broker,
        random: Random::new(seed),
        subjects,
        inbox,
        pulled,
        pushed,
        deliveries: Vec::new(),
        pulls: 0,
        spent: Duration::ZERO,
        expiring: false,
        seen: Vec::new(),
    };
    player.set_up().await;
    for phase in 0..PHASES {
        while player.spent < PHASE {
            player.step().await;
        }
        player.look().await;
        if phase + 1 < PHASES {
            let wait = if player.expiring { BEYOND_TTL } else { BEYOND_LEASE };
            between(wait).await;
            (player.spent, player.expiring) = (Duration::ZERO, false);
        }
    }
    player.seen
}

impl<B: Broker> Player<'_, B> {
    fn note(&mut self, what: &str, result: impl Debug) {
        self.seen.push(format!("{what} -> {result:?}"));
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize].clone()
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    async fn set_up(&mut self) {
        let limits = [-1, 4, 7];
        let (max_requests, max_records) = (self.one_of(&limits), self.one_of(&limits));
        let max_bytes = self.one_of(&[-1, 700]);
        let (src, dest) = self.subjects.record_transform("secret");
        let (from, to) = self.subjects.record_republish();
        let requests = configs::stream(
            self.subjects.request_stream(),
            vec![self.subjects.requests("m"), self.subjects.requests("n")],
        );
        let requests = StreamConfig {
            retention: "workqueue".into(),
            discard_new_per_subject: true,
            max_msgs: max_requests,
            ..requests
        };
        let records = configs::stream(self.subjects.record_stream(), self.subjects.records_put("secret"));
        let records = StreamConfig {
            max_msgs: max_records,
            max_bytes,
            allow_direct: true,
            allow_msg_ttl: true,
            subject_transform: Some(Transform { src, dest }),
            republish: Some(Transform { src: from, dest: to }),
            ..records
        };
        for config in [requests, records] {
            let created = api::create_stream(self.broker, &config).await;
            self.note("create stream", created.map(|it| (it.config == config, it.state)));
        }
        let again = configs::consumer("m", self.subjects.requests("m"), LEASE);
        let other = ConsumerConfig { max_waiting: 7, ..again.clone() };
        let overlapping = ConsumerConfig { durable_name: "x".into(), ..again.clone() };
        let n = configs::consumer("n", self.subjects.requests("n"), LEASE);
        let outside = configs::consumer("y", "elsewhere.>".into(), LEASE);
        for (config, action) in [
            (&again, "update"),
            (&again, "create"),
            (&again, "create"),
            (&other, "create"),
            (&overlapping, "create"),
            (&outside, "create"),
            (&n, "create"),
        ] {
            let stream = self.subjects.request_stream();
            let put = api::put_consumer(self.broker, &stream, config, action).await;
            self.note(action, put.map(|it| it.config == *config));
        }
    }

    async fn step(&mut self) {
        match self.random.below(40) {
            0..=9 => self.request().await,
            10..=15 => self.record().await,
            16..=21 => self.pull().await,
            22 => self.two_pulls().await,
            23 => self.abandoned_pull().await,
            24..=35 => self.settle().await,
            36..=37 => self.read().await,
            _ => self.look().await,
        }
        tokio::time::sleep(SETTLE).await;
        self.spent += SETTLE;
    }

    async fn store(&mut self, what: String, message: Outgoing) {
        let answer = self.broker.request(message, Duration::from_secs(5)).await;
        let answer = answer.map(|it| {
            let value: serde_json::Value = serde_json::from_slice(&it.payload).unwrap();
            (value["seq"].clone(), value["duplicate"].clone(), value["error"].clone())
        });
        self.note(&what, answer);
    }

    async fn request(&mut self) {
        let (method, id) =
            (self.one_of(&["m", "m", "m", "m", "m", "m", "m", "n", "n", "unknown"]), self.random.below(5));
        let subject = self.subjects.any_request().replace('>', &format!("{method}.caller.i.{id}"));
        let mut headers = Headers::default().with(header::VERSION, "1");
        let message_id = self.one_of(&["", "", "own", "own", "shared"]);
        if message_id == "own" {
            headers = headers.with(header::MESSAGE_ID, format!("{method}.{id}"));
        } else if message_id == "shared" {
            headers = headers.with(header::MESSAGE_ID, "shared");
        }
        let expected = self.one_of(&["", "", "", "0", "2"]);
        if !expected.is_empty() {
            headers = headers.with(header::EXPECTED_LAST, expected);
        }
        if self.one_in(20) {
            headers = headers.with(header::TTL, "1");
        }
        let what = format!("request {method}.{id} id {message_id:?} expected {expected:?}");
        let payload = format!("body {}", self.seen.len());
        self.store(what, Outgoing::new(subject, payload).headers(headers)).await;
    }

    async fn record(&mut self) {
        let (kind, id) = (self.one_of(&["out", "out", "out", "chk"]), self.random.below(3));
        let stored = self.subjects.record("caller", &format!("i.{id}"));
        let last = api::read_leader(self.broker, &self.subjects.record_stream(), &stored).await;
        let last = last.unwrap().map_or(0, |it| it.sequence);
        let expected = self.one_of(&[Some(last), Some(last), Some(last), Some(0), Some(last + 1), None]);
        let mut headers = Headers::default();
        if let Some(expected) = expected {
            headers = headers.with(header::EXPECTED_LAST, expected.to_string());
        }
        if kind == "chk" || self.one_in(12) {
            headers = headers.with(EXPECTED_SUBJECT, &*stored);
        }
        let ttl = self.one_of(&["", "", "", "", "", "2", "never", "0.5", "1h", "soon"]);
        if !ttl.is_empty() {
            headers = headers.with(header::TTL, ttl);
            self.expiring |= ttl == "2";
        }
        let put = self.subjects.record_put_prefix("secret") + &format!("caller.i.{id}");
        let put = put.replace(".out.", &format!(".{kind}."));
        let what = format!("record {kind}.{id} expected {expected:?} ttl {ttl:?}");
        let payload = vec![b'x'; self.one_of(&[0, 10, 90])];
        self.store(what, Outgoing::new(put, payload).headers(headers)).await;
        self.hear().await;
    }

    /// What was republished.
    async fn hear(&mut self) {
        while let Ok(Some(push)) = tokio::time::timeout(SETTLE, self.pushed.next()).await {
            let header = |name| push.headers.last(name).map(str::to_owned);
            let facts = (header(header::STREAM), header(header::SUBJECT), header(header::STORED_SEQUENCE));
            let before = push.headers.last("Nats-Last-Sequence").map(str::to_owned);
            let line = format!("{} {facts:?} {before:?} {}", push.subject, push.payload.len());
            self.note("pushed", line);
        }
        self.spent += SETTLE;
    }

    async fn pull(&mut self) {
        let consumer = self.one_of(&["m", "m", "m", "m", "m", "m", "m", "n", "n", "gone"]);
        let batch = 1 + self.random.below(3);
        let short = SHORT.as_nanos();
        let (long, beat) = (LONG.as_nanos(), (LONG / 5 * 2).as_nanos());
        let body = match self.random.below(9) {
            0..=4 => format!(r#"{{"batch":{batch},"no_wait":true}}"#),
            5 => format!(r#"{{"batch":{batch},"no_wait":true,"expires":{short}}}"#),
            6 if self.one_in(2) => {
                format!(r#"{{"batch":{batch},"expires":{long},"idle_heartbeat":{beat}}}"#)
            }
            7 if self.one_in(3) => r#"{"batch":1,"expires":1000,"idle_heartbeat":900}"#.into(),
            _ => format!(r#"{{"batch":{batch},"expires":{short}}}"#),
        };
        self.open(consumer, &body).await;
        self.collect(&format!("pull {consumer} {body}"), batch).await;
    }

    async fn open(&mut self, consumer: &str, body: &str) {
        self.pulls += 1;
        let reply = Some(format!("{}.{}", self.inbox, self.pulls));
        let subject = subject::api::pull(&self.subjects.request_stream(), consumer);
        let pull = Outgoing { reply, ..Outgoing::new(subject, body.to_owned()) };
        self.broker.publish(pull).await.unwrap();
    }

    /// A pull that nobody listens to any more takes nothing, but changes the order of redeliveries.
    async fn abandoned_pull(&mut self) {
        let reply = Some(format!("{}.nobody.listens", self.inbox));
        let subject = subject::api::pull(&self.subjects.request_stream(), "m");
        let pull = Outgoing { reply, ..Outgoing::new(subject, r#"{"batch":2,"expires":5000000000}"#) };
        self.broker.publish(pull).await.unwrap();
        self.note("abandoned pull", ());
    }

    /// What the open pulls bring, until they have brought all or have ended.
    async fn collect(&mut self, what: &str, mut left: u64) {
        while left > 0 {
            let message = tokio::time::timeout(SILENCE, self.pulled.next()).await;
            let Ok(Some(message)) = message else {
                self.spent += SILENCE;
                return self.note(what, "silence");
            };
            let Some(code) = message.status else {
                left -= 1;
                let line = self.delivery(&message);
                self.note(what, line);
                continue;
            };
            self.note(what, status(&message));
            match code {
                100 => self.spent += LONG / 5 * 2,
                408 => self.spent += SHORT,
                _ => {}
            }
            if code != 100 {
                return;
            }
        }
    }

    /// Two pulls wait when messages come: they are served in turn.
    async fn two_pulls(&mut self) {
        // Far enough from each other that they end one after the other.
        for expires in [SHORT * 2, LONG / 2] {
            let body = format!(r#"{{"batch":2,"expires":{}}}"#, expires.as_nanos());
            self.open("m", &body).await;
            tokio::time::sleep(SETTLE).await;
        }
        for _ in 0..3 {
            self.request().await;
            tokio::time::sleep(SETTLE).await;
        }
        // As many messages as there can be, or one end after the other.
        for _ in 0..2 {
            self.collect("one of two pulls", 5).await;
        }
        self.spent += LONG / 2;
    }

    fn delivery(&mut self, message: &Message) -> String {
        let reply = message.reply.as_ref().unwrap().to_string();
        let ack = AckSubject::parse(&reply).unwrap();
        let pending = reply.rsplit('.').next().unwrap();
        let line = format!(
            "{} delivery {} stream {} consumer {} pending {pending} {:?}",
            message.subject, ack.delivery, ack.stream_sequence, ack.consumer_sequence, message.payload
        );
        self.deliveries.push(reply);
        line
    }

    async fn settle(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        // Most often the newest, else any: stale ones too.
        let newest = self.deliveries.len() as u64 - 1;
        let at = if self.one_in(2) { newest } else { self.random.below(newest + 1) };
        let mut reply = self.deliveries[at as usize].clone();
        let stream = self.subjects.request_stream();
        match self.random.below(30) {
            // Never delivered.
            0 => reply = subject::ack_by_sequence(&stream, "m", 999),
            1 => reply = subject::ack_by_sequence(&stream, "gone", 1),
            // Settled by the other consumer's subject.
            2 => reply = reply.replace(".m.", ".n."),
            3 => reply = subject::ack_by_sequence(&stream, "m", 1),
            _ => {}
        }
        let delay = format!(r#"-NAK {{"delay": {}}}"#, NAK_DELAY.as_nanos());
        let verb = self.one_of(&[
            "+ACK",
            "+ACK",
            "+ACK",
            "",
            "-NAK",
            "-NAK {\"delay\": 0}",
            &delay,
            "+TERM",
            "+TERM why",
            "+WPI",
        ]);
        let what = format!("{verb} {}", without_time(&reply));
        let answer =
            self.broker.request(Outgoing::new(reply, Bytes::copy_from_slice(verb.as_bytes())), SILENCE);
        let answer = answer.await;
        if matches!(answer, Err(SendError::TimedOut)) {
            self.spent += SILENCE;
        }
        self.note(&what, answer.map(|it| it.payload));
        if verb.contains("delay") {
            // Well past the delay, whichever it was, and the server's own look at it.
            tokio::time::sleep(NAK_DELAY * 2).await;
            self.spent += NAK_DELAY * 2;
        }
    }

    async fn read(&mut self) {
        let id = self.random.below(3);
        let subject = self.subjects.record("caller", &format!("i.{id}"));
        let stream = self.one_of(&[self.subjects.record_stream(), "NONE".into()]);
        let leader = api::read_leader(self.broker, &stream, &subject).await;
        self.note("leader", leader);
        let any = api::read_any(self.broker, &stream, &subject).await;
        self.note("any", any);
        let pattern = self.one_of(&[self.subjects.any_request(), self.subjects.dead_letters()]);
        self.note("names", api::stream_names(self.broker, &pattern).await);
    }

    /// The counters of both streams and both consumers.
    async fn look(&mut self) {
        for stream in [self.subjects.request_stream(), self.subjects.record_stream()] {
            let info = api::stream_info(self.broker, &stream).await;
            self.note("stream", info.map(|it| it.state));
        }
        for consumer in ["m", "n", "gone"] {
            let info = api::consumer_info(self.broker, &self.subjects.request_stream(), consumer).await;
            let info = info.map(|it| (it.ack_floor, it.num_pending, it.num_ack_pending, it.num_redelivered));
            self.note(consumer, info);
        }
    }
}

fn status(message: &Message) -> String {
    let pending = message.headers.first(header::PENDING_MESSAGES);
    let bytes = message.headers.first("Nats-Pending-Bytes");
    let subject = message.headers.first(header::SUBJECT);
    let (code, text, pull) = (message.status, &message.description, message.subject.rsplit('.').next());
    format!("{code:?} {text:?} {pending:?} {bytes:?} {subject:?} of pull {pull:?}")
}

/// An ack subject without its time stamp, which differs.
fn without_time(reply: &str) -> String {
    let mut tokens: Vec<&str> = reply.split('.').collect();
    tokens.remove(tokens.len() - 2);
    tokens.join(".")
}
