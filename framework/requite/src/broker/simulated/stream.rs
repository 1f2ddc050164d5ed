//! A stream: what it stores, what it refuses and with which words, what it republishes, and what acks remove.
//!
//! The order of the checks is that of a single server (`processJetStreamMsg`): the expected sequence before the
//! message id, both before the limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;

use super::{
    answer,
    consumer::Consumer,
    ledger::Position,
    pattern::{map, matches},
    store::{Store, Stored, header_size, stored_size},
    turn::{Kind, Sent, Turn},
};
use crate::{
    broker::Headers,
    subject::AckSubject,
    wire::{
        header,
        jetstream::{ApiError, StreamConfig, code},
    },
};

/// The subject whose last sequence is compared, where it is not the message's own.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
const ROLLUP: &str = "Nats-Rollup";
const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
/// The most header bytes that a message may have.
const MAX_HEADER: usize = 65_535;

/// A publish as it reaches a stream.
pub(super) struct Publish<'a> {
    pub(super) subject: &'a str,
    pub(super) reply: Option<&'a str>,
    pub(super) headers: &'a Headers,
    pub(super) payload: &'a Bytes,
}

/// A stream and its consumers.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) config: StreamConfig,
    pub(super) created: u64,
    pub(super) store: Store,
    pub(super) consumers: BTreeMap<String, Consumer>,
    /// Message ids with sequence and time; in memory only, rebuilt from what is stored.
    seen: BTreeMap<String, (u64, u64)>,
}

enum Verdict {
    Stored(u64),
    Duplicate(u64),
}

fn refused(status: u16, err_code: u32, text: impl Into<String>) -> ApiError {
    ApiError { code: status, err_code, description: text.into() }
}

impl Stream {
    pub(super) fn new(config: StreamConfig, now: u64) -> Self {
        let (store, consumers, seen) = (Store::default(), BTreeMap::new(), BTreeMap::new());
        Self { config, created: now, store, consumers, seen }
    }

    /// Whether the stream captures the subject.
    pub(super) fn captures(&self, subject: &str) -> bool {
        self.config.subjects.iter().any(|pattern| matches(pattern, subject))
    }

    /// Takes a captured publish in and answers it.
    pub(super) fn publish(&mut self, publish: &Publish<'_>, turn: &mut Turn<'_>) {
        if !turn.quorum {
            return;
        }
        let subject = self.config.subject_transform.as_ref();
        let subject = subject.and_then(|it| map(&it.src, &it.dest, publish.subject));
        let subject = subject.unwrap_or_else(|| publish.subject.to_owned());
        let before = self.store.last_of(&subject).map_or(0, |it| it.sequence);
        let verdict = self.admit(&subject, publish, turn);
        if let Ok(Verdict::Stored(sequence)) = verdict {
            self.republish(sequence, before, turn);
        }
        if let Some(reply) = publish.reply {
            let name = &self.config.name;
            let payload = match &verdict {
                Ok(Verdict::Stored(sequence)) => answer::stored(name, *sequence),
                Ok(Verdict::Duplicate(sequence)) => answer::duplicate(name, *sequence),
                Err(error) => answer::not_stored(name, error),
            };
            turn.send(Sent::new(reply, Kind::PubAck, payload));
        }
        if let Ok(Verdict::Stored(sequence)) = verdict {
            self.serve_new(sequence, turn);
        }
    }

    fn serve_new(&mut self, sequence: u64, turn: &mut Turn<'_>) {
        let Some(message) = self.store.get(sequence) else { return };
        for consumer in self.consumers.values_mut().filter(|it| it.wants(&message.subject)) {
            consumer.notice(message);
            consumer.deliver(&self.store, turn);
        }
    }

    /// Every check in the server's order; stores if all pass.
    fn admit(
        &mut self,
        subject: &str,
        publish: &Publish<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Verdict, ApiError> {
        let headers = publish.headers;
        if headers.first(EXPECTED_STREAM).is_some_and(|name| name != self.config.name) {
            return Err(refused(400, 10060, "expected stream does not match"));
        }
        let ttl = headers.first(header::TTL).map(parse_ttl);
        if !self.config.allow_msg_ttl && ttl.is_some_and(|it| it != Ok(None)) {
            return Err(refused(400, 10166, "per-message TTL is disabled"));
        }
        self.check_expected(subject, headers)?;
        let id = headers.first(header::MESSAGE_ID).filter(|id| !id.is_empty());
        if let Some(sequence) = id.and_then(|id| self.seen_within_window(id, turn.now)) {
            return Ok(Verdict::Duplicate(sequence));
        }
        if headers.first(ROLLUP).is_some() {
            return Err(refused(500, 10111, "rollup not permitted"));
        }
        if header_size(headers).is_some_and(|size| size > MAX_HEADER) {
            return Err(refused(400, code::HEADER_TOO_LARGE, "header size exceeds maximum allowed of 64k"));
        }
        let ttl = match ttl.transpose() {
            Ok(ttl) => ttl.flatten(),
            Err(InvalidTtl) => return Err(refused(400, 10165, "invalid per-message TTL")),
        };
        self.check_limits(subject, publish)?;
        let message = Stored {
            sequence: 0,
            subject: subject.to_owned(),
            headers: headers.clone(),
            payload: publish.payload.clone(),
            stored: turn.now,
            at: turn.elapsed,
            expires: ttl.map(|ttl| turn.now + crate::wire::jetstream::nanos(ttl)),
        };
        let sequence = self.store.append(message);
        if let Some(id) = id {
            self.seen.insert(id.to_owned(), (sequence, turn.now));
        }
        self.drop_surplus(subject, turn.now);
        Ok(Verdict::Stored(sequence))
    }

    fn check_expected(&self, subject: &str, headers: &Headers) -> Result<(), ApiError> {
        let other = headers.first(EXPECTED_SUBJECT);
        let Some(expected) = headers.first(header::EXPECTED_LAST).and_then(|it| it.parse::<u64>().ok())
        else {
            let text = "missing sequence for expected last sequence per subject";
            return if other.is_some() { Err(refused(400, 10193, text)) } else { Ok(()) };
        };
        let last = self.store.last_of(other.unwrap_or(subject)).map_or(0, |it| it.sequence);
        if last == expected {
            return Ok(());
        }
        Err(refused(400, code::WRONG_LAST_SEQUENCE, format!("wrong last sequence: {last}")))
    }

    fn seen_within_window(&mut self, id: &str, now: u64) -> Option<u64> {
        let (sequence, at) = *self.seen.get(id)?;
        if at + self.config.duplicate_window > now {
            return Some(sequence);
        }
        self.seen.remove(id);
        None
    }

    /// The limits of a stream that discards new messages; one that discards old ones makes room instead.
    fn check_limits(&self, subject: &str, publish: &Publish<'_>) -> Result<(), ApiError> {
        if self.config.discard != "new" {
            return Ok(());
        }
        let full = |text: &str| Err(refused(503, code::STORE_FAILED, text));
        let per_subject = limit(self.config.max_msgs_per_subject);
        let replaces = per_subject.is_some_and(|most| self.store.count_of(subject) as u64 >= most);
        if replaces && self.config.discard_new_per_subject {
            return full(code::PER_SUBJECT);
        }
        if !replaces && limit(self.config.max_msgs).is_some_and(|most| self.store.len() as u64 >= most) {
            return full("maximum messages exceeded");
        }
        let size = stored_size(subject, publish.headers, publish.payload);
        if limit(self.config.max_bytes).is_some_and(|most| self.store.bytes() + size > most) {
            let replaced = self.store.first_of(subject).filter(|_| replaces).map_or(0, Stored::size);
            if replaced < size {
                return full("maximum bytes exceeded");
            }
        }
        Ok(())
    }

    /// Removes what the limits do not leave room for.
    fn drop_surplus(&mut self, subject: &str, now: u64) {
        while let Some(oldest) = self.surplus(subject) {
            if let Some(message) = self.store.drop_surplus(oldest) {
                self.forget(&message, now);
            }
        }
    }

    fn surplus(&self, subject: &str) -> Option<u64> {
        let most = limit(self.config.max_msgs_per_subject);
        if most.is_some_and(|most| self.store.count_of(subject) as u64 > most) {
            return self.store.first_of(subject).map(|it| it.sequence);
        }
        // A replaced message may be smaller by a few bytes than the new one: that surplus stays when new ones are
        // discarded.
        (self.is_overfull() && self.config.discard != "new").then(|| self.store.first_sequence())
    }

    fn republish(&mut self, sequence: u64, before: u64, turn: &mut Turn<'_>) {
        let (Some(republish), Some(message)) = (&self.config.republish, self.store.get(sequence)) else {
            return;
        };
        if let Some(to) = map(&republish.src, &republish.dest, &message.subject) {
            let mut headers = self.read_headers(message);
            headers.append(LAST_SEQUENCE, &before.to_string());
            turn.send(Sent::new(to, Kind::Republished, message.payload.clone()).headers(headers));
        }
    }

    /// A message's headers with what the server adds when it reads it back.
    pub(super) fn read_headers(&self, message: &Stored) -> Headers {
        let mut headers = message.headers.clone();
        headers.append(header::STREAM, &self.config.name);
        headers.append(header::SUBJECT, &message.subject);
        headers.append(header::STORED_SEQUENCE, &message.sequence.to_string());
        headers.append(header::TIME_STAMP, &answer::time(message.stored));
        headers
    }

    fn remove(&mut self, sequence: u64, now: u64) {
        if let Some(message) = self.store.remove(sequence) {
            self.forget(&message, now);
        }
    }

    fn forget(&mut self, message: &Stored, now: u64) {
        for consumer in self.consumers.values_mut().filter(|it| it.wants(&message.subject)) {
            consumer.forget(message.sequence, now);
        }
    }

    /// What a killed server finds: what the limits had removed too, until it applies them again, those of the whole
    /// stream first.
    pub(super) fn recover(&mut self) {
        self.store.recover();
        while self.is_overfull() && self.config.discard != "new" {
            self.store.drop_surplus(self.store.first_sequence());
        }
        let most = limit(self.config.max_msgs_per_subject);
        let subjects: BTreeSet<String> = self.store.iter().map(|it| it.subject.clone()).collect();
        for subject in subjects {
            while most.is_some_and(|most| self.store.count_of(&subject) as u64 > most)
                && let Some(oldest) = self.store.first_of(&subject).map(|it| it.sequence)
            {
                self.store.drop_surplus(oldest);
            }
        }
    }

    fn is_overfull(&self) -> bool {
        let over = |most: i64, count: u64| limit(most).is_some_and(|most| count > most);
        over(self.config.max_msgs, self.store.len() as u64) || over(self.config.max_bytes, self.store.bytes())
    }

    /// An ack, heartbeat, NAK or termination; only the stream sequence in it counts (`processAck`).
    pub(super) fn settle(
        &mut self,
        ack: &AckSubject<'_>,
        verb: &[u8],
        reply: Option<&str>,
        turn: &mut Turn<'_>,
    ) {
        let Some(consumer) = self.consumers.get_mut(ack.consumer) else { return };
        let sequence = ack.stream_sequence;
        let mut answered = sequence != 0;
        if verb.is_empty() || verb == b"+ACK" || verb == b"+OK" || verb.starts_with(b"+TERM") {
            // Answered only once it is committed, so that its answer proves a quorum.
            answered &= turn.quorum && consumer.ack(sequence, turn.now);
            if answered {
                self.remove_settled(sequence, turn.now);
            }
        } else if verb.starts_with(b"-NAK") {
            let at = Position { delivery: ack.consumer_sequence, stream: sequence };
            consumer.nak(at, ack.delivery, parse_delay(&verb[4..]), turn.now);
        } else if verb == b"+WPI" {
            consumer.progress(sequence, turn.now);
        }
        if let Some(consumer) = self.consumers.get_mut(ack.consumer) {
            consumer.deliver(&self.store, turn);
        }
        if let Some(reply) = reply.filter(|_| answered) {
            turn.send(Sent::new(reply, Kind::Answer, Bytes::new()));
        }
    }

    fn remove_settled(&mut self, sequence: u64, now: u64) {
        let Some(message) = self.store.get(sequence) else { return };
        if self.config.retention == "workqueue" && !self.consumers.values().any(|it| it.needs(message)) {
            self.remove(sequence, now);
        }
    }

    /// When the stream or a consumer has something to do by itself.
    pub(super) fn next_wake(&self) -> Option<u64> {
        let expiry = self.store.next_expiry().map(|(at, _)| at);
        self.consumers.values().filter_map(Consumer::next_wake).chain(expiry).min()
    }

    pub(super) fn wake(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, sequence)) = self.store.next_expiry()
            && at <= turn.now
        {
            self.remove(sequence, turn.now);
        }
        for consumer in self.consumers.values_mut() {
            if consumer.next_wake().is_some_and(|at| at <= turn.now) {
                consumer.wake(&self.store, turn);
            }
        }
    }

    /// Another server leads; with `forgets` it knows only the message ids of what is stored.
    pub(super) fn change_leader(&mut self, now: u64, forgets: bool, mut check: impl FnMut() -> u64) {
        if forgets {
            self.forget_ids(now);
        }
        for consumer in self.consumers.values_mut() {
            consumer.change_leader(now, check(), &self.store);
        }
    }

    fn forget_ids(&mut self, now: u64) {
        self.seen.clear();
        for message in self.store.iter().filter(|it| it.stored + self.config.duplicate_window > now) {
            if let Some(id) = message.headers.first(header::MESSAGE_ID) {
                self.seen.insert(id.to_owned(), (message.sequence, message.stored));
            }
        }
    }

    /// The server starts again; `check` is drawn per consumer, as the server does.
    pub(super) fn restart(&mut self, written_until: u64, now: u64, mut check: impl FnMut() -> u64) {
        self.forget_ids(now);
        for consumer in self.consumers.values_mut() {
            consumer.restart(written_until, now, check(), &self.store);
        }
    }
}

/// A limit of the configuration; -1 and 0 are none.
fn limit(most: i64) -> Option<u64> {
    u64::try_from(most).ok().filter(|it| *it > 0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InvalidTtl;

/// `Nats-TTL`: seconds, a duration such as `1h`, or `never`.
fn parse_ttl(text: &str) -> Result<Option<Duration>, InvalidTtl> {
    if text.is_empty() || text == "never" {
        return Ok(None);
    }
    let ttl = match text.parse::<u64>() {
        Ok(0) => return Ok(None),
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|_| InvalidTtl)?,
    };
    if ttl < Duration::from_secs(1) { Err(InvalidTtl) } else { Ok(Some(ttl)) }
}

/// What follows `-NAK`: nothing, `{"delay": nanoseconds}`, or a duration; anything else counts as nothing.
fn parse_delay(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        return Some(Duration::from_nanos(value["delay"].as_u64().unwrap_or(0)));
    }
    humantime::parse_duration(text).ok()
}
