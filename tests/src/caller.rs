//! Calls that write down what they see.

use std::{future::pending, pin::pin, time::Duration};

use requite::{
    Accepted, Attach, Call, CallError, CallEvent, CancelAnswer, CancelError, Client, Rejected, RequestId,
};
use serde::{Deserialize, Serialize};

use crate::{
    entry::{self, Answer, Class, Event, Invoke, Saw, Told},
    hash,
    ledger::Ledger,
    mill::{Flour, Job, MillClient, MillError, SiloClient, Work},
};

mod flow;

/// One call, as a process is told to make it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Its name in the ledger; no other call has it.
    pub call: String,
    /// The method.
    pub method: String,
    /// What is asked for, or found again.
    pub what: What,
    /// From now.
    pub deadline: Duration,
    /// So long after it was accepted it is cancelled.
    pub cancel: Option<Duration>,
    /// Behind the item with this number it is read no further.
    pub leaves: Option<u64>,
    /// So long after it was made it is given up, unless it has ended.
    pub gives_up: Option<Duration>,
    /// What its caller is told meanwhile is written down; only for methods without a stream, and not by an id.
    pub watches: bool,
}

impl Order {
    /// A call that is waited for, and read to its end.
    pub fn new(call: String, method: &str, what: What, deadline: Duration) -> Self {
        let method = method.to_owned();
        Self { call, method, what, deadline, cancel: None, leaves: None, gives_up: None, watches: false }
    }
}

/// What a call asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum What {
    /// To run a job, under a key if there is one.
    Run(Job, Option<String>),
    /// The answer to an earlier call with this key.
    AttachKey(String),
    /// The answer to an earlier call with this id.
    AttachId(String),
}

/// Makes calls to one service under one name.
#[derive(Clone)]
pub struct Caller {
    service: Service,
    name: String,
    ledger: Ledger,
}

#[derive(Clone)]
enum Service {
    Mill(MillClient),
    Silo(SiloClient),
}

impl Service {
    fn name(&self) -> &'static str {
        match self {
            Self::Mill(_) => "mill",
            Self::Silo(_) => "silo",
        }
    }

    fn run(&self, method: &str, job: Job) -> Call<Flour, MillError> {
        match (self, method) {
            (Self::Mill(mill), "grind") => mill.grind(job),
            (Self::Mill(mill), "once") => mill.once(job),
            (Self::Mill(mill), "fenced") => mill.fenced(job),
            (Self::Mill(mill), "narrow") => mill.narrow(job),
            (Self::Silo(silo), "store") => silo.store(job),
            (Self::Silo(silo), "once") => silo.once(job),
            (Self::Silo(silo), "fenced") => silo.fenced(job),
            _ => panic!("nobody calls {method} of {}", self.name()),
        }
    }

    async fn cancel(&self, id: &RequestId) -> Result<CancelAnswer, CancelError> {
        match self {
            Self::Mill(mill) => mill.cancel(id).await,
            Self::Silo(silo) => silo.cancel(id).await,
        }
    }

    fn attach(&self, method: &str, key: &str) -> Attach<Flour, MillError> {
        match (self, method) {
            (Self::Mill(mill), "grind") => mill.attach_grind(key),
            (Self::Mill(mill), "once") => mill.attach_once(key),
            (Self::Mill(mill), "fenced") => mill.attach_fenced(key),
            (Self::Mill(mill), "narrow") => mill.attach_narrow(key),
            (Self::Silo(silo), "store") => silo.attach_store(key),
            (Self::Silo(silo), "once") => silo.attach_once(key),
            (Self::Silo(silo), "fenced") => silo.attach_fenced(key),
            _ => panic!("nobody attaches to {method} of {}", self.name()),
        }
    }
}

impl Caller {
    /// Calls the mill or the silo on a client's connection.
    pub fn new(client: Client, service: &str, ledger: &Ledger) -> Self {
        let name = client.caller().to_string();
        let service = match service {
            "silo" => Service::Silo(SiloClient::new(client)),
            _ => Service::Mill(MillClient::new(client)),
        };
        Self { service, name, ledger: ledger.clone() }
    }

    /// Makes a call and waits for its end, or gives it up where that is asked for.
    pub async fn obey(&self, order: Order) {
        let (call, gives_up) = (order.call.clone(), order.gives_up);
        let made = pin!(self.call(order));
        let patience = async {
            match gives_up {
                Some(after) => tokio::time::sleep(after).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = made => {}
            // Written down before the call is dropped.
            () = patience => self.ledger.write(Event::GivenUp { call }),
        }
    }

    /// Makes a call and waits for its end.
    pub async fn call(&self, order: Order) -> Answer {
        self.write_invoke(&order);
        if flow::has_stream(&order.method) {
            return self.call_with_stream(order).await;
        }
        let Order { call, method, what, deadline, cancel, watches, .. } = order;
        let observer = watches.then(|| self.observer(&call));
        let result = match what {
            What::Run(job, key) => {
                let made = self.service.run(&method, job).deadline(deadline);
                let made = if let Some(key) = key { made.key(key) } else { made };
                let made = if let Some(observer) = observer { made.on_event(observer) } else { made };
                return self.run(call, made, cancel).await;
            }
            What::AttachKey(key) => {
                let id = hash::id_of_key(self.service.name(), &method, &key);
                let made = self.service.attach(&method, &key).deadline(deadline);
                let made = if let Some(observer) = observer { made.on_event(observer) } else { made };
                (made.await, id)
            }
            What::AttachId(id) => {
                let parsed: RequestId = id.parse().expect("an id that was accepted can be read back");
                (self.service.attach(&method, "").id(parsed).deadline(deadline).await, id)
            }
        };
        self.write_result(call, result.0, Some(result.1))
    }

    async fn run(&self, call: String, made: Call<Flour, MillError>, cancel: Option<Duration>) -> Answer {
        let accepted = match made.start().await {
            Ok(accepted) => accepted,
            Err(error) => return self.write_result(call, Err(error), None),
        };
        self.accepted(&call, &accepted, cancel);
        let id = accepted.id().to_string();
        self.write_result(call, accepted.await, Some(id))
    }

    /// Writes it down, and sees to it that it is cancelled where that is asked for.
    fn accepted(&self, call: &str, accepted: &Accepted<Flour, MillError>, cancel: Option<Duration>) {
        let id = accepted.id();
        self.ledger.write(Event::Accepted { call: call.to_owned(), id: id.to_string() });
        if let Some(after) = cancel {
            let (caller, id) = (self.clone(), id.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                caller.cancel(&id).await;
            });
        }
    }

    /// Writes down which attempts run, and how far they say they are.
    fn observer(&self, call: &str) -> impl FnMut(&CallEvent) + Send + 'static {
        let (ledger, call) = (self.ledger.clone(), call.to_owned());
        move |event| {
            let saw = match event {
                CallEvent::Started { attempt, .. } | CallEvent::Restarted { attempt, .. } => {
                    Saw::Attempt(*attempt)
                }
                CallEvent::Progress(progress) => {
                    let value = progress.decode().ok().flatten();
                    let (attempt, number) = value.expect("every report of the mill has both");
                    Saw::Report { attempt, number }
                }
                _ => return,
            };
            ledger.write(Event::Watched { call: call.clone(), saw });
        }
    }

    /// Cancels the call with this key, and says what its caller was told.
    pub async fn cancel_key(&self, method: &str, key: &str) -> Told {
        let id = hash::id_of_key(self.service.name(), method, key);
        self.cancel(&id.parse().expect("a key makes an id")).await
    }

    /// Cancels a call.
    async fn cancel(&self, id: &RequestId) -> Told {
        let write = |told| {
            let caller = self.name.clone();
            self.ledger.write(Event::Cancel { caller, id: id.to_string(), told });
        };
        write(None);
        let told = match self.service.cancel(id).await {
            Ok(CancelAnswer::CancelledBeforeStart) => Told::BeforeTheStart,
            Ok(CancelAnswer::Signalled) => Told::Signalled,
            Ok(CancelAnswer::AlreadyDone) => Told::AlreadyDone,
            _ => Told::Nothing,
        };
        write(Some(told));
        told
    }

    fn write_invoke(&self, order: &Order) {
        let keyed = |key: &String| hash::id_of_key(self.service.name(), &order.method, key);
        let (id, payload, poison) = match &order.what {
            What::Run(job, key) => {
                // More attempts than any method allows.
                let poison = matches!(job.work, Work::Panic | Work::FailUpTo(u32::MAX));
                (key.as_ref().map(keyed), Some(hash::payload(job)), poison)
            }
            What::AttachKey(key) => (Some(keyed(key)), None, false),
            What::AttachId(id) => (Some(id.clone()), None, false),
        };
        self.ledger.write(Event::Invoke(Invoke {
            call: order.call.clone(),
            caller: self.name.clone(),
            method: order.method.clone(),
            id,
            payload,
            deadline: order.deadline,
            poison,
        }));
    }

    fn write_result(
        &self,
        call: String,
        result: Result<Flour, CallError<MillError>>,
        id: Option<String>,
    ) -> Answer {
        let id = match &result {
            Err(CallError::Unknown(unknown)) => Some(unknown.id.to_string()),
            _ => id,
        };
        let answer = answer(&result);
        self.ledger.write(Event::Result { call, id, answer: answer.clone() });
        answer
    }
}

fn answer(result: &Result<Flour, CallError<MillError>>) -> Answer {
    let (sent, taken) = result.as_ref().ok().map(|flour| (flour.sent, flour.taken)).unzip();
    let (class, attempt, outcome) = match result {
        Ok(flour) => (Class::Ok, Some(flour.attempt), Some(format!("ok {}", hash::value(flour)))),
        Err(CallError::Failed(error)) => {
            (Class::Failed, None, Some(format!("failed {}", hash::value(error))))
        }
        Err(CallError::Aborted(aborted)) => {
            let outcome = format!("failed {}", aborted.reason.as_str());
            (Class::Aborted, Some(aborted.attempt), Some(outcome))
        }
        Err(CallError::Rejected(rejected)) => {
            let outcome = match rejected {
                Rejected::Expired => Some("rejected expired".to_owned()),
                Rejected::Undecodable { .. } => Some("rejected undecodable".to_owned()),
                _ => None,
            };
            (Class::Rejected, None, outcome)
        }
        Err(CallError::Cancelled(told)) => {
            (Class::Cancelled, None, Some(entry::cancelled(told.may_have_run)))
        }
        Err(CallError::Unavailable(_)) => (Class::Unavailable, None, None),
        Err(_) => (Class::Unknown, None, None),
    };
    let reason = result.as_ref().map_or_else(ToString::to_string, |_| String::new());
    Answer { class, reason, attempt, outcome, sent, taken }
}
