//! One attempt under any events in any order, and under records that say anything.
//!
//! What is kept is what its drivers keep: an answer comes only to what was asked, and a record under the attempt's own id
//! is one that it wrote.

use std::time::Duration;

use super::bytes::Choices;
use crate::{
    protocol::{
        attempt::{
            Action, Attempt, Delivery, Ending, Event, Outcome, Owner, Seen, Terms, What, Write, Written,
        },
        time::{LeaseTimes, Moment},
    },
    wire::record::{AttemptId, Kind, Reason},
};

const ME: AttemptId = [1; 16];
const OTHER: AttemptId = [2; 16];

/// An ack only for what was seen stored as an outcome, one thing under way at a time, one start, no start behind an
/// outcome or the deadline, no hand-over of what
/// cannot go on elsewhere, nothing at all once it is over.
pub fn attempt(data: &[u8]) {
    let mut choices = Choices::new(data);
    let terms = terms(&mut choices);
    let delivery = delivery(&mut choices);
    let mut play = Play {
        attempt: Attempt::new(ME, delivery, terms),
        terms,
        delivery,
        now: Moment(1_000_000_000_000),
        todo: Action::None,
        written: Vec::new(),
        known: vec![0],
        stored: None,
        started: false,
        undecodable: false,
        killed: false,
        begun_elsewhere: false,
        outcome_seen: false,
        released: false,
        checkpoint: false,
        draining: false,
    };
    play.feed(Event::Begin);
    while choices.are_left() && !play.attempt.is_over() {
        play.now = play.now.max(choices.moment(play.now));
        let event = if choices.byte().is_multiple_of(3) {
            play.happening(&mut choices)
        } else {
            play.answer(&mut choices)
        };
        if let Some(event) = event {
            play.feed(event);
        }
    }
    // Whatever comes later comes to nothing.
    if play.attempt.is_over() {
        for event in [
            Event::Begin,
            Event::Beat,
            Event::Reconnected,
            Event::Checkpoint,
            Event::CancelHeard,
            Event::Cancel,
            Event::Due,
            Event::Found(Ok(true)),
            Event::Drain,
            Event::LetGo,
            Event::Lost,
        ] {
            assert_eq!(play.attempt.step(event, play.now), Action::None, "something after the end");
        }
    }
}

fn terms(choices: &mut Choices<'_>) -> Terms {
    let flags = choices.byte();
    let flag = |bit: u8| flags >> bit & 1 == 1;
    Terms {
        once: flag(0),
        fenced: flag(1),
        attempts: 1 + u32::from(choices.byte() % 4),
        replicated: flag(2),
        always_claim: flag(3),
        times: LeaseTimes::new(Duration::from_secs(30)),
    }
}

fn delivery(choices: &mut Choices<'_>) -> Delivery {
    let flags = choices.byte();
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let now = Moment(1_000_000_000_000);
    Delivery {
        count: if flag(0) { 1 } else { choices.number() },
        resend: flag(1),
        fresh: flag(2),
        above_bound: flag(3),
        expires: if flag(4) { Moment::FAR } else { choices.moment(now) },
        owner_claims_until: if flag(5) { Moment(0) } else { choices.moment(now) },
    }
}

/// The attempt, and what is known of it from outside.
struct Play {
    attempt: Attempt,
    terms: Terms,
    delivery: Delivery,
    now: Moment,
    /// What its driver is about to do.
    todo: Action,
    /// The attempt's own writes; any of them may have been stored.
    written: Vec<Write>,
    /// Sequences that the attempt has heard of.
    known: Vec<u64>,
    /// The record.
    stored: Option<Seen>,
    started: bool,
    undecodable: bool,
    killed: bool,
    /// The last record of somebody else said that a handler may have begun.
    begun_elsewhere: bool,
    /// The last answer showed an outcome.
    outcome_seen: bool,
    /// The last answer said that a release is stored.
    released: bool,
    /// There is a checkpoint.
    checkpoint: bool,
    /// The worker stops.
    draining: bool,
}

impl Play {
    /// Something that nobody asked for.
    fn happening(&mut self, choices: &mut Choices<'_>) -> Option<Event> {
        Some(match choices.byte() % 10 {
            8 => Event::CancelHeard,
            9 => Event::Cancel,
            0 | 1 => Event::Beat,
            2 => Event::Reconnected,
            3 => Event::LetGo,
            4 if choices.byte().is_multiple_of(8) => Event::Lost,
            5 => Event::Checkpoint,
            6 if choices.flag() => {
                self.draining = true;
                Event::Drain
            }
            _ if self.attempt.is_running() => {
                let ending = ending(choices);
                self.undecodable |= ending == Ending::Undecodable;
                self.killed |= ending == Ending::Killed;
                Event::Ended(ending)
            }
            _ => return None,
        })
    }

    /// The answer to what is under way.
    fn answer(&mut self, choices: &mut Choices<'_>) -> Option<Event> {
        Some(match std::mem::replace(&mut self.todo, Action::None) {
            Action::Read(_) if choices.byte().is_multiple_of(8) => Event::Read(Err(())),
            Action::Read(_) => Event::Read(Ok(self.seen(choices))),
            Action::Write(_) => Event::Written(self.fate(choices)),
            Action::Ask { .. } => Event::Owner(if choices.flag() { Owner::Mine } else { Owner::Gone }),
            Action::Wait(until) => {
                self.now = self.now.max(until);
                Event::Due
            }
            Action::Find(_) if choices.byte().is_multiple_of(8) => Event::Found(Err(())),
            Action::Find(_) => {
                self.checkpoint = choices.flag();
                Event::Found(Ok(self.checkpoint))
            }
            Action::Bury(_) => Event::Buried(!choices.byte().is_multiple_of(4)),
            Action::None
            | Action::Start
            | Action::HandOver
            | Action::Ack { .. }
            | Action::Nak(_)
            | Action::Forget => return None,
        })
    }

    fn fate(&mut self, choices: &mut Choices<'_>) -> Written {
        match choices.byte() % 8 {
            0 => Written::Full,
            1 => Written::TooLarge,
            2 | 3 => Written::InDoubt,
            // Beside the record, under a sequence that no record has.
            _ if self.written.last().is_some_and(|it| it.what == What::Checkpoint) => {
                self.checkpoint = true;
                Written::Stored(u64::MAX)
            }
            _ => {
                let write = *self.written.last().expect("a write was under way");
                let seen = self.newer(Some(write), choices);
                let sequence = seen.sequence;
                self.outcome_seen = seen.kind == Kind::Outcome;
                self.released = seen.kind == Kind::Released;
                self.stored = Some(seen);
                Written::Stored(sequence)
            }
        }
    }

    fn next_sequence(&mut self, choices: &mut Choices<'_>) -> u64 {
        let last = self.known.last().copied().unwrap_or(0);
        let sequence = last + 1 + u64::from(choices.byte() % 4);
        self.known.push(sequence);
        sequence
    }

    /// What stands in the record's place: what stood there before, or something newer. It does not
    /// vanish, and an outcome stays.
    fn seen(&mut self, choices: &mut Choices<'_>) -> Option<Seen> {
        let newer = match choices.byte() % 4 {
            0 => None,
            // Of the attempt's own writes the newest are the likeliest.
            1 => {
                let records = self.written.iter().rev().filter(|it| it.what != What::Checkpoint);
                records.copied().nth(usize::from(choices.byte() % 3)).map(Some)
            }
            _ => Some(None),
        };
        let ended = self.stored.as_ref().is_some_and(|seen| seen.kind == Kind::Outcome);
        if let Some(own) = newer.filter(|_| !ended) {
            let seen = self.newer(own, choices);
            self.stored = Some(seen);
        }
        let wait = choices.flag().then(|| choices.span());
        let seen = self.stored.clone().map(|seen| Seen { wait, ..seen })?;
        self.outcome_seen = seen.kind == Kind::Outcome;
        self.released = seen.kind == Kind::Released;
        Some(seen)
    }

    fn newer(&mut self, own: Option<Write>, choices: &mut Choices<'_>) -> Seen {
        let kind = own.map_or_else(|| kind(choices.byte()), |write| kind_of(write.what));
        let number = choices.byte();
        let attempt = match (own, kind) {
            (Some(_), _) => self.attempt.number(),
            // Where nobody had claimed, and so nobody had begun under a claim.
            (None, Kind::CancelRequested) => 0,
            (None, _) => u32::from(number % 4),
        };
        if own.is_none() {
            self.begun_elsewhere = kind == Kind::Claim || attempt > 0;
        }
        Seen {
            sequence: self.next_sequence(choices),
            kind,
            attempt,
            attempt_id: if own.is_some() { ME } else { OTHER },
            write: own.map_or(u32::from(number), |write| write.number),
            spent: u32::from(number % 8),
            delivery: u64::from(choices.byte() % 8),
            worker: String::new(),
            lease: choices.span(),
            wait: None,
            cancelled: match own {
                None => kind == Kind::CancelRequested || choices.byte().is_multiple_of(4),
                // What it writes says so once it knows.
                Some(_) => self.attempt.is_cancelled(),
            },
        }
    }

    fn feed(&mut self, event: Event) {
        let spontaneous = matches!(
            event,
            Event::Beat
                | Event::Reconnected
                | Event::Checkpoint
                | Event::CancelHeard
                | Event::Cancel
                | Event::Drain
                | Event::LetGo
                | Event::Lost
                | Event::Ended(_)
        );
        if spontaneous {
            (self.outcome_seen, self.released) = (false, false);
        }
        let action = self.attempt.step(event, self.now);
        self.check(&action);
        match action {
            Action::None | Action::Start | Action::HandOver => {}
            action => {
                let idle = self.todo == Action::None || self.attempt.is_over();
                assert!(idle, "{action:?} beside {:?}", self.todo);
                self.todo = action;
            }
        }
        (self.outcome_seen, self.released) = (false, false);
    }

    fn check(&mut self, action: &Action) {
        match action {
            Action::Start => {
                assert!(!self.started, "started twice");
                assert!(!self.draining, "started by a worker that stops");
                assert!(!self.attempt.is_cancelled(), "started although it is cancelled");
                assert!(self.now < self.delivery.expires, "started after the deadline");
                assert!(self.attempt.spent() <= self.terms.attempts, "more attempts than allowed");
                assert!(!(self.terms.once && self.begun_elsewhere), "started what may have begun");
                let fenced = self.terms.once || self.terms.fenced || self.delivery.count > 1;
                assert!(!fenced || self.attempt.fence().is_some(), "started without a claim");
                self.started = true;
            }
            Action::Write(write) => {
                assert!(self.known.contains(&write.expected), "expects a sequence that nobody named");
                assert!(self.written.last().is_none_or(|it| it.number < write.number), "a number twice");
                match write.what {
                    What::Outcome(Outcome::Rejected(_)) => {
                        assert!(!self.started || self.undecodable, "`Rejected` for what ran");
                    }
                    What::Released { .. } => {
                        assert!(!self.attempt.is_cancelled(), "handed on although it is cancelled");
                    }
                    What::Outcome(Outcome::Cancelled) => {
                        let told = self.attempt.is_cancelled() || self.killed;
                        assert!(told, "cancelled, and nobody asked for it");
                        let ran = self.started || self.begun_elsewhere;
                        assert!(!ran || self.attempt.number() > 0, "`never ran` of what may have");
                    }
                    What::Checkpoint => {
                        let claim = self.attempt.fence();
                        assert!(self.attempt.is_running(), "a checkpoint of what does not run");
                        assert_eq!(claim, Some(write.expected), "a checkpoint that names no claim");
                    }
                    _ => {}
                }
                self.written.push(*write);
            }
            Action::Ack { .. } => assert!(self.outcome_seen, "acked without an outcome"),
            Action::Nak(_) => assert!(!self.started || self.released, "handed back while it ran"),
            Action::HandOver => {
                assert!(self.draining && self.attempt.is_running(), "handed over for no reason");
                assert!(self.checkpoint && !self.terms.once, "handed over with nothing to go on from");
            }
            Action::Find(_) => {
                assert!(!self.started, "a search behind the start");
                assert!(self.attempt.fence().is_some(), "a search without a claim");
            }
            Action::None | Action::Read(_) | Action::Ask { .. } | Action::Wait(_) => {}
            Action::Bury(reason) => {
                let known = [Reason::Exhausted, Reason::Panicked, Reason::Undecodable].contains(reason);
                assert!(known, "buried as {reason:?}");
            }
            Action::Forget => {}
        }
    }
}

fn kind_of(what: What) -> Kind {
    match what {
        What::Claim => Kind::Claim,
        What::Released { .. } => Kind::Released,
        What::Outcome(_) => Kind::Outcome,
        What::Checkpoint => unreachable!("it is no record"),
    }
}

fn kind(choice: u8) -> Kind {
    match choice % 8 {
        0 => Kind::Outcome,
        1 => Kind::CancelRequested,
        2 => Kind::Unknown,
        3 | 4 => Kind::Released,
        _ => Kind::Claim,
    }
}

fn ending(choices: &mut Choices<'_>) -> Ending {
    match choices.byte() % 9 {
        8 => Ending::Killed,
        0 => Ending::Panicked,
        1 => Ending::TimedOut,
        2 => Ending::Undecodable,
        3 => Ending::HandedOver,
        4 => Ending::Error { retry: None },
        5 => Ending::Error { retry: Some(choices.span()) },
        _ => Ending::Value,
    }
}
