//! The server: a work queue without fences, a record by compare-and-set, message ids that a restart forgets.

use super::{
    Protocol,
    cancel::Cancel,
    marks::Mark,
    promises::Promise,
    setting::Fault,
    world::{Copy, Hand, Mail, Message, Record, Step, Todo, World},
};
use crate::{
    protocol::{
        attempt::{Attempt, Delivery, Event, Outcome},
        caller,
        time::Moment,
    },
    wire::record::{Kind, Reason},
};

/// The deadline of requests that have one, and until when an owner may claim that a killed server has forgotten:
/// [`World::now`] says when that is.
const EXPIRES: Moment = Moment(103_000_000_000);
const OWNER_CLAIMS_UNTIL: Moment = Moment(107_000_000_000);

impl World {
    pub(super) fn steps_of_server(&self, protocol: &Protocol, steps: &mut Vec<Step>) {
        for (request, it) in self.requests.iter().enumerate() {
            if it.record.is_some_and(|record| record.waits) {
                steps.push(Step::DelayOver(request));
            }
            for (message, stored) in it.queue.iter().enumerate() {
                if self.hands.len() >= protocol.setting.slots || !self.is_due(request, stored) {
                    continue;
                }
                steps.push(Step::Deliver { request, message, bound_before: true });
                // Where the server came up again it makes no difference who was bound before.
                if protocol.setting.backlog && !stored.old {
                    steps.push(Step::Deliver { request, message, bound_before: false });
                }
            }
        }
        steps.extend((0..self.mail.len()).map(Step::Arrive));
        if protocol.setting.deadline && !self.expired {
            steps.push(Step::Expire);
        }
    }

    /// The server's lease ends after the worker's own, so nobody who keeps or renews his has it taken away; heartbeats
    /// are not fenced, so an older delivery's worker keeps the message as well as the newest one's.
    fn is_due(&self, request: usize, message: &Message) -> bool {
        message.available || !self.hands_of(request).any(|hand| hand.message == message.sequence)
    }

    pub(super) fn faults_of_server(&self, protocol: &Protocol, steps: &mut Vec<Step>) {
        let setting = &protocol.setting;
        let forgets_id = self.requests.iter().any(|it| it.remembered && it.queue.is_empty());
        let forgets_delivery = self.requests.iter().flat_map(|it| &it.queue).any(|it| it.count > 0);
        let cuts = self.hands.iter().any(|hand| !hand.cut);
        if setting.allows(Fault::ForgetIds) && forgets_id {
            steps.push(Step::Goes(Fault::ForgetIds, 0));
        }
        if setting.allows(Fault::Restart) && (forgets_id || cuts) {
            steps.push(Step::Goes(Fault::Restart, 0));
        }
        if setting.allows(Fault::Kill) && forgets_delivery {
            steps.push(Step::Goes(Fault::Kill, 0));
        }
    }

    pub(super) fn server_restarts(&mut self, fault: Fault) {
        for it in &mut self.requests {
            it.remembered &= !it.queue.is_empty();
        }
        if fault == Fault::ForgetIds {
            return;
        }
        // Acks and NAKs are dropped while the connection is down.
        self.hands.retain(|hand| !matches!(hand.todo, Todo::Ack | Todo::Nak));
        for hand in &mut self.hands {
            hand.cut = true;
        }
        for message in self.requests.iter_mut().flat_map(|it| &mut it.queue) {
            message.old = true;
            if fault == Fault::Kill {
                message.count = 0;
                message.available = true;
            }
        }
    }

    /// A copy reaches the request stream.
    pub(super) fn publish(&mut self, protocol: &Protocol, request: usize, copy: Copy) -> caller::Answer {
        let it = &mut self.requests[request];
        if copy.with_message_id && it.remembered {
            protocol.mark(Mark::Duplicate);
            return caller::Answer::Duplicate;
        }
        if protocol.one_per_subject && !it.queue.is_empty() {
            protocol.mark(Mark::Exists);
            return caller::Answer::Exists;
        }
        // A copy that another one has overtaken hung for longer than a first copy may: its sender waits that long.
        let fresh = copy.after == it.copies;
        it.copies += 1;
        it.remembered |= copy.with_message_id;
        let sequence = it.copies;
        it.queue.push(Message { sequence, copy, fresh, old: false, count: 0, available: true });
        it.stored_calls |= 1 << copy.call;
        let refused = it.refused_calls & it.stored_calls != 0;
        if !fresh {
            protocol.mark(Mark::Overtaken);
        }
        if self.outcome(request).is_some() {
            protocol.mark(Mark::StoredAgain);
        }
        if refused {
            self.breaks(Promise::RefusedNeverRan);
        }
        caller::Answer::Stored
    }

    /// A record reaches the record stream: compare and set.
    pub(super) fn store(
        &mut self,
        protocol: &Protocol,
        request: usize,
        expected: u64,
        record: Record,
    ) -> Option<u64> {
        let before = self.requests[request].record;
        let last = before.map_or(0, |it| it.sequence);
        if protocol.is_compared(record.kind) && expected != last {
            protocol.mark(Mark::WriteRefused);
            return None;
        }
        if before.is_some_and(|it| it.kind == Kind::Outcome) {
            self.breaks(Promise::OneOutcome);
        }
        match (record.kind, record.outcome) {
            (Kind::Claim, _) if before.is_some_and(|it| it.kind == Kind::Claim && it.by != record.by) => {
                protocol.mark(Mark::TakeOver);
            }
            (Kind::Released, _) => {
                protocol.mark(if record.waits { Mark::Retry } else { Mark::HandOver });
                let it = &mut self.requests[request];
                it.excused = true;
                // A release in doubt may be written twice.
                let again = before.is_some_and(|it| it.kind == Kind::Released && it.by == record.by);
                it.retries += u8::from(record.waits && !again);
                if u32::from(it.retries) >= protocol.setting.terms.attempts {
                    self.breaks(Promise::AttemptsAreCounted);
                }
            }
            (_, Some(Outcome::Cancelled)) => self.ends_cancelled(protocol, request, record.attempt),
            (_, Some(outcome)) => self.ends_as(protocol, request, outcome),
            _ => {}
        }
        self.requests[request].record = Some(Record { sequence: last + 1, ..record });
        Some(last + 1)
    }

    /// A checkpoint reaches the record stream: it is stored if the record is still the claim that it names.
    pub(super) fn store_checkpoint(
        &mut self,
        protocol: &Protocol,
        request: usize,
        expected: u64,
        by: u8,
        number: u8,
    ) -> bool {
        let it = &mut self.requests[request];
        let is_expected = |it: &Record| it.sequence == expected || !protocol.compares_checkpoints;
        let Some(record) = it.record.filter(is_expected) else {
            return false;
        };
        let stands = record.kind == Kind::Claim && record.by == by && number >= it.checkpoint;
        it.checkpoint = number;
        if !stands {
            self.breaks(Promise::CheckpointsStand);
        }
        true
    }

    fn ends_cancelled(&mut self, protocol: &Protocol, request: usize, attempt: u32) {
        protocol.mark(if attempt == 0 { Mark::CancelledBeforeStart } else { Mark::Cancelled });
        let it = &self.requests[request];
        if it.cancel == Cancel::Unasked || (attempt == 0 && it.runs > 0) {
            self.breaks(Promise::CancelledDoesNotBegin);
        }
    }

    fn ends_as(&mut self, protocol: &Protocol, request: usize, outcome: Outcome) {
        let (Outcome::Error(Some(reason)) | Outcome::Failed(reason) | Outcome::Rejected(reason)) = outcome
        else {
            return;
        };
        match reason {
            Reason::Exhausted => protocol.mark(Mark::Exhausted),
            Reason::Interrupted => protocol.mark(Mark::Interrupted),
            Reason::Expired => protocol.mark(Mark::Expired),
            _ => {}
        }
        if let Outcome::Rejected(_) = outcome {
            protocol.mark(Mark::Rejected);
            if self.requests[request].runs > 0 {
                self.breaks(Promise::RefusedNeverRan);
            }
        }
    }

    pub(super) fn deliver(
        &mut self,
        protocol: &Protocol,
        request: usize,
        message: usize,
        bound_before: bool,
    ) {
        let setting = &protocol.setting;
        let it = &mut self.requests[request];
        it.deliveries += 1;
        let by = it.deliveries;
        let message = &mut it.queue[message];
        message.count += 1;
        message.available = false;
        let message = *message;
        let delivery = Delivery {
            count: message.count,
            resend: message.copy.resend,
            fresh: message.fresh,
            above_bound: bound_before && !message.old,
            expires: if setting.deadline { EXPIRES } else { Moment::FAR },
            owner_claims_until: OWNER_CLAIMS_UNTIL,
        };
        let mut id = [0; 16];
        id[0] = by;
        self.hands.push(Hand {
            request,
            message: message.sequence,
            payload: message.copy.payload,
            by,
            attempt: Attempt::new(id, delivery, setting.terms),
            todo: Todo::Nothing,
            handler: false,
            began: false,
            cut: false,
            late: false,
            doubt: None,
            checkpoint: 0,
            stores: false,
            drains: false,
            waits: 0,
        });
        let elsewhere = self.hands_of(request).filter(|it| it.message == message.sequence).count() > 1;
        match message.count {
            1 if elsewhere => protocol.mark(Mark::Forgotten),
            1 => {}
            _ => protocol.mark(Mark::Redelivery),
        }
        let at = self.hands.len() - 1;
        if self.requests[request].cancel != Cancel::Unasked {
            self.feed(protocol, at, Event::CancelHeard);
        }
        self.feed(protocol, at, Event::Begin);
    }

    /// What hung in the network arrives.
    pub(super) fn arrive(&mut self, protocol: &Protocol, at: usize) {
        match self.mail.remove(at) {
            Mail::Publish { request, copy } => {
                self.publish(protocol, request, copy);
            }
            Mail::Write { request, expected, record } => {
                if self.store(protocol, request, expected, record).is_some() {
                    protocol.mark(Mark::LateWrite);
                }
            }
            Mail::Checkpoint { request, expected, by, number } => {
                if self.store_checkpoint(protocol, request, expected, by, number) {
                    protocol.mark(Mark::LateCheckpoint);
                }
            }
            Mail::Ack { request, message } => {
                if self.hands_of(request).any(|hand| hand.message == message) {
                    protocol.mark(Mark::StaleAck);
                }
                self.ack(request, message);
            }
            Mail::Nak { request, message } => {
                if self.hands_of(request).any(|hand| hand.message == message) {
                    protocol.mark(Mark::StaleNak);
                }
                self.nak(request, message);
            }
        }
    }

    /// The server does not ask whose ack it is.
    pub(super) fn ack(&mut self, request: usize, message: u8) {
        self.requests[request].queue.retain(|it| it.sequence != message);
    }

    /// Nor whose NAK. Its delay is over when the message is available, and so is a released record's, which is the same.
    pub(super) fn nak(&mut self, request: usize, message: u8) {
        let it = &mut self.requests[request];
        for message in it.queue.iter_mut().filter(|it| it.sequence == message) {
            message.available = true;
        }
        if let Some(record) = &mut it.record {
            record.waits = false;
        }
    }
}
