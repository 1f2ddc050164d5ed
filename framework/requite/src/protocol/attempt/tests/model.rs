//! One request, its record and the workers that are given it: a server without fences, and everything that can go
//! wrong between it and them.
//!
//! What must hold is asserted where it could break; what the take-over rules assume (clocks, an owner that answers if
//! it lives, claims that are written again right after a reconnect to a single server) is kept by the model.

use super::*;

mod cancel;

use cancel::Cancel;

const LEASE: Duration = Duration::from_secs(30);
const MAX_WORKERS: usize = 6;

/// What is the same for the whole life of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) terms: Terms,
    pub(super) resend: bool,
    pub(super) fresh: bool,
    pub(super) undecodable: bool,
    pub(super) deadline: Option<u64>,
}

/// How a write of the record goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Answered,
    /// Stored, and nobody says so.
    AnswerLost,
    Lost,
    /// Nobody says so, and it arrives later.
    Late,
    Full,
}

#[derive(Clone, Debug)]
struct Stored {
    seen: Seen,
    not_before: Moment,
}

/// A worker with the delivery that it was given.
struct Worker {
    attempt: Attempt,
    /// What its driver is about to do.
    todo: Action,
    handler: bool,
    crashed: bool,
    /// Whose checkpoint its handler was given.
    found: Option<(AttemptId, u32)>,
    /// It knows of a checkpoint, found or its own.
    resumable: bool,
    draining: bool,
    lease_end: Moment,
}

pub(super) struct World {
    setting: Setting,
    now: Moment,
    record: Option<Stored>,
    sequence: u64,
    acked: bool,
    count: u64,
    /// When the server gives the request to the next worker.
    available: Moment,
    /// When a single server came back without its deliveries.
    forgot: Option<Moment>,
    workers: Vec<Worker>,
    late: Vec<(Write, Stored)>,
    /// Whose checkpoint is stored, and the number of its write.
    checkpoint: Option<(AttemptId, u32)>,
    cancel: Cancel,
    cancel_asked: bool,
    /// The worker that did not hear it, if any.
    missed_by: Option<usize>,
    /// Handlers that began to work on a request that can be decoded.
    ran: usize,
    last_fence: u64,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            now: at(100),
            record: None,
            sequence: 0,
            acked: false,
            count: 0,
            available: Moment(0),
            forgot: None,
            workers: Vec::new(),
            late: Vec::new(),
            checkpoint: None,
            cancel: Cancel::None,
            cancel_asked: false,
            missed_by: None,
            ran: 0,
            last_fence: 0,
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn advance(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn is_outcome(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.seen.kind == Kind::Outcome)
    }

    /// The server gives the request to another worker, if it is free to.
    pub(super) fn deliver(&mut self) {
        let alive = self.workers.iter().filter(|it| !it.crashed && !it.attempt.is_over()).count();
        if self.acked || self.now < self.available || alive >= MAX_WORKERS {
            return;
        }
        self.count += 1;
        self.available = self.now + LEASE;
        let terms = self.setting.terms;
        let delivery = Delivery {
            count: self.count,
            resend: self.setting.resend,
            fresh: self.setting.fresh,
            above_bound: self.forgot.is_none(),
            expires: self.setting.deadline.map_or(Moment::FAR, at),
            owner_claims_until: self.forgot.map_or(Moment(0), |at| at + terms.times.owner_claims_within()),
        };
        let mut id = [0; 16];
        id[0] = u8::try_from(self.workers.len() + 1).unwrap();
        let attempt = Attempt::new(id, delivery, terms);
        let lease_end = terms.times.end(self.now);
        self.workers.push(Worker {
            attempt,
            todo: Action::None,
            handler: false,
            crashed: false,
            found: None,
            resumable: false,
            draining: false,
            lease_end,
        });
        let who = self.workers.len() - 1;
        // Whoever bound later finds it stored.
        if self.cancel_asked && self.missed_by != Some(who) {
            self.feed(who, Event::CancelHeard);
        }
        self.feed(who, Event::Begin);
    }

    /// As [`crate::server`] does it: under a lost lease nothing but the loss counts.
    fn feed(&mut self, who: usize, event: Event) {
        let worker = &mut self.workers[who];
        if worker.crashed {
            return;
        }
        let event = if self.now >= worker.lease_end { Event::Lost } else { event };
        let action = worker.attempt.step(event, self.now);
        match action {
            Action::None => {}
            Action::HandOver => return self.end(who, Ending::HandedOver),
            Action::Start => self.start(who),
            Action::Forget => worker.handler = false,
            action => {
                let before = std::mem::replace(&mut worker.todo, action);
                let one = before == Action::None || worker.attempt.is_over();
                assert!(one, "two things are under way at once");
            }
        }
        let worker = &mut self.workers[who];
        let runs_on = worker.handler && worker.todo == Action::None && !worker.attempt.is_over();
        let hands_over = worker.draining && worker.resumable && !self.setting.terms.once;
        assert!(!(hands_over && runs_on), "runs on behind its checkpoint");
        if worker.attempt.is_over() {
            worker.handler = false;
            if !matches!(worker.todo, Action::Ack { .. } | Action::Nak(_)) {
                worker.todo = Action::None;
            }
        }
    }

    fn start(&mut self, who: usize) {
        assert!(!self.is_outcome(), "started although the outcome is stored");
        let holds = |it: &Worker| it.handler && !it.crashed && self.now < it.lease_end;
        assert!(!self.workers.iter().any(holds), "two handlers at once");
        let Worker { attempt, found, draining, .. } = &self.workers[who];
        assert_eq!(*found, self.checkpoint, "started without the checkpoint");
        assert!(!draining, "started by a worker that stops");
        let is_cancelled = |it: &Stored| it.seen.cancelled || it.seen.kind == Kind::CancelRequested;
        let unheard = self.missed_by == Some(who);
        assert!(unheard || !self.record.as_ref().is_some_and(is_cancelled), "started what is cancelled");
        assert!(self.setting.deadline.is_none_or(|end| self.now < at(end)), "started after the deadline");
        assert!(attempt.spent() <= self.setting.terms.attempts, "more attempts than allowed");
        if let Some(fence) = attempt.fence() {
            assert!(fence > self.last_fence, "the fencing token does not grow");
            self.last_fence = fence;
        }
        if !self.setting.undecodable {
            self.ran += 1;
            assert!(!self.setting.terms.once || self.ran == 1, "started twice");
        }
        self.workers[who].handler = true;
    }

    /// The driver of one worker does what it is to do.
    pub(super) fn act(&mut self, who: usize, fate: Fate) {
        if self.workers[who].crashed {
            return;
        }
        let event = match std::mem::replace(&mut self.workers[who].todo, Action::None) {
            Action::None | Action::Start | Action::HandOver | Action::Forget => return,
            Action::Find(_) if matches!(fate, Fate::Lost) => Event::Found(Err(())),
            Action::Find(_) => {
                let worker = &mut self.workers[who];
                (worker.found, worker.resumable) = (self.checkpoint, self.checkpoint.is_some());
                Event::Found(Ok(self.checkpoint.is_some()))
            }
            Action::Read(_) => {
                Event::Read(if matches!(fate, Fate::Lost) { Err(()) } else { Ok(self.seen(who)) })
            }
            Action::Write(write) => {
                let written = self.write(who, write, fate);
                let stored = matches!(written, Written::Stored(_)) && write.what == What::Checkpoint;
                self.workers[who].resumable |= stored;
                Event::Written(written)
            }
            Action::Ask { attempt_id, .. } => Event::Owner(self.ask(attempt_id, fate)),
            Action::Wait(until) if self.now < until => {
                self.workers[who].todo = Action::Wait(until);
                return;
            }
            Action::Wait(_) => Event::Due,
            Action::Bury(_) => Event::Buried(!matches!(fate, Fate::Lost | Fate::Full)),
            Action::Ack { .. } => {
                assert!(self.is_outcome(), "acked without an outcome");
                self.acked |= self.now < self.workers[who].lease_end && !matches!(fate, Fate::Lost);
                return;
            }
            Action::Nak(delay) => {
                if self.now < self.workers[who].lease_end && !matches!(fate, Fate::Lost) {
                    self.available = self.now + delay;
                }
                return;
            }
        };
        self.feed(who, event);
    }

    /// What a worker reads: the record, and beside it what asks to cancel.
    fn seen(&self, who: usize) -> Option<Seen> {
        let cancelled = self.cancel == Cancel::Stored && self.workers[who].attempt.may_be_cancelled();
        let Some(Stored { seen, not_before }) = &self.record else {
            return cancelled.then(Seen::cancel_stored);
        };
        let wait = Some(not_before.since(self.now));
        Some(Seen { wait, cancelled: seen.cancelled || cancelled, ..seen.clone() })
    }

    fn ask(&self, attempt_id: AttemptId, fate: Fate) -> Owner {
        // Several servers never forget a delivery, so there a lost answer does no harm.
        let unheard = self.setting.terms.replicated && matches!(fate, Fate::Lost);
        let mine = |it: &Worker| it.attempt.id() == attempt_id && it.attempt.is_mine() && !it.crashed;
        if !unheard && self.workers.iter().any(mine) { Owner::Mine } else { Owner::Gone }
    }

    fn write(&mut self, who: usize, write: Write, fate: Fate) -> Written {
        let attempt = &self.workers[who].attempt;
        let (kind, spent, delay) = match write.what {
            // A checkpoint is no record, but comes from one.
            What::Claim | What::Checkpoint => (Kind::Claim, attempt.spent(), Duration::ZERO),
            What::Released { delay, spent } => (Kind::Released, spent, delay),
            What::Outcome(_) => (Kind::Outcome, attempt.spent(), Duration::ZERO),
        };
        let seen = Seen {
            sequence: 0,
            kind,
            attempt: attempt.number(),
            attempt_id: attempt.id(),
            write: write.number,
            spent,
            delivery: attempt.delivery_count(),
            worker: String::new(),
            lease: LEASE,
            wait: None,
            cancelled: write.what == What::Claim && attempt.is_cancelled(),
        };
        let record = Stored { seen, not_before: self.now + delay };
        match fate {
            Fate::Full => return Written::Full,
            Fate::Lost => {}
            Fate::Late => self.late.push((write, record)),
            Fate::Answered | Fate::AnswerLost => {
                let stored = self.store(write, record);
                if let (Some(sequence), Fate::Answered) = (stored, fate) {
                    return Written::Stored(sequence);
                }
            }
        }
        Written::InDoubt
    }

    /// The server's compare-and-set.
    fn store(&mut self, write: Write, mut record: Stored) -> Option<u64> {
        if write.expected != self.record.as_ref().map_or(0, |record| record.seen.sequence) {
            return None;
        }
        assert!(!self.is_outcome(), "an outcome was replaced");
        if write.what == What::Checkpoint {
            let holder = self.record.as_ref().map(|record| record.seen.attempt_id);
            assert_eq!(holder, Some(record.seen.attempt_id), "a checkpoint of somebody else");
            let earlier = |(id, number)| id == record.seen.attempt_id && number > write.number;
            assert!(!self.checkpoint.is_some_and(earlier), "a checkpoint was replaced by an earlier one");
            self.checkpoint = Some((record.seen.attempt_id, write.number));
            // Not a sequence that any record has.
            return Some(u64::MAX);
        }
        if let What::Outcome(Outcome::Rejected(_)) = write.what {
            assert_eq!(self.ran, 0, "rejected what ran");
        }
        if write.what == What::Outcome(Outcome::Cancelled) {
            assert!(self.cancel_asked, "cancelled, and nobody asked for it");
            assert!(record.seen.attempt > 0 || self.ran == 0, "`never ran` of what ran");
        }
        self.sequence += 1;
        record.seen.sequence = self.sequence;
        self.record = Some(record);
        Some(self.sequence)
    }

    /// A late write reaches the server.
    pub(super) fn arrive(&mut self) {
        if !self.late.is_empty() {
            let (write, record) = self.late.remove(0);
            self.store(write, record);
        }
    }

    /// A heartbeat of one worker, which may not arrive, or not be answered.
    pub(super) fn beat(&mut self, who: usize, arrives: bool, answered: bool) {
        let worker = &self.workers[who];
        if worker.crashed || worker.attempt.is_over() {
            return;
        }
        self.feed(who, Event::Beat);
        let worker = &mut self.workers[who];
        if worker.attempt.is_over() || !arrives {
            return;
        }
        if answered {
            worker.lease_end = self.setting.terms.times.end(self.now);
        }
        // The server does not ask whose heartbeat it is; what it has to give away already stays so.
        if self.now < self.available {
            self.available = self.now + LEASE;
        }
    }

    /// The handler of one worker ends.
    pub(super) fn end(&mut self, who: usize, ending: Ending) {
        let worker = &mut self.workers[who];
        if !worker.handler || worker.crashed {
            return;
        }
        worker.handler = false;
        let ending = if self.setting.undecodable && ending != Ending::HandedOver {
            Ending::Undecodable
        } else {
            ending
        };
        self.feed(who, Event::Ended(ending));
    }

    /// The handler of one worker stores a checkpoint.
    pub(super) fn checkpoint(&mut self, who: usize) {
        if self.workers[who].handler && !self.setting.undecodable {
            self.feed(who, Event::Checkpoint);
        }
    }

    /// The keeper ends an attempt whose handler does not.
    pub(super) fn overdue(&mut self, who: usize) {
        if self.workers[who].handler && !self.setting.undecodable {
            self.feed(who, Event::Ended(Ending::TimedOut));
        }
    }

    pub(super) fn drain(&mut self, who: usize) {
        self.workers[who].draining = true;
        self.feed(who, Event::Drain);
    }

    pub(super) fn let_go(&mut self, who: usize) {
        let ran = self.workers[who].attempt.is_running();
        self.feed(who, Event::LetGo);
        let attempt = &self.workers[who].attempt;
        assert!(!ran || attempt.is_running() || attempt.is_over(), "let go of while its handler runs");
        if self.workers[who].handler {
            self.end(who, Ending::HandedOver);
        }
    }

    pub(super) fn crash(&mut self, who: usize) {
        let worker = &mut self.workers[who];
        worker.crashed = true;
        worker.handler = false;
        worker.todo = Action::None;
    }

    pub(super) fn reconnect(&mut self, who: usize) {
        self.feed(who, Event::Reconnected);
    }

    /// A single server is killed and comes back without its deliveries; whoever runs claims at once.
    pub(super) fn forget_deliveries(&mut self) {
        if self.setting.terms.replicated {
            return;
        }
        for who in 0..self.workers.len() {
            self.reconnect(who);
            for _ in 0..8 {
                self.act(who, Fate::Answered);
            }
        }
        self.count = 0;
        self.available = self.now;
        self.forgot = Some(self.now);
    }

    /// A while in which everybody beats and does what is to be done, and no handler ends.
    pub(super) fn pass(&mut self, rounds: u8) {
        for _ in 0..rounds {
            self.advance(Duration::from_secs(5));
            for who in 0..self.workers.len() {
                self.beat(who, true, true);
                self.act(who, Fate::Answered);
                self.act(who, Fate::Answered);
            }
        }
    }

    /// Nothing goes wrong any more: the request must end, and so must every attempt.
    pub(super) fn recover(&mut self) {
        for _ in 0..300 {
            self.arrive();
            self.deliver();
            self.look_to_cancel(Fate::Answered);
            for who in 0..self.workers.len() {
                self.end(who, Ending::Value);
                self.beat(who, true, true);
                for _ in 0..4 {
                    self.act(who, Fate::Answered);
                }
            }
            let settled = self.cancel != Cancel::Stored;
            if self.acked && settled && self.workers.iter().all(|it| it.crashed || it.attempt.is_over()) {
                return;
            }
            self.advance(Duration::from_secs(2));
        }
        panic!("the request or an attempt of it does not end");
    }
}
