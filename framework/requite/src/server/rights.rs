//! Whether this connection may do what a request needs once its handler has run. A worker that finds out later would
//! keep the request: its handler is done, its outcome cannot be stored, and its lease is renewed.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::{
    SetupError,
    broker::{
        Broker, Event, Headers, Outgoing,
        api::{self, ANSWER_WITHIN, StoreAnswer},
    },
    subject::{ServiceSubjects, api::read_leader},
    wire::header,
};

/// No subject has a message of this sequence: whoever expects one is refused, and nothing is stored.
const NEVER: u64 = 1 << 62;

/// Tries to write a record, what lies beside it and a dead letter, in a way that cannot succeed, and to read a record
/// that is not there.
///
/// # Errors
///
/// If the server says that this user may not. No answer at all says nothing about rights.
pub(super) async fn check<B: Broker>(
    broker: &B,
    subjects: &ServiceSubjects,
    put_prefixes: [&str; 3],
    item_secret: Option<&str>,
) -> Result<(), SetupError> {
    // From before the first question on: a refusal must not be missed.
    let mut events = broker.events();
    let dead_letter = subjects.dead_letter("-rights", "-rights", "-.0");
    let puts = put_prefixes.map(|prefix| format!("{prefix}-rights.-.0"));
    let items = item_secret.map(|secret| format!("{}0", subjects.frames_put(secret, "-rights", "-.0")));
    for subject in puts.into_iter().chain([dead_letter]).chain(items) {
        let headers = Headers::default().with_own(header::EXPECTED_LAST, NEVER.to_string());
        let write = Outgoing::new(subject.clone(), Bytes::new()).headers(headers);
        let answer = allowed(&mut events, &subject, api::store(broker, write, ANSWER_WITHIN)).await?;
        if answer != StoreAnswer::WrongLast {
            tracing::warn!(subject, ?answer, "whether this worker may write here is not known");
        }
    }
    let streams = [Some(subjects.record_stream()), item_secret.map(|_| subjects.item_stream())];
    for stream in streams.into_iter().flatten() {
        let nothing = subjects.record("-rights", "-.0");
        let read = api::read_leader(broker, &stream, &nothing);
        if let Err(failure) = allowed(&mut events, &read_leader(&stream), read).await? {
            tracing::warn!(stream, %failure, "whether this worker may read here is not known");
        }
    }
    Ok(())
}

/// What is answered, unless the server denies the subject: then there is no answer.
async fn allowed<F: Future>(
    events: &mut broadcast::Receiver<Event>,
    subject: &str,
    asked: F,
) -> Result<F::Output, SetupError> {
    let denied = async {
        loop {
            match events.recv().await {
                Ok(Event::Denied { subject: denied }) if denied == subject => return,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        biased;
        answer = asked => Ok(answer),
        () = denied => Err(SetupError::PermissionDenied { subject: subject.to_owned() }),
    }
}
