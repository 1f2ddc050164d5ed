//! What a client hears: records on its inboxes, signals, and changes of its connection.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::broadcast, task::AbortHandle};

use super::mailbox::{Mail, Pending, Sign};
use crate::{
    broker::{AnyBroker, Broker, Event, Message, SendError, Subscription},
    name::{Instance, Name, RequestId},
    progress::Progress,
    subject::{CallerSubjects, ServiceSubjects},
    turns,
    wire::signal::Signal,
};

/// Starts to watch the connection. The tasks end when they are aborted or the connection is closed.
pub(super) fn start(
    broker: &AnyBroker,
    subjects: &CallerSubjects,
    pending: &Arc<Pending>,
) -> [AbortHandle; 2] {
    let events = tokio::spawn(turns::own(hear_events(broker.clone(), subjects.clone(), Arc::clone(pending))));
    let reminders = tokio::spawn(turns::own(Arc::clone(pending).remind()));
    [events.abort_handle(), reminders.abort_handle()]
}

/// Starts to hear everything that concerns ids without keys, on the client's own runtime: the one of its first call may
/// end before it.
pub(super) async fn start_own(
    broker: &AnyBroker,
    subjects: &CallerSubjects,
    instance: &Instance,
    pending: &Arc<Pending>,
    runtime: &Handle,
) -> Result<[AbortHandle; 2], SendError> {
    let records = broker.subscribe(subjects.inboxes(instance)).await?;
    let signals = broker.subscribe(subjects.signals(instance)).await?;
    let _runtime = runtime.enter();
    Ok([hear(records, subjects, pending), hear(signals, subjects, pending)])
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
    let records = broker.subscribe(subjects.inbox(service.service(), id)).await?;
    let signals = broker.subscribe(service.signal(caller.as_str(), id.as_str())).await?;
    Ok(vec![hear(records, subjects, pending), hear(signals, subjects, pending)])
}

/// Hears until it is aborted. Not async: a call that is given up in between would leave a task behind.
fn hear(mut messages: impl Subscription, subjects: &CallerSubjects, pending: &Arc<Pending>) -> AbortHandle {
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
    task.abort_handle()
}

/// Puts a message into the mailbox of the call it is for. What cannot be read is dropped: both kinds are hints.
fn sort(message: Message, subjects: &CallerSubjects, pending: &Pending) {
    let address_of = |(service, id)| pending.address(service, id);
    if let Some(address) = subjects.parse_inbox(&message.subject).map(address_of) {
        // Whether it is the call's record is for the call to judge, who knows its stream.
        pending.deliver(&address, Mail::Record(message));
    } else if message.is_control()
        && let Some(address) = subjects.parse_signal(&message.subject).map(address_of)
        && let Some(signal) = Signal::decode(&message.payload)
    {
        let progress = signal.progress.map(|report| (report.number, Progress::from_report(&report)));
        let (kind, worker, attempt) = (signal.kind, signal.worker.to_owned(), signal.attempt);
        pending.deliver(&address, Mail::Signal(Box::new(Sign { kind, worker, attempt, heard: 1, progress })));
    }
}

async fn hear_events(broker: AnyBroker, subjects: CallerSubjects, pending: Arc<Pending>) {
    let mut events = broker.events();
    loop {
        let event = events.recv().await;
        if let Ok(Event::Reconnected) = event {
            pending.set_unauthorized(false);
        }
        match event {
            // Messages may have been lost in all these cases: every call reads its record.
            Ok(Event::Reconnected | Event::Overrun) | Err(broadcast::error::RecvError::Lagged(_)) => {
                pending.deliver_to_all(&Mail::Reconnected);
            }
            Ok(Event::Denied { subject }) => {
                if let Some((service, id)) = subjects.parse_request(&subject) {
                    pending.deliver(&pending.address(service, id), Mail::Denied);
                }
            }
            Ok(Event::Unauthorized { text }) => {
                // It comes with every try to connect again.
                if !pending.set_unauthorized(true) {
                    tracing::error!(text, "the server refused the credentials");
                }
            }
            Ok(Event::Disconnected) => {}
            Ok(Event::Closed) | Err(broadcast::error::RecvError::Closed) => {
                pending.deliver_to_all(&Mail::Reconnected);
                return;
            }
        }
    }
}
