//! What workers do: pull, and settle what they were given, or were given long ago.

use std::time::Duration;

use bytes::Bytes;

use super::play::{Player, SETTLE, SILENCE};
use crate::{
    broker::{Broker, Message, Outgoing, Subscription},
    subject::{self, AckSubject},
    wire::header,
};

/// A pull that ends in a phase.
const SHORT: Duration = Duration::from_millis(40);
/// One with time for two heartbeats, far from its end.
const LONG: Duration = Duration::from_millis(250);
const BEAT: Duration = Duration::from_millis(100);
/// Two pulls end this far from each other, and from what comes meanwhile.
const APART: Duration = Duration::from_millis(70);
/// A NAK with a delay; what is waited for it covers the server's own look at it.
const NAK_DELAY: Duration = Duration::from_millis(40);
const BEYOND_NAK: Duration = Duration::from_millis(110);

impl<B: Broker> Player<'_, B> {
    pub(super) async fn pull(&mut self) {
        let consumer = self.one_of(&["m", "m", "m", "m", "m", "m", "m", "n", "n", "gone"]);
        let batch = 1 + self.below(3);
        let (short, long, beat) = (SHORT.as_nanos(), LONG.as_nanos(), BEAT.as_nanos());
        let body = match self.below(9) {
            0..=4 => format!(r#"{{"batch":{batch},"no_wait":true}}"#),
            5 => format!(r#"{{"batch":{batch},"no_wait":true,"expires":{short}}}"#),
            6 if self.one_in(2) => {
                format!(r#"{{"batch":{batch},"expires":{long},"idle_heartbeat":{beat}}}"#)
            }
            7 if self.one_in(3) => r#"{"batch":1,"expires":1000,"idle_heartbeat":900}"#.into(),
            _ => format!(r#"{{"batch":{batch},"expires":{short}}}"#),
        };
        if body.contains("no_wait") {
            // A server answers a publish before its consumers have heard of the message: once in some thousand sequences
            // a pull that does not wait came in between.
            self.settle_down().await;
        }
        self.open(consumer, &body).await;
        self.collect(&format!("pull {consumer} {body}"), batch).await;
    }

    pub(super) async fn open(&mut self, consumer: &str, body: &str) {
        self.pulls += 1;
        let reply = Some(format!("{}.{}", self.inbox, self.pulls));
        let subject = subject::api::pull(&self.subjects.request_stream(), consumer);
        let pull = Outgoing { reply, ..Outgoing::new(subject, body.to_owned()) };
        self.broker.publish(pull).await.unwrap();
    }

    /// A pull that nobody listens to any more takes nothing, but changes the order of redeliveries.
    pub(super) async fn abandoned_pull(&mut self) {
        let reply = Some(format!("{}.nobody.listens", self.inbox));
        let subject = subject::api::pull(&self.subjects.request_stream(), "m");
        let pull = Outgoing { reply, ..Outgoing::new(subject, r#"{"batch":2,"expires":60000000000}"#) };
        self.broker.publish(pull).await.unwrap();
        self.note("abandoned pull", ());
    }

    /// What the open pulls bring, until they have brought all or have ended.
    pub(super) async fn collect(&mut self, what: &str, mut left: u64) {
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
                100 => self.spent += BEAT,
                408 => self.spent += SHORT,
                _ => {}
            }
            if code != 100 {
                return;
            }
        }
    }

    /// Two pulls wait when messages come: they are served in turn.
    pub(super) async fn two_pulls(&mut self) {
        for expires in [APART * 2, APART * 3] {
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
        self.spent += APART * 3;
    }

    /// The consumer takes two pulls at a time; the third ends at once, and the others when a message has come for each.
    pub(super) async fn pulls_over_the_limit(&mut self) {
        for expires in [APART * 2, APART * 3, APART] {
            let body = format!(r#"{{"batch":1,"expires":{}}}"#, expires.as_nanos());
            self.open("n", &body).await;
            tokio::time::sleep(SETTLE).await;
        }
        for _ in 0..3 {
            self.collect("one of three pulls", 1).await;
        }
        self.spent += APART * 3;
    }

    fn delivery(&mut self, message: &Message) -> String {
        let reply = message.reply.as_ref().unwrap().to_string();
        let ack = AckSubject::parse(&reply).unwrap();
        let pending = reply.rsplit('.').next().unwrap();
        let id = message.headers.first(header::MESSAGE_ID);
        let line = format!(
            "{} id {id:?} delivery {} stream {} consumer {} pending {pending} {:?}",
            message.subject, ack.delivery, ack.stream_sequence, ack.consumer_sequence, message.payload
        );
        self.deliveries.push(reply);
        line
    }

    pub(super) async fn settle(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        // Most often the newest, else any: stale ones too.
        let newest = self.deliveries.len() as u64 - 1;
        let at = if self.one_in(2) { newest } else { self.below(newest + 1) };
        let mut reply = self.deliveries[at as usize].clone();
        let stream = self.subjects.request_stream();
        match self.below(30) {
            // Never delivered.
            0 => reply = subject::ack_by_sequence(&stream, "m", 999),
            1 => reply = subject::ack_by_sequence(&stream, "gone", 1),
            // Settled by the other consumer's subject.
            2 => reply = reply.replace(".m.", ".n."),
            3 => reply = subject::ack_by_sequence(&stream, "m", 1),
            _ => {}
        }
        let delay = |delay: Duration| format!(r#"-NAK {{"delay": {}}}"#, delay.as_nanos());
        let (soon, never) = (delay(NAK_DELAY), delay(Duration::from_secs(600)));
        let verbs =
            ["+ACK", "+ACK", "+ACK", "", "-NAK", "-NAK {\"delay\": 0}", &soon, &never, "+TERM", "+TERM why"];
        let verb = if self.one_in(4) { "+WPI" } else { self.one_of(&verbs) };
        let what = format!("{verb} {}", without_time(&reply));
        if self.one_in(4) {
            // As heartbeats and most acks are sent: nobody waits for an answer.
            let sent = self.broker.publish(Outgoing::new(reply, Bytes::copy_from_slice(verb.as_bytes())));
            let sent = sent.await;
            self.note(&what, sent);
        } else {
            let message = Outgoing::new(reply, Bytes::copy_from_slice(verb.as_bytes()));
            let asked = self.broker.request(message, SILENCE * 9);
            match tokio::time::timeout(SILENCE, asked).await {
                Ok(answer) => self.note(&what, answer.map(|it| it.payload)),
                Err(_) => {
                    self.spent += SILENCE;
                    self.note(&what, "silence");
                }
            }
        }
        if verb.contains("delay") {
            tokio::time::sleep(BEYOND_NAK).await;
            self.spent += BEYOND_NAK;
        }
    }
}

fn status(message: &Message) -> String {
    let pending = message.headers.first(header::PENDING_MESSAGES);
    let bytes = message.headers.first("Nats-Pending-Bytes");
    let last = (message.headers.first("Nats-Last-Consumer"), message.headers.first("Nats-Last-Stream"));
    let subject = message.headers.first(header::SUBJECT);
    let (code, text, pull) = (message.status, &message.description, message.subject.rsplit('.').next());
    format!("{code:?} {text:?} {pending:?} {bytes:?} {last:?} {subject:?} of pull {pull:?}")
}

/// An ack subject without its time stamp, which differs.
fn without_time(reply: &str) -> String {
    let mut tokens: Vec<&str> = reply.split('.').collect();
    tokens.remove(tokens.len() - 2);
    tokens.join(".")
}
