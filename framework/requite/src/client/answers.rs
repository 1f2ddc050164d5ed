//! What comes back of what a call asks for: of its publishes, and of reads of its record.

use std::time::Duration;

use bytes::Bytes;

use super::drive::Target;
use crate::{
    broker::{
        AnyBroker, SendError,
        api::{self, StoreAnswer},
    },
    codec::ContentType,
    protocol::caller::{Answer, Event},
    wire::record::{Kind, Reason, Record, Status},
};

/// How long a read of stored progress may hold up the record that was read before it.
const PROGRESS_WITHIN: Duration = Duration::from_millis(300);

/// What came of something that was asked for.
pub(super) struct Done {
    pub(super) event: Event,
    /// The record that was read.
    pub(super) record: Option<Bytes>,
    /// The progress that was read with it.
    pub(super) progress: Option<Bytes>,
    /// The request's number in its stream, as the answer to its publish has it.
    pub(super) sequence: Option<u64>,
    /// What the server said.
    pub(super) text: Option<String>,
}

impl From<Event> for Done {
    fn from(event: Event) -> Self {
        Self { event, record: None, progress: None, sequence: None, text: None }
    }
}

/// An outcome, decoded once.
pub(super) struct Outcome {
    pub(super) status: Option<Status>,
    pub(super) reason: Option<Reason>,
    pub(super) content_type: ContentType,
    pub(super) attempt: u32,
    /// How many items the handler's stream has.
    pub(super) items: u64,
    /// The text of the last error.
    pub(super) error: Option<String>,
    /// The value or the error, a slice of the message.
    pub(super) body: Option<Bytes>,
}

/// How a call came to its end, for its caller.
pub(super) enum End<'a> {
    Outcome(&'a Outcome),
    /// It is not known whether it runs.
    Unknown,
    /// Nobody waits for it any more.
    Dropped,
}

pub(super) fn answered(answer: StoreAnswer) -> Done {
    let sequence = if let StoreAnswer::Stored(sequence) = answer { Some(sequence) } else { None };
    let (answer, text) = coarse(answer);
    Done { text, sequence, ..Event::Answer(answer).into() }
}

/// The answer to a publish as the state machine needs it, with what the server said.
fn coarse(answer: StoreAnswer) -> (Answer, Option<String>) {
    match answer {
        StoreAnswer::Stored(_) => (Answer::Stored, None),
        StoreAnswer::Duplicate => (Answer::Duplicate, None),
        StoreAnswer::Exists => (Answer::Exists, None),
        StoreAnswer::InDoubt | StoreAnswer::WrongLast => (Answer::InDoubt, None),
        StoreAnswer::NoResponders => (Answer::NoResponders, None),
        StoreAnswer::Full(text) => (Answer::Full, Some(text)),
        StoreAnswer::TooLarge(text) => (Answer::TooLarge, Some(text)),
        StoreAnswer::Refused(error) => (Answer::Refused, Some(error.to_string())),
        StoreAnswer::Closed => (Answer::Closed, None),
    }
}

/// Of the two the record matters: whoever may not read this, or gets no answer soon, goes on without.
async fn read_progress(broker: &AnyBroker, Target { route, id }: &Target) -> Option<Bytes> {
    let subject = route.progress(id);
    let reading = api::read_any(broker, &route.record_stream, &subject);
    tokio::time::timeout(PROGRESS_WITHIN, reading).await.ok()?.ok()?
}

/// Reads the record and, for who watches, how far its handler is.
pub(super) async fn read(broker: &AnyBroker, target: &Target, watched: bool) -> Done {
    let Target { route, id } = target;
    match api::read_any(broker, &route.record_stream, &route.record(id)).await {
        Ok(Some(record)) => {
            let runs = Record::decode(&record).is_some_and(|record| record.kind == Kind::Claim);
            let progress = if watched && runs { Box::pin(read_progress(broker, target)).await } else { None };
            Done { record: Some(record), progress, ..Event::Read(Err(())).into() }
        }
        Ok(None) => Event::Read(Ok(None)).into(),
        Err(api::ApiFailure::Send(SendError::Closed)) => Event::Closed.into(),
        Err(failure) => {
            tracing::debug!(id = %target.id, %failure, "the record could not be read");
            Event::Read(Err(())).into()
        }
    }
}
