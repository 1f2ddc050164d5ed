//! A calling process: makes the planned calls through the real client, patiently or not.

use std::time::Duration;

use super::{
    history::{Answer, Call as Seen, History},
    plan::{Call, Item, Manner},
    streams::{self, FIRST_PROCESS},
    worker::{Done, Failure},
};
use crate::{
    Accepted, Attach, Bidirectional, Client, Items, RequestId,
    broker::{AnyBroker, simulated::Simulation},
    client::{CallEvent, Config, call},
    error::{CallError, Rejected},
};

/// What handlers with streams take and give.
type Streams = Bidirectional<Item, Item>;

/// The calling processes.
pub(super) struct Callers {
    clients: Vec<Client>,
    history: History,
}

pub(super) fn name(caller: usize) -> String {
    format!("caller {caller}")
}

impl Callers {
    pub(super) async fn connect(simulation: &Simulation, names: &[&str], history: &History) -> Self {
        let mut clients = Vec::new();
        for (number, caller) in names.iter().enumerate() {
            let connection = simulation.connect(&name(number)).expect("the server runs at first");
            clients.push(Client::over(AnyBroker::Simulated(connection), Config::simulated(caller)));
        }
        Self { clients, history: history.clone() }
    }

    /// Plays a planned call to its end.
    pub(super) async fn play(&self, call: &Call) {
        tokio::time::sleep(call.at.saturating_sub(self.history.now())).await;
        match &call.manner {
            Manner::Wait => self.wait(call, false).await,
            Manner::RequireWorker => self.wait(call, true).await,
            Manner::Impatient { patience } => {
                for patience in patience {
                    if self.lose_patience(call, *patience).await {
                        return;
                    }
                }
                self.wait(call, false).await;
            }
            Manner::Attach { after, by } => self.attach_later(call, *after, *by).await,
        }
    }

    async fn wait(&self, call: &Call, require_worker: bool) {
        if call.job.items > 0 {
            return self.open(call).await;
        }
        let (number, made) = self.make::<()>(call);
        let made = if require_worker { made.require_worker() } else { made };
        let Some(after) = call.cancel else {
            return self.note(number, made.await);
        };
        let accepted: Accepted<Done, Failure> = match made.start().await {
            Ok(accepted) => accepted,
            Err(error) => return self.note(number, Err(error)),
        };
        let id = accepted.id().clone();
        self.history.write().calls[number].id = Some(self.id_of(call, &id));
        let answer = async { self.note(number, accepted.await) };
        tokio::join!(answer, self.cancel(call, &id, after));
    }

    /// Sends and reads, and waits for the answer.
    async fn open(&self, call: &Call) {
        let (number, made) = self.make::<Streams>(call);
        let (mut sink, items, accepted) = match made.open().await {
            Ok(opened) => opened,
            Err(error) => return self.note(number, Err(error)),
        };
        let id = accepted.id().clone();
        self.history.write().calls[number].id = Some(self.id_of(call, &id));
        let send = async {
            if streams::send(&mut sink, call, FIRST_PROCESS, 0).await {
                let _ = sink.finish().await;
            } else {
                drop(sink);
            }
        };
        let answer = async { self.note(number, accepted.await) };
        let cancel = async {
            if let Some(after) = call.cancel {
                self.cancel(call, &id, after).await;
            }
        };
        tokio::join!(answer, send, self.read(number, items, call.leaves_behind), cancel);
    }

    async fn read(&self, number: usize, items: Items<Item>, enough: Option<u64>) {
        streams::read(items, enough, |read| self.history.write().calls[number].read = Some(read)).await;
    }

    async fn cancel(&self, call: &Call, id: &RequestId, after: Duration) {
        tokio::time::sleep(after).await;
        let cancel = |answer| self.history.write().cancels.push((self.id_of(call, id), answer));
        // It may be stored although this caller is never told.
        cancel(None);
        if let Ok(answer) = self.clients[call.by].cancel(call.method.service, id).await {
            cancel(Some(answer));
        }
    }

    /// Whether the answer came in time.
    async fn lose_patience(&self, call: &Call, patience: Duration) -> bool {
        let (number, made) = self.make::<()>(call);
        match tokio::time::timeout(patience, made).await {
            Ok(answer) => self.note(number, answer),
            Err(_) => self.history.write().calls[number].dropped = true,
        }
        self.history.write().calls[number].ended.is_some()
    }

    /// Sends and reads for a while; then another process of the caller goes on, and the first one is gone, or says nothing more.
    async fn open_again_later(&self, call: &Call, after: Duration, by: usize) {
        let (number, made) = self.make::<Streams>(call);
        let (mut first, items, accepted) = match made.open().await {
            Ok(opened) => opened,
            Err(error) => return self.note(number, Err(error)),
        };
        let id = accepted.id().clone();
        self.history.write().calls[number].id = Some(self.id_of(call, &id));
        let streams = async {
            tokio::join!(
                streams::send(&mut first, call, FIRST_PROCESS, 0),
                self.read(number, items, call.leaves_behind)
            );
        };
        let _ = tokio::time::timeout(after, streams).await;
        self.history.write().calls[number].dropped = true;
        drop(accepted);
        let _silent = (!call.job.tag.is_multiple_of(3)).then_some(first);

        let number = self.history.call(self.seen(by, call, Some(&id)));
        let attach: Attach<Done, Failure, Streams> = call::attach(&self.clients[by], call.method, "");
        let (mut sink, items, accepted) = match attach.id(id).deadline(call.deadline).open().await {
            Ok(opened) => opened,
            Err(error) => return self.note(number, Err(error)),
        };
        let send = async {
            let Ok(before) = sink.items_stored().await else { return };
            if streams::send(&mut sink, call, FIRST_PROCESS + 1, before).await {
                let _ = sink.finish().await;
            } else {
                drop(sink);
            }
        };
        let answer = async { self.note(number, accepted.await) };
        tokio::join!(answer, send, self.read(number, items, None));
    }

    async fn attach_later(&self, call: &Call, after: Duration, by: usize) {
        if call.job.items > 0 {
            return self.open_again_later(call, after, by).await;
        }
        let (number, made) = self.make::<()>(call);
        let accepted: Accepted<Done, Failure> = match made.start().await {
            Ok(accepted) => accepted,
            Err(error) => return self.note(number, Err(error)),
        };
        let id = accepted.id().clone();
        {
            let mut seen = self.history.write();
            seen.calls[number].id = Some(self.id_of(call, &id));
            seen.calls[number].dropped = true;
        }
        drop(accepted);
        tokio::time::sleep(after).await;
        let number = self.history.call(self.seen(by, call, Some(&id)));
        let attach: Attach<Done, Failure> = call::attach(&self.clients[by], call.method, "");
        self.note(number, attach.id(id).deadline(call.deadline).await);
    }

    fn id_of(&self, call: &Call, id: &RequestId) -> String {
        format!("{}.{id}", self.clients[call.by].caller())
    }

    fn seen(&self, by: usize, call: &Call, id: Option<&RequestId>) -> Seen {
        Seen {
            tag: call.job.tag,
            id: id.map(|id| self.id_of(call, id)),
            by,
            began: self.history.now(),
            deadline: call.deadline,
            accepted: false,
            progress: Vec::new(),
            read: None,
            ended: None,
            dropped: false,
        }
    }

    fn make<S>(&self, call: &Call) -> (usize, crate::Call<Done, Failure, S>) {
        let service = call.method.service.parse().expect("a name");
        let method = call.method.name.parse().expect("a name");
        let id = call.key.as_deref().map(|key| RequestId::keyed(None, &service, &method, key));
        let number = self.history.call(self.seen(call.by, call, id.as_ref()));
        let history = self.history.clone();
        let mut made = call::call(&self.clients[call.by], call.method, &call.job);
        made = made.deadline(call.deadline).on_event(move |event| {
            if matches!(event, CallEvent::Accepted { .. }) {
                history.write().calls[number].accepted = true;
            }
            if let CallEvent::Progress(progress) = event {
                history.write().calls[number].progress.extend(progress.done().zip(progress.total()));
            }
        });
        if let Some(key) = &call.key {
            made = made.key(key.as_str());
        }
        if let Some(limit) = call.accept_within {
            made = made.accept_within(limit);
        }
        if let Some(limit) = call.start_within {
            made = made.start_within(limit);
        }
        if let Some(limit) = call.silent_for {
            made = made.silent_for(limit);
        }
        (number, made)
    }

    fn note(&self, number: usize, answer: Result<Done, CallError<Failure>>) {
        let answer = match answer {
            Ok(done) => Answer::Value(done.run),
            Err(CallError::Failed(failure)) => Answer::Failed(failure.run),
            Err(CallError::Cancelled(cancelled)) => {
                Answer::Cancelled { may_have_run: cancelled.may_have_run }
            }
            Err(CallError::Aborted(aborted)) => Answer::Aborted(aborted.reason),
            Err(CallError::Rejected(Rejected::IdReused)) => Answer::IdReused,
            Err(CallError::Rejected(Rejected::Expired)) => Answer::Rejected(crate::Reason::Expired),
            Err(CallError::Rejected(other)) => panic!("no request here can be {other:?}"),
            Err(CallError::Unavailable(unavailable)) => Answer::Unavailable(unavailable.to_string()),
            Err(CallError::Unknown(unknown)) => Answer::Unknown(unknown.why.to_string()),
        };
        self.history.returned(number, answer);
    }
}
