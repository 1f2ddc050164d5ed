//! What a client hears: records on its inboxes, signals, and changes of its connection.

use std::sync::Arc;

use tokio::{sync::broadcast, task::AbortHandle};

use super::mailbox::{Mail, Pending};
use crate::{
    broker::{AnyBroker, Broker, Event, Message, SendError, Subscription},
    name::{Instance, Name, RequestId},
    subject::{CallerSubjects, ServiceSubjects},
    turns,
    wire::{VERSION, header, signal::Signal},
};

/// Starts to hear everything that concerns ids without keys. The tasks end when they are aborted or the connection is
/// closed.
pub(super) async fn start(
    broker: &AnyBroker,
    subjects: &CallerSubjects,
    instance: &Instance,
    pending: &Arc<Pending>,
) -> Result<Vec<AbortHandle>, SendError> {
    let records = hear(broker, subjects.inboxes(instance), subjects, pending).await?;
    let signals = hear(broker, subjects.signals(instance), subjects, pending).await?;
    let events = tokio::spawn(turns::own(hear_events(broker.clone(), subjects.clone(), Arc::clone(pending))));
    let reminders = tokio::spawn(turns::own(Arc::clone(pending).remind()));
    Ok(vec![records, signals, events.abort_handle(), reminders.abort_handle()])
}

/// Starts to hear one keyed call: its inbox and its signals.
pub(super) async fn start_keyed(
    broker: &AnyBroker,
    subjects: &CallerSubjects,
    service: &ServiceSubjects,
    caller: &Name,
    id: &RequestId,
    pending: &Arc<Pending>,
) -> Result<Vec<AbortHandle>, SendError> {
    Ok(vec![
        hear(broker, subjects.inbox(service.service(), id), subjects, pending).await?,
        hear(broker, service.signal(caller.as_str(), id.as_str()), subjects, pending).await?,
    ])
}

async fn hear(
    broker: &AnyBroker,
    subject: String,
    subjects: &CallerSubjects,
    pending: &Arc<Pending>,
) -> Result<AbortHandle, SendError> {
    let mut messages = broker.subscribe(subject).await?;
    let (subjects, pending) = (subjects.clone(), Arc::clone(pending));
    let task = turns::spawn(async move {
        let mut heard: usize = 0;
        while let Some(message) = messages.next().await {
            sort(message, &subjects, &pending);
            heard += 1;
            if heard.is_multiple_of(turns::TURN) {
                turns::pass().await;
            }
        }
    });
    Ok(task.abort_handle())
}

/// Puts a message into the mailbox of the call it is for. What cannot be read is dropped: both kinds are hints.
fn sort(message: Message, subjects: &CallerSubjects, pending: &Pending) {
    let address_of = |(service, id)| pending.address(service, id);
    if let Some(address) = subjects.parse_inbox(&message.subject).map(address_of) {
        // Whether it is the call's record is for the call to judge, who knows its stream.
        pending.deliver(&address, Mail::Record(message));
    } else if message.headers.first(header::VERSION) == Some(VERSION)
        && let Some(address) = subjects.parse_signal(&message.subject).map(address_of)
        && let Some(signal) = Signal::decode(&message.payload)
    {
        let mail =
            Mail::Signal { kind: signal.kind, worker: signal.worker.to_owned(), attempt: signal.attempt };
        pending.deliver(&address, mail);
    }
}

async fn hear_events(broker: AnyBroker, subjects: CallerSubjects, pending: Arc<Pending>) {
    let mut events = broker.events();
    loop {
        match events.recv().await {
            // Messages may have been lost in all these cases: every call reads its record.
            Ok(Event::Reconnected | Event::Overrun) | Err(broadcast::error::RecvError::Lagged(_)) => {
                pending.deliver_to_all(&Mail::Reconnected);
            }
            Ok(Event::Denied { subject }) => {
                if let Some((service, id)) = subjects.parse_request(&subject) {
                    pending.deliver(&pending.address(service, id), Mail::Denied);
                }
            }
            Ok(Event::Unauthorized { text }) => tracing::error!(text, "the server refused the credentials"),
            Ok(Event::Disconnected) => {}
            Ok(Event::Closed) | Err(broadcast::error::RecvError::Closed) => {
                pending.deliver_to_all(&Mail::Reconnected);
                return;
            }
        }
    }
}
