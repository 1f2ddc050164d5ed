//! What an attempt asks for, done: read and write the record, ask its owner, bury, ack. The only place where anything
//! is written for a request.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;

use super::{
    cancels, checkpoint,
    held::{Held, Stop},
    keeper::Keeper,
    method::record_headers,
    stats::count,
};
#[cfg(test)]
use crate::planted::{Bug, is_planted};
use crate::{
    broker::{
        AnyBroker, Broker, Headers, Outgoing, SendError, Subject,
        api::{self, StoreAnswer},
    },
    error::CheckpointError,
    protocol::{
        attempt::{Action, Attempt, Event, Outcome, Owner, Seen, What, Write, Written},
        time::{ASK_OWNER, Moment},
    },
    service::Produced,
    subject::joined,
    wire::{
        control::{MINE, MineQuestion},
        header,
        record::{AttemptId, Kind, Reason, Record, Status},
        signal::{Signal, SignalKind},
    },
};

/// Between two asks of an owner.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long the write of a dead letter may take before it is made again.
const BURY_WITHIN: Duration = Duration::from_secs(5);

/// Where an attempt stands when there is nothing more to do for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The handler may run.
    Start,
    /// Somebody else has the next word.
    Rest,
}

/// Does what the attempt asks for until it rests, over `via`: the worker's connection or the keeper's.
///
/// What a fresh request does not need is boxed: a future of every request carries room for the largest step.
pub(crate) async fn drive(held: &Held, mut action: Action, keeper: &Keeper, via: &AnyBroker) -> Next {
    loop {
        let event = match action {
            // The handler's task has the next word, and knows.
            Action::None | Action::HandOver => return Next::Rest,
            Action::Start => {
                #[cfg(test)]
                if is_planted(Bug::AckFirst) {
                    ack(held, false, via).await;
                }
                return Next::Start;
            }
            Action::Read(after) => Event::Read(Box::pin(read_record(held, after, via)).await),
            Action::Write(write @ Write { what: What::Checkpoint, .. }) => {
                let written = Box::pin(checkpoint::write(held, write, via)).await;
                let stored = matches!(written, Written::Stored(_));
                action = held.step(Event::Written(written));
                // Only now: a handler that is handed over at its checkpoint must not go on behind it.
                held.tell();
                if stored && let Some(reports) = held.reports.get() {
                    reports.checkpoint();
                }
                continue;
            }
            Action::Write(write) => Event::Written(write_record(held, write, via).await),
            Action::Ask { worker, attempt_id } => {
                Event::Owner(Box::pin(ask_owner(held, &worker, attempt_id, via)).await)
            }
            Action::Wait(until) => {
                Box::pin(pause(held, until.since(held.now()))).await;
                Event::Due
            }
            Action::Find(after) => Event::Found(Box::pin(checkpoint::find(held, after, via)).await),
            Action::Bury(reason) => Event::Buried(Box::pin(bury(held, reason, via)).await),
            Action::Ack { tell } => {
                ack(held, tell, via).await;
                return Next::Rest;
            }
            Action::Nak(delay) => {
                count(&held.method.service.counters.handed_over);
                keeper.nak(&held.ack, delay, held.lease().end());
                return Next::Rest;
            }
            Action::Forget => {
                tracing::warn!(subject = %held.subject, "let go of a request: its lease is lost or somebody else's");
                held.stop(Stop::Elsewhere);
                return Next::Rest;
            }
        };
        action = held.step(event);
    }
}

/// Waits, but not longer than the attempt lives.
pub(super) async fn pause(held: &Held, span: Duration) {
    if !span.is_zero() && !held.is_over() {
        let _ = tokio::time::timeout(span, held.stopped()).await;
        // A worker that stops feeds the attempt itself; what is left here is only to come to its end.
        if held.stopping() == Stop::HandOver {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

/// How long a read or a write of the record may take before it counts as lost. After a server's death the answer to
/// what was under way never comes, and [`LeaseTimes::owner_claims_within`] is all the time that this worker has until
/// another one may claim: one heartbeat interval for the wait, the margin for asking and writing again.
///
/// [`LeaseTimes::owner_claims_within`]: crate::protocol::time::LeaseTimes::owner_claims_within
pub(super) fn answer_within(held: &Held) -> Duration {
    held.method.times.heartbeat()
}

async fn read_record(held: &Held, after: Duration, via: &AnyBroker) -> Result<Option<Seen>, ()> {
    pause(held, after).await;
    let origin = held.origin();
    let service = &held.method.service;
    let subject = service.subjects.record(origin.caller, origin.id);
    let reading = api::read_leader(via, &service.record_stream, &subject);
    let read = tokio::time::timeout(answer_within(held), reading).await;
    let read = read.unwrap_or(Err(SendError::TimedOut.into()));
    let found = read.map_err(|failure| {
        tracing::warn!(%subject, %failure, "the record could not be read");
    })?;
    let cancelled = held.look(Attempt::may_be_cancelled) && cancels::is_stored(held, via).await?;
    let Some(found) = found else {
        return Ok(cancelled.then(Seen::cancel_stored));
    };
    let Some(record) = Record::decode(&found.payload) else {
        // Nothing that this version wrote: like a kind of a later one, it is left to whoever understands it.
        tracing::error!(%subject, "the record cannot be decoded");
        return Ok(Some(Seen::unreadable(found.sequence)));
    };
    Ok(Some(Seen {
        sequence: found.sequence,
        kind: record.kind,
        attempt: record.attempt,
        attempt_id: record.attempt_id,
        write: record.write,
        spent: record.spent,
        delivery: record.delivery,
        worker: record.worker.to_owned(),
        lease: Duration::from_millis(record.lease),
        wait: record.not_before.map(|until| {
            let now = held.method.server_now(held.now()).unwrap_or(until);
            Duration::from_nanos(until.saturating_sub(now))
        }),
        cancelled: record.cancel || cancelled,
    }))
}

async fn write_record(held: &Held, write: Write, via: &AnyBroker) -> Written {
    let message = record_message(held, write);
    #[cfg(test)]
    if is_planted(Bug::ComputedAnswer) && matches!(write.what, What::Outcome(_)) {
        answer_unstored(held, &message, via).await;
    }
    let left = held.lease().end().since(held.now());
    let answer = api::store(via, message, answer_within(held).min(left)).await;
    let counters = &held.method.service.counters;
    match answer {
        StoreAnswer::Stored(sequence) => {
            match write.what {
                What::Claim => count(&counters.claims),
                // An outcome counts when it is acked: a write in doubt is seen as stored only later.
                What::Outcome(_) | What::Released { .. } | What::Checkpoint => {}
            }
            Written::Stored(sequence)
        }
        StoreAnswer::Full(text) => {
            tracing::error!(stream = %held.method.service.record_stream, text, "the record stream is full");
            if write.what == What::Claim {
                // Room may come for the claim; whoever waits for a checkpoint behind it is told.
                checkpoint::refuse(held, CheckpointError::Full { text });
            }
            Written::Full
        }
        StoreAnswer::TooLarge(text) => {
            tracing::warn!(subject = %held.subject, text, "the outcome is too large to be stored");
            Written::TooLarge
        }
        StoreAnswer::Refused(error) => {
            tracing::error!(subject = %held.subject, %error, "the server refused a record");
            Written::InDoubt
        }
        _ => Written::InDoubt,
    }
}

/// Does what only the server may: pushes an outcome, stored or not.
#[cfg(test)]
async fn answer_unstored(held: &Held, record: &Outgoing, via: &AnyBroker) {
    let (service, origin) = (&held.method.service, held.origin());
    let headers = record.headers.clone().with(header::STREAM, &*service.record_stream);
    let headers = headers.with(header::SUBJECT, service.subjects.record(origin.caller, origin.id));
    let inbox = service.subjects.inbox(origin.caller, origin.id);
    let _ = via.publish(Outgoing::new(inbox, record.payload.clone()).headers(headers)).await;
}

/// The record as a message: what the attempt decided, with what the handler produced.
fn record_message(held: &Held, write: Write) -> Outgoing {
    let method = &held.method;
    let service = &method.service;
    let origin = held.origin();
    let produced = held.produced.lock().expect("nobody panics with the result in hand");
    let (attempt, attempt_id, spent, delivery) =
        held.look(|it| (it.number(), it.id(), it.spent(), it.delivery_count()));
    let mut record = Record {
        attempt,
        attempt_id,
        write: write.number,
        spent,
        delivery,
        request: held.sequence,
        stored: held.stored,
        worker: service.worker.as_str(),
        lease: u64::try_from(method.options.lease.as_millis()).unwrap_or(u64::MAX),
        hash: held.hash,
        ..Record::of(Kind::Claim, method.options.name)
    };
    if let Some(
        Produced::Error { text, .. }
        | Produced::Undecodable(text)
        | Produced::Unread(text)
        | Produced::TooLarge(text)
        | Produced::Unencodable(text),
    ) = &*produced
    {
        record.error = Some(text);
    }
    match write.what {
        What::Claim => {
            record.error = None;
            record.cancel = held.look(Attempt::is_cancelled);
        }
        What::Checkpoint => unreachable!("it is no record"),
        What::Released { delay, spent } => {
            record.kind = Kind::Released;
            record.spent = spent;
            let now = method.server_now(held.now()).unwrap_or(held.stored);
            record.not_before = Some(now + u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX / 2));
        }
        What::Outcome(outcome) => fill_outcome(&mut record, outcome, produced.as_ref(), held),
    }
    let keyed = origin.id.starts_with("k.");
    let headers = match (record.kind, write.expected, keyed) {
        (Kind::Outcome, 0, false) => method.usual_outcome.clone(),
        (Kind::Outcome, expected, keyed) => {
            record_headers(Kind::Outcome, expected, Some(method.options.retention(keyed)))
        }
        (kind, expected, _) => record_headers(kind, expected, None),
    };
    let subject = joined([&service.record_put_prefix, origin.caller, ".", origin.id]);
    Outgoing::new(subject, record.encode()).headers(headers)
}

fn fill_outcome<'a>(record: &mut Record<'a>, outcome: Outcome, produced: Option<&'a Produced>, held: &Held) {
    record.kind = Kind::Outcome;
    let (status, reason) = match outcome {
        Outcome::Value => (Status::Ok, None),
        Outcome::Error(reason) => (Status::Failed, reason),
        Outcome::Failed(reason) => (Status::Failed, Some(reason)),
        Outcome::Rejected(reason) => (Status::Rejected, Some(reason)),
        Outcome::Cancelled => (Status::Cancelled, None),
    };
    record.items = held.streams.get().and_then(|streams| streams.stored());
    record.status = Some(status);
    record.reason = reason;
    if let (Outcome::Value | Outcome::Error(_), Some(Produced::Value(body) | Produced::Error { body, .. })) =
        (outcome, produced)
    {
        record.content_type = Some(held.envelope.content_type.as_str());
        record.body = Some(body);
    }
}

/// Asks the owner of a claim whether it still works on it. An interest may be slow to spread after a reconnect, so
/// "no responders" counts as gone only if it is the answer for the whole time.
async fn ask_owner(held: &Held, worker: &str, attempt_id: AttemptId, via: &AnyBroker) -> Owner {
    let question = Bytes::from(MineQuestion { id: held.origin().name, attempt_id }.encode());
    let until = held.now() + ASK_OWNER;
    while held.now() < until && !held.is_over() {
        let message = Outgoing::control(held.method.service.subjects.mine(worker), question.clone());
        match via.ask(message, ASK_EVERY).await {
            Ok(answer) if *answer.payload == *MINE => return Owner::Mine,
            Ok(_) => return Owner::Gone,
            Err(SendError::TimedOut) => {}
            // An answer without a wait: also of a connection that is closed, which must not be asked in a spin.
            Err(_) => pause(held, ASK_EVERY).await,
        }
    }
    Owner::Gone
}

/// Stores a dead letter: the request with the reason, for people.
async fn bury(held: &Held, reason: Reason, via: &AnyBroker) -> bool {
    let origin = held.origin();
    let subject = held.method.service.subjects.dead_letter(origin.method, origin.caller, origin.id);
    let body = held.body().clone();
    let stored =
        store_dead_letter(subject, held.envelope.encode(), body, reason.as_str(), held.sequence, via).await;
    if stored {
        count(&held.method.service.counters.dead_letters);
    } else {
        tokio::time::sleep(ASK_EVERY).await;
    }
    stored
}

/// Stores a message as a dead letter; of one that does not fit, the first half of its body.
pub(crate) async fn store_dead_letter(
    subject: String,
    headers: Headers,
    body: Bytes,
    reason: &str,
    sequence: u64,
    via: &AnyBroker,
) -> bool {
    let about =
        |headers: Headers| headers.with(header::REASON, reason).with(header::SEQUENCE, sequence.to_string());
    let message = Outgoing::new(subject.clone(), body.clone()).headers(about(headers));
    let mut answer = api::store(via, message, BURY_WITHIN).await;
    if let StoreAnswer::TooLarge(_) = answer {
        // It came in at the server's limit, and the reason does not fit beside it: half of it is better than a request
        // that comes back for ever.
        let headers = about(Headers::default()).with(header::CUT_FROM, body.len().to_string());
        let message = Outgoing::new(subject.clone(), body.slice(..body.len() / 2)).headers(headers);
        answer = api::store(via, message, BURY_WITHIN).await;
    }
    match answer {
        StoreAnswer::Stored(_) | StoreAnswer::Duplicate => true,
        other => {
            tracing::error!(subject, answer = ?other, "a dead letter could not be stored");
            false
        }
    }
}

async fn ack(held: &Held, tell: bool, via: &AnyBroker) {
    if tell {
        count(&held.method.service.counters.known_outcomes);
        Box::pin(signal(held, SignalKind::Stored, via)).await;
    } else {
        count(&held.method.service.counters.outcomes);
    }
    let now = if tell { held.now() } else { held.fed() };
    send_ack(&held.ack, now, held.lease().end(), via).await;
}

/// Acks, unless the lease is over or the connection down: a late ack would remove the request under another worker.
pub(crate) async fn send_ack(subject: &Subject, now: Moment, expires: Moment, via: &AnyBroker) {
    if now < expires && via.is_connected() {
        // An ack that does not arrive costs a redelivery, which finds the outcome.
        let _ = via.publish(Outgoing::new(subject.clone(), Bytes::from_static(b"+ACK"))).await;
    }
}

/// Tells the caller; nobody may be listening.
pub(crate) async fn signal(held: &Held, kind: SignalKind, via: &AnyBroker) {
    let origin = held.origin();
    let (attempt, attempt_id) = held.look(|it| (it.number(), it.id()));
    let n = held.signals.fetch_add(1, Ordering::Relaxed) + 1;
    let worker = held.method.service.worker.as_str();
    let newest = held.reports.get().map(|reports| reports.newest());
    let progress = newest.as_ref().map(|(number, progress)| progress.report(*number));
    let body = Signal { kind, attempt, attempt_id, worker, n, progress }.encode();
    let subject = held.method.service.subjects.signal(origin.caller, origin.id);
    let _ = via.publish(Outgoing::control(subject, body)).await;
}
