//! What there is to tell of one call: every state once, in its order, whatever gets lost or comes twice. Whoever begins to
//! watch later is told by `client/observers.rs` how it stands, so all of it is noted also while nobody watches.

use super::{
    events::CallEvent,
    mailbox::Sign,
    observers::{Observer, Observers},
};
use crate::{
    progress::Progress,
    protocol::time::Moment,
    wire::{progress::StoredProgress, signal::SignalKind},
};

/// What was told so far, and to whom.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) observers: Observers,
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
        let mut watch = Self::default();
        if let Some(observer) = observer {
            watch.observers.add(observer);
        }
        watch
    }

    pub(super) fn is_watched(&self) -> bool {
        !self.observers.is_empty()
    }

    pub(super) fn sent(&mut self) {
        self.sent += 1;
        self.observers.tell(&CallEvent::Sent { number: self.sent });
    }

    pub(super) fn accepted(&mut self) {
        if !self.accepted {
            self.accepted = true;
            self.observers.tell(&CallEvent::Accepted { sequence: self.sequence });
        }
    }

    /// Signals are lossy, and one for a start is not sent for a request that was watched for long before it was taken
    /// over: the first sign of an attempt tells that it started. Whether it has not given way to a later one.
    pub(super) fn started(&mut self, worker: &str, attempt: u32, now: Moment) -> bool {
        self.accepted();
        let (last, _) = self.started;
        if attempt > last {
            self.started = (attempt, now);
            let worker = worker.to_owned();
            self.observers.tell(&match last {
                0 => CallEvent::Started { worker, attempt },
                _ => CallEvent::Restarted { worker, attempt },
            });
        }
        attempt >= last
    }

    fn progress(&mut self, attempt: u32, number: u64, progress: Progress) {
        if (attempt, number) > self.progress {
            self.progress = (attempt, number);
            self.observers.tell(&CallEvent::Progress(progress));
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
        let Sign { kind, worker, attempt, heard, progress } = sign;
        if !self.started(&worker, attempt, now) {
            return;
        }
        if kind == SignalKind::Alive {
            self.beats = self.beats.saturating_add(heard);
            let (heard, since) = (self.beats, now.since(self.started.1));
            self.observers.tell(&CallEvent::Alive { worker, attempt, heard, since });
        }
        if let Some((number, progress)) = progress {
            self.progress(attempt, number, progress);
        }
    }

    pub(super) fn done(&mut self, attempt: u32) {
        self.accepted();
        self.observers.tell(&CallEvent::Done { attempt });
    }
}
