//! What the handlers without a stream do step by step: with a checkpoint behind each, or saying how far they are.

use std::time::Duration;

use requite::{CheckpointError, Progress, prelude::*};

use super::MillError;
use crate::{
    entry::{Checkpoint, Event, Report},
    ledger::Ledger,
};

/// Between two reports.
const REPORT: Duration = Duration::from_millis(200);

/// Steps with a checkpoint behind each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Steps {
    /// How many.
    pub count: u32,
    /// How many milliseconds each takes.
    pub millis: u64,
    /// Every attempt up to this one fails half-way.
    pub fails: u32,
    /// Behind the middle each one waits until the test opens the gate.
    pub gate: bool,
}

impl Steps {
    /// Waits for the gate behind the middle.
    pub fn to_the_gate(count: u32) -> Self {
        Self { count, millis: 0, fails: 0, gate: true }
    }

    /// How many are behind a handler in the middle.
    pub fn middle(&self) -> u32 {
        self.count / 2
    }

    pub(super) async fn go(self, ledger: &Ledger, cx: &Context) -> Result<(), MillError> {
        let fails = cx.attempt() <= self.fails;
        let up_to = if fails { self.middle() } else { self.count };
        match self.go_up_to(up_to, ledger, cx).await {
            Ok(()) if !fails => Ok(()),
            _ => Err(MillError::NoWind),
        }
    }

    /// Writes down what it begins with, and every checkpoint that is stored.
    async fn go_up_to(self, up_to: u32, ledger: &Ledger, cx: &Context) -> Result<(), CheckpointError> {
        let found = cx.last_checkpoint::<u32>()?.unwrap_or_default();
        let write = |steps, found| {
            let (caller, id) = (cx.caller().to_owned(), cx.id().to_owned());
            ledger.write(Event::Checkpoint(Checkpoint { caller, id, attempt: cx.attempt(), steps, found }));
        };
        write(found, true);
        for step in found + 1..=up_to {
            if self.gate && step > self.middle() {
                ledger.gate().await;
            }
            tokio::time::sleep(Duration::from_millis(self.millis)).await;
            cx.checkpoint(&step).await?;
            write(step, false);
        }
        Ok(())
    }
}

/// Writes every report down before it is made.
pub(super) async fn report(ledger: &Ledger, cx: &Context) {
    let attempt = cx.attempt();
    for number in 1_u64.. {
        let (caller, id) = (cx.caller().to_owned(), cx.id().to_owned());
        ledger.write(Event::Reported(Report { caller, id, attempt, number }));
        cx.progress(Progress::value(&(attempt, number)));
        if ledger.is_open() {
            return;
        }
        tokio::time::sleep(REPORT).await;
    }
}
