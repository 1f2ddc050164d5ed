//! Checkpoints of one request in a worker's hands: the handler stores them, its next attempt finds the last one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;

use super::{
    held::{Held, Stop},
    keeper::Keeper,
    settle,
};
#[cfg(test)]
use crate::planted::{Bug, is_planted};
use crate::{
    broker::{
        AnyBroker, Headers, Outgoing, SendError,
        api::{self, StoreAnswer},
    },
    error::CheckpointError,
    protocol::attempt::{Action, Event, Write, Written},
    subject::joined,
    turns,
    wire::{VERSION, checkpoint::Checkpoint, header},
};

/// What a checkpoint outlives the deadline by: nothing starts after that, whatever a worker knows of the server's clock.
const AFTER_DEADLINE: Duration = Duration::from_secs(60);

/// What a handler has stored, or wants to. A later one replaces an earlier one that has not been sent yet.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    newest: Bytes,
    /// How many were asked for; this is the number of the newest.
    asked: u64,
    /// The last that was stored, by this attempt or an earlier one.
    last: Option<Bytes>,
    /// Its number; 0 if it is an earlier attempt's.
    stored: u64,
    /// Up to which number they were refused, and why.
    refused: Option<(u64, CheckpointError)>,
}

impl Checkpoints {
    /// What came of the one with this number; nothing while that is open.
    fn outcome(&self, number: u64) -> Option<Result<(), CheckpointError>> {
        match &self.refused {
            _ if self.stored >= number => Some(Ok(())),
            Some((refused, error)) if *refused >= number => Some(Err(error.clone())),
            _ => None,
        }
    }
}

/// Stores a checkpoint: returns when it is, or will not be.
pub(crate) async fn store(held: &Arc<Held>, keeper: &Keeper, body: Bytes) -> Result<(), CheckpointError> {
    if held.method.service.full.load(Ordering::Relaxed) {
        let text = "what is left of the record stream is for outcomes".to_owned();
        return Err(CheckpointError::Full { text });
    }
    let number = held.checkpoints(|it| {
        let it = it.get_or_insert_default();
        it.newest = body;
        it.asked += 1;
        it.asked
    });
    let action = held.step(Event::Checkpoint);
    if action != Action::None {
        // A task of its own: a write that nobody sees through would stop every later one, and handlers drop futures.
        let (held, keeper) = (Arc::clone(held), keeper.clone());
        turns::spawn(async move {
            settle::drive(&held, action, &keeper, held.broker()).await;
        });
    }
    let outcome = || held.checkpoints(|it| it.as_ref().and_then(|it| it.outcome(number)));
    held.until(|| match held.stopping() {
        Stop::No => outcome().is_some(),
        // The handler is about to be dropped, to go on elsewhere: no answer may lead it to another end.
        Stop::HandOver => false,
        Stop::Over | Stop::Elsewhere => true,
    })
    .await;
    outcome().unwrap_or(Err(CheckpointError::Stopped))
}

/// The last checkpoint that was stored.
pub(crate) fn last(held: &Held) -> Option<Bytes> {
    held.checkpoints(|it| it.as_ref().and_then(|it| it.last.clone()))
}

/// Tells whoever waits for a checkpoint that it is not stored.
pub(super) fn refuse(held: &Held, error: CheckpointError) {
    held.checkpoints(|it| {
        if let Some(it) = it {
            it.refused = Some((it.asked, error));
        }
    });
    held.tell();
}

/// Looks for what an earlier attempt has stored; whether there is anything, says the leader.
pub(super) async fn find(held: &Held, after: Duration, via: &AnyBroker) -> Result<bool, ()> {
    settle::pause(held, after).await;
    let origin = held.origin();
    let service = &held.method.service;
    let subject = service.subjects.checkpoint(origin.caller, origin.id);
    let reading = api::read_leader(via, &service.record_stream, &subject);
    let read = tokio::time::timeout(settle::answer_within(held), reading).await;
    let read = read.unwrap_or(Err(SendError::TimedOut.into()));
    let found = read.map_err(|failure| {
        tracing::warn!(subject, %failure, "the checkpoint could not be read");
    })?;
    let Some(found) = found else {
        return Ok(false);
    };
    match Checkpoint::decode(&found.payload) {
        Some(found) if found.request == held.sequence => {
            let last = Some(Bytes::copy_from_slice(found.body));
            held.checkpoints(|it| it.get_or_insert_default().last = last);
            return Ok(true);
        }
        // Of an earlier request with this id.
        Some(_) => {}
        None => tracing::error!(subject, "the checkpoint cannot be decoded"),
    }
    Ok(false)
}

/// Writes the newest checkpoint under the claim.
pub(super) async fn write(held: &Held, write: Write, via: &AnyBroker) -> Written {
    let asked = held.checkpoints(|it| it.as_ref().map(|it| (it.asked, it.newest.clone())));
    let (number, body) = asked.expect("a checkpoint was asked for before it is written");
    let left = held.lease().end().since(held.now());
    let within = settle::answer_within(held).min(left);
    let (outcome, written) = match api::store(via, message(held, write, &body), within).await {
        StoreAnswer::Stored(sequence) => (Ok(()), Written::Stored(sequence)),
        StoreAnswer::Full(text) => (Err(CheckpointError::Full { text }), Written::Full),
        StoreAnswer::TooLarge(text) => (Err(CheckpointError::TooLarge { text }), Written::TooLarge),
        _ => return Written::InDoubt,
    };
    held.checkpoints(|it| {
        let it = it.get_or_insert_default();
        match outcome {
            Ok(()) => (it.stored, it.last) = (number, Some(body)),
            Err(error) => it.refused = Some((number, error)),
        }
    });
    written
}

fn message(held: &Held, write: Write, body: &[u8]) -> Outgoing {
    let service = &held.method.service;
    let origin = held.origin();
    let keyed = origin.id.starts_with("k.");
    let kept = match held.left() {
        Some(left) => left + AFTER_DEADLINE,
        None => held.method.options.retention(keyed),
    };
    let claim = service.subjects.record(origin.caller, origin.id);
    let headers = headers(write.expected, claim).with(header::TTL, format!("{}s", kept.as_secs().max(1)));
    let attempt = held.look(|it| it.number());
    let checkpoint = Checkpoint { request: held.sequence, attempt, body };
    let subject = joined([&service.checkpoint_put_prefix, origin.caller, ".", origin.id]);
    Outgoing::new(subject, checkpoint.encode()).headers(headers)
}

/// What makes a checkpoint one of this claim: it must be the last record, or another attempt may be under way.
pub(crate) fn headers(expected: u64, claim: String) -> Headers {
    let headers =
        Headers::default().with(header::VERSION, VERSION).with(header::KIND, header::KIND_CHECKPOINT);
    #[cfg(test)]
    if is_planted(Bug::CheckpointUnchecked) {
        return headers;
    }
    headers.with(header::EXPECTED_LAST, expected.to_string()).with(header::EXPECTED_SUBJECT, claim)
}
