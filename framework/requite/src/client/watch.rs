//! What the watcher of one call is told: every state once, in its order, whatever gets lost or comes twice. What nobody
//! watched is told to whoever begins to.

use super::{drive::Observer, events::CallEvent, mailbox::Sign};
use crate::{
    progress::Progress,
    protocol::time::Moment,
    wire::{progress::StoredProgress, signal::SignalKind},
};

/// What was told so far, and to whom.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) observer: Option<Observer>,
    /// The request's number in its stream.
    pub(super) sequence: Option<u64>,
    sent: u32,
    accepted: bool,
    /// The last attempt whose start was told, and when.
    started: (u32, Moment),
    beats: u32,
    /// The last report that was told: of which attempt, and its number.
    progress: (u32, u64),
}

impl Watch {
    pub(super) fn by(observer: Option<Observer>) -> Self {
        Self { observer, ..Self::default() }
    }

    fn tell(&mut self, event: &CallEvent) {
        if let Some(observer) = &mut self.observer {
            observer(event);
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.observer.is_some()
    }

    pub(super) fn sent(&mut self) {
        self.sent += 1;
        let number = self.sent;
        self.tell(&CallEvent::Sent { number });
    }

    pub(super) fn accepted(&mut self) {
        if !self.accepted && self.is_watched() {
            self.accepted = true;
            self.tell(&CallEvent::Accepted { sequence: self.sequence });
        }
    }

    /// Signals are lossy, and one for a start is not sent for a request that was watched for long before it was taken
    /// over: the first sign of an attempt tells that it started. Whether it has not given way to a later one.
    pub(super) fn started(&mut self, worker: &str, attempt: u32, now: Moment) -> bool {
        self.accepted();
        let (last, _) = self.started;
        if attempt > last && self.is_watched() {
            self.started = (attempt, now);
            let worker = worker.to_owned();
            self.tell(&match last {
                0 => CallEvent::Started { worker, attempt },
                _ => CallEvent::Restarted { worker, attempt },
            });
        }
        attempt >= last
    }

    fn progress(&mut self, attempt: u32, number: u64, progress: Progress) {
        if (attempt, number) > self.progress && self.is_watched() {
            self.progress = (attempt, number);
            self.tell(&CallEvent::Progress(progress));
        }
    }

    /// What was stored counts only together with the record of the same request.
    pub(super) fn stored_progress(&mut self, stored: &[u8]) {
        let Some(stored) = StoredProgress::decode(stored) else { return };
        let (started, _) = self.started;
        if Some(stored.request) == self.sequence && (1..=started).contains(&stored.attempt) {
            let progress = Progress::from_report(&stored.report);
            self.progress(stored.attempt, stored.report.number, progress);
        }
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, sign: Sign, now: Moment) {
        let Sign { kind, worker, attempt, progress } = sign;
        if !self.started(&worker, attempt, now) {
            return;
        }
        if kind == SignalKind::Alive {
            self.beats += 1;
            let (heard, since) = (self.beats, now.since(self.started.1));
            self.tell(&CallEvent::Alive { worker, attempt, heard, since });
        }
        if let Some((number, progress)) = progress {
            self.progress(attempt, number, progress);
        }
    }

    pub(super) fn done(&mut self, attempt: u32) {
        self.accepted();
        self.tell(&CallEvent::Done { attempt });
    }
}
