//! A stream that nothing stores, in whose middle something fails. What is on its way is lost with a connection or a server
//! and comes again; with its worker all of it is lost, and its reader is told that it begins anew.

use std::{fmt, time::Instant};

use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::{
    Expected, Servers, Stage,
    cluster::{self, Of},
    network::{cut, in_use, mend, through, ways},
    stream::ITEMS,
};
use crate::{
    caller::{Order, What},
    entry::{Answer, End, Event, Life, Piece, Step},
    mill::{Job, Work},
    stream::Pour,
};

/// What happens in the middle of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Another one begins anew.
    WorkerKilled,
    /// SIGSTOP until another worker is in the middle of the stream, then SIGCONT.
    WorkerFrozen,
    /// All the ways that are in use are cut.
    WorkerCut,
    /// The same.
    CallerCut,
    /// The caller's connections stay, and nothing arrives.
    CallerHalfOpen,
    /// SIGKILL, and it comes back.
    ServerKilled,
}

/// Nobody else can read what is not stored: no caller is killed.
pub(super) const CASES: [Case; 6] = [
    Case::WorkerKilled,
    Case::WorkerFrozen,
    Case::WorkerCut,
    Case::CallerCut,
    Case::CallerHalfOpen,
    Case::ServerKilled,
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerFrozen => "worker frozen past its lease",
            Self::WorkerCut => "worker's connection cut",
            Self::CallerCut => "caller's connection cut",
            Self::CallerHalfOpen => "caller's connection half open",
            Self::ServerKilled => "server of the caller killed",
        };
        write!(f, "{fault} amid a volatile stream")
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let answer = self.comes_to_the_middle(stage).await?;
        let expected = match self {
            Self::WorkerKilled => self.kill_a_worker(stage).await?,
            Self::WorkerFrozen => self.freeze_a_worker(stage).await?,
            Self::WorkerCut => self.cut_off_a_worker(stage).await?,
            Self::CallerCut | Self::CallerHalfOpen => self.cut_off_a_caller(stage).await?,
            Self::ServerKilled => self.kill_a_server(stage).await?,
        };
        stage.ledger.open_gate();
        answer.await?;
        read_of(stage, expected.attempt)?;
        Ok(expected)
    }

    /// Starts a worker and a call, and waits for the middle of its stream.
    async fn comes_to_the_middle(self, stage: &mut Stage) -> anyhow::Result<JoinHandle<Answer>> {
        let urls = stage.servers.urls();
        stage.ways = ways(stage).await?;
        let ways = through(&stage.ways);
        let (worker, caller) = match self {
            Self::WorkerKilled | Self::WorkerFrozen => (&urls, &urls),
            Self::WorkerCut => (&ways, &urls),
            Self::CallerCut | Self::CallerHalfOpen | Self::ServerKilled => (&urls, &ways),
        };
        stage.join("first", worker).await?;
        let job = Job { name: "bread".to_owned(), work: Work::Pour(Pour::to_the_gate(ITEMS)) };
        let order = stage.order(What::Run(job, Some("bread".to_owned())));
        let order = Order { method: "loose".to_owned(), ..order };
        let answer = stage.call(&stage.caller_at(caller).await?, order);
        stage.midway("first").await?;
        Ok(answer)
    }

    async fn kill_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.ledger.worker("first", Life::Killed);
        stage.hand("first")?.signal(Signal::KILL);
        let urls = stage.servers.urls();
        stage.join("second", &urls).await?;
        stage.midway("second").await?;
        Ok(Expected::value(2, 2))
    }

    async fn freeze_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.ledger.worker("first", Life::Frozen);
        stage.hand("first")?.signal(Signal::STOP);
        let urls = stage.servers.urls();
        stage.join("second", &urls).await?;
        stage.midway("second").await?;
        stage.ledger.worker("first", Life::Continued);
        stage.hand("first")?.signal(Signal::CONT);
        // No server refuses what it still has in hand: it may not send that.
        stage.reaches("first", "bread", Step::Drop).await?;
        Ok(Expected::value(2, 2))
    }

    async fn cut_off_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.join("second", &urls).await?;
        // Of three servers there is another one.
        let (name, costs) = (self.to_string(), stage.kind == Servers::One);
        stage.breaks(&name, if costs { &["first"] } else { &[] });
        let struck = cut(&stage.ways).await?;
        if costs {
            stage.midway("second").await?;
            stage.did_not_overlap("first", "second")?;
        } else {
            stage.outlast_a_lease().await;
        }
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        let attempt = if costs { 2 } else { 1 };
        Ok(Expected::value(attempt, u32::try_from(attempt)?))
    }

    async fn cut_off_a_caller(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let name = self.to_string();
        stage.breaks(&name, &[]);
        let struck = if self == Self::CallerCut { cut(&stage.ways).await? } else { in_use(&stage.ways)? };
        if self == Self::CallerHalfOpen {
            struck.iter().for_each(|at| stage.ways[*at].freeze());
        }
        stage.outlast_a_lease().await;
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        Ok(Expected::value(1, 1))
    }

    async fn kill_a_server(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let (name, began) = (self.to_string(), Instant::now());
        let struck = in_use(&stage.ways)?;
        anyhow::ensure!(struck.len() == 1, "a caller has one connection, and there are {struck:?}");
        stage.breaks(&name, &[]);
        if stage.kind == Servers::Three {
            stage.cluster().node_mut(struck[0]).kill9().await;
            cluster::leads(stage.cluster(), Of::Requests, &cluster::others(struck[0])).await?;
            stage.cluster().node_mut(struck[0]).restart().await?;
            cluster::leads(stage.cluster(), Of::Requests, &cluster::NODES).await?;
            stage.mended(&name);
            stage.outlast_a_lease().await;
            return Ok(Expected::value(1, 1));
        }
        stage.server().kill9().await;
        stage.server().restart().await?;
        let most = stage.mended_in_time(&name, began, &["first"]);
        stage.lasts(most).await
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
