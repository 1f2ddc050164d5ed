//! A broker that takes a request or does not, says so or does not, and workers that may or may not come to it; and the
//! driver of a call, which has one thing under way at a time.

use super::*;

/// One thing that a call asked for, under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    action: Action,
    since: Moment,
    /// The server has taken it.
    arrived: bool,
}

pub(super) struct World {
    pub(super) caller: Caller,
    limits: Limits,
    pub(super) now: Moment,
    under_way: Option<UnderWay>,
    /// A copy of the request is stored, or was until its outcome was.
    taken: bool,
    record: Option<Kind>,
    pub(super) verdict: Option<Verdict>,
    /// Wake-ups in a row without time passing.
    wakes: u32,
}

impl World {
    pub(super) fn new(limits: Limits, keyed: bool, attached: bool) -> Self {
        let caller = if attached {
            Caller::attached(limits, None)
        } else {
            Caller::new(limits, keyed.then_some(MINE), keyed)
        };
        let mut world = Self {
            caller,
            limits,
            now: ms(0),
            under_way: None,
            taken: attached,
            record: None,
            verdict: None,
            wakes: 0,
        };
        world.feed(Event::Begin);
        world
    }

    pub(super) fn feed(&mut self, event: Event) {
        let known = self.caller.is_accepted();
        match self.caller.step(event, self.now) {
            Action::Wait => {}
            Action::Finish(verdict) => return self.finish(verdict),
            action => {
                assert!(!(known && matches!(action, Action::Publish { .. })), "published after acceptance");
                self.under_way = Some(UnderWay { action, since: self.now, arrived: false });
            }
        }
        let publishing = matches!(self.under_way, Some(UnderWay { action: Action::Publish { .. }, .. }));
        let newly = !known && self.caller.is_accepted();
        assert!(!(newly && publishing), "a publish is under way although acceptance is known");
    }

    fn finish(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
        assert!(self.now <= self.limits.deadline + Duration::from_secs(1), "later than the deadline allows");
        let refusal = matches!(
            verdict,
            Verdict::QueueFull
                | Verdict::TooLarge
                | Verdict::NoSuchMethod
                | Verdict::NoStream
                | Verdict::PermissionDenied
                | Verdict::Refused
                | Verdict::NoQuorum
                | Verdict::Closed
        );
        let certain = refusal && !self.caller.is_in_doubt() && !self.caller.is_accepted();
        assert!(!(certain && self.taken), "{verdict:?} although the request is taken");
        let outcome = self.record == Some(Kind::Outcome);
        assert!(verdict != Verdict::Outcome || outcome, "an outcome that is not there");
    }

    pub(super) fn sleep(&mut self, span: Duration) {
        // Timers fire when they are due, whatever else happens.
        let until = self.now + span;
        while self.verdict.is_none() && self.caller.wake_at() <= until {
            let at = self.caller.wake_at().max(self.now);
            self.wakes = if at == self.now { self.wakes + 1 } else { 0 };
            assert!(self.wakes < 3, "wakes up again and again");
            self.now = at;
            self.feed(Event::Due);
        }
        self.wakes = 0;
        self.now = until;
    }

    /// The worker writes a record; pushed or not.
    pub(super) fn write(&mut self, kind: Kind, pushed: bool) {
        if self.taken && self.record != Some(Kind::Outcome) {
            self.record = Some(kind);
            if pushed {
                self.feed(Event::Pushed(record(kind)));
            }
        }
    }

    pub(super) fn signal(&mut self, event: Event) {
        if self.record.is_some() {
            self.feed(event);
        }
    }

    /// What was asked for comes back, as `how` says.
    pub(super) fn answer(&mut self, how: u8) {
        let Some(UnderWay { action, since, .. }) = self.under_way else {
            return;
        };
        let (after, longest) = match action {
            Action::Publish { after, .. } => (after, Duration::from_secs(4)),
            Action::Read { after } => (after, Duration::from_secs(5)),
            _ => (Duration::ZERO, Duration::from_secs(5)),
        };
        // Nothing takes longer than its driver lets it.
        let took = if how.is_multiple_of(5) { longest } else { Duration::from_millis(u64::from(how) % 7) };
        let back = since + after + took;
        let before = self.under_way.map(|it| it.since);
        self.sleep(back.since(self.now));
        if self.verdict.is_some() || self.under_way.map(|it| it.since) != before {
            return;
        }
        let arrived = self.under_way.is_some_and(|it| it.arrived);
        self.under_way = None;
        let event = match action {
            Action::Publish { with_message_id, .. } => {
                Event::Answer(self.publish(how, with_message_id, arrived))
            }
            Action::Read { .. } => self.read(how),
            Action::AskStreams => Event::Streams(match how % 4 {
                0 => Streams::Match,
                1 => Streams::NoMethod,
                2 => Streams::NoService,
                _ => Streams::Unknown,
            }),
            Action::AskWorkers => Event::Asked(match how % 3 {
                0 => Presence::Owner,
                1 => Presence::Workers,
                _ => Presence::Nobody,
            }),
            Action::Wait | Action::Finish(_) => return,
        };
        self.feed(event);
    }

    fn read(&self, how: u8) -> Event {
        match how % 6 {
            0 => FAILED,
            // A replica lags.
            1 => NOTHING,
            _ => Event::Read(Ok(self.record.map(record))),
        }
    }

    fn publish(&mut self, how: u8, with_message_id: bool, arrived: bool) -> Answer {
        match how % 10 {
            0 if !arrived => Answer::NoResponders,
            1 => Answer::InDoubt,
            2 if !self.taken => Answer::Full,
            3 if !self.taken => Answer::Refused,
            4 => {
                self.taken = true;
                Answer::Closed
            }
            lost => {
                let answer = match (self.taken, with_message_id) {
                    (true, true) => Answer::Duplicate,
                    (true, false) if self.record == Some(Kind::Outcome) => Answer::Stored,
                    (true, false) => Answer::Exists,
                    (false, _) => Answer::Stored,
                };
                self.taken = true;
                if lost == 5 { Answer::InDoubt } else { answer }
            }
        }
    }

    /// The connection is lost and back: a publish that was under way may have arrived.
    pub(super) fn reconnect(&mut self, arrived: bool) {
        if arrived {
            self.take();
        }
        self.feed(Event::Reconnected);
    }

    /// The server refuses to take what is being published.
    pub(super) fn deny(&mut self) {
        if self.is_publishing() && self.under_way.is_some_and(|it| !it.arrived) {
            self.feed(Event::Denied);
        }
    }

    /// The server takes the request; its answer is still on its way.
    pub(super) fn take(&mut self) {
        if self.is_publishing() {
            self.taken = true;
            self.under_way = self.under_way.map(|it| UnderWay { arrived: true, ..it });
        }
    }

    fn is_publishing(&self) -> bool {
        self.under_way.is_some_and(|it| match it.action {
            Action::Publish { after, .. } => self.now >= it.since + after,
            _ => false,
        })
    }
}
