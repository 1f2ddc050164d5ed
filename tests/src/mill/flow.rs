//! What the handlers with a stream do, the same in both services.

use std::future::pending;

use requite::{Items, Sink, SinkError, prelude::*};

use super::{Flour, Job, MillError, Work};
use crate::{
    entry::{Close, End, Step},
    ledger::{Ledger, Running},
    stream::{Flowing, Pour, Pouring, Sack},
};

/// A handler's stream to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Down {
    Resumes,
    Anew,
    Loose,
}

impl Down {
    fn method(self) -> &'static str {
        match self {
            Self::Resumes => "resume",
            Self::Anew => "anew",
            Self::Loose => "loose",
        }
    }
}

/// Why a handler has no value.
enum Short {
    /// Worth another try.
    Retry,
    /// Its caller reads no more, has given up, or is not heard of.
    Alone,
}

fn poured(job: &Job) -> Pour {
    match job.work {
        Work::Pour(pour) => pour,
        other => panic!("{other:?} has no stream"),
    }
}

/// Sends a stream.
pub(super) async fn pour(
    ledger: &Ledger,
    worker: &str,
    down: Down,
    cx: &Context,
    job: Job,
    sacks: Sink<Sack>,
) -> Result<Flour, MillError> {
    let running = Running::begin(ledger, worker, down.method(), cx, &job);
    let sent = sends(ledger, worker, down, cx, &job, sacks).await;
    ends(running, worker, cx, sent.map(|sent| (sent, 0)))
}

/// Takes a stream, to its end.
pub(super) async fn fill(
    ledger: &Ledger,
    worker: &str,
    cx: &Context,
    job: Job,
    sacks: Items<Sack>,
) -> Result<Flour, MillError> {
    let running = Running::begin(ledger, worker, "fill", cx, &job);
    let taken = takes(ledger, cx, &job, sacks).await;
    ends(running, worker, cx, taken.map(|taken| (0, taken)))
}

/// Sends one and takes the other, each as fast as it goes.
pub(super) async fn trade(
    ledger: &Ledger,
    worker: &str,
    cx: &Context,
    job: Job,
    grain: Items<Sack>,
    flour: Sink<Sack>,
) -> Result<Flour, MillError> {
    let running = Running::begin(ledger, worker, "trade", cx, &job);
    let sent = sends(ledger, worker, Down::Resumes, cx, &job, flour);
    let both = tokio::try_join!(sent, takes(ledger, cx, &job, grain));
    ends(running, worker, cx, both)
}

/// Sends to the end, or to the middle if this attempt is to fail; says how many items there were.
async fn sends(
    ledger: &Ledger,
    worker: &str,
    down: Down,
    cx: &Context,
    job: &Job,
    mut sacks: Sink<Sack>,
) -> Result<u64, Short> {
    let (pour, attempt) = (poured(job), cx.attempt());
    let mut flow = Flowing::begin(ledger, cx.caller(), cx.id(), End::Fills(attempt));
    let up_to_middle = attempt <= pour.fails;
    let pouring = Pouring { pour, attempt, who: worker, job: &job.name, up_to_middle };
    let sent = async {
        let stored = if down == Down::Resumes { cx.items_stored().await? } else { 0 };
        flow.send(&mut sacks, stored, &pouring).await
    };
    match sent.await {
        Ok(()) if up_to_middle => Err(Short::Retry),
        Ok(()) => {
            flow.close(Close::All);
            Ok(flow.last())
        }
        Err(SinkError::Left | SinkError::Silent { .. }) => Err(Short::Alone),
        // It is about to be dropped.
        Err(SinkError::Stopped | SinkError::Replaced | SinkError::Closed) => pending().await,
        Err(_) => Err(Short::Retry),
    }
}

/// Takes to the end, or to the middle if this attempt is to fail; says how many items there were.
async fn takes(ledger: &Ledger, cx: &Context, job: &Job, mut sacks: Items<Sack>) -> Result<u64, Short> {
    let (pour, attempt) = (poured(job), cx.attempt());
    let mut flow = Flowing::begin(ledger, cx.caller(), cx.id(), End::Takes(attempt));
    let until = if attempt <= pour.fails { pour.middle() } else { u64::MAX };
    let fails = flow.read(&mut sacks, until, pour.gate).await;
    match flow.closed() {
        Close::All => Ok(flow.last()),
        _ if fails => Err(Short::Retry),
        // It is about to be dropped.
        Close::Closed => pending().await,
        _ => Err(Short::Alone),
    }
}

/// Writes the end down; the value says how many items were sent, and how many taken.
fn ends(
    running: Running,
    worker: &str,
    cx: &Context,
    came: Result<(u64, u64), Short>,
) -> Result<Flour, MillError> {
    running.end(if matches!(came, Err(Short::Retry)) { Step::Retry } else { Step::End });
    match came {
        Ok((sent, taken)) => {
            let (worker, attempt) = (worker.to_owned(), cx.attempt());
            Ok(Flour { worker, attempt, bytes: String::new(), sent, taken })
        }
        Err(Short::Retry) => Err(MillError::NoWind),
        Err(Short::Alone) => Err(MillError::NoGrain),
    }
}
