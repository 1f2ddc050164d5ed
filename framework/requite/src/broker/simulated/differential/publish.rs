//! What callers and workers publish: requests, records, dead letters, and what nobody should.

use std::time::Duration;

use super::{
    plan::Plan,
    play::{Player, SETTLE},
};
use crate::{
    broker::{Broker, Headers, Outgoing, Subscription, api},
    wire::header,
};

const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
const ROLLUP: &str = "Nats-Rollup";
/// More than a message's headers may take, and less than a message may.
const MUCH: usize = 70_000;
const TOO_MUCH: usize = 1 << 20;

impl<B: Broker> Player<'_, B> {
    async fn store(&mut self, what: String, message: Outgoing) {
        let answer = self.broker.request(message, Duration::from_secs(5)).await;
        let answer = answer.map(|it| {
            let value: serde_json::Value = serde_json::from_slice(&it.payload).unwrap();
            (value["seq"].clone(), value["duplicate"].clone(), value["error"].clone())
        });
        self.note(&what, answer);
    }

    fn request_subject(&self, method: &str, id: u64) -> String {
        self.subjects.any_request().replace('>', &format!("{method}.caller.i.{id}"))
    }

    pub(super) async fn request(&mut self) {
        let methods = ["m", "m", "m", "m", "m", "m", "m", "m", "m", "n", "n", "late", "unknown"];
        let (method, id) = (self.one_of(&methods), self.below(5));
        let subject = self.request_subject(method, id);
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
        let payload = format!("body {}", self.below(1_000));
        self.store(what, Outgoing::new(subject, payload).headers(headers)).await;
    }

    /// What the server refuses whoever sends it, or takes from nobody.
    pub(super) async fn unwanted(&mut self) {
        let (stream, id) = (self.subjects.request_stream(), self.below(5));
        let subject = self.request_subject("m", id);
        let publish = Outgoing::new(subject.clone(), "x");
        let header = |name, value: String| Headers::default().with(name, value);
        let (what, message) = match self.below(6) {
            0 => ("rolled up", publish.headers(header(ROLLUP, "sub".into()))),
            1 => ("large headers", publish.headers(header(header::KEY, "x".repeat(MUCH)))),
            2 => ("too large", Outgoing::new(subject, vec![0; TOO_MUCH + 1])),
            3 => ("nobody's subject", Outgoing::new(stream + ".nobody", "x")),
            4 => ("another's stream", publish.headers(header("Nats-Expected-Stream", "NONE".into()))),
            _ => {
                // The server's answer lands among the records.
                let put = self.subjects.record_put_prefix("secret") + "caller.i.0";
                let message = Outgoing { reply: Some(put), ..publish };
                let sent = self.broker.publish(message).await;
                self.note("reflected", sent);
                // It takes two turns of the server's own.
                tokio::time::sleep(SETTLE * 6).await;
                self.spent += SETTLE * 6;
                return self.hear().await;
            }
        };
        self.store(what.into(), message).await;
    }

    pub(super) async fn record(&mut self) {
        let (kind, mut id) = (self.one_of(&["out", "out", "out", "chk"]), self.below(3));
        // Nothing replaces an outcome, and only outcomes have a time to live. Elsewhere that matters to killed servers.
        while self.plan.kills() && self.ended.contains(&id) {
            id += 3;
        }
        let stored = self.subjects.record("caller", &format!("i.{id}"));
        let last = api::read_leader(self.broker, &self.subjects.record_stream(), &stored).await;
        let last = last.ok().flatten().map_or(0, |it| it.sequence);
        let expected = self.one_of(&[Some(last), Some(last), Some(last), Some(0), Some(last + 1), None]);
        let mut headers = Headers::default();
        if let Some(expected) = expected {
            headers = headers.with(header::EXPECTED_LAST, expected.to_string());
        }
        if kind == "chk" || self.one_in(12) {
            headers = headers.with(EXPECTED_SUBJECT, &*stored);
        }
        if self.one_in(8) {
            headers = headers.with(header::MESSAGE_ID, format!("record {id}"));
        }
        let ttl = self.ttl();
        if !ttl.is_empty() {
            headers = headers.with(header::TTL, &*ttl);
            self.ended.push(id);
        }
        let put = self.subjects.record_put_prefix("secret") + &format!("caller.i.{id}");
        let put = put.replace(".out.", &format!(".{kind}."));
        let what = format!("record {kind}.{id} expected {expected:?} ttl {ttl:?}");
        let payload = vec![b'x'; self.one_of(&[0, 10, 90])];
        self.store(what, Outgoing::new(put, payload).headers(headers)).await;
        self.hear().await;
    }

    fn ttl(&mut self) -> String {
        let ttl = self.one_of(&["", "", "", "", "", "short", "long", "never", "0.5", "1h", "soon"]);
        match ttl {
            "short" => {
                self.expiring = true;
                format!("{}s", Plan::SHORT_TTL)
            }
            "long" if self.plan.restarts() => Plan::LONG_TTL.to_string(),
            "long" => "120".into(),
            ttl => ttl.into(),
        }
    }

    /// What was republished, and what everybody heard who listens on the subjects that records are put on.
    pub(super) async fn hear(&mut self) {
        while let Ok(Some(push)) = tokio::time::timeout(SETTLE, self.pushed.next()).await {
            let header = |name| push.headers.last(name).map(str::to_owned);
            let facts = (header(header::STREAM), header(header::SUBJECT), header(header::STORED_SEQUENCE));
            let before = push.headers.last("Nats-Last-Sequence").map(str::to_owned);
            let ttl = push.headers.first(header::TTL).map(str::to_owned);
            self.note("pushed", (push.subject, facts, before, ttl, push.payload.len()));
        }
        while let Ok(Some(core)) = tokio::time::timeout(SETTLE, self.heard.next()).await {
            self.note("heard", (core.subject, core.payload.len()));
        }
        self.spent += SETTLE * 2;
    }

    /// The oldest give way to it.
    pub(super) async fn dead_letter(&mut self) {
        let id = self.below(4);
        let subject = self.subjects.dead_letter("m", "caller", &format!("i.{id}"));
        let payload = vec![b'x'; self.one_of(&[0, 10, 90, 500])];
        let headers = Headers::default().with(header::REASON, "exhausted");
        self.store(format!("dead letter {id}"), Outgoing::new(subject, payload).headers(headers)).await;
    }
}
