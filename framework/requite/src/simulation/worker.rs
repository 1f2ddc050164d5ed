//! A worker's process: the real server with handlers that do as their request says, and the ways in which it ends.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    history::{History, Reached, Run, Running},
    plan::{End, Job, Plan, SERVICE, Step},
    standstill::Tasks,
    streams,
};
use crate::{
    Client, Context, HandlerError, Progress, Retry, RunningServer, Server, ServiceDefinition, StreamLimits,
    broker::{AnyBroker, simulated::Simulation},
    client::Config,
    service::handler,
};

/// A handler's value: the run that made it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) run: usize,
}

/// A handler's error: the run that made it.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("run {run} failed")]
pub(super) struct Failure {
    pub(super) run: usize,
    again: bool,
}

impl HandlerError for Failure {
    fn retry(&self) -> Retry {
        if self.again { Retry::Default } else { Retry::Never }
    }
}

/// What a handler asks for its process, by name: its death after a while, or nothing but that it stops.
pub(super) type Plugs = mpsc::UnboundedSender<(Arc<str>, Option<Duration>)>;

/// What the handlers of one process share.
#[derive(Clone)]
struct Life {
    name: Arc<str>,
    dead: CancellationToken,
    history: History,
    plugs: Plugs,
}

impl Life {
    async fn work(self, cx: Context, job: Job, method: &'static str) -> Result<Done, Failure> {
        let step = job.step(cx.attempt());
        let running = self.history.begin(|began| Run {
            worker: self.name.to_string(),
            method,
            tag: job.tag,
            id: format!("{}.{}", cx.caller(), cx.id()),
            attempt: cx.attempt(),
            fence: cx.fencing_token(),
            found: cx.last_checkpoint().expect("a checkpoint that was stored here"),
            stored: Vec::new(),
            taken: Vec::new(),
            took_all: false,
            sent: 0,
            began,
            cancelled: false,
            over: None,
        });
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            () = streams::play(&cx, &running, &job, take_time(&cx, &running, &job, step)) => {}
            () = heed_cancel(&cx, &running, &job) => {}
        }
        running.end(step.end);
        if step.plug.is_some() || (cx.method().down && job.stops(cx.attempt())) {
            // Nobody is left to pull the plug when the simulation ends.
            let _ = self.plugs.send((Arc::clone(&self.name), step.plug.map(Duration::from_millis)));
        }
        let run = running.number;
        match step.end {
            End::Value => Ok(Done { run }),
            End::Final => Err(Failure { run, again: false }),
            End::Retry => Err(Failure { run, again: true }),
            // Unlike `panic!`, it says nothing on standard error.
            End::Panic => std::panic::resume_unwind(Box::new("as planned")),
        }
    }
}

/// Goes on from the last checkpoint: stores the planned ones at even distances.
async fn take_time(cx: &Context, running: &Running, job: &Job, step: Step) {
    let part = Duration::from_millis(step.takes) / (step.checkpoints + 1);
    let mut steps = running.found().map_or(0, |found| found.steps);
    let mut reports = 0;
    for left in (0..=step.checkpoints).rev() {
        reports += 1;
        cx.progress(Progress::of(cx.attempt(), reports));
        if !part.is_zero() {
            tokio::time::sleep(part).await;
        }
        if left > 0 {
            steps += 1;
            let reached = Reached { tag: job.tag, steps };
            if cx.checkpoint(&reached).await.is_ok() {
                running.stored(reached);
            }
        }
    }
}

/// Every other handler ends at once when it is told that it is cancelled.
async fn heed_cancel(cx: &Context, running: &Running, job: &Job) {
    cx.cancelled().await;
    running.cancelled();
    if job.tag.is_multiple_of(2) {
        std::future::pending::<()>().await;
    }
}

/// A running process.
pub(super) struct Process {
    life: Life,
    server: Option<RunningServer>,
    pub(super) keeper: String,
    pub(super) tasks: Tasks,
}

/// What a process needs to start.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) simulation: Simulation,
    pub(super) history: History,
    pub(super) plugs: Plugs,
}

impl Process {
    /// Starts a process; tries until there is a server.
    pub(super) async fn start(ground: &Ground, name: &str, plan: &Plan, drain: Duration) -> Self {
        let life = Life {
            name: name.into(),
            dead: CancellationToken::new(),
            history: ground.history.clone(),
            plugs: ground.plugs.clone(),
        };
        let tasks = Tasks::default();
        loop {
            if let Some(server) = tasks.hold(serve(ground, &life, plan, drain)).await {
                let keeper = format!("requite keeper {}", server.instance());
                ground.history.write().keepers.insert(name.to_owned(), keeper.clone());
                return Self { life, server: Some(server), keeper, tasks };
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.life.name
    }

    /// Dies at once, in the middle of everything.
    pub(super) fn crash(mut self, simulation: &Simulation) {
        self.end(simulation);
    }

    /// Lets go in good order, and leaves.
    pub(super) async fn drain(mut self, simulation: &Simulation) {
        let history = self.life.history.clone();
        let now = history.now();
        history.write().drained.insert(self.name().to_owned(), now);
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
        self.end(simulation);
    }

    /// From here on, nothing that its tasks still do reaches anybody.
    fn end(&mut self, simulation: &Simulation) {
        self.life.history.died(&self.life.name);
        self.life.dead.cancel();
        simulation.close(&self.life.name);
        simulation.close(&self.keeper);
        self.server = None;
    }
}

async fn serve(ground: &Ground, life: &Life, plan: &Plan, drain: Duration) -> Option<RunningServer> {
    let connection = ground.simulation.connect(&life.name).ok()?;
    let client = Client::over(AnyBroker::Simulated(connection), Config::simulated("worker"));
    let mut service = ServiceDefinition::new(SERVICE, "1", "");
    for method in &plan.methods {
        let (life, name) = (life.clone(), method.name);
        service = service.method(*method, handler(move |cx, job: Job| life.clone().work(cx, job, name)));
    }
    let limits =
        StreamLimits { replicas: plan.replicas, queued_requests: plan.queue, ..StreamLimits::default() };
    let server = Server::new(&client).serve(service).limits(limits);
    server.drain_timeout(drain).start().await.ok()
}
