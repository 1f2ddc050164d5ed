//! Where a plan is played: the posts at which worker processes come and go, the faults, and the end, when everybody is
//! well again and everything has to come to its end.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{
    caller::{self, Callers},
    history::{History, Seen, Stop},
    plan::{Fault, Part, Plan, SERVICE},
    worker::{Ground, Process},
};
use crate::broker::simulated::{Passage, Simulation, Stored};

/// How long everything may take to come to its end once nothing goes wrong any more: the longest handler, all its
/// attempts, and the leases that lapse in between.
const END_WITHIN: Duration = Duration::from_secs(40 * 60);
/// A process that died by a plug comes back after this long.
const BACK_AFTER: Duration = Duration::from_secs(2);

/// What is left when a plan is played.
pub(super) struct Played {
    pub(super) seen: Seen,
    pub(super) log: Vec<Passage>,
    pub(super) requests: Vec<Stored>,
    pub(super) records: Vec<Stored>,
    pub(super) dead_letters: Vec<Stored>,
    /// Requests that are still in their stream.
    pub(super) left: Vec<Stored>,
    pub(super) redeliveries: u64,
    /// Deliveries that followed ones which the server had forgotten.
    pub(super) forgotten: u64,
    /// The server's clock when the simulation began, in nanoseconds since 1970.
    pub(super) clock: u64,
    pub(super) calls_open: usize,
}

/// A post: one process at a time.
#[derive(Default)]
struct Post {
    process: Option<Process>,
    started: u32,
}

struct Stage {
    plan: Plan,
    ground: Ground,
    posts: Vec<Mutex<Post>>,
    /// The processes that are frozen.
    frozen: Mutex<BTreeSet<String>>,
}

/// Plays a plan from its beginning to its end.
pub(super) async fn play(plan: Plan) -> Played {
    let simulation = Simulation::new(plan.seed);
    let clock = simulation.server_time();
    simulation.default_latency(plan.latency, plan.latency / 2);
    let history = History::new();
    let (plugs, pulled) = mpsc::unbounded_channel();
    let ground = Ground { simulation: simulation.clone(), history: history.clone(), plugs };
    let posts = (0..plan.workers).map(|_| Mutex::default()).collect();
    let stage = Arc::new(Stage { plan, ground, posts, frozen: Mutex::default() });
    let callers = Arc::new(Callers::connect(&simulation, &stage.plan.callers, &history).await);
    for post in 0..stage.posts.len() {
        stage.man(post).await;
    }
    tokio::spawn(Arc::clone(&stage).pull_plugs(pulled));
    let mut calls = JoinSet::new();
    for call in stage.plan.calls.clone() {
        let callers = Arc::clone(&callers);
        calls.spawn(async move { callers.play(&call).await });
    }
    let mut faults = JoinSet::new();
    for (at, fault) in stage.plan.faults.clone() {
        let stage = Arc::clone(&stage);
        faults.spawn(async move {
            // By the same clock as the calls: some faults are meant to meet one.
            tokio::time::sleep(at.saturating_sub(stage.ground.history.now())).await;
            stage.strike(fault).await;
        });
    }
    faults.join_all().await;
    simulation.end_faults();
    let ended = async {
        while calls
            .join_next()
            .await
            .is_some_and(|ended| ended.map_err(|error| error.is_panic()) != Err(true))
        {}
        while !simulation.stored(&request_stream()).is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    // Whatever is not at its end by then is found by the checks.
    let _ = tokio::time::timeout(END_WITHIN, ended).await;
    stage.look_around(&simulation, calls.len(), clock)
}

fn request_stream() -> String {
    format!("rq_REQ_{SERVICE}")
}

impl Stage {
    fn look_around(&self, simulation: &Simulation, calls_open: usize, clock: u64) -> Played {
        let requests = request_stream();
        let redelivered = |method: &crate::service::Method| simulation.redeliveries(&requests, method.name);
        let forgotten = |method: &crate::service::Method| simulation.forgotten(&requests, method.name);
        let mut seen = self.ground.history.read();
        seen.bury_the_dead();
        Played {
            seen,
            log: simulation.log(),
            requests: simulation.journal(&requests),
            records: simulation.journal(&format!("rq_OUT_{SERVICE}")),
            dead_letters: simulation.journal(&format!("rq_DEAD_{SERVICE}")),
            left: simulation.stored(&requests),
            redeliveries: self.plan.methods.iter().map(redelivered).sum(),
            forgotten: self.plan.methods.iter().map(forgotten).sum(),
            clock,
            calls_open,
        }
    }

    /// Starts a process at a post.
    async fn man(&self, post: usize) {
        let number = {
            let mut post = self.posts[post].lock().expect("no check runs with a post in hand");
            post.started += 1;
            post.started
        };
        let name = format!("worker {post}.{number}");
        let drain = Duration::from_secs(u64::from(number * 7) * (self.plan.seed % 3));
        let process = Process::start(&self.ground, &name, &self.plan.methods, drain).await;
        self.posts[post].lock().expect("no check runs with a post in hand").process = Some(process);
    }

    fn take(&self, post: usize, fits: impl FnOnce(&Process) -> bool) -> Option<Process> {
        self.posts[post].lock().expect("no check runs with a post in hand").process.take_if(|it| fits(it))
    }

    /// The connections of whoever is at a post: the process' name, which is its puller's, and its keeper's.
    fn at(&self, post: usize) -> Option<(String, String)> {
        let post = self.posts[post].lock().expect("no check runs with a post in hand");
        post.process.as_ref().map(|process| (process.name().to_owned(), process.keeper.clone()))
    }

    async fn pull_plugs(self: Arc<Self>, mut pulled: mpsc::UnboundedReceiver<(Arc<str>, Duration)>) {
        while let Some((name, after)) = pulled.recv().await {
            let stage = Arc::clone(&self);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                for post in 0..stage.posts.len() {
                    if let Some(process) = stage.take(post, |process| process.name() == &*name) {
                        process.crash(&stage.ground.simulation);
                        tokio::time::sleep(BACK_AFTER).await;
                        stage.man(post).await;
                    }
                }
            });
        }
    }

    /// Lets a fault happen, and waits until it is over.
    async fn strike(&self, fault: Fault) {
        let simulation = &self.ground.simulation;
        match fault {
            Fault::Crash { worker, back } => {
                if let Some(process) = self.take(worker, |_| true) {
                    process.crash(simulation);
                    tokio::time::sleep(back).await;
                    self.man(worker).await;
                }
            }
            Fault::Drain { worker, back } => {
                if let Some(process) = self.take(worker, |_| true) {
                    process.drain(simulation).await;
                    tokio::time::sleep(back).await;
                    self.man(worker).await;
                }
            }
            Fault::Freeze { worker, span } => self.freeze(worker, span).await,
            Fault::Cut { worker, part, span } => self.cut(worker, part, span).await,
            Fault::CutCaller { caller, span } => {
                simulation.disconnect(&caller::name(caller), span);
                tokio::time::sleep(span).await;
            }
            Fault::Kill { lost, pause, straggler, late } => self.kill(lost, pause, straggler, late).await,
            Fault::Hang { pattern, count, span } => simulation.hang_publishes(pattern, count, span),
            Fault::LoseMessages { pattern, count } => simulation.lose_messages(pattern, count),
            Fault::LoseCallerPubAcks { caller, count } => {
                simulation.lose_pub_acks(&caller::name(caller), count);
            }
            Fault::LoseCallerAnswers { caller, count } => {
                simulation.lose_answers(&caller::name(caller), count);
            }
            Fault::LoseWorkerPubAcks { worker, count } => {
                if let Some((puller, keeper)) = self.at(worker) {
                    simulation.lose_pub_acks(&puller, count);
                    simulation.lose_pub_acks(&keeper, count);
                }
            }
            Fault::LoseWorkerAnswers { worker, part, count } => {
                for name in self.connections(worker, part) {
                    simulation.lose_answers(&name, count);
                }
            }
        }
    }

    async fn kill(&self, lost: Duration, pause: Duration, straggler: usize, late: Duration) {
        let Ground { simulation, history, .. } = &self.ground;
        let stop = Stop { at: history.now(), pause, lost: !lost.is_zero() };
        if history.read().stops.last().is_some_and(|last| stop.at <= last.at + last.pause) {
            // What is dead already dies no second time.
            return;
        }
        history.write().stops.push(stop);
        history.trouble(None, Part::Both, pause);
        simulation.kill(lost, pause);
        let straggler = self.post_of_the_newest_run().unwrap_or(straggler);
        self.cut(straggler, Part::Both, pause + late).await;
    }

    /// Where the handler runs that began last: the one whose delivery a killed server is likely to have forgotten.
    fn post_of_the_newest_run(&self) -> Option<usize> {
        let seen = self.ground.history.read();
        let newest = seen.runs.iter().rfind(|run| run.over.is_none())?;
        (0..self.posts.len()).find(|post| self.at(*post).is_some_and(|(process, _)| process == newest.worker))
    }

    fn connections(&self, worker: usize, part: Part) -> Vec<String> {
        let Some((puller, keeper)) = self.at(worker) else { return Vec::new() };
        match part {
            Part::Both => vec![puller, keeper],
            Part::Puller => vec![puller],
            Part::Keeper => vec![keeper],
        }
    }

    async fn cut(&self, worker: usize, part: Part, span: Duration) {
        if let Some((process, _)) = self.at(worker) {
            self.ground.history.trouble(Some(&process), part, span);
            for name in self.connections(worker, part) {
                self.ground.simulation.disconnect(&name, span);
            }
            tokio::time::sleep(span).await;
        }
    }

    async fn freeze(&self, worker: usize, span: Duration) {
        let Some((puller, keeper)) = self.at(worker) else { return };
        if !self.frozen.lock().expect("no check runs with a name in hand").insert(puller.clone()) {
            // A thaw would end both.
            return;
        }
        let simulation = &self.ground.simulation;
        self.ground.history.trouble(Some(&puller), Part::Both, span);
        simulation.freeze(&puller);
        simulation.freeze(&keeper);
        tokio::time::sleep(span).await;
        simulation.thaw(&puller);
        simulation.thaw(&keeper);
        self.frozen.lock().expect("no check runs with a name in hand").remove(&puller);
    }
}
