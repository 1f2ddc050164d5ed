//! Asking to cancel a call: stored first, then looked for in the call's record.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast, task::AbortHandle};

use super::{Inner, ask::streams_of, drive::PUBLISH_WITHIN};
use crate::{
    broker::{
        Broker, Event, Headers, Outgoing,
        api::{self, StoreAnswer},
    },
    error::{CancelError, Unavailable},
    name::RequestId,
    protocol::caller::Streams,
    server::held::Held,
    subject::{CANCEL, ServiceSubjects},
    turns,
    wire::{
        VERSION, header,
        record::{Kind, Record, Status},
    },
};

/// How long storing may stay in doubt: an election of the servers takes 4 to 9 s.
const STORED_WITHIN: Duration = Duration::from_secs(15);
/// How long after that the record is watched for what came of it.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at the record; doubles from the first to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// Between two publishes that nobody answered.
const AGAIN: Duration = Duration::from_millis(250);

/// What came of asking to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelAnswer {
    /// The call has ended as cancelled, and its handler has never run.
    CancelledBeforeStart,
    /// It is stored that the call is cancelled. A handler that runs is told, and may still end in its own way; one that
    /// has not started is not started any more, also if all workers are busy or none is there. The call itself says how it
    /// ended.
    ///
    /// By key or id, it is also the answer where nothing is known of the call: its outcome is not kept any more, or no such
    /// call was made. Then nothing comes of it: what is called later under that key is not cancelled. Only where an earlier
    /// wish to cancel the key lies unread, because no worker runs, one for the later call finds no place beside it.
    Signalled,
    /// The call has ended before.
    AlreadyDone,
}

impl CancelAnswer {
    /// What there is to say of a call that has come to its end.
    pub(super) fn of_end(status: Option<Status>, attempt: u32) -> Self {
        match status {
            Some(Status::Cancelled) if attempt == 0 => Self::CancelledBeforeStart,
            Some(Status::Cancelled) => Self::Signalled,
            _ => Self::AlreadyDone,
        }
    }

    /// What a record says; nothing if it says nothing of the end or a cancellation.
    fn of(record: &Record<'_>) -> Option<Self> {
        match record.kind {
            Kind::Outcome => Some(Self::of_end(record.status, record.attempt)),
            _ => record.cancel.then_some(Self::Signalled),
        }
    }
}

/// A call that may be cancelled.
pub(super) struct Cancel {
    pub(super) client: Arc<Inner>,
    pub(super) subjects: ServiceSubjects,
    pub(super) id: RequestId,
}

impl Cancel {
    pub(super) async fn run(&self) -> Result<CancelAnswer, CancelError> {
        if let Some(answer) = self.look().await {
            return Ok(answer);
        }
        self.store().await?;
        let broker = &self.client.broker;
        let (until, mut after) = (broker.now() + CONFIRMED_WITHIN, LOOKS.0);
        while broker.now() < until {
            tokio::time::sleep(after).await;
            if let Some(answer) = self.look().await {
                return Ok(answer);
            }
            after = (after * 2).min(LOOKS.1);
        }
        Ok(CancelAnswer::Signalled)
    }

    /// What the record says; nothing if it says nothing of the end or a cancellation.
    async fn look(&self) -> Option<CancelAnswer> {
        let (caller, id) = (self.client.config.caller.as_str(), self.id.as_str());
        let (stream, subject) = (self.subjects.record_stream(), self.subjects.record(caller, id));
        let found = api::read_any(&self.client.broker, &stream, &subject).await.ok()??;
        CancelAnswer::of(&Record::decode(&found)?)
    }

    /// Cancels where nobody waits for the answer.
    pub(super) async fn give_up(&self) {
        if let Err(error) = self.store().await {
            tracing::warn!(id = %self.id, %error, "a call that nobody waits for could not be cancelled");
        }
    }

    /// Cancels the call when its parent is cancelled, for as long as it lasts.
    pub(super) fn pass_on(self, parent: Arc<Held>) -> AbortHandle {
        let passes_on = turns::spawn(async move {
            parent.until(|| parent.cancelled().is_some()).await;
            self.give_up().await;
        });
        passes_on.abort_handle()
    }

    /// Stores the wish. It has no message id: there is at most one for each call that is not settled, and asking again
    /// later does no harm.
    async fn store(&self) -> Result<(), CancelError> {
        let broker = &self.client.broker;
        let subject = self.subjects.cancel(self.client.config.caller.as_str(), self.id.as_str());
        let headers =
            Headers::default().with(header::VERSION, VERSION).with(header::KIND, header::KIND_CANCEL);
        // From before the publish on: a refusal must not be missed.
        let mut events = broker.events();
        let (until, mut in_doubt, mut asked) = (broker.now() + STORED_WITHIN, false, false);
        loop {
            let message = Outgoing::new(subject.clone(), Vec::new()).headers(headers.clone());
            let answer = tokio::select! {
                biased;
                answer = api::store(broker, message, PUBLISH_WITHIN) => answer,
                () = denied(&mut events, &subject) => {
                    return Err(Unavailable::PermissionDenied { subject }.into());
                }
            };
            match answer {
                StoreAnswer::Stored(_) | StoreAnswer::Exists | StoreAnswer::Duplicate => return Ok(()),
                StoreAnswer::NoResponders if !asked => {
                    asked = true;
                    match streams_of(broker, &subject, &self.subjects.any_request()).await {
                        Streams::NoService if !in_doubt => {
                            let service = self.subjects.service().to_string();
                            return Err(Unavailable::NoStream { service }.into());
                        }
                        Streams::NoMethod if !in_doubt => {
                            return Err(Unavailable::NoSuchMethod { method: CANCEL.into() }.into());
                        }
                        Streams::Match => {}
                        Streams::NoService | Streams::NoMethod | Streams::Unknown => asked = false,
                    }
                }
                StoreAnswer::NoResponders => {}
                StoreAnswer::InDoubt | StoreAnswer::WrongLast => in_doubt = true,
                _ if in_doubt => return Err(CancelError::Unknown),
                StoreAnswer::Full(text) => return Err(Unavailable::QueueFull { text }.into()),
                StoreAnswer::TooLarge(text) => return Err(Unavailable::Refused { text }.into()),
                StoreAnswer::Refused(error) => {
                    return Err(Unavailable::Refused { text: error.to_string() }.into());
                }
                StoreAnswer::Closed => return Err(Unavailable::Closed.into()),
            }
            if broker.now() + AGAIN >= until {
                return Err(if in_doubt { CancelError::Unknown } else { Unavailable::NoQuorum.into() });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Resolves when the server denies the subject: then there is no answer.
async fn denied(events: &mut broadcast::Receiver<Event>, subject: &str) {
    loop {
        match events.recv().await {
            Ok(Event::Denied { subject: denied }) if denied == subject => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
