//! The pulls that wait at a consumer: whose turn it is, what ends them, and the texts of their statuses.

use std::collections::VecDeque;

use serde_json::Value;

use super::{
    ledger::Position,
    turn::{Sent, Turn},
};
use crate::{broker::Headers, wire::header};

/// An open pull.
#[derive(Clone, Debug)]
struct Pull {
    reply: String,
    left: i64,
    delivered: u64,
    no_wait: bool,
    expires: Option<u64>,
    /// Interval and time of the next idle heartbeat.
    beat: Option<(u64, u64)>,
}

/// What a pull asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    batch: i64,
    expires: u64,
    no_wait: bool,
    idle_heartbeat: u64,
}

impl Wish {
    /// Reads the body of a pull: nothing, a number, or JSON (`nextReqFromMsg`).
    fn parse(body: &[u8]) -> Result<Self, String> {
        let one = Self { batch: 1, expires: 0, no_wait: false, idle_heartbeat: 0 };
        let body = body.trim_ascii();
        if !body.starts_with(b"{") {
            let batch = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
            return Ok(Self { batch: batch.unwrap_or(1), ..one });
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let wish = Self {
            batch: value["batch"].as_i64().unwrap_or(0),
            expires: value["expires"].as_u64().unwrap_or(0),
            no_wait: value["no_wait"].as_bool().unwrap_or(false),
            idle_heartbeat: value["idle_heartbeat"].as_u64().unwrap_or(0),
        };
        if wish.idle_heartbeat > 0 && wish.idle_heartbeat * 2 > wish.expires {
            return Err("heartbeat value too large".into());
        }
        Ok(wish)
    }
}

/// The open pulls of a consumer, served in turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulls {
    waiting: VecDeque<Pull>,
}

impl Pulls {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A restarted server knows no pulls.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Takes a pull in, or answers why not. `available` counts the messages that could be delivered now.
    pub(super) fn open(
        &mut self,
        reply: &str,
        body: &[u8],
        available: u64,
        most: usize,
        turn: &mut Turn<'_>,
    ) {
        let wish = match Wish::parse(body) {
            Ok(wish) => wish,
            Err(text) => return turn.send(Sent::status(reply, 400, format!("Bad Request - {text}"))),
        };
        if wish.no_wait && available == 0 && wish.expires == 0 {
            return turn.send(Sent::status(reply, 404, "No Messages"));
        }
        if wish.no_wait && available > 0 {
            self.sweep(false, Position::default(), turn);
            if i64::try_from(available).is_ok_and(|it| it < self.waiting.iter().map(|pull| pull.left).sum()) {
                return turn.send(Sent::status(reply, 408, "Requests Pending"));
            }
        }
        if self.waiting.len() >= most {
            // A puller with heartbeats is left to miss them, so that it does not ask again in a loop.
            if wish.idle_heartbeat == 0 {
                turn.send(Sent::status(reply, 409, "Exceeded MaxWaiting"));
            }
            return;
        }
        self.waiting.push_back(Pull {
            reply: reply.to_owned(),
            left: wish.batch,
            delivered: 0,
            no_wait: wish.no_wait,
            expires: (wish.expires > 0).then(|| turn.now + wish.expires),
            beat: (wish.idle_heartbeat > 0).then(|| (wish.idle_heartbeat, turn.now + wish.idle_heartbeat)),
        });
    }

    /// Where the next message goes; pulls that are over, or that nobody listens to any more, are dropped on the way.
    pub(super) fn next(&mut self, turn: &mut Turn<'_>) -> Option<String> {
        while let Some(mut pull) = self.waiting.pop_front() {
            if pull.expires.is_some_and(|at| at <= turn.now) {
                turn.send(timed_out(&pull));
                continue;
            }
            if !turn.heard(&pull.reply) {
                continue;
            }
            let reply = pull.reply.clone();
            pull.left -= 1;
            pull.delivered += 1;
            if let Some((every, at)) = &mut pull.beat {
                *at = turn.now + *every;
            }
            if pull.left > 0 {
                self.waiting.push_back(pull);
            }
            return Some(reply);
        }
        None
    }

    /// Ends the pulls whose time is over and sends heartbeats; `exhausted` says that no message is left to deliver.
    pub(super) fn sweep(&mut self, exhausted: bool, delivered: Position, turn: &mut Turn<'_>) {
        self.waiting.retain_mut(|pull| {
            if pull.expires.is_some_and(|at| at <= turn.now) {
                turn.send(timed_out(pull));
                return false;
            }
            if exhausted && pull.no_wait && (pull.expires.is_none() || pull.delivered > 0) {
                turn.send(Sent::status(&*pull.reply, 404, "No Messages"));
                return false;
            }
            if !turn.heard(&pull.reply) {
                return false;
            }
            if let Some((every, at)) = &mut pull.beat
                && *at <= turn.now
            {
                *at = turn.now + *every;
                turn.send(idle(&pull.reply, delivered));
            }
            true
        });
    }

    /// Ends every pull because its consumer is gone.
    pub(super) fn end(&mut self, why: &str, turn: &mut Turn<'_>) {
        for pull in self.waiting.drain(..) {
            turn.send(Sent::status(pull.reply, 409, why));
        }
    }

    pub(super) fn shift_timers(&mut self, by: i64) {
        for pull in &mut self.waiting {
            pull.expires = pull.expires.map(|at| at.saturating_add_signed(by));
            pull.beat = pull.beat.map(|(every, at)| (every, at.saturating_add_signed(by)));
        }
    }

    /// When the next pull ends or wants a heartbeat.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.waiting.iter().flat_map(|pull| [pull.expires, pull.beat.map(|(_, at)| at)]).flatten().min()
    }
}

fn timed_out(pull: &Pull) -> Sent {
    let headers = Headers::default()
        .with(header::PENDING_MESSAGES, pull.left.to_string())
        .with("Nats-Pending-Bytes", "0");
    Sent::status(&*pull.reply, 408, "Request Timeout").headers(headers)
}

fn idle(reply: &str, delivered: Position) -> Sent {
    let headers = Headers::default()
        .with("Nats-Last-Consumer", delivered.delivery.to_string())
        .with("Nats-Last-Stream", delivered.stream.to_string());
    Sent::status(reply, 100, "Idle Heartbeat").headers(headers)
}
