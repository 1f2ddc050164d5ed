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
    mut sacks: Sink<Sack>,
) -> Result<Flour, MillError> {
    let running = Running::begin(ledger, worker, down.method(), cx, &job);
    let (pour, attempt) = (poured(&job), cx.attempt());
    let mut flow = Flowing::begin(ledger, cx.caller(), cx.id(), End::Fills(attempt));
    let up_to_middle = attempt <= pour.fails;
    let pouring = Pouring { pour, attempt, who: worker, job: &job.name, up_to_middle };
    let sent = async {
        let stored = if down == Down::Resumes { cx.items_stored().await? } else { 0 };
        flow.send(&mut sacks, stored, &pouring).await
    };
    match sent.await {
        Ok(()) if up_to_middle => {
            running.end(Step::Retry);
            Err(MillError::NoWind)
        }
        Ok(()) => {
            flow.close(Close::All);
            running.end(Step::End);
            let (worker, items) = (worker.to_owned(), flow.last());
            Ok(Flour { worker, attempt, bytes: String::new(), items })
        }
        // Nobody wants more, or is heard of.
        Err(SinkError::Left | SinkError::Silent { .. }) => {
            running.end(Step::End);
            Err(MillError::NoGrain)
        }
        // It is about to be dropped.
        Err(SinkError::Stopped | SinkError::Replaced | SinkError::Closed) => pending().await,
        Err(_) => {
            running.end(Step::Retry);
            Err(MillError::NoWind)
        }
    }
}

/// Takes a stream, to its end.
pub(super) async fn fill(
    ledger: &Ledger,
    worker: &str,
    cx: &Context,
    job: Job,
    mut sacks: Items<Sack>,
) -> Result<Flour, MillError> {
    let running = Running::begin(ledger, worker, "fill", cx, &job);
    let (pour, attempt) = (poured(&job), cx.attempt());
    let mut flow = Flowing::begin(ledger, cx.caller(), cx.id(), End::Takes(attempt));
    let until = if attempt <= pour.fails { pour.middle() } else { u64::MAX };
    let fails = flow.read(&mut sacks, until, pour.gate).await;
    match flow.closed() {
        Close::All => {
            running.end(Step::End);
            let (worker, items) = (worker.to_owned(), flow.last());
            Ok(Flour { worker, attempt, bytes: String::new(), items })
        }
        _ if fails => {
            running.end(Step::Retry);
            Err(MillError::NoWind)
        }
        // It is about to be dropped.
        Close::Closed => pending().await,
        // Its caller has given up, or is not heard of.
        _ => {
            running.end(Step::End);
            Err(MillError::NoGrain)
        }
    }
}
