//! A request with checkpoints whose worker or server fails, between two of them and at one: what its handler was told is
//! stored is found by the next attempt, and no late one takes its place.

use std::{fmt, time::Instant};

use requite_test::{Direction, Hold, Trap};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::{
    Expected, Servers, Stage,
    cluster::Of,
    message::{is_answer_of, is_record, is_stored_in, is_the},
    network::{cut, mend, through, ways},
    stage::{Worker, eventually},
};
use crate::{
    caller::{Caller, Order, What},
    entry::{Answer, Checkpoint, Event, Life, Step},
    mill::{Job, Steps, Work},
};

const COUNT: u32 = 6;
/// Behind so many its handler waits at the gate.
const MIDDLE: u32 = COUNT / 2;

/// What happens, and where the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Between two checkpoints.
    WorkerKilled,
    /// Between two checkpoints, by SIGTERM.
    WorkerTerminated,
    /// Between two checkpoints: all the ways that are in use are cut.
    WorkerCut,
    WorkerKilledAt(Place),
    /// SIGSTOP with a checkpoint on its way until another worker has stored later ones, then SIGCONT.
    WorkerFrozen,
    /// SIGKILL, and it comes back: the only one, or the one of three that leads the stream of records.
    ServerKilledAt(Place),
}

/// Where a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    UnderWay,
    /// Its handler has not been told.
    Stored,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let places = [Place::UnderWay, Place::Stored];
    let between = [Case::WorkerKilled, Case::WorkerTerminated, Case::WorkerCut, Case::WorkerFrozen];
    between.into_iter().chain(places.map(Case::WorkerKilledAt)).chain(places.map(Case::ServerKilledAt))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WorkerKilled => "worker killed between two checkpoints",
            Self::WorkerTerminated => "worker terminated between two checkpoints",
            Self::WorkerCut => "worker's connection cut between two checkpoints",
            Self::WorkerKilledAt(Place::UnderWay) => "worker killed before its checkpoint is stored",
            Self::WorkerKilledAt(Place::Stored) => {
                "worker killed before it hears that its checkpoint is stored"
            }
            Self::WorkerFrozen => "worker frozen past its lease with a checkpoint on its way",
            Self::ServerKilledAt(Place::UnderWay) => "server killed before it stores a checkpoint",
            Self::ServerKilledAt(Place::Stored) => "server killed before it says that a checkpoint is stored",
        })
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        match self {
            Self::WorkerKilled | Self::WorkerTerminated => self.end_a_worker(stage).await,
            Self::WorkerCut => self.cut_off_a_worker(stage).await,
            Self::WorkerKilledAt(place) => kill_a_worker(place, stage).await,
            Self::WorkerFrozen => freeze_a_worker(stage).await,
            Self::ServerKilledAt(place) => self.kill_a_server(place, stage).await,
        }
    }

    async fn end_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.join("first", &urls).await?;
        let answer = call(stage, &urls).await?;
        stores(stage, 1, MIDDLE).await?;
        if self == Self::WorkerTerminated {
            stage.leave("first").await?;
        } else {
            stage.ledger.worker("first", Life::Killed);
            stage.hand("first")?.signal(Signal::KILL);
        }
        stage.join("second", &urls).await?;
        finds(stage, 2, MIDDLE).await?;
        stage.ledger.open_gate();
        answer.await?;
        Ok(Expected::value(2, 2))
    }

    async fn cut_off_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.ways = ways(stage).await?;
        stage.join("first", &through(&stage.ways)).await?;
        let answer = call(stage, &urls).await?;
        stores(stage, 1, MIDDLE).await?;
        stage.join("second", &urls).await?;
        // Of three servers there is another one.
        let (name, costs) = (self.to_string(), stage.kind == Servers::One);
        stage.breaks(&name, if costs { &["first"] } else { &[] });
        let struck = cut(&stage.ways).await?;
        if costs {
            finds(stage, 2, MIDDLE).await?;
            stage.did_not_overlap("first", "second")?;
        }
        stage.ledger.open_gate();
        let attempt = if costs { 2 } else { 1 };
        // The rest of them, before anything is mended.
        stores(stage, attempt, COUNT).await?;
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        answer.await?;
        Ok(Expected::value(usize::try_from(attempt)?, attempt))
    }

    async fn kill_a_server(self, place: Place, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.worker("first").await?;
        let urls = stage.servers.urls();
        let answer = call(stage, &urls).await?;
        stores(stage, 1, MIDDLE).await?;
        let trap = place.trap(stage);
        stage.ledger.open_gate();
        trap.sprung().await;
        // Behind the next one it waits again.
        stage.ledger.close_gate();
        let (name, began) = (self.to_string(), Instant::now());
        stage.breaks(&name, &[]);
        let node = stage.kill_server_of(Of::Records).await?;
        // What was held back is lost with its connection.
        let proxy = &stage.worker_called("first").proxy;
        proxy.cut().await;
        proxy.thaw();
        proxy.heal().await?;
        stage.restart_server_of(Of::Records, node).await?;
        let most = stage.mended_in_time(&name, began, &["first"]);
        // Where that has cost the lease, the next attempt is at the gate.
        let goes_on = eventually("the checkpoint is stored", async || {
            checkpoints(stage).iter().any(|it| it.attempt > 1 || it.steps == MIDDLE + 1)
        });
        goes_on.await?;

        stage.ledger.worker("first", Life::Killed);
        stage.take_worker("first").process.kill().await?;
        stage.join("second", &urls).await?;
        let (last, steps) = (runs(stage), checkpoints(stage).iter().map(|it| it.steps).max());
        finds(stage, last + 1, steps.unwrap_or_default()).await?;
        stage.ledger.open_gate();
        answer.await?;
        let most = most + 1;
        Ok(Expected { runs: (2, most), attempt: (2, u32::try_from(most)?), ..Expected::value(2, 2) })
    }
}

impl Place {
    /// At the next checkpoint of the first worker.
    fn trap(self, stage: &mut Stage) -> Trap {
        let records = stage.kind.stream("OUT");
        let proxy = &stage.worker_called("first").proxy;
        match self {
            Self::UnderWay => proxy.trap(Direction::ToServer, Hold::Before, is_record("checkpoint")),
            Self::Stored => proxy.trap(Direction::ToClient, Hold::Before, is_stored_in(records)),
        }
    }
}

async fn kill_a_worker(place: Place, stage: &mut Stage) -> anyhow::Result<Expected> {
    stage.worker("first").await?;
    let urls = stage.servers.urls();
    let answer = call(stage, &urls).await?;
    stores(stage, 1, MIDDLE).await?;
    let trap = place.trap(stage);
    stage.ledger.open_gate();
    trap.sprung().await;
    stage.ledger.worker("first", Life::Killed);
    let Worker { process, proxy } = stage.take_worker("first");
    process.kill().await?;
    // What was held back is lost with it.
    proxy.cut().await;
    stage.join("second", &urls).await?;
    let found = if place == Place::Stored { MIDDLE + 1 } else { MIDDLE };
    finds(stage, 2, found).await?;
    answer.await?;
    Ok(Expected::value(2, 2))
}

async fn freeze_a_worker(stage: &mut Stage) -> anyhow::Result<Expected> {
    stage.worker("first").await?;
    let urls = stage.servers.urls();
    let proxy = &stage.worker_called("first").proxy;
    let trap = proxy.trap(Direction::ToServer, Hold::Before, is_the(2, is_record("checkpoint")));
    let answer = call(stage, &urls).await?;
    trap.sprung().await;
    stage.ledger.worker("first", Life::Frozen);
    stage.worker_called("first").process.signal(Signal::STOP);
    stage.join("second", &urls).await?;
    finds(stage, 2, 1).await?;
    stores(stage, 2, MIDDLE).await?;
    stage.ledger.worker("first", Life::Continued);
    let is_answer = is_answer_of(&stage.kind.stream("OUT"));
    let first = stage.worker_called("first");
    first.process.signal(Signal::CONT);
    let trap = first.proxy.trap(Direction::ToClient, Hold::After, is_answer);
    // What it sent under its old lease arrives now, and is answered.
    first.proxy.thaw();
    trap.sprung().await;
    first.proxy.thaw();

    stage.ledger.worker("second", Life::Killed);
    stage.hand("second")?.signal(Signal::KILL);
    finds(stage, 3, MIDDLE).await?;
    stage.ledger.open_gate();
    answer.await?;
    Ok(Expected::value(3, 3))
}

/// Makes the call that the row is about.
async fn call(stage: &mut Stage, urls: &str) -> anyhow::Result<JoinHandle<Answer>> {
    let caller: Caller = stage.caller_at(urls).await?;
    let job = Job { name: "bread".to_owned(), work: Work::Steps(Steps::to_the_gate(COUNT)) };
    let order: Order = stage.order(What::Run(job, Some("bread".to_owned())));
    Ok(stage.call(&caller, order))
}

/// Those that were found or stored so far.
fn checkpoints(stage: &Stage) -> Vec<Checkpoint> {
    let all = stage.ledger.entries().into_iter().filter_map(|it| match it.event {
        Event::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    });
    all.collect()
}

/// How often its handler was started.
fn runs(stage: &Stage) -> u32 {
    let runs = stage.ledger.runs();
    let started = runs.iter().filter(|it| it.job == "bread" && it.step == Step::Start);
    started.map(|it| it.attempt).max().unwrap_or_default()
}

/// Waits until this attempt was told that so many steps are stored.
async fn stores(stage: &Stage, attempt: u32, steps: u32) -> anyhow::Result<()> {
    let is_it = |it: &Checkpoint| !it.found && (it.attempt, it.steps) == (attempt, steps);
    eventually(&format!("attempt {attempt} stores step {steps}"), async || {
        checkpoints(stage).iter().any(is_it)
    })
    .await
}

/// Waits until this attempt begins, and holds what it finds against what it should.
async fn finds(stage: &Stage, attempt: u32, steps: u32) -> anyhow::Result<()> {
    let found = || checkpoints(stage).into_iter().find(|it| it.found && it.attempt == attempt);
    eventually(&format!("attempt {attempt} begins"), async || found().is_some()).await?;
    let found = found().map(|it| it.steps);
    anyhow::ensure!(found == Some(steps), "attempt {attempt} finds {found:?} instead of {steps}");
    Ok(())
}
