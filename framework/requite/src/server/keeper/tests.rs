//! The keeper's rounds on a simulated server.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Client, Context, HandlerError, Retry, RunningServer, Server, ServiceDefinition,
    broker::{
        AnyBroker, Broker, Headers, Outgoing,
        simulated::{Seen, Simulation},
    },
    client::{Config, call},
    service::{Method, handler},
    subject::ServiceSubjects,
    wire::{VERSION, header},
};

const LEASE: Duration = Duration::from_secs(6);
const TURN: Method = Method { lease: LEASE, ..Method::new("mill", "turn") };
/// Heartbeats, barriers and NAKs.
const ACK: &str = "$JS.ACK.>";

/// The first attempt may fail.
#[derive(Serialize, Deserialize)]
struct Job {
    millis: u64,
    fails: bool,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("stuck")]
struct Stuck;

impl HandlerError for Stuck {
    fn retry(&self) -> Retry {
        Retry::Default
    }
}

/// One worker, and one caller.
struct Stage {
    simulation: Simulation,
    worker: RunningServer,
    caller: Client,
}

impl Stage {
    async fn new() -> Self {
        Self::with(TURN).await
    }

    async fn with(method: Method) -> Self {
        let simulation = Simulation::new(1);
        let turn = handler(async |cx: Context, job: Job| {
            tokio::time::sleep(Duration::from_millis(job.millis)).await;
            if job.fails && cx.attempt() == 1 { Err(Stuck) } else { Ok(()) }
        });
        let service = ServiceDefinition::new("mill", "1", "").method(method, turn);
        let worker = Server::new(&client(&simulation, "worker")).serve(service).start().await.unwrap();
        let caller = client(&simulation, "caller");
        Self { simulation, worker, caller }
    }

    /// Has a job accepted.
    async fn turn(&self, millis: u64, fails: bool) -> crate::Accepted<(), Stuck> {
        call::call(&self.caller, TURN, &Job { millis, fails }).start().await.unwrap()
    }

    fn keeper(&self) -> String {
        format!("requite keeper {}", self.worker.instance())
    }

    /// Waits until the first heartbeats are confirmed.
    async fn first_heartbeats(&self) {
        while self.worker.stats().barriers == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Cuts the keeper off, and waits for the first lease that this costs.
    async fn loses_a_lease(&self) {
        self.simulation.disconnect(&self.keeper(), Duration::from_secs(60));
        while self.worker.stats().lost_leases == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn acks(&self) -> usize {
        self.simulation.count(ACK, Seen::Published)
    }
}

fn client(simulation: &Simulation, name: &str) -> Client {
    Client::over(AnyBroker::Simulated(simulation.connect(name).unwrap()), Config::simulated(name))
}

/// A server that has more to do than it gets done answers late, and every answer as late as the others.
#[tokio::test(start_paused = true)]
async fn leases_are_kept_by_answers_that_are_slower_than_the_heartbeats() {
    let stage = Stage::new().await;
    stage.simulation.hang_publishes(ACK, usize::MAX, Duration::from_millis(1500));
    stage.turn(30_000, false).await.await.unwrap();
    let stats = stage.worker.stats();
    assert_eq!((stats.runs, stats.redeliveries, stats.lost_leases), (1, 0, 0), "{stats:?}");
    assert!(stats.barriers >= 25, "{stats:?}");
}

/// Whether any worker says that it serves the method.
async fn is_served(caller: &Client) -> bool {
    let subjects = ServiceSubjects::new(&"rq".parse().unwrap(), &"mill".parse().unwrap());
    let question = Outgoing::new(subjects.any_worker("caller", "turn"), Bytes::new());
    let question = question.headers(Headers::default().with(header::VERSION, VERSION));
    caller.broker().ask(question, Duration::from_secs(1)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_serves_nobody_while_its_last_handlers_run() {
    let stage = Stage::new().await;
    let last = stage.turn(10_000, false).await;
    stage.first_heartbeats().await;
    assert!(is_served(&stage.caller).await);
    let stopped = tokio::spawn(stage.worker.shutdown());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!is_served(&stage.caller).await && !stopped.is_finished());
    last.await.unwrap();
    stopped.await.unwrap();
}

/// Whatever the keeper sends, it does not wait for it: heartbeats, signals, answers, a NAK, a proof.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_full_does_not_hide_the_end_of_a_lease() {
    let stage = Stage::new().await;
    let long = stage.turn(30_000, false).await;
    let failing = stage.turn(1500, true).await;
    stage.first_heartbeats().await;
    stage.simulation.fill(&stage.keeper(), true);
    let before = stage.acks();
    let newcomer = stage.turn(30_000, false).await;
    assert!(is_served(&stage.caller).await);
    tokio::time::sleep(LEASE).await;
    let stats = stage.worker.stats();
    assert_eq!((stats.runs, stats.lost_leases), (3, 3), "{stats:?}");
    // One round, the NAK, and a proof for each of the two that were delivered again.
    assert_eq!(stage.acks() - before, 4, "round upon round waits for room");
    drop((long, failing, newcomer));
}

/// Seven seconds are no multiple of the heartbeats' interval less the margin.
#[tokio::test(start_paused = true)]
async fn a_handler_ends_with_its_lease_and_not_at_the_next_heartbeats() {
    let stage = Stage::with(Method { lease: Duration::from_secs(7), ..TURN }).await;
    let call = stage.turn(30_000, false).await;
    stage.first_heartbeats().await;
    let confirmed = tokio::time::Instant::now();
    stage.loses_a_lease().await;
    assert!(confirmed.elapsed() < Duration::from_millis(5_100), "{:?}", confirmed.elapsed());
    drop(call);
}

/// A server that restores its state counts the lease of a delivery from the publish, until a heartbeat has come.
#[tokio::test(start_paused = true)]
async fn a_lease_without_a_heartbeat_counts_from_the_publish() {
    let stage = Stage::with(Method { concurrency: 1, ..TURN }).await;
    let first = stage.turn(1_500, false).await;
    let published = tokio::time::Instant::now();
    let second = stage.turn(30_000, false).await;
    first.await.unwrap();
    while stage.worker.stats().runs < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.loses_a_lease().await;
    assert!(published.elapsed() < Duration::from_millis(4_100), "{:?}", published.elapsed());
    drop(second);
}

/// Heartbeats of which some went out before a cut and some after it are not confirmed by the barrier behind them.
#[tokio::test(start_paused = true)]
async fn heartbeats_across_a_cut_are_not_confirmed() {
    let stage = Stage::new().await;
    let calls = [stage.turn(30_000, false).await, stage.turn(30_000, false).await];
    stage.first_heartbeats().await;
    stage.simulation.fill(&stage.keeper(), true);
    let before = stage.acks();
    while stage.acks() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.simulation.disconnect(&stage.keeper(), Duration::from_millis(100));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let barriers = stage.worker.stats().barriers;
    stage.simulation.fill(&stage.keeper(), false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.worker.stats().barriers, barriers);
    // They are sent anew before long.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(stage.worker.stats().barriers, barriers + 1);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(stage.worker.stats().lost_leases, 0);
}
