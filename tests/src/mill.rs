//! The services that the worker's tests run, in the test's process and in worker processes: a handler does what its
//! job says and writes every start and end into the ledger, a file that knows nothing of NATS.

use std::{future::pending, time::Duration};

use requite::{Items, Sink, prelude::*};

use crate::{
    entry::Step,
    ledger::{Ledger, Running},
    stream::{Pour, Sack},
};

mod flow;
mod steps;

use flow::{Down, fill, pour, trade};
pub use steps::Steps;

/// A request: what the handler is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The name under which the ledger knows it.
    pub name: String,
    /// What to do.
    pub work: Work,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Awaits for so many milliseconds.
    Wait(u64),
    /// Blocks its thread for so many milliseconds.
    Block(u64),
    /// Awaits until the test opens the gate.
    Gate,
    /// Blocks its thread until the test opens the gate.
    BlockAtGate,
    /// Awaits for ever.
    Hang,
    /// Panics.
    Panic,
    /// Answers with so many bytes.
    Bytes(usize),
    /// Fails so that it may be tried again, in every attempt up to this one.
    FailUpTo(u32),
    /// Fails for good.
    Refuse,
    /// Stores its worker's name as a checkpoint and awaits until the test opens the gate; answers with the one it found.
    Checkpoint,
    /// Does steps with a checkpoint behind each, and goes on behind the last one.
    Steps(Steps),
    /// Says how far it is, again and again, until the test opens the gate.
    Report,
    /// Awaits for so many milliseconds, or until it is cancelled, which it says with an error.
    Heed(u64),
    /// Sends a stream, or takes one: only for the methods that have one.
    Pour(Pour),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flour {
    /// The worker whose answer it is.
    pub worker: String,
    /// Its attempt.
    pub attempt: u32,
    /// As many bytes as the job asked for.
    pub bytes: String,
    /// How many items this attempt's stream to its caller had, with those that it went on behind.
    pub sent: u64,
    /// How many items it took from its caller.
    pub taken: u64,
}

/// Why there is no flour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, CallError)]
pub enum MillError {
    /// Worth another try.
    #[error("no wind")]
    #[retry(after = "1s")]
    NoWind,
    /// Not worth another try.
    #[error("no grain")]
    NoGrain,
}

/// A service with one method for every kind of option.
pub struct Mill {
    /// The name under which the ledger knows this worker.
    pub worker: String,
    /// Where the runs are written down.
    pub ledger: Ledger,
}

#[service(name = "mill")]
impl Mill {
    /// The shortest lease, many at once.
    #[handler(lease = "6s", concurrency = 200, attempts = 3, kill_after = "1s")]
    async fn grind(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "grind", cx, job).await
    }

    /// Never started twice.
    #[handler(lease = "6s", once)]
    async fn once(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "once", cx, job).await
    }

    /// With a fencing token.
    #[handler(lease = "6s", fenced, attempts = 5)]
    async fn fenced(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "fenced", cx, job).await
    }

    /// Ended after two seconds.
    #[handler(lease = "6s", max_run = "2s")]
    async fn capped(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "capped", cx, job).await
    }

    /// The default lease.
    #[handler]
    async fn patient(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "patient", cx, job).await
    }

    /// One at a time, and its answers are kept for a minute only.
    #[handler(lease = "6s", concurrency = 1, retention = "60s")]
    async fn narrow(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "narrow", cx, job).await
    }

    /// A stream that goes on where the attempt before was.
    #[handler(lease = "6s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn resume(&self, cx: &Context, job: Job, sacks: Sink<Sack>) -> Result<Flour, MillError> {
        pour(&self.ledger, &self.worker, Down::Resumes, cx, job, sacks).await
    }

    /// A stream that begins anew in every attempt.
    #[handler(lease = "6s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn anew(&self, cx: &Context, job: Job, sacks: Sink<Sack>) -> Result<Flour, MillError> {
        pour(&self.ledger, &self.worker, Down::Anew, cx, job, sacks).await
    }

    /// The same, not stored.
    #[handler(lease = "6s", concurrency = 64, idle = "10s", kill_after = "1s", volatile)]
    async fn loose(&self, cx: &Context, job: Job, sacks: Sink<Sack>) -> Result<Flour, MillError> {
        pour(&self.ledger, &self.worker, Down::Loose, cx, job, sacks).await
    }

    /// Takes all that its caller sends.
    #[handler(lease = "6s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn fill(&self, cx: &Context, job: Job, sacks: Items<Sack>) -> Result<Flour, MillError> {
        fill(&self.ledger, &self.worker, cx, job, sacks).await
    }

    /// Both: takes all that its caller sends, and meanwhile sends a stream that goes on where the attempt before was.
    #[handler(lease = "6s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn trade(
        &self,
        cx: &Context,
        job: Job,
        grain: Items<Sack>,
        flour: Sink<Sack>,
    ) -> Result<Flour, MillError> {
        trade(&self.ledger, &self.worker, cx, job, grain, flour).await
    }
}

/// A service with the shortest lease that replicated streams allow.
pub struct Silo {
    /// The name under which the ledger knows this worker.
    pub worker: String,
    /// Where the runs are written down.
    pub ledger: Ledger,
}

#[service(name = "silo")]
impl Silo {
    /// Keeps what it is given.
    #[handler(lease = "20s", concurrency = 32, kill_after = "1s")]
    async fn store(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "store", cx, job).await
    }

    /// Never started twice.
    #[handler(lease = "20s", once)]
    async fn once(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "once", cx, job).await
    }

    /// With a fencing token.
    #[handler(lease = "20s", fenced, attempts = 5)]
    async fn fenced(&self, cx: &Context, job: Job) -> Result<Flour, MillError> {
        work(&self.ledger, &self.worker, "fenced", cx, job).await
    }

    /// A stream that goes on where the attempt before was.
    #[handler(lease = "20s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn resume(&self, cx: &Context, job: Job, sacks: Sink<Sack>) -> Result<Flour, MillError> {
        pour(&self.ledger, &self.worker, Down::Resumes, cx, job, sacks).await
    }

    /// A stream that begins anew in every attempt.
    #[handler(lease = "20s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn anew(&self, cx: &Context, job: Job, sacks: Sink<Sack>) -> Result<Flour, MillError> {
        pour(&self.ledger, &self.worker, Down::Anew, cx, job, sacks).await
    }

    /// The same, not stored.
    #[handler(lease = "20s", concurrency = 64, idle = "10s", kill_after = "1s", volatile)]
    async fn loose(&self, cx: &Context, job: Job, sacks: Sink<Sack>) -> Result<Flour, MillError> {
        pour(&self.ledger, &self.worker, Down::Loose, cx, job, sacks).await
    }

    /// Takes all that its caller sends.
    #[handler(lease = "20s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn fill(&self, cx: &Context, job: Job, sacks: Items<Sack>) -> Result<Flour, MillError> {
        fill(&self.ledger, &self.worker, cx, job, sacks).await
    }

    /// Both: takes all that its caller sends, and meanwhile sends a stream that goes on where the attempt before was.
    #[handler(lease = "20s", concurrency = 64, idle = "10s", kill_after = "1s")]
    async fn trade(
        &self,
        cx: &Context,
        job: Job,
        grain: Items<Sack>,
        flour: Sink<Sack>,
    ) -> Result<Flour, MillError> {
        trade(&self.ledger, &self.worker, cx, job, grain, flour).await
    }
}

async fn work(
    ledger: &Ledger,
    worker: &str,
    method: &str,
    cx: &Context,
    job: Job,
) -> Result<Flour, MillError> {
    let running = Running::begin(ledger, worker, method, cx, &job);
    let mut bytes = String::new();
    match job.work {
        Work::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        Work::Block(millis) => std::thread::sleep(Duration::from_millis(millis)),
        Work::Gate => ledger.gate().await,
        Work::BlockAtGate => ledger.block_at_gate(),
        Work::Hang => pending().await,
        Work::Panic => panic!("the millstone broke"),
        Work::Bytes(count) => bytes = "x".repeat(count),
        Work::FailUpTo(last) if cx.attempt() <= last => {
            running.end(Step::Retry);
            return Err(MillError::NoWind);
        }
        Work::FailUpTo(_) => {}
        Work::Checkpoint => {
            bytes = cx.last_checkpoint().expect("a name").unwrap_or_default();
            cx.checkpoint(worker).await.expect("there is room");
            ledger.gate().await;
        }
        Work::Steps(steps) => {
            if let Err(error) = steps.go(ledger, cx).await {
                running.end(Step::Retry);
                return Err(error);
            }
        }
        Work::Report => steps::report(ledger, cx).await,
        Work::Heed(millis) => tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(millis)) => {}
            () = cx.cancelled() => {
                running.end(Step::End);
                return Err(MillError::NoGrain);
            }
        },
        Work::Pour(_) => panic!("{method} has no stream"),
        Work::Refuse => {
            running.end(Step::End);
            return Err(MillError::NoGrain);
        }
    }
    running.end(Step::End);
    Ok(Flour { worker: worker.to_owned(), attempt: cx.attempt(), bytes, sent: 0, taken: 0 })
}
