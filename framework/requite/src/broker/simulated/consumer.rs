//! A durable pull consumer with explicit acks: who gets which message when, and when again.
//!
//! Re-implements `consumer.go` of nats-server for one replica, as far as the protocol uses it. The oddities are meant:
//! acks are matched by stream sequence only, heartbeats are confirmed for messages long gone, and what is on disk
//! counts a first lease from the publish.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::Value;

use super::{
    answer,
    ledger::{Ledger, Pending, Position, Snapshot, Update},
    pattern::matches,
    pull::Pulls,
    store::{Store, Stored},
    turn::{Kind, Sent, Turn},
};
use crate::wire::jetstream::{ConsumerConfig, nanos};

/// The server lets its timer fire a little late, so that one look serves many (`ackWaitDelay`).
const CHECK_DELAY: u64 = 1_000_000;
/// How soon a NAK with a delay makes the server look (`processNak`).
const LOOK_AGAIN: u64 = 10_000_000;
const DEFAULT_MAX_WAITING: usize = 512;

/// A consumer of one stream.
#[derive(Clone)]
pub(super) struct Consumer {
    stream: String,
    pub(super) config: ConsumerConfig,
    pub(super) created: u64,
    /// How it was found at a start of the server: the answer to the first creation or update after it, whatever that
    /// changes.
    pub(super) found: Option<Value>,
    /// The stream sequence from which new messages are looked for, and the next consumer sequence.
    next: Position,
    floor: Position,
    pending: BTreeMap<u64, Pending>,
    /// By stream sequence: how often it was delivered again.
    redelivered: BTreeMap<u64, u64>,
    /// Waits for a pull, before all new messages.
    redeliver: VecDeque<u64>,
    /// Matching messages from `next` on.
    unseen: u64,
    pub(super) pulls: Pulls,
    /// When leases are looked at.
    check_at: Option<u64>,
    ledger: Ledger,
    /// For observers: how often each message was delivered.
    deliveries: BTreeMap<u64, u64>,
    /// For observers: how many deliveries had a smaller count than were made, because a killed server forgot some.
    forgotten: u64,
}

impl Consumer {
    pub(super) fn new(stream: &str, config: ConsumerConfig, store: &Store, now: u64) -> Self {
        let first = match config.deliver_policy.as_str() {
            "new" => store.last_sequence() + 1,
            _ => store.first_sequence().max(1),
        };
        let floor = Position { delivery: 0, stream: first - 1 };
        let mut consumer = Self {
            stream: stream.to_owned(),
            config,
            created: now,
            found: None,
            next: Position { delivery: 1, stream: first },
            floor,
            pending: BTreeMap::new(),
            redelivered: BTreeMap::new(),
            redeliver: VecDeque::new(),
            unseen: 0,
            pulls: Pulls::default(),
            check_at: None,
            ledger: Ledger::starting_at(floor.stream),
            deliveries: BTreeMap::new(),
            forgotten: 0,
        };
        consumer.count_unseen(store);
        consumer
    }

    fn count_unseen(&mut self, store: &Store) {
        let unseen = store.iter().filter(|it| it.sequence >= self.next.stream && self.wants(&it.subject));
        self.unseen = unseen.count() as u64;
    }

    pub(super) fn wants(&self, subject: &str) -> bool {
        self.config.filter_subject.is_empty() || matches(&self.config.filter_subject, subject)
    }

    fn filter(&self) -> &str {
        if self.config.filter_subject.is_empty() { ">" } else { &self.config.filter_subject }
    }

    /// A message was stored.
    pub(super) fn notice(&mut self, message: &Stored) {
        if message.sequence >= self.next.stream {
            self.unseen += 1;
        }
    }

    /// A pull arrived.
    pub(super) fn pull(&mut self, reply: &str, body: &[u8], store: &Store, turn: &mut Turn<'_>) {
        let available = self.unseen + self.redeliver.len() as u64;
        let most = usize::try_from(self.config.max_waiting).ok().filter(|it| *it > 0);
        self.pulls.open(reply, body, available, most.unwrap_or(DEFAULT_MAX_WAITING), turn);
        self.deliver(store, turn);
    }

    /// The clock was stepped, which timers do not follow.
    pub(super) fn shift_timers(&mut self, by: i64) {
        self.check_at = self.check_at.map(|at| at.saturating_add_signed(by));
        self.pulls.shift_timers(by);
        self.ledger.shift(by);
    }

    /// Serves the open pulls as far as there are messages (`loopAndGatherMsgs`).
    pub(super) fn deliver(&mut self, store: &Store, turn: &mut Turn<'_>) {
        let mut stalled = !turn.quorum;
        while !stalled && !self.pulls.is_empty() {
            let Some((message, count)) = self.next_message(store, turn.now, &mut stalled) else { break };
            let Some(to) = self.pulls.next(turn) else {
                self.put_back(message.sequence, count);
                break;
            };
            if count == 1 {
                self.unseen = self.unseen.saturating_sub(1);
            }
            self.hand_over(message, count, to, turn);
        }
        let delivered = Position { delivery: self.next.delivery - 1, stream: self.next.stream - 1 };
        self.pulls.sweep(!stalled, delivered, turn);
    }

    /// The message whose turn it is, and its delivery count: redeliveries first, whatever `max_ack_pending` says.
    fn next_message<'a>(
        &mut self,
        store: &'a Store,
        now: u64,
        stalled: &mut bool,
    ) -> Option<(&'a Stored, u64)> {
        while let Some(sequence) = self.redeliver.pop_front() {
            match store.get(sequence) {
                Some(message) => {
                    let again = self.redelivered.entry(sequence).or_default();
                    if u64::try_from(self.config.max_deliver).is_ok_and(|most| *again + 1 >= most) {
                        // It stays in its stream, and nobody gets it any more.
                        self.pending.remove(&sequence);
                        continue;
                    }
                    *again += 1;
                    return Some((message, *again + 1));
                }
                // Removed while it waited here: settled now.
                None => self.settle(sequence, now),
            }
        }
        let most = usize::try_from(self.config.max_ack_pending).ok().filter(|it| *it > 0);
        if most.is_some_and(|most| self.pending.len() >= most) {
            *stalled = true;
            return None;
        }
        match store.next(self.filter(), self.next.stream) {
            Some(message) => {
                self.next.stream = message.sequence + 1;
                Some((message, 1))
            }
            None => {
                self.next.stream = self.next.stream.max(store.last_sequence() + 1);
                None
            }
        }
    }

    fn put_back(&mut self, sequence: u64, count: u64) {
        if count == 1 {
            self.next.stream = sequence;
            return;
        }
        // Not counted as redelivered then (measured on 2.15.1).
        match self.redelivered.get_mut(&sequence) {
            Some(again) if *again > 1 => *again -= 1,
            _ => drop(self.redelivered.remove(&sequence)),
        }
        // To the end, as the server does: the order of redeliveries changes.
        self.redeliver.push_back(sequence);
    }

    fn hand_over(&mut self, message: &Stored, count: u64, to: String, turn: &mut Turn<'_>) {
        let at = Position { delivery: self.next.delivery, stream: message.sequence };
        self.next.delivery += 1;
        // On disk a first lease is counted from the publish: that is what a restarted server goes by.
        self.ledger.write(turn.now, Update::Delivered { at, count, since: message.stored });
        let pending =
            self.pending.entry(at.stream).or_insert(Pending { delivery: at.delivery, since: turn.now });
        pending.since = turn.now;
        self.check_within(turn.now, self.config.ack_wait + CHECK_DELAY);
        let made = self.deliveries.entry(at.stream).or_default();
        *made += 1;
        self.forgotten += u64::from(*made > count);
        let mut sent =
            Sent::new(to, Kind::Delivery, message.payload.clone()).headers(message.headers.clone());
        sent.shown = Some(message.subject.clone());
        sent.reply = Some(format!(
            "$JS.ACK.{}.{}.{count}.{}.{}.{}.{}",
            self.stream, self.config.durable_name, at.stream, at.delivery, message.stored, self.unseen
        ));
        turn.send(sent);
    }

    fn check_within(&mut self, now: u64, span: u64) {
        let at = now + span;
        if self.check_at.is_none_or(|planned| planned > at) {
            self.check_at = Some(at);
        }
    }

    /// When the consumer has something to do by itself.
    pub(super) fn next_wake(&self) -> Option<u64> {
        [self.check_at, self.pulls.next_wake()].into_iter().flatten().min()
    }

    pub(super) fn wake(&mut self, store: &Store, turn: &mut Turn<'_>) {
        if self.check_at.is_some_and(|at| at <= turn.now) {
            self.check_leases(store, turn.now);
        }
        self.deliver(store, turn);
    }

    /// Queues what was not acked in time (`checkPending`).
    fn check_leases(&mut self, store: &Store, now: u64) {
        let (first, floor, lease) = (store.first_sequence(), self.floor.stream, self.config.ack_wait);
        let gone: Vec<u64> = self.pending.keys().copied().filter(|it| *it < first || *it <= floor).collect();
        for sequence in gone {
            let pending = self.pending.remove(&sequence).expect("a key of the map was just listed");
            self.redelivered.remove(&sequence);
            self.redeliver.retain(|it| *it != sequence);
            self.floor.stream = self.floor.stream.max(sequence);
            self.floor.delivery = self.floor.delivery.max(pending.delivery);
            self.ledger
                .write(now, Update::Settled(Position { delivery: pending.delivery, stream: sequence }));
        }
        let mut next = lease + CHECK_DELAY;
        let mut expired = Vec::new();
        for (sequence, pending) in &self.pending {
            let elapsed = now.saturating_sub(pending.since);
            if elapsed >= lease {
                if !self.redeliver.contains(sequence) {
                    expired.push(*sequence);
                }
            } else {
                next = next.min(lease - elapsed);
            }
        }
        if let Some(first) = expired.first() {
            let shift = now - self.pending[first].since;
            for sequence in &expired {
                self.pending.get_mut(sequence).expect("expired ones are pending").since += shift;
            }
            self.redeliver.extend(expired);
        }
        self.check_at = if self.pending.is_empty() {
            self.redeliver.clear();
            self.floor = Position { delivery: self.next.delivery - 1, stream: self.next.stream - 1 };
            None
        } else {
            Some(now + next)
        };
    }

    /// `+ACK` and `+TERM`: whether the message may go, and an answer be sent.
    pub(super) fn ack(&mut self, sequence: u64, now: u64) -> bool {
        if sequence >= self.next.stream {
            // Never delivered: not even an answer.
            return false;
        }
        self.settle(sequence, now);
        true
    }

    fn settle(&mut self, sequence: u64, now: u64) {
        let delivery = match self.pending.remove(&sequence) {
            Some(pending) => {
                self.move_floor(Position { delivery: pending.delivery, stream: sequence });
                pending.delivery
            }
            None => 0,
        };
        self.redelivered.remove(&sequence);
        self.redeliver.retain(|it| *it != sequence);
        self.ledger.write(now, Update::Settled(Position { delivery, stream: sequence }));
    }

    fn move_floor(&mut self, settled: Position) {
        if self.pending.is_empty() {
            self.floor = Position { delivery: self.next.delivery - 1, stream: self.next.stream - 1 };
        } else if settled.delivery == self.floor.delivery + 1 {
            self.floor = settled;
            if let Some((stream, next)) = self.pending.range(settled.stream + 1..).next() {
                self.floor = Position { delivery: next.delivery - 1, stream: stream - 1 };
            }
        }
    }

    /// `+WPI`: the lease starts anew if the message is pending, also if it waits for redelivery.
    pub(super) fn progress(&mut self, sequence: u64, now: u64) {
        if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.since = now;
            let at = Position { delivery: pending.delivery, stream: sequence };
            self.ledger.write(now, Update::Delivered { at, count: 1, since: now });
        }
    }

    /// `-NAK`, with or without a delay.
    pub(super) fn nak(&mut self, at: Position, count: u64, delay: Option<Duration>, now: u64) {
        if at.delivery <= self.floor.delivery || at.delivery > self.next.delivery {
            return;
        }
        let Some(pending) = self.pending.get_mut(&at.stream) else { return };
        let Some(delay) = delay else {
            if !self.redeliver.contains(&at.stream) {
                self.redeliver.push_back(at.stream);
            }
            return;
        };
        pending.since = (now + nanos(delay)).saturating_sub(self.config.ack_wait);
        let position = Position { delivery: pending.delivery, stream: at.stream };
        self.ledger.write(now, Update::Delivered { at: position, count, since: pending.since });
        self.redeliver.retain(|it| *it != at.stream);
        if self.check_at.is_some() {
            self.check_at = Some(now + LOOK_AGAIN);
        }
    }

    /// The stream removed a message.
    pub(super) fn forget(&mut self, sequence: u64, now: u64) {
        if sequence >= self.next.stream {
            self.unseen = self.unseen.saturating_sub(1);
        }
        if self.pending.contains_key(&sequence) || self.redelivered.contains_key(&sequence) {
            self.settle(sequence, now);
        }
    }

    /// Whether the message must stay for this consumer (`needAck`).
    pub(super) fn needs(&self, message: &Stored) -> bool {
        let sequence = message.sequence;
        let unsettled = sequence > self.floor.stream
            && (sequence >= self.next.stream || self.pending.contains_key(&sequence));
        self.wants(&message.subject) && (unsettled || self.redelivered.contains_key(&sequence))
    }

    /// A changed `ack_wait` holds from the next look at the leases on.
    pub(super) fn reconfigure(&mut self, config: ConsumerConfig, now: u64) {
        self.config = config;
        if self.check_at.is_some() {
            self.check_at = Some(now + LOOK_AGAIN);
        }
    }

    /// The server starts again with what was written until `since`; it looks at the leases after `check`.
    pub(super) fn restart(&mut self, since: u64, now: u64, check: u64, store: &Store) {
        let state = self.ledger.reload(since);
        self.resume(state, now, check, store);
        self.found = Some(answer::consumer(&self.stream, self, now));
    }

    /// Another server leads: it knows what was agreed on, and none of the pulls.
    pub(super) fn change_leader(&mut self, now: u64, check: u64, store: &Store) {
        let state = self.ledger.replicated();
        self.resume(state, now, check, store);
    }

    fn resume(&mut self, state: Snapshot, now: u64, check: u64, store: &Store) {
        self.pulls.forget();
        self.redeliver.clear();
        self.next = Position { delivery: state.delivered.delivery + 1, stream: state.delivered.stream + 1 };
        self.floor = state.floor;
        self.pending = state.pending;
        self.redelivered = state.redelivered;
        let check = check.min(self.config.ack_wait + CHECK_DELAY);
        self.check_at = (!self.pending.is_empty()).then_some(now + check);
        self.count_unseen(store);
    }

    pub(super) fn facts(&self) -> Facts {
        Facts {
            delivered: self.ledger.delivered(),
            floor: self.ledger.floor(),
            pending: self.pending.len(),
            redelivered: self.redelivered.len(),
            unseen: self.unseen,
        }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn deliveries(&self) -> &BTreeMap<u64, u64> {
        &self.deliveries
    }
}

/// The numbers that an info shows: positions as on disk, counts as in memory.
pub(super) struct Facts {
    pub(super) delivered: Position,
    pub(super) floor: Position,
    pub(super) pending: usize,
    pub(super) redelivered: usize,
    pub(super) unseen: u64,
}
