//! A caller who cancels, and whoever is given that.

use super::*;

/// What asks to cancel the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    None,
    Stored,
    /// The record says so, or the request has ended.
    Settled,
}

impl World {
    /// The caller asks to cancel; a worker may miss that.
    pub(in crate::protocol::attempt::tests) fn cancel(&mut self, missed_by: Option<usize>) {
        if self.acked || self.cancel == Cancel::Stored {
            return;
        }
        (self.cancel, self.cancel_asked) = (Cancel::Stored, true);
        self.missed_by = missed_by;
        for who in (0..self.workers.len()).filter(|who| Some(*who) != missed_by) {
            self.feed(who, Event::CancelHeard);
        }
    }

    /// Whoever has the message that asks to cancel looks at the record.
    pub(in crate::protocol::attempt::tests) fn look_to_cancel(&mut self, fate: Fate) {
        if self.cancel != Cancel::Stored || !matches!(fate, Fate::Answered | Fate::AnswerLost) {
            return;
        }
        let Some(Stored { seen, .. }) = &self.record else {
            let mark = Seen { lease: Duration::ZERO, ..Seen::cancel_stored() };
            return self.cancel_record(Stored { seen: mark, not_before: Moment(0) }, fate);
        };
        match seen.kind {
            _ if seen.cancelled => self.cancel = Cancel::Settled,
            Kind::Outcome | Kind::CancelRequested => self.cancel = Cancel::Settled,
            Kind::Claim => {
                let owner = self.workers.iter().position(|it| it.attempt.id() == seen.attempt_id);
                self.feed(owner.expect("a claim has an owner"), Event::Cancel);
            }
            Kind::Released => {
                let record = self.record.clone().expect("looked at");
                let seen = Seen { cancelled: true, ..record.seen };
                self.cancel_record(Stored { seen, ..record }, fate);
            }
            Kind::Unknown => unreachable!("nobody writes one"),
        }
    }

    fn cancel_record(&mut self, mut record: Stored, fate: Fate) {
        self.sequence += 1;
        record.seen.sequence = self.sequence;
        self.record = Some(record);
        if matches!(fate, Fate::Answered) {
            self.cancel = Cancel::Settled;
        }
    }
}
