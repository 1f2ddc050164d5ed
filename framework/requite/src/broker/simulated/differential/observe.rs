//! What callers, workers and observers read: stored messages, and what streams and consumers say of themselves.

use bytes::Bytes;
use serde_json::Value;

use super::play::{Player, SILENCE};
use crate::{
    broker::{Broker, Outgoing, SendError, api},
    subject,
};

impl<B: Broker> Player<'_, B> {
    pub(super) async fn read(&mut self) {
        let id = self.below(3);
        let record = self.subjects.record("caller", &format!("i.{id}"));
        let streams = [
            self.subjects.record_stream(),
            self.subjects.record_stream(),
            // Without direct gets.
            self.subjects.request_stream(),
            "NONE".into(),
        ];
        let stream = self.one_of(&streams);
        let leader = api::read_leader(self.broker, &stream, &record).await;
        self.note("leader", leader);
        let any =
            self.broker.request(Outgoing::new(subject::api::read_any(&stream, &record), ""), SILENCE).await;
        // Its headers have the server's clock in them.
        self.note("any", any.map(|it| (it.status, it.description, it.payload)));
        let letter = self.subjects.dead_letter("m", "caller", &format!("i.{id}"));
        let letter = api::read_leader(self.broker, &self.subjects.dead_letter_stream(), &letter).await;
        self.note("dead letter", letter);
        self.read_next().await;
        let patterns = [
            self.subjects.any_request(),
            self.subjects.requests("m"),
            self.subjects.requests("unknown"),
            self.subjects.any_request().replace('>', "n.caller.i.1"),
            self.subjects.dead_letters(),
        ];
        let pattern = self.one_of(&patterns);
        self.note("names", api::stream_names(self.broker, &pattern).await);
    }

    /// The next message of a method, as a worker looks for what its client cannot read.
    async fn read_next(&mut self) {
        let filters =
            [self.subjects.requests("m"), self.subjects.requests("n"), self.subjects.requests("unknown")];
        let (filter, sequence) = (self.one_of(&filters), self.below(9));
        let found = api::read_next(self.broker, &self.subjects.request_stream(), &filter, sequence).await;
        let found = found.map(|found| {
            found.map(|it| {
                let headers = it.header_block().map(|block| lines(&block));
                (it.seq, it.subject.clone(), headers, it.payload())
            })
        });
        self.note(&format!("next from {sequence}"), found);
    }

    /// The counters of all streams and consumers.
    pub(super) async fn look(&mut self) {
        let requests = self.subjects.request_stream();
        let streams = [
            requests.clone(),
            self.subjects.record_stream(),
            self.subjects.dead_letter_stream(),
            "NONE".into(),
        ];
        for stream in streams {
            let info = self.ask(subject::api::stream_info(&stream)).await;
            let info = info.map(|it| {
                let names = ["messages", "bytes", "first_seq", "last_seq", "num_subjects", "consumer_count"];
                (names.map(|name| it["state"][name].as_u64().unwrap_or(0)), it["error"].clone())
            });
            self.note("stream", info);
        }
        for consumer in ["m", "n", "late", "gone"] {
            let info = self.ask(subject::api::consumer_info(&requests, consumer)).await;
            let info = info.map(|it| {
                let names = ["num_pending", "num_ack_pending", "num_redelivered"];
                let position = |name| [&it[name]["consumer_seq"], &it[name]["stream_seq"]].map(Value::as_u64);
                let counts = names.map(|name| it[name].as_u64());
                (position("delivered"), position("ack_floor"), counts, it["error"].clone())
            });
            self.note(consumer, info);
        }
    }

    async fn ask(&self, subject: String) -> Result<Value, SendError> {
        let answer = self.broker.request(Outgoing::new(subject, Bytes::new()), SILENCE).await?;
        Ok(serde_json::from_slice(&answer.payload).unwrap())
    }
}

/// The lines of a block of headers, which have no order.
fn lines(block: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(block).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
