//! The streams of the server and its JetStream API: which subject asks for what, and the words of every refusal.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::{
    answer,
    consumer::Consumer,
    pattern::overlap,
    stream::{Publish, Stream},
    turn::{Kind, Sent, Turn},
};
use crate::{
    subject::AckSubject,
    wire::jetstream::{ConsumerConfig, StreamConfig},
};

const API: &str = "$JS.API.";
const DEFAULT_WINDOW: u64 = 120_000_000_000;
const DEFAULT_ACK_WAIT: u64 = 30_000_000_000;

/// Every stream of the server.
#[derive(Clone, Default)]
pub(super) struct JetStream {
    pub(super) streams: BTreeMap<String, Stream>,
}

type Refusal = (u16, u32, &'static str);

const NO_STREAM: Refusal = (404, 10059, "stream not found");
const NO_CONSUMER: Refusal = (404, 10014, "consumer not found");
const NO_MESSAGE: Refusal = (404, 10037, "no message found");
const BAD_REQUEST: Refusal = (400, 10003, "bad request");
const INVALID_JSON: Refusal = (400, 10025, "invalid JSON");

impl JetStream {
    /// Takes a client's message, if it is for JetStream: whether it was.
    pub(super) fn take(&mut self, publish: &Publish<'_>, turn: &mut Turn<'_>) -> bool {
        if let Some(question) = publish.subject.strip_prefix(API) {
            return self.ask(question, publish, turn);
        }
        if let Some(ack) = AckSubject::parse(publish.subject) {
            let Some(stream) = self.streams.get_mut(ack.stream) else { return false };
            if !stream.consumers.contains_key(ack.consumer) {
                return false;
            }
            stream.settle(&ack, publish.payload, publish.reply, turn);
            return true;
        }
        self.capture(publish, turn)
    }

    /// Stores a message in the stream that captures its subject: whether there is one.
    pub(super) fn capture(&mut self, publish: &Publish<'_>, turn: &mut Turn<'_>) -> bool {
        let Some(stream) = self.streams.values_mut().find(|it| it.captures(publish.subject)) else {
            return false;
        };
        stream.publish(publish, turn);
        true
    }

    /// Answers a question to the API: whether anybody listens on its subject at all.
    fn ask(&mut self, question: &str, publish: &Publish<'_>, turn: &mut Turn<'_>) -> bool {
        let (body, reply) = (publish.payload, publish.reply);
        if let Some(rest) = question.strip_prefix("CONSUMER.MSG.NEXT.") {
            return self.pull(rest, body, reply, turn);
        }
        if let Some(rest) = question.strip_prefix("DIRECT.GET.") {
            return self.read_any(rest, reply, turn);
        }
        let mut tokens = question.splitn(3, '.');
        let (group, verb, rest) =
            (tokens.next().unwrap_or(""), tokens.next().unwrap_or(""), tokens.next().unwrap_or(""));
        let answer = match (group, verb) {
            ("INFO", "") => Ok(self.account()),
            ("STREAM", "NAMES") => Ok(self.names(body)),
            ("STREAM", "INFO") => self.stream(rest).map(|it| answer::stream(it, turn.now)),
            ("STREAM", "CREATE") => self.create_stream(rest, body, turn.now),
            ("STREAM", "UPDATE") => self.update_stream(rest, body, turn.now),
            ("STREAM", "DELETE") => self.delete_stream(rest, turn),
            ("STREAM", "MSG") => self.read_leader(rest, body),
            ("CONSUMER", "CREATE") => self.put_consumer(rest, body, turn.now),
            ("CONSUMER", "INFO") => self.consumer_info(rest, turn.now),
            ("CONSUMER", "DELETE") => self.delete_consumer(rest, turn),
            // As on the real server: heard, and never answered.
            _ => return true,
        };
        let value = answer.unwrap_or_else(|(code, err_code, text)| answer::error(code, err_code, text));
        turn.answer(reply, &value);
        true
    }

    fn stream(&self, name: &str) -> Result<&Stream, Refusal> {
        self.streams.get(name).ok_or(NO_STREAM)
    }

    fn account(&self) -> Value {
        let consumers = self.streams.values().map(|it| it.consumers.len()).sum();
        let bytes = self.streams.values().map(|it| it.store.bytes()).sum();
        answer::account(self.streams.len(), consumers, bytes)
    }

    fn names(&self, body: &[u8]) -> Value {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let subject = request["subject"].as_str();
        let wanted = self.streams.values().filter(|stream| {
            subject.is_none_or(|subject| stream.config.subjects.iter().any(|it| overlap(it, subject)))
        });
        answer::names(&wanted.map(|it| &it.config.name).collect::<Vec<_>>())
    }

    fn stream_config(name: &str, body: &[u8]) -> Result<StreamConfig, Refusal> {
        let mut config: StreamConfig = serde_json::from_slice(body).map_err(|_| INVALID_JSON)?;
        if config.name != name {
            return Err((400, 10056, "stream name in subject does not match request"));
        }
        // What the server fills in.
        if config.subjects.is_empty() {
            config.subjects.push(name.to_owned());
        }
        for most in [&mut config.max_msgs, &mut config.max_bytes, &mut config.max_msgs_per_subject] {
            if *most == 0 {
                *most = -1;
            }
        }
        if config.max_consumers == 0 {
            config.max_consumers = -1;
        }
        if config.duplicate_window == 0 {
            config.duplicate_window = DEFAULT_WINDOW;
        }
        if config.discard_new_per_subject && (config.discard != "new" || config.max_msgs_per_subject < 1) {
            return Err((500, 10052, "discard new per subject requires discard new policy to be set"));
        }
        Ok(config)
    }

    fn create_stream(&mut self, name: &str, body: &[u8], now: u64) -> Result<Value, Refusal> {
        let config = Self::stream_config(name, body)?;
        if let Some(stream) = self.streams.get(name) {
            return if stream.config == config {
                Ok(answer::stream(stream, now))
            } else {
                Err((400, 10058, "stream name already in use with a different configuration"))
            };
        }
        self.check_overlap(&config)?;
        let stream = self.streams.entry(name.to_owned()).or_insert(Stream::new(config, now));
        Ok(answer::stream(stream, now))
    }

    fn update_stream(&mut self, name: &str, body: &[u8], now: u64) -> Result<Value, Refusal> {
        let config = Self::stream_config(name, body)?;
        self.stream(name)?;
        self.check_overlap(&config)?;
        let stream = self.streams.get_mut(name).ok_or(NO_STREAM)?;
        stream.config = config;
        Ok(answer::stream(stream, now))
    }

    fn check_overlap(&self, config: &StreamConfig) -> Result<(), Refusal> {
        let others = self.streams.values().filter(|it| it.config.name != config.name);
        let taken: Vec<&String> = others.flat_map(|it| &it.config.subjects).collect();
        let overlaps = config.subjects.iter().any(|mine| taken.iter().any(|it| overlap(it, mine)));
        if overlaps { Err((400, 10065, "subjects overlap with an existing stream")) } else { Ok(()) }
    }

    /// A consumer's configuration with what the server fills in.
    fn consumer_config(config: Value) -> Result<ConsumerConfig, Refusal> {
        let mut config: ConsumerConfig = serde_json::from_value(config).map_err(|_| INVALID_JSON)?;
        if config.ack_wait == 0 {
            config.ack_wait = DEFAULT_ACK_WAIT;
        }
        for (value, default) in [
            (&mut config.max_deliver, -1),
            (&mut config.max_ack_pending, 1_000),
            (&mut config.max_waiting, 512),
        ] {
            if *value == 0 {
                *value = default;
            }
        }
        Ok(config)
    }

    // A filter outside the stream's subjects is taken, as nats-server 2.15.1 takes it.
    fn put_consumer(&mut self, rest: &str, body: &[u8], now: u64) -> Result<Value, Refusal> {
        let request: Value = serde_json::from_slice(body).map_err(|_| INVALID_JSON)?;
        let config = Self::consumer_config(request["config"].clone())?;
        let action = request["action"].as_str().unwrap_or_default();
        let mut tokens = rest.splitn(3, '.');
        let (name, consumer) = (tokens.next().unwrap_or(""), tokens.next().unwrap_or(""));
        if consumer != config.durable_name {
            return Err((400, 10017, "consumer name in subject does not match durable name in request"));
        }
        let stream = self.streams.get_mut(name).ok_or(NO_STREAM)?;
        let filter = if config.filter_subject.is_empty() { ">" } else { &config.filter_subject };
        let mut others = stream.consumers.values().filter(|it| it.config.durable_name != consumer);
        if stream.config.retention == "workqueue"
            && others
                .any(|it| it.config.filter_subject.is_empty() || overlap(&it.config.filter_subject, filter))
        {
            return Err((400, 10100, "filtered consumer not unique on workqueue stream"));
        }
        match stream.consumers.get_mut(consumer) {
            Some(known) if action == "create" && known.config != config => {
                return Err((400, 10148, "consumer already exists"));
            }
            Some(known) => {
                if known.config != config {
                    known.reconfigure(config, now);
                }
            }
            None if action == "update" => return Err((400, 10149, "consumer does not exist")),
            None => {
                let new = Consumer::new(name, config, &stream.store, now);
                stream.consumers.insert(consumer.to_owned(), new);
            }
        }
        let consumer = stream.consumers.get_mut(consumer).ok_or(NO_CONSUMER)?;
        Ok(consumer.found.take().unwrap_or_else(|| answer::consumer(name, consumer, now)))
    }

    fn consumer_info(&mut self, rest: &str, now: u64) -> Result<Value, Refusal> {
        let (name, consumer) = rest.split_once('.').ok_or(BAD_REQUEST)?;
        let consumer = self.stream(name)?.consumers.get(consumer).ok_or(NO_CONSUMER)?;
        Ok(answer::consumer(name, consumer, now))
    }

    fn delete_consumer(&mut self, rest: &str, turn: &mut Turn<'_>) -> Result<Value, Refusal> {
        let (name, consumer) = rest.split_once('.').ok_or(BAD_REQUEST)?;
        let stream = self.streams.get_mut(name).ok_or(NO_STREAM)?;
        let mut consumer = stream.consumers.remove(consumer).ok_or(NO_CONSUMER)?;
        consumer.pulls.end("Consumer Deleted", turn);
        Ok(answer::deleted("consumer"))
    }

    fn delete_stream(&mut self, name: &str, turn: &mut Turn<'_>) -> Result<Value, Refusal> {
        let stream = self.streams.remove(name).ok_or(NO_STREAM)?;
        for mut consumer in stream.consumers.into_values() {
            consumer.pulls.end("Consumer Deleted", turn);
        }
        Ok(answer::deleted("stream"))
    }

    fn pull(&mut self, rest: &str, body: &[u8], reply: Option<&str>, turn: &mut Turn<'_>) -> bool {
        let Some((name, consumer)) = rest.split_once('.') else { return false };
        let Some(stream) = self.streams.get_mut(name) else { return false };
        let Some(consumer) = stream.consumers.get_mut(consumer) else { return false };
        if let Some(reply) = reply {
            consumer.pull(reply, body, &stream.store, turn);
        }
        true
    }

    fn read_leader(&self, rest: &str, body: &[u8]) -> Result<Value, Refusal> {
        let name = rest.strip_prefix("GET.").ok_or(BAD_REQUEST)?;
        let request: Value = serde_json::from_slice(body).map_err(|_| INVALID_JSON)?;
        let (subject, sequence) = (request["last_by_subj"].as_str(), request["seq"].as_u64());
        let store = &self.stream(name)?.store;
        let found = match (subject, sequence, request["next_by_subj"].as_str()) {
            (Some(subject), None, None) => store.last_of(subject),
            (None, Some(sequence), None) => store.get(sequence),
            (None, Some(sequence), Some(filter)) => store.next(filter, sequence),
            _ => return Err(BAD_REQUEST),
        };
        found.map(answer::message).ok_or(NO_MESSAGE)
    }

    /// A direct get of a subject's newest message; a stream without direct get does not listen.
    fn read_any(&self, rest: &str, reply: Option<&str>, turn: &mut Turn<'_>) -> bool {
        let Some((name, subject)) = rest.split_once('.') else { return false };
        let Some(stream) = self.streams.get(name).filter(|it| it.config.allow_direct) else { return false };
        let Some(reply) = reply else { return true };
        // Where the clock was stepped back since, a time that is to come says nothing of how old a message is.
        let is_there = |stored: u64| stored > turn.now || stored + turn.lag <= turn.now;
        let seen = stream.store.last_of(subject).filter(|it| is_there(it.stored));
        turn.send(match seen {
            Some(message) => {
                Sent::new(reply, Kind::Answer, message.payload.clone()).headers(stream.read_headers(message))
            }
            None => Sent {
                status: Some((404, "Message Not Found".into())),
                ..Sent::new(reply, Kind::Answer, Bytes::new())
            },
        });
        true
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        self.streams.values().filter_map(Stream::next_wake).min()
    }

    pub(super) fn wake(&mut self, turn: &mut Turn<'_>) {
        for stream in self.streams.values_mut() {
            if stream.next_wake().is_some_and(|at| at <= turn.now) {
                stream.wake(turn);
            }
        }
    }
}
