//! Workers: each delivery driven by the machine of the product, [`Attempt`](crate::protocol::attempt::Attempt).

use std::time::Duration;

use super::{
    Protocol,
    marks::Mark,
    promises::Promise,
    setting::{Fault, LEASE},
    world::{Answer, Hand, Mail, Record, Step, Todo, World},
};
use crate::{
    planted::{Bug, is_planted},
    protocol::{
        attempt::{Action, Ending, Event, Outcome, Owner, Seen, What, Write, Written},
        time::Moment,
    },
    wire::record::{AttemptId, Kind},
};

/// The clock stands still but for what matters: the deadline passes, or one has waited for as long as it has to.
const NOW: Moment = Moment(100_000_000_000);
const TO_DEADLINE: Duration = Duration::from_secs(3);
const LONG_WAIT: u64 = 50;

fn is_over(hand: &Hand) -> bool {
    matches!(hand.todo, Todo::Ack | Todo::Nak)
}

fn attempt_id(by: u8) -> AttemptId {
    let mut id = [0; 16];
    id[0] = by;
    id
}

impl World {
    /// The time as this hand sees it: only what lies between the moments that its machine was told of counts.
    fn now(&self, hand: &Hand) -> Moment {
        match hand.waits {
            0 if self.expired => NOW + TO_DEADLINE,
            waits => NOW + Duration::from_secs(LONG_WAIT * waits),
        }
    }

    pub(super) fn steps_of_worker(&self, protocol: &Protocol, at: usize, steps: &mut Vec<Step>) {
        let hand = &self.hands[at];
        match hand.todo {
            _ if hand.cut => steps.extend([Step::Reconnect(at), Step::LeaseEnds(at)]),
            Todo::Nothing => {}
            Todo::Wait { until, watching } => {
                if watching && until > self.now(hand) {
                    steps.push(Step::LookAgain(at));
                }
                if self.may_have_waited(at, watching) {
                    steps.push(Step::WaitedLongEnough(at));
                }
            }
            _ => steps.push(Step::Do(at)),
        }
        if hand.handler {
            steps.extend(protocol.setting.endings.iter().map(|ending| Step::End(at, *ending)));
            if hand.attempt.is_cancelled() {
                steps.push(Step::End(at, Ending::Killed));
            }
            if !hand.stores && hand.checkpoint < protocol.setting.checkpoints {
                steps.push(Step::Checkpoint(at));
            }
        }
        if hand.drains && hand.handler {
            steps.push(Step::DrainEnds(at));
        }
        if hand.attempt.is_running() && hand.attempt.fence().is_none() && hand.todo == Todo::Nothing {
            steps.push(Step::Beat(at));
        }
    }

    pub(super) fn faults_of_worker(&self, protocol: &Protocol, at: usize, steps: &mut Vec<Step>) {
        let (hand, setting) = (&self.hands[at], &protocol.setting);
        let mut may = |fault, when: bool| {
            if when && setting.allows(fault) {
                steps.push(Step::Goes(fault, at));
            }
        };
        let writes = matches!(hand.todo, Todo::Write(_));
        may(Fault::Crash, true);
        // What is over has its ack or NAK to send, which is dropped while it is cut off, as by a crash.
        may(Fault::Cut, !hand.cut && !is_over(hand));
        may(Fault::Drain, !hand.drains && !hand.cut && !is_over(hand));
        may(Fault::LateWrite, !hand.cut && writes);
        may(Fault::RecordsFull, !hand.cut && writes);
        may(Fault::LateSettle, !hand.cut && is_over(hand));
    }

    /// Time passes for everybody: who can be reached and has the request answers, or writes what it has to write, long
    /// before a newcomer has waited for as long as it must.
    pub(super) fn may_have_waited(&self, at: usize, watching: bool) -> bool {
        let hand = &self.hands[at];
        let others = self.hands_of(hand.request).filter(|it| it.by != hand.by && !it.cut);
        let mut owners = others.filter(|it| it.attempt.is_mine());
        !owners.any(|it| watching || it.todo != Todo::Nothing)
    }

    pub(super) fn waited(&mut self, protocol: &Protocol, at: usize) {
        let Todo::Wait { until, .. } = self.hands[at].todo else { return };
        let hand = &self.hands[at];
        let (request, by, waited) = (hand.request, hand.by, until > self.now(hand));
        // Several servers deliver again only when the lease has run out, so there it is enough to ask.
        let late = waited || protocol.setting.terms.replicated;
        let others = self.hands.iter_mut().filter(|it| it.request == request && it.by != by);
        for other in others.filter(|it| it.cut && late) {
            other.late = true;
            self.requests[request].excused |= other.began;
        }
        if waited {
            self.hands[at].waits += 1;
            self.expired |= protocol.setting.deadline;
        }
        self.feed(protocol, at, Event::Due);
    }

    /// Feeds a machine and takes note of what it asks for; whether the hand is still there.
    pub(super) fn feed(&mut self, protocol: &Protocol, at: usize, event: Event) -> bool {
        let now = self.now(&self.hands[at]);
        let hand = &mut self.hands[at];
        let watching = matches!(event, Event::Owner(_));
        let action = hand.attempt.step(event, now);
        let todo = match action {
            Action::None => None,
            Action::Start => {
                self.start(protocol, at);
                None
            }
            Action::Forget => Some(Todo::Nothing),
            Action::Read(_) => Some(Todo::Read),
            Action::Write(write) => Some(Todo::Write(write)),
            Action::Find(_) => Some(Todo::Find),
            Action::Ask { attempt_id, .. } => Some(Todo::Ask(attempt_id[0])),
            Action::Wait(until) => Some(Todo::Wait { until, watching }),
            Action::Bury(_) => Some(Todo::Bury),
            Action::Ack { tell } => {
                if tell {
                    protocol.mark(Mark::KnownOutcome);
                }
                Some(Todo::Ack)
            }
            Action::Nak(_) => Some(Todo::Nak),
            Action::HandOver => {
                protocol.mark(Mark::HandOverAtCheckpoint);
                return self.hand_over(protocol, at);
            }
        };
        if let Some(todo) = todo {
            self.take_up(at, todo);
        }
        let hand = &mut self.hands[at];
        if !hand.attempt.is_over() {
            let idle = hand.todo == Todo::Nothing && !hand.stores;
            if hand.drains && hand.handler && hand.checkpoint > 0 && idle && !protocol.setting.terms.once {
                self.breaks(Promise::HandedOverAtCheckpoint);
            }
            return true;
        }
        hand.handler = false;
        // What is over sends its ack or NAK if it can, and nothing else.
        let stays = is_over(hand) && !hand.cut;
        if !stays {
            self.hands.remove(at);
        }
        stays
    }

    fn take_up(&mut self, at: usize, todo: Todo) {
        let hand = &mut self.hands[at];
        let busy = hand.todo != Todo::Nothing && !matches!(hand.todo, Todo::Wait { .. });
        let two = busy && !hand.attempt.is_over();
        hand.todo = todo;
        let (request, by) = (hand.request, hand.by);
        if two {
            self.breaks(Promise::OneThingAtATime);
        }
        if let Todo::Write(Write { what: What::Outcome(outcome), .. }) = todo
            && is_planted(Bug::ComputedAnswer)
        {
            self.requests[request].computed = Some(Answer { by, outcome });
        }
    }

    fn start(&mut self, protocol: &Protocol, at: usize) {
        let setting = &protocol.setting;
        let hand = &mut self.hands[at];
        hand.handler = true;
        hand.began = !setting.undecodable();
        let Hand { request, message, by, payload, late, ref attempt, .. } = *hand;
        let (fence, spent, found) = (attempt.fence(), attempt.spent(), hand.checkpoint);
        let it = &self.requests[request];
        let checkpoint = it.checkpoint;
        let together = self.hands_of(request).any(|it| it.by != by && it.handler && !it.late);
        let broken = [
            (Promise::NoRunAfterOutcome, self.outcome(request).is_some()),
            (Promise::OneAtATime, together),
            (Promise::RunsHaveReasons, it.runs > 0 && !it.excused),
            (Promise::Once, setting.terms.once && it.runs > 0),
            (Promise::FencesGrow, setting.terms.fenced && fence.is_none_or(|fence| fence <= it.fence)),
            (Promise::RefusedNeverRan, it.refused_payloads & 1 << payload != 0),
            (Promise::AttemptsAreCounted, spent > setting.terms.attempts),
            (Promise::CheckpointsStand, found != checkpoint),
            (Promise::CancelledDoesNotBegin, it.record.is_some_and(|it| it.cancelled)),
            (Promise::NotAfterTheDeadline, setting.deadline && self.expired),
        ];
        for (promise, _) in broken.into_iter().filter(|(_, broken)| *broken) {
            self.breaks(promise);
        }
        if checkpoint > 0 {
            protocol.mark(Mark::Resumed);
        }
        let it = &mut self.requests[request];
        it.fence = fence.unwrap_or(it.fence);
        if !setting.undecodable() {
            it.runs = (it.runs + 1).min(2);
            it.ran_payloads |= 1 << payload;
            it.excused = late;
        }
        if is_planted(Bug::AckFirst) {
            self.ack(request, message);
        }
    }

    /// A worker does what it is to do, and nothing goes wrong.
    pub(super) fn act(&mut self, protocol: &Protocol, at: usize) {
        let hand = &mut self.hands[at];
        let todo = std::mem::replace(&mut hand.todo, Todo::Nothing);
        let (request, message) = (hand.request, hand.message);
        let event = match todo {
            Todo::Nothing | Todo::Wait { .. } => return,
            Todo::Read => return self.read(protocol, at),
            Todo::Write(write @ Write { what: What::Checkpoint, .. }) => {
                let (by, number) = (hand.by, hand.checkpoint + 1);
                if self.store_checkpoint(protocol, request, write.expected, by, number) {
                    let hand = &mut self.hands[at];
                    (hand.checkpoint, hand.stores) = (number, false);
                    // Not a sequence that any record has.
                    Event::Written(Written::Stored(u64::MAX))
                } else {
                    Event::Written(Written::InDoubt)
                }
            }
            Todo::Write(write) => {
                let record = self.record(&self.hands[at], write);
                let stored = self.store(protocol, request, write.expected, record);
                if stored.is_none() {
                    self.hands[at].doubt = Some(write);
                }
                Event::Written(stored.map_or(Written::InDoubt, Written::Stored))
            }
            Todo::Ask(by) => {
                let mine = self.hands_of(request).any(|it| it.by == by && !it.cut && it.attempt.is_mine());
                if mine {
                    protocol.mark(Mark::OwnerAnswered);
                }
                Event::Owner(if mine { Owner::Mine } else { Owner::Gone })
            }
            // The search took its time, and by its own clock the lease is over before the start.
            Todo::Find if hand.late => return self.lose(protocol, at),
            Todo::Find => {
                let found = self.requests[request].checkpoint;
                self.hands[at].checkpoint = found;
                Event::Found(Ok(found > 0))
            }
            Todo::Bury => {
                protocol.mark(Mark::DeadLetter);
                Event::Buried(true)
            }
            Todo::Ack => {
                self.ack(request, message);
                self.hands.remove(at);
                return;
            }
            Todo::Nak => {
                self.nak(request, message);
                self.hands.remove(at);
                return;
            }
        };
        self.feed(protocol, at, event);
    }

    fn read(&mut self, protocol: &Protocol, at: usize) {
        let hand = &mut self.hands[at];
        let (doubt, by) = (hand.doubt.take(), hand.by);
        let record = self.requests[hand.request].record;
        let seen = self.seen_by(at);
        let stays = self.feed(protocol, at, Event::Read(Ok(seen)));
        let Some(write) = doubt else { return };
        if record.is_some_and(|it| it.by == by && it.write == write.number) {
            protocol.mark(Mark::DoubtWasStored);
        } else if stays && matches!(self.hands[at].todo, Todo::Write(next) if next.what == write.what) {
            protocol.mark(Mark::DoubtWasNot);
        }
    }

    fn record(&self, hand: &Hand, write: Write) -> Record {
        let attempt = &hand.attempt;
        let (kind, spent, waits, outcome) = match write.what {
            What::Claim => (Kind::Claim, attempt.spent(), false, None),
            What::Released { delay, spent } => (Kind::Released, spent, !delay.is_zero(), None),
            What::Outcome(outcome) => (Kind::Outcome, attempt.spent(), false, Some(outcome)),
            What::Checkpoint => unreachable!("it is no record"),
        };
        Record {
            sequence: 0,
            kind,
            by: hand.by,
            attempt: attempt.number(),
            write: write.number,
            spent,
            delivery: attempt.delivery_count(),
            payload: hand.payload,
            waits,
            cancelled: write.what == What::Claim && attempt.is_cancelled(),
            outcome,
        }
    }

    /// What a worker does comes to nothing, or late.
    pub(super) fn act_in_vain(&mut self, protocol: &Protocol, fault: Fault, at: usize) {
        let hand = &mut self.hands[at];
        let todo = std::mem::replace(&mut hand.todo, Todo::Nothing);
        let (request, message) = (hand.request, hand.message);
        match todo {
            Todo::Write(_) if fault == Fault::RecordsFull => {
                // The handler is told.
                hand.stores = false;
                self.feed(protocol, at, Event::Written(Written::Full));
            }
            Todo::Write(Write { what: What::Checkpoint, expected, .. }) => {
                let (by, number) = (hand.by, hand.checkpoint + 1);
                self.mail.push(Mail::Checkpoint { request, expected, by, number });
                self.feed(protocol, at, Event::Written(Written::InDoubt));
            }
            Todo::Write(write) => {
                hand.doubt = Some(write);
                let record = self.record(&self.hands[at], write);
                self.mail.push(Mail::Write { request, expected: write.expected, record });
                self.feed(protocol, at, Event::Written(Written::InDoubt));
            }
            _ => {
                let nak = todo == Todo::Nak;
                self.mail.push(if nak {
                    Mail::Nak { request, message }
                } else {
                    Mail::Ack { request, message }
                });
                self.hands.remove(at);
            }
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        let hand = self.hands.remove(at);
        self.requests[hand.request].excused |= hand.began;
    }

    pub(super) fn lose(&mut self, protocol: &Protocol, at: usize) {
        let hand = &self.hands[at];
        let (request, began) = (hand.request, hand.began);
        protocol.mark(Mark::LostLease);
        if matches!(hand.todo, Todo::Write(Write { what: What::Outcome(Outcome::Value), .. })) {
            protocol.mark(Mark::ResultDropped);
        }
        self.requests[request].excused |= began;
        if self.feed(protocol, at, Event::Lost) {
            self.breaks(Promise::LostIsLost);
        }
    }

    /// As the server does it: what has not started is let go at once, and so is a handler at its checkpoint.
    pub(super) fn drain(&mut self, protocol: &Protocol, at: usize) {
        self.hands[at].drains = true;
        self.feed(protocol, at, Event::Drain);
    }

    /// The handlers that are left have no more time.
    pub(super) fn drain_ends(&mut self, protocol: &Protocol, at: usize) {
        if self.feed(protocol, at, Event::LetGo) && self.hands[at].handler {
            self.hand_over(protocol, at);
        }
    }

    fn hand_over(&mut self, protocol: &Protocol, at: usize) -> bool {
        self.hands[at].handler = false;
        self.feed(protocol, at, Event::Ended(Ending::HandedOver))
    }
}

/// The record in a worker's words.
pub(super) fn seen(record: Record) -> Seen {
    let Record { sequence, kind, by, attempt, write, spent, delivery, waits, .. } = record;
    Seen {
        sequence,
        kind,
        attempt,
        attempt_id: attempt_id(by),
        write,
        spent,
        delivery,
        worker: String::new(),
        lease: LEASE,
        wait: Some(Duration::from_secs(u64::from(waits))),
        cancelled: false,
    }
}
