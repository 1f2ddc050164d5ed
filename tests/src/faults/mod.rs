//! One fault in one step, on real processes, as a table.
//!
//! A row starts servers of its own, brings one request to the step, strikes, mends, waits until everything is done and
//! holds the promises of the [`crate::checker`] and its own expectation against what happened.
//!
//! | file | rows |
//! |---|---|
//! | `worker` | a worker is killed, frozen, stopped, blocked |
//! | `client` | a caller is killed |
//! | `server` | the only server is killed, stopped, frozen |
//! | `cluster` | servers of three are killed, stopped, frozen, cut off from each other |
//! | `network` | the way between a process and its server is cut, flaps, is half open, is slow |
//! | `stream` | any of them, in the middle of a stream of items |
//! | `cancel` | any of them, as a request is cancelled |
//! | `checkpoint` | any of them, between two checkpoints and at one |
//! | `progress` | any of them, while callers watch how far a handler is |
//! | `operator` | streams, consumers, settings and users are taken away |
//! | `disk` | a server cannot write any more |
//!
//! To add rows of another kind: a file with its `cases()` and its `play`, and a variant of [`Case`].

use std::{fmt, path::Path, time::Duration};

use anyhow::Context;

use crate::{
    checker::{self, Counts},
    entry::{Answer, Class},
};

mod cancel;
mod checkpoint;
mod client;
mod cluster;
mod disk;
mod message;
mod network;
mod operator;
mod progress;
mod scene;
mod server;
pub mod stage;
mod stream;
pub mod table;
mod worker;

pub use stage::{Place, Servers, Stage, Worker, eventually};

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// How many servers there are.
    pub servers: Servers,
    /// What happens.
    pub case: Case,
}

/// What happens, and when.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// To a worker.
    Worker(worker::Case),
    /// To a caller.
    Client(client::Case),
    /// To the only server.
    Server(server::Case),
    /// To some of three servers.
    Cluster(cluster::Case),
    /// Between a process and its servers.
    Network(network::Case),
    /// In the middle of a stream of items.
    Stream(stream::Case),
    /// As a request is cancelled.
    Cancel(cancel::Case),
    /// To a request with checkpoints.
    Checkpoint(checkpoint::Case),
    /// While callers watch how far a handler is.
    Progress(progress::Case),
    /// By an operator.
    Operator(operator::Case),
    /// To a server's disk.
    Disk(disk::Case),
}

/// What a row expects beyond the promises. The request that the row is about is the one whose job is called `bread`.
#[derive(Clone, Debug)]
pub struct Expected {
    /// How often its handler may have been started: at least, at most.
    pub runs: (usize, usize),
    /// What its last caller is answered.
    pub class: Class,
    /// The attempt whose outcome that is: at least, at most.
    pub attempt: (u32, u32),
}

/// What came of a row.
#[derive(Clone, Debug)]
pub struct Report {
    /// What is wrong; nothing if the row holds.
    pub broken: Vec<String>,
    /// What was seen.
    pub counts: Counts,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.case {
            Case::Worker(case) => write!(f, "{case}")?,
            Case::Client(case) => write!(f, "{case}")?,
            Case::Server(case) => write!(f, "{case}")?,
            Case::Cluster(case) => write!(f, "{case}")?,
            Case::Network(case) => write!(f, "{case}")?,
            Case::Stream(case) => write!(f, "{case}")?,
            Case::Cancel(case) => write!(f, "{case}")?,
            Case::Checkpoint(case) => write!(f, "{case}")?,
            Case::Progress(case) => write!(f, "{case}")?,
            Case::Operator(case) => write!(f, "{case}")?,
            Case::Disk(case) => write!(f, "{case}")?,
        }
        write!(f, ", {}", self.servers)
    }
}

/// The table.
pub fn rows() -> Vec<Row> {
    let workers = worker::cases().map(Case::Worker);
    let clients = client::cases().map(Case::Client);
    let networks = network::cases().map(Case::Network);
    let streams = stream::cases().map(Case::Stream);
    let cancels = cancel::cases().map(Case::Cancel);
    let checkpoints = checkpoint::cases().map(Case::Checkpoint);
    let progress = progress::CASES.map(Case::Progress);
    let operators = operator::cases().map(Case::Operator);
    let disks = disk::cases().map(Case::Disk);
    let requests = workers.chain(clients).chain(networks).chain(streams);
    let handlers = cancels.chain(checkpoints).chain(progress);
    let on_both: Vec<Case> = requests.chain(handlers).chain(operators).chain(disks).collect();
    let on = |servers, own: Vec<Case>| {
        let cases = on_both.iter().copied().chain(own);
        cases.map(|case| Row { servers, case }).collect::<Vec<_>>()
    };
    let one = on(Servers::One, server::cases().map(Case::Server).collect());
    let three = on(Servers::Three, cluster::cases().map(Case::Cluster).collect());
    one.into_iter().chain(three).collect()
}

impl Row {
    /// Plays the row; its processes are `program` in other roles.
    ///
    /// # Errors
    ///
    /// When the row did not come to its end: something that it waits for never came, or there is no server to start.
    pub async fn play(&self, program: &Path) -> anyhow::Result<Report> {
        let mut stage = match self.case {
            Case::Cluster(_) => Stage::open_at(cluster::servers().await?, program).await?,
            Case::Operator(_) => Stage::open_at(operator::servers(self.servers).await?, program).await?,
            case if case.is_late() => Stage::open_at(stage::patient(self.servers).await?, program).await?,
            _ => Stage::open(self.servers, program).await?,
        };
        let played = tokio::time::timeout(PATIENCE, async {
            match self.case {
                Case::Worker(case) => case.play(&mut stage).await,
                Case::Client(case) => case.play(&mut stage).await,
                Case::Server(case) => case.play(&mut stage).await,
                Case::Cluster(case) => case.play(&mut stage).await,
                Case::Network(case) => case.play(&mut stage).await,
                Case::Stream(case) => case.play(&mut stage).await,
                Case::Cancel(case) => case.play(&mut stage).await,
                Case::Checkpoint(case) => case.play(&mut stage).await,
                Case::Progress(case) => case.play(&mut stage).await,
                Case::Operator(case) => case.play(&mut stage).await,
                Case::Disk(case) => case.play(&mut stage).await,
            }
        });
        let played = played.await.unwrap_or_else(|_| Err(anyhow::anyhow!("no end within {PATIENCE:?}")));
        match played {
            Ok(expected) => stage.judge(&expected).await,
            Err(error) => Err(error).with_context(|| stage.keep()),
        }
    }
}

impl Case {
    /// Whether what a frozen worker has sent, or sends when it goes on, is to arrive late, and not to be lost.
    fn is_late(self) -> bool {
        match self {
            Self::Worker(case) => case.freezes(),
            Self::Stream(case) => case.freezes(),
            Self::Cancel(case) => case == cancel::Case::WorkerFrozen,
            Self::Checkpoint(case) => case == checkpoint::Case::WorkerFrozen,
            Self::Progress(case) => case == progress::Case::WorkerFrozen,
            Self::Client(_)
            | Self::Server(_)
            | Self::Cluster(_)
            | Self::Network(_)
            | Self::Operator(_)
            | Self::Disk(_) => false,
        }
    }
}

/// How long a row may take to the point where it only waits for the rest.
const PATIENCE: Duration = Duration::from_secs(240);

impl Expected {
    /// The request runs so often and is answered with the value of this attempt.
    fn value(runs: usize, attempt: u32) -> Self {
        Self { runs: (runs, runs), class: Class::Ok, attempt: (attempt, attempt) }
    }

    /// What is otherwise.
    fn compare(&self, runs: usize, answer: Option<&Answer>) -> Vec<String> {
        let mut broken = Vec::new();
        let is_within = |(least, most): (usize, usize)| (least..=most).contains(&runs);
        if !is_within(self.runs) {
            broken.push(format!("{runs} runs instead of {:?}", self.runs));
        }
        let (least, most) = self.attempt;
        match answer {
            Some(answer) if answer.class == self.class => {
                if answer.attempt.is_some_and(|attempt| !(least..=most).contains(&attempt)) {
                    broken.push(format!("attempt {:?} instead of {:?}", answer.attempt, self.attempt));
                }
            }
            other => broken.push(format!("{other:?} instead of {:?}", self.class)),
        }
        broken
    }
}

/// Holds the promises against a stage.
fn check(case: &checker::Case<'_>) -> Report {
    Report { broken: checker::check(case), counts: checker::counts(case) }
}
