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
    history::{History, Kind, Seen, Stop},
    marks::{Mark, mark},
    plan::{Fault, Links, Plan, SERVICE},
    standstill::{Part, Tasks},
    worker::{Ground, Process},
};
use crate::{
    broker::simulated::{Election, Passage, Simulation, Stored},
    wire::header,
};

/// How long everything may take to come to its end once nothing goes wrong any more: the longest handler, all its
/// attempts, and the leases that lapse in between.
const END_WITHIN: Duration = Duration::from_secs(40 * 60);
/// An election, and its beginning.
const ELECTION_AT_MOST: Duration = Duration::from_secs(9);
/// A process that died by a plug comes back after this long.
const BACK_AFTER: Duration = Duration::from_secs(2);

/// What is left when a plan is played.
pub(super) struct Played {
    pub(super) seen: Seen,
    pub(super) log: Vec<Passage>,
    pub(super) requests: Vec<Stored>,
    pub(super) records: Vec<Stored>,
    pub(super) dead_letters: Vec<Stored>,
    /// Frames of items.
    pub(super) frames: Vec<Stored>,
    /// Requests that are still in their stream.
    pub(super) left: Vec<Stored>,
    pub(super) redeliveries: u64,
    /// Deliveries that followed ones which the server had forgotten.
    pub(super) forgotten: u64,
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
    /// The processes that stand still.
    standing: Mutex<BTreeSet<String>>,
}

/// Three items fill a frame then, so that several are on their way.
const SMALL: usize = 740;

/// Plays a plan from its beginning to its end.
pub(super) async fn play(plan: Plan) -> Played {
    let simulation = match plan.replicas {
        1 => Simulation::new(plan.seed),
        _ => Simulation::cluster(plan.seed),
    };
    simulation.default_latency(plan.latency, plan.latency / 2);
    simulation.max_payload(SMALL);
    let history = History::new();
    let (plugs, pulled) = mpsc::unbounded_channel();
    let ground = Ground { simulation: simulation.clone(), history: history.clone(), plugs };
    let posts = (0..plan.workers).map(|_| Mutex::default()).collect();
    let stage = Arc::new(Stage { plan, ground, posts, standing: Mutex::default() });
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
    stage.look_around(&simulation, calls.len())
}

fn request_stream() -> String {
    format!("rq_REQ_{SERVICE}")
}

/// Set-up sends one message through every consumer of a cluster.
fn is_of_setup(stored: &Stored) -> bool {
    stored.headers.first(header::KIND) == Some(header::KIND_SETUP)
}

impl Stage {
    fn look_around(&self, simulation: &Simulation, calls_open: usize) -> Played {
        let requests = request_stream();
        let redelivered = |method: &crate::service::Method| simulation.redeliveries(&requests, method.name);
        let forgotten = |method: &crate::service::Method| simulation.forgotten(&requests, method.name);
        let mut seen = self.ground.history.read();
        seen.bury_the_dead();
        Played {
            seen,
            log: simulation.log(),
            requests: simulation.journal(&requests).into_iter().filter(|it| !is_of_setup(it)).collect(),
            records: simulation.journal(&format!("rq_OUT_{SERVICE}")),
            dead_letters: simulation.journal(&format!("rq_DEAD_{SERVICE}")),
            frames: simulation.journal(&format!("rq_ITM_{SERVICE}")),
            left: simulation.stored(&requests),
            redeliveries: self.plan.methods.iter().map(redelivered).sum(),
            forgotten: self.plan.methods.iter().map(forgotten).sum(),
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
        let process = Process::start(&self.ground, &name, &self.plan, drain).await;
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

    async fn pull_plugs(self: Arc<Self>, mut pulled: mpsc::UnboundedReceiver<(Arc<str>, Option<Duration>)>) {
        while let Some((name, after)) = pulled.recv().await {
            let stage = Arc::clone(&self);
            tokio::spawn(async move {
                tokio::time::sleep(after.unwrap_or_default()).await;
                for post in 0..stage.posts.len() {
                    if let Some(process) = stage.take(post, |process| process.name() == &*name) {
                        match after {
                            Some(_) => process.crash(&stage.ground.simulation),
                            None => process.drain(&stage.ground.simulation).await,
                        }
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
            Fault::Freeze { worker, span, keeper_late } => self.freeze(worker, span, keeper_late).await,
            Fault::Block { worker, span } => self.block(worker, span).await,
            Fault::Stall { worker, part, span } => self.stall(worker, part, span).await,
            Fault::Cut { worker, part, span } => self.cut(worker, part, span).await,
            Fault::CutCaller { caller, span } => {
                self.ground.history.cut_caller(caller, span);
                simulation.disconnect(&caller::name(caller), span);
                tokio::time::sleep(span).await;
            }
            Fault::Kill { lost, pause, straggler, late } => self.kill(lost, pause, straggler, late).await,
            Fault::Elect { how } => self.elect(how).await,
            Fault::KillAll { pause } => self.kill_all(pause).await,
            Fault::Split { workers, callers, span } => self.split(&workers, &callers, span).await,
            Fault::Hang { pattern, count, span } => simulation.hang_publishes(pattern, count, span),
            Fault::HangSettles { verb, count, span } => {
                if verb == "-NAK" {
                    let now = self.ground.history.now();
                    self.ground.history.write().late_naks.push(now);
                }
                simulation.hang_settles(verb, count, span);
            }
            Fault::StepClock { by } => self.step_clock(by),
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
        history.trouble(None, Kind::Cut(Links::Both), pause);
        simulation.kill(lost, pause);
        let straggler = self.post_of_the_newest_run().unwrap_or(straggler);
        self.cut(straggler, Links::Both, pause + late).await;
    }

    /// Where the handler runs that began last: the one whose delivery a killed server is likely to have forgotten.
    fn post_of_the_newest_run(&self) -> Option<usize> {
        let seen = self.ground.history.read();
        let newest = seen.runs.iter().rfind(|run| run.over.is_none())?;
        (0..self.posts.len()).find(|post| self.at(*post).is_some_and(|(process, _)| process == newest.worker))
    }

    fn connections(&self, worker: usize, part: Links) -> Vec<String> {
        let Some((puller, keeper)) = self.at(worker) else { return Vec::new() };
        match part {
            Links::Both => vec![puller, keeper],
            Links::Puller => vec![puller],
            Links::Keeper => vec![keeper],
        }
    }

    async fn cut(&self, worker: usize, part: Links, span: Duration) {
        if let Some((process, _)) = self.at(worker) {
            self.ground.history.trouble(Some(&process), Kind::Cut(part), span);
            for name in self.connections(worker, part) {
                self.ground.simulation.disconnect(&name, span);
            }
            tokio::time::sleep(span).await;
        }
    }

    async fn elect(&self, how: Election) {
        let Ground { simulation, history, .. } = &self.ground;
        if let Some(span) = simulation.elect(how) {
            mark(Mark::Election);
            history.trouble(None, Kind::Leaderless, span);
            tokio::time::sleep(span).await;
        }
    }

    async fn kill_all(&self, pause: Duration) {
        let Ground { simulation, history, .. } = &self.ground;
        history.trouble(None, Kind::Cut(Links::Both), pause);
        simulation.kill(Duration::ZERO, pause);
        // The servers come back as one.
        history.healed();
        tokio::time::sleep(pause).await;
        history.trouble(None, Kind::Leaderless, ELECTION_AT_MOST);
        tokio::time::sleep(ELECTION_AT_MOST).await;
    }

    async fn split(&self, workers: &[(usize, Links)], callers: &[usize], span: Duration) {
        let Ground { simulation, history, .. } = &self.ground;
        let mut minority: Vec<String> = callers.iter().map(|it| caller::name(*it)).collect();
        for (worker, part) in workers {
            minority.extend(self.connections(*worker, *part));
        }
        if !simulation.split(&minority, span) {
            return;
        }
        mark(Mark::Split);
        history.trouble(None, Kind::Leaderless, span.min(ELECTION_AT_MOST));
        for (worker, part) in workers {
            if let Some((process, _)) = self.at(*worker) {
                history.trouble(Some(&process), Kind::Split(*part), span);
            }
        }
        tokio::time::sleep(span).await;
    }

    fn step_clock(&self, by: i64) {
        let Ground { simulation, history, .. } = &self.ground;
        let at = history.now();
        history.write().steps.push(at);
        simulation.step_clock(by);
    }

    /// Marks whoever is at a post as standing still; nothing if it does already.
    fn stand(&self, worker: usize) -> Option<(String, Tasks)> {
        let post = self.posts[worker].lock().expect("no check runs with a post in hand");
        let (name, tasks) = post.process.as_ref().map(|it| (it.name().to_owned(), it.tasks.clone()))?;
        let mut standing = self.standing.lock().expect("no check runs with a name in hand");
        standing.insert(name.clone()).then_some((name, tasks))
    }

    fn stands_no_more(&self, name: &str) {
        self.standing.lock().expect("no check runs with a name in hand").remove(name);
    }

    async fn freeze(&self, worker: usize, span: Duration, keeper_late: Duration) {
        let Some((name, tasks)) = self.stand(worker) else { return };
        self.ground.history.trouble(Some(&name), Kind::Stopped, span + keeper_late);
        tasks.stop(Part::Handlers);
        tasks.stop(Part::Keeper);
        tokio::time::sleep(span).await;
        tasks.go_on(Part::Handlers);
        tokio::time::sleep(keeper_late).await;
        tasks.go_on(Part::Keeper);
        self.stands_no_more(&name);
    }

    async fn block(&self, worker: usize, span: Duration) {
        let Some((name, tasks)) = self.stand(worker) else { return };
        self.ground.history.trouble(Some(&name), Kind::Blocked, span);
        tasks.stop(Part::Handlers);
        tokio::time::sleep(span).await;
        tasks.go_on(Part::Handlers);
        self.stands_no_more(&name);
    }

    /// Connections on which nothing passes for a while, and then all of it at once.
    async fn stall(&self, worker: usize, part: Links, span: Duration) {
        let Some((name, tasks)) = self.stand(worker) else { return };
        drop(tasks);
        self.ground.history.trouble(Some(&name), Kind::Cut(part), span);
        let connections = self.connections(worker, part);
        for name in &connections {
            self.ground.simulation.freeze(name);
        }
        tokio::time::sleep(span).await;
        for name in &connections {
            self.ground.simulation.thaw(name);
        }
        self.stands_no_more(&name);
    }
}
