//! A stream in whose middle something fails, for each kind of stream. It goes on slowly until all is mended, so that
//! whatever happens, happens to items that are on their way. Where nothing stores them, those are lost with a connection or a
//! server, and come again; with their worker all of them are, and their reader is told that the stream begins anew.

use std::{fmt, time::Instant};

use requite_test::Proxy;
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::{
    Expected, Servers, Stage,
    cluster::{self, Of},
    network::{in_use, mend, through, ways},
};
use crate::{
    caller::{Caller, Order, What},
    entry::{Answer, End, Event, Life, Piece, Step as RunStep},
    mill::{Job, Work},
    process::Process,
    stream::Pour,
};

/// Half of it is more than a writer may send before its reader has read: in the middle, both are at work.
pub(super) const ITEMS: u64 = 36_000;

/// What happens in the middle of which stream.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    kind: Kind,
    fault: Fault,
}

/// Whose stream, and what a second attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The handler's, and goes on.
    Resume,
    /// The handler's, and begins anew.
    Anew,
    /// The caller's.
    Fill,
    /// One each way; the handler's goes on.
    Both,
    /// The handler's, and nothing stores it.
    Loose,
}

impl Kind {
    /// Whether the caller sends.
    fn is_up(self) -> bool {
        matches!(self, Self::Fill | Self::Both)
    }

    /// Whether the handler sends.
    fn is_down(self) -> bool {
        self != Self::Fill
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    WorkerKilled,
    /// SIGSTOP until another worker is in the middle of the stream, then SIGCONT.
    WorkerFrozen,
    WorkerCut,
    WorkerHalfOpen,
    /// Another process of its name reads from the first item on, or goes on sending.
    CallerKilled,
    CallerCut,
    CallerHalfOpen,
    /// SIGKILL, and it comes back: the only one, or of three the one that leads the stream of items, or that the caller of what
    /// is not stored is connected to.
    ServerKilled,
}

const KINDS: [Kind; 5] = [Kind::Resume, Kind::Anew, Kind::Fill, Kind::Both, Kind::Loose];
const FAULTS: [Fault; 8] = [
    Fault::WorkerKilled,
    Fault::WorkerFrozen,
    Fault::WorkerCut,
    Fault::WorkerHalfOpen,
    Fault::CallerKilled,
    Fault::CallerCut,
    Fault::CallerHalfOpen,
    Fault::ServerKilled,
];

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let cases = KINDS.into_iter().flat_map(|kind| FAULTS.into_iter().map(move |fault| Case { kind, fault }));
    // Nobody else can read what is not stored.
    cases.filter(|case| (case.kind, case.fault) != (Kind::Loose, Fault::CallerKilled))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Resume => "a stream that resumes",
            Kind::Anew => "a stream that begins anew",
            Kind::Fill => "a caller's stream",
            Kind::Both => "streams both ways",
            Kind::Loose => "a volatile stream",
        };
        let fault = match self.fault {
            Fault::WorkerKilled => "worker killed",
            Fault::WorkerFrozen => "worker frozen past its lease",
            Fault::WorkerCut => "worker's connection cut",
            Fault::WorkerHalfOpen => "worker's connection half open",
            Fault::CallerKilled => "caller killed",
            Fault::CallerCut => "caller's connection cut",
            Fault::CallerHalfOpen => "caller's connection half open",
            Fault::ServerKilled if self.kind == Kind::Loose => "server of the caller killed",
            Fault::ServerKilled => "server of the items killed",
        };
        write!(f, "{fault} amid {kind}")
    }
}

/// A stream that is under way.
struct Scene {
    answer: Option<JoinHandle<Answer>>,
    /// In a process of its own, where it is to be killed.
    caller: Option<Process>,
}

impl Case {
    pub(super) fn freezes(self) -> bool {
        self.fault == Fault::WorkerFrozen
    }

    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let scene = self.comes_to_the_middle(stage).await?;
        let expected = match self.fault {
            Fault::WorkerKilled => self.kill_a_worker(stage).await?,
            Fault::WorkerFrozen => self.freeze_a_worker(stage).await?,
            Fault::WorkerCut | Fault::WorkerHalfOpen => self.cut_off_a_worker(stage).await?,
            Fault::CallerCut | Fault::CallerHalfOpen => self.cut_off_a_caller(stage).await?,
            Fault::CallerKilled => return self.kill_a_caller(stage, scene).await,
            Fault::ServerKilled => self.kill_a_server(stage).await?,
        };
        stage.ledger.open_gate();
        if let Some(answer) = scene.answer {
            answer.await?;
        }
        if self.kind == Kind::Loose {
            read_of(stage, expected.attempt)?;
        }
        Ok(expected)
    }

    /// Starts a worker and a call, and waits for the middle of its stream.
    async fn comes_to_the_middle(self, stage: &mut Stage) -> anyhow::Result<Scene> {
        let (urls, mut workers, mut callers) = (stage.servers.urls(), None, None);
        stage.ways = ways(stage).await?;
        match self.fault {
            Fault::WorkerCut | Fault::WorkerHalfOpen => workers = Some(through(&stage.ways)),
            Fault::CallerCut | Fault::CallerHalfOpen => callers = Some(through(&stage.ways)),
            Fault::ServerKilled if self.kind == Kind::Loose => callers = Some(through(&stage.ways)),
            _ => {}
        }
        stage.join("first", &workers.unwrap_or_else(|| urls.clone())).await?;
        let order = self.order(stage);
        let call = order.call.clone();
        let url = callers.unwrap_or(urls);
        let scene = if self.fault == Fault::CallerKilled {
            let mut process = stage.place(&url).start_caller()?;
            process.tell(&order).await?;
            Scene { answer: None, caller: Some(process) }
        } else {
            let caller = stage.caller_at(&url).await?;
            Scene { answer: Some(stage.call(&caller, order)), caller: None }
        };
        if self.kind.is_up() {
            stage.midway(&call).await?;
        }
        if self.kind.is_down() {
            stage.midway("first").await?;
        }
        stage.reaches("first", "bread", RunStep::Start).await?;
        Ok(scene)
    }

    fn method(self) -> &'static str {
        match self.kind {
            Kind::Resume => "resume",
            Kind::Anew => "anew",
            Kind::Fill => "fill",
            Kind::Both => "trade",
            Kind::Loose => "loose",
        }
    }

    /// The call that the row is about.
    fn order(self, stage: &mut Stage) -> Order {
        let job = Job { name: "bread".to_owned(), work: Work::Pour(Pour::to_the_gate(ITEMS)) };
        let order = stage.order(What::Run(job, Some("bread".to_owned())));
        Order { method: self.method().to_owned(), ..order }
    }

    /// Waits until the second worker has taken over, and sends where it is the one who sends.
    async fn second_takes_over(self, stage: &Stage) -> anyhow::Result<()> {
        stage.reaches("second", "bread", RunStep::Start).await?;
        if self.kind.is_down() { stage.midway("second").await } else { Ok(()) }
    }

    async fn kill_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.ledger.worker("first", Life::Killed);
        stage.hand("first")?.signal(Signal::KILL);
        let urls = stage.servers.urls();
        stage.join("second", &urls).await?;
        self.second_takes_over(stage).await?;
        Ok(Expected::value(2, 2))
    }

    async fn freeze_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.ledger.worker("first", Life::Frozen);
        stage.hand("first")?.signal(Signal::STOP);
        let urls = stage.servers.urls();
        stage.join("second", &urls).await?;
        self.second_takes_over(stage).await?;
        stage.ledger.worker("first", Life::Continued);
        stage.hand("first")?.signal(Signal::CONT);
        // What it has in hand it still tries to send, and what it hears it still takes.
        stage.reaches("first", "bread", RunStep::Drop).await?;
        Ok(Expected::value(2, 2))
    }

    async fn cut_off_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.join("second", &urls).await?;
        let name = self.to_string();
        // Of three servers there is another one; who is not told may find out too late.
        let (costs, may_cost) = (stage.kind == Servers::One, self.fault == Fault::WorkerHalfOpen);
        stage.breaks(&name, if costs || may_cost { &["first"] } else { &[] });
        let struck = self.strike(&stage.ways).await?;
        if costs {
            self.second_takes_over(stage).await?;
            stage.did_not_overlap("first", "second")?;
        } else {
            stage.outlast_a_lease().await;
        }
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        Ok(match (costs, may_cost) {
            (true, _) => Expected::value(2, 2),
            (false, true) => Expected { runs: (1, 2), attempt: (1, 2), ..Expected::value(1, 1) },
            (false, false) => Expected::value(1, 1),
        })
    }

    async fn cut_off_a_caller(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let name = self.to_string();
        stage.breaks(&name, &[]);
        let struck = self.strike(&stage.ways).await?;
        stage.outlast_a_lease().await;
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        Ok(Expected::value(1, 1))
    }

    async fn kill_a_caller(self, stage: &mut Stage, mut scene: Scene) -> anyhow::Result<Expected> {
        if let Some(process) = scene.caller.take() {
            stage.ledger.write(Event::CallerKilled { pid: process.pid() });
            process.kill().await?;
        }
        let (caller, mut order): (Caller, Order) = (stage.caller().await?, self.order(stage));
        let call = order.call.clone();
        if !self.kind.is_up() {
            order.what = What::AttachKey("bread".to_owned());
        }
        let answer = stage.call(&caller, order);
        if self.kind.is_up() {
            stage.midway(&call).await?;
        }
        stage.ledger.open_gate();
        answer.await?;
        Ok(Expected::value(1, 1))
    }

    async fn kill_a_server(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let (name, began) = (self.to_string(), Instant::now());
        if stage.kind == Servers::Three {
            let (node, of) = match self.kind {
                Kind::Loose => (in_use(&stage.ways)?[0], Of::Requests),
                _ => (cluster::leads(stage.cluster(), Of::Items, &cluster::NODES).await?, Of::Items),
            };
            stage.breaks(&name, &[]);
            stage.cluster().node_mut(node).kill9().await;
            cluster::leads(stage.cluster(), of, &cluster::others(node)).await?;
            stage.cluster().node_mut(node).restart().await?;
            cluster::leads(stage.cluster(), of, &cluster::NODES).await?;
            stage.mended(&name);
            stage.outlast_a_lease().await;
            return Ok(Expected::value(1, 1));
        }
        stage.breaks(&name, &[]);
        stage.server().kill9().await;
        stage.server().restart().await?;
        let most = stage.mended_in_time(&name, began, &["first"]);
        stage.lasts(most).await
    }

    /// Strikes the ways that are in use, and says which.
    async fn strike(self, ways: &[Proxy]) -> anyhow::Result<Vec<usize>> {
        let struck = in_use(ways)?;
        for way in struck.iter().map(|at| &ways[*at]) {
            match self.fault {
                Fault::WorkerCut | Fault::CallerCut => way.cut().await,
                _ => way.freeze(),
            }
        }
        Ok(struck)
    }
}

/// The caller has read something of every attempt up to the last one.
fn read_of(stage: &Stage, (least, most): (u32, u32)) -> anyhow::Result<()> {
    let entries = stage.ledger.entries();
    let mut flows = entries.iter().filter_map(|it| match &it.event {
        Event::Flow(flow) if matches!(flow.end, End::Reads(_)) => Some(flow),
        _ => None,
    });
    let pieces = flows.next().map(|flow| &flow.pieces[..]).unwrap_or_default();
    let attempts = pieces.iter().filter_map(|piece| match piece {
        Piece::Items { attempt, .. } => Some(*attempt),
        Piece::Restarted(_) => None,
    });
    let attempts: Vec<u32> = attempts.collect();
    let is_each = (least..=most).any(|last| attempts == (1..=last).collect::<Vec<_>>());
    anyhow::ensure!(is_each, "the caller has read items of {attempts:?}");
    Ok(())
}
