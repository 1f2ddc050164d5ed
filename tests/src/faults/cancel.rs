//! Cancelling while something fails: whoever hears of it or not, what was told to be cancelled runs no more.

use std::{fmt, time::Instant};

use requite_test::{Direction, Hold, Proxy, Trap};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::{
    Expected, Servers, Stage,
    cluster::Of,
    message::{is_cancel, is_record, is_stored_in},
    network::{cut, mend, through, ways},
    stage::Worker,
};
use crate::{
    caller::Caller,
    entry::{Answer, Class, Life, Step, Told, cancelled},
};

/// What fails as the request is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// No worker is there, and none has had the request.
    BeforeAnyWorker,
    /// No worker is there any more.
    WorkerKilledBefore,
    /// The worker that was told is killed before it stores the outcome.
    WorkerKilledAfter,
    /// SIGSTOP until another worker has ended the request, then SIGCONT.
    WorkerFrozen,
    /// All the ways that are in use are cut.
    WorkerCut,
    /// The caller's connection is cut.
    CallerCut(Asking),
    /// SIGKILL, and it comes back: the only one, or the one of three that leads the stream of requests.
    ServerKilled(Asking),
}

/// Where what asks to cancel is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    UnderWay,
    /// Its caller has not heard so.
    Stored,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let asking = [Asking::UnderWay, Asking::Stored];
    let workers = [
        Case::BeforeAnyWorker,
        Case::WorkerKilledBefore,
        Case::WorkerKilledAfter,
        Case::WorkerFrozen,
        Case::WorkerCut,
    ];
    workers.into_iter().chain(asking.map(Case::CallerCut)).chain(asking.map(Case::ServerKilled))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeAnyWorker => "cancelled before a worker is there",
            Self::WorkerKilledBefore => "worker killed before its request is cancelled",
            Self::WorkerKilledAfter => "worker killed before it stores that its request was cancelled",
            Self::WorkerFrozen => "worker frozen past its lease as its request is cancelled",
            Self::WorkerCut => "worker's connection cut as its request is cancelled",
            Self::CallerCut(Asking::UnderWay) => "caller's connection cut before its cancel is stored",
            Self::CallerCut(Asking::Stored) => {
                "caller's connection cut before it hears that its cancel is stored"
            }
            Self::ServerKilled(Asking::UnderWay) => "server killed before it stores the cancel",
            Self::ServerKilled(Asking::Stored) => "server killed before it says that the cancel is stored",
        })
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        match self {
            Self::BeforeAnyWorker => before_any_worker(stage).await,
            Self::WorkerKilledBefore => kill_before(stage).await,
            Self::WorkerKilledAfter => kill_after(stage).await,
            Self::WorkerFrozen => freeze(stage).await,
            Self::WorkerCut => self.cut_off_a_worker(stage).await,
            Self::CallerCut(asking) | Self::ServerKilled(asking) => self.lose_the_answer(asking, stage).await,
        }
    }

    async fn cut_off_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.ways = ways(stage).await?;
        stage.join("first", &through(&stage.ways)).await?;
        let caller = stage.caller_at(&urls).await?;
        let answer = runs(stage, &caller).await?;
        stage.join("second", &urls).await?;
        let name = self.to_string();
        // Of three servers there is another one.
        stage.breaks(&name, if stage.kind == Servers::One { &["first"] } else { &[] });
        let struck = cut(&stage.ways).await?;
        cancel(stage, &caller).await?;
        ends(answer, true).await?;
        // Told, or because its lease is lost.
        stage.reaches("first", "bread", Step::Drop).await?;
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        Ok(expected(1))
    }

    /// The caller asks, and loses its connection or the server before it hears more.
    async fn lose_the_answer(self, asking: Asking, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.join("first", &urls).await?;
        let way = stage.proxy().await?;
        let caller = stage.caller_at(&way.url()).await?;
        let answer = runs(stage, &caller).await?;
        let trap = asking.trap(stage, &way);
        let asks = tokio::spawn(told(caller, stage.kind.method()));
        trap.sprung().await;
        let (name, began) = (self.to_string(), Instant::now());
        stage.breaks(&name, &[]);
        let server = matches!(self, Self::ServerKilled(_));
        if asking == Asking::Stored && !server {
            // All comes to its end meanwhile.
            stage.reaches("first", "bread", Step::Drop).await?;
        }
        let killed = if server { Some(stage.kill_server_of(Of::Requests).await?) } else { None };
        // What was held back is lost with its connection.
        way.cut().await;
        way.thaw();
        way.heal().await?;
        let most = match killed {
            Some(node) => {
                stage.restart_server_of(Of::Requests, node).await?;
                stage.mended_in_time(&name, began, &["first"])
            }
            None => {
                stage.mended(&name);
                1
            }
        };
        stage.ways.push(way);
        anyhow::ensure!(asks.await? == Told::Signalled, "its caller was told otherwise");
        ends(answer, true).await?;
        Ok(Expected { runs: (1, most), ..expected(1) })
    }
}

impl Asking {
    fn trap(self, stage: &Stage, way: &Proxy) -> Trap {
        let before = Hold::Before;
        match self {
            Self::UnderWay => way.trap(Direction::ToServer, before, is_cancel),
            Self::Stored => way.trap(Direction::ToClient, before, is_stored_in(stage.kind.stream("REQ"))),
        }
    }
}

async fn before_any_worker(stage: &mut Stage) -> anyhow::Result<Expected> {
    stage.set_up().await?;
    let (caller, order) = (stage.caller().await?, stage.bread());
    let call = order.call.clone();
    let answer = stage.call(&caller, order);
    stage.accepted(&call).await?;
    cancel(stage, &caller).await?;
    let urls = stage.servers.urls();
    stage.join("first", &urls).await?;
    // For all that its worker knows, a single server may have forgotten another one that it gave the request to.
    ends(answer, stage.kind == Servers::One).await?;
    Ok(expected(0))
}

async fn kill_before(stage: &mut Stage) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    stage.join("first", &urls).await?;
    let caller = stage.caller().await?;
    let answer = runs(stage, &caller).await?;
    stage.ledger.worker("first", Life::Killed);
    stage.hand("first")?.signal(Signal::KILL);
    cancel(stage, &caller).await?;
    stage.join("second", &urls).await?;
    ends(answer, true).await?;
    Ok(expected(1))
}

async fn kill_after(stage: &mut Stage) -> anyhow::Result<Expected> {
    stage.worker("first").await?;
    let caller = stage.caller().await?;
    let answer = runs(stage, &caller).await?;
    let proxy = &stage.worker_called("first").proxy;
    let trap = proxy.trap(Direction::ToServer, Hold::Before, is_record("outcome"));
    let asks = tokio::spawn(told(caller, stage.kind.method()));
    trap.sprung().await;
    stage.ledger.worker("first", Life::Killed);
    let Worker { process, proxy } = stage.take_worker("first");
    process.kill().await?;
    // What was held back is lost with it.
    proxy.cut().await;
    anyhow::ensure!(asks.await? == Told::Signalled, "its caller was told otherwise");
    let urls = stage.servers.urls();
    stage.join("second", &urls).await?;
    ends(answer, true).await?;
    Ok(expected(1))
}

async fn freeze(stage: &mut Stage) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    stage.join("first", &urls).await?;
    let caller = stage.caller().await?;
    let answer = runs(stage, &caller).await?;
    stage.ledger.worker("first", Life::Frozen);
    stage.hand("first")?.signal(Signal::STOP);
    stage.join("second", &urls).await?;
    cancel(stage, &caller).await?;
    ends(answer, true).await?;
    stage.ledger.worker("first", Life::Continued);
    stage.hand("first")?.signal(Signal::CONT);
    stage.reaches("first", "bread", Step::Drop).await?;
    Ok(expected(1))
}

/// Makes the call, and waits until the first worker runs it. Its handler heeds nothing: what is cancelled it ends when its
/// time to do so is over.
async fn runs(stage: &mut Stage, caller: &Caller) -> anyhow::Result<JoinHandle<Answer>> {
    let order = stage.bread();
    let call = order.call.clone();
    let answer = stage.call(caller, order);
    stage.accepted(&call).await?;
    stage.reaches("first", "bread", Step::Start).await?;
    Ok(answer)
}

/// Cancels it: that is stored, and it has not ended.
async fn cancel(stage: &Stage, caller: &Caller) -> anyhow::Result<()> {
    let told = told(caller.clone(), stage.kind.method()).await;
    anyhow::ensure!(told == Told::Signalled, "its caller was told {told:?}");
    Ok(())
}

/// What its caller is told, as soon as it is told something.
async fn told(caller: Caller, method: &'static str) -> Told {
    loop {
        match caller.cancel_key(method, "bread").await {
            Told::Nothing => {}
            told => return told,
        }
    }
}

/// The call ends as cancelled, and says whether its handler may have run.
async fn ends(answer: JoinHandle<Answer>, may_have_run: bool) -> anyhow::Result<()> {
    let answer = answer.await?;
    anyhow::ensure!(answer.outcome == Some(cancelled(may_have_run)), "{answer:?}");
    Ok(())
}

fn expected(runs: usize) -> Expected {
    Expected { class: Class::Cancelled, ..Expected::value(runs, 1) }
}
