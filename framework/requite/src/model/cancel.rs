//! A caller who cancels, and the worker that is given that.

use super::{
    Protocol,
    world::{Record, Step, World},
};
use crate::{
    protocol::attempt::{Event, Seen},
    wire::record::Kind,
};

/// What asks to cancel a request. Whoever can be reached hears it as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Cancel {
    #[default]
    Unasked,
    Stored,
    /// The record says so, or nothing is left to cancel.
    Settled,
}

impl World {
    pub(super) fn steps_of_cancels(&self, protocol: &Protocol, steps: &mut Vec<Step>) {
        for (request, it) in self.requests.iter().enumerate() {
            if protocol.setting.cancels && it.cancel == Cancel::Unasked && it.copies > 0 {
                steps.push(Step::Cancel(request));
            }
            if it.cancel == Cancel::Stored
                && (self.is_claimed(request).is_none() || self.owner(request).is_some())
            {
                steps.push(Step::LookToCancel(request));
            }
        }
    }

    /// The claim that says nothing of a cancellation.
    fn is_claimed(&self, request: usize) -> Option<Record> {
        self.requests[request].record.filter(|it| it.kind == Kind::Claim && !it.cancelled)
    }

    /// The hand of that claim, if it can be told and was not.
    fn owner(&self, request: usize) -> Option<usize> {
        let by = self.is_claimed(request)?.by;
        self.hands.iter().position(|it| {
            let untold = it.attempt.is_mine() && !it.attempt.is_cancelled();
            it.request == request && it.by == by && !it.cut && untold
        })
    }

    pub(super) fn cancel(&mut self, protocol: &Protocol, request: usize) {
        self.requests[request].cancel = Cancel::Stored;
        for at in 0..self.hands.len() {
            if self.hands[at].request == request && !self.hands[at].cut {
                self.feed(protocol, at, Event::CancelHeard);
            }
        }
    }

    pub(super) fn look_to_cancel(&mut self, protocol: &Protocol, request: usize) {
        let it = &self.requests[request];
        let record = match it.record {
            None => it.queue.first().map(|message| {
                let payload = message.copy.payload;
                Record { kind: Kind::CancelRequested, payload, cancelled: true, ..Record::default() }
            }),
            Some(record) if record.kind == Kind::Released && !record.cancelled => {
                Some(Record { cancelled: true, ..record })
            }
            Some(_) => None,
        };
        if let Some(owner) = self.owner(request) {
            self.feed(protocol, owner, Event::Cancel);
            return;
        }
        if let Some(record) = record {
            let expected = self.requests[request].record.map_or(0, |it| it.sequence);
            self.store(protocol, request, expected, record);
        }
        self.requests[request].cancel = Cancel::Settled;
    }

    /// The record as a worker reads it, and beside it what asks to cancel.
    pub(super) fn seen_by(&self, at: usize) -> Option<Seen> {
        let hand = &self.hands[at];
        let it = &self.requests[hand.request];
        let stored = it.cancel == Cancel::Stored && hand.attempt.may_be_cancelled();
        match it.record {
            Some(record) => {
                Some(Seen { cancelled: record.cancelled || stored, ..super::worker::seen(record) })
            }
            None => stored.then(Seen::cancel_stored),
        }
    }
}
