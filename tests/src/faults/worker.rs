//! A worker in trouble, in every step of a request.

use std::fmt;

use requite_test::{Direction, Hold, Trap};
use rustix::process::Signal;

use super::{
    Expected, Stage,
    message::{is_ack, is_record, is_stored_in},
    stage::{Worker, eventually},
};
use crate::{
    entry::{Class, Event, Life, Step as RunStep},
    role::Harm,
};

/// What happens to a worker in which step.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    fault: Fault,
    step: Step,
}

/// What happens to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    /// SIGSTOP until its lease has gone to another worker, then SIGCONT.
    Freeze,
    Terminate,
    Abort,
    Overflow,
    /// Every thread of its runtime is blocked for longer than its lease.
    Block,
}

/// Where its request is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Delivered; the claim is on its way to the server.
    BeforeTheClaim,
    /// Claimed; the worker has not heard so, and has not started the handler.
    BeforeTheHandler,
    InTheHandler,
    /// Stored; the worker has not heard so.
    AfterTheOutcome,
    /// The ack is on its way to the server.
    BeforeTheAck,
}

const FAULTS: [Fault; 6] =
    [Fault::Kill, Fault::Freeze, Fault::Terminate, Fault::Abort, Fault::Overflow, Fault::Block];
const STEPS: [Step; 5] = [
    Step::BeforeTheClaim,
    Step::BeforeTheHandler,
    Step::InTheHandler,
    Step::AfterTheOutcome,
    Step::BeforeTheAck,
];

pub(super) fn cases() -> impl Iterator<Item = Case> {
    FAULTS.into_iter().flat_map(|fault| STEPS.into_iter().map(move |step| Case { fault, step }))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Kill => "worker killed",
            Fault::Freeze => "worker frozen past its lease",
            Fault::Terminate => "worker terminated",
            Fault::Abort => "worker aborts",
            Fault::Overflow => "worker overflows its stack",
            Fault::Block => "worker's runtime blocked",
        };
        let step = match self.step {
            Step::BeforeTheClaim => "before the claim",
            Step::BeforeTheHandler => "before the handler",
            Step::InTheHandler => "in the handler",
            Step::AfterTheOutcome => "after the outcome",
            Step::BeforeTheAck => "before the ack",
        };
        write!(f, "{fault} {step}")
    }
}

impl Case {
    pub(super) fn freezes(self) -> bool {
        self.fault == Fault::Freeze
    }

    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.worker("first").await?;
        self.come_to_the_step(stage).await?;
        self.strike(stage).await?;
        Ok(self.expected())
    }

    /// Brings the request to the step. Where a trap brings it there, the proxy is frozen then.
    async fn come_to_the_step(self, stage: &mut Stage) -> anyhow::Result<()> {
        let (caller, order) = (stage.caller().await?, stage.bread());
        let before_the_start = matches!(self.step, Step::BeforeTheClaim | Step::BeforeTheHandler);
        let stream = stage.kind.stream("OUT");
        let set = |worker: &Worker, step| -> Option<Trap> {
            let (to_server, to_client) = (Direction::ToServer, Direction::ToClient);
            match step {
                Step::BeforeTheClaim => Some(worker.proxy.trap(to_server, Hold::Before, is_record("claim"))),
                Step::BeforeTheHandler | Step::AfterTheOutcome => {
                    Some(worker.proxy.trap(to_client, Hold::Before, is_stored_in(stream)))
                }
                Step::BeforeTheAck => Some(worker.proxy.trap(to_server, Hold::Before, is_ack)),
                Step::InTheHandler => None,
            }
        };
        if before_the_start {
            let trap = set(stage.worker_called("first"), self.step);
            drop(stage.call(&caller, order));
            spring(trap).await;
        } else {
            drop(stage.call(&caller, order));
            stage.reaches("first", "bread", RunStep::Start).await?;
            let trap = set(stage.worker_called("first"), self.step);
            if trap.is_some() {
                stage.ledger.open_gate();
            }
            spring(trap).await;
        }
        Ok(())
    }

    /// Strikes, and lets a second worker take over what it is given.
    async fn strike(self, stage: &mut Stage) -> anyhow::Result<()> {
        let ledger = stage.ledger.clone();
        match self.fault {
            Fault::Kill | Fault::Abort | Fault::Overflow => {
                ledger.worker("first", Life::Killed);
                let Worker { mut process, proxy } = stage.take_worker("first");
                match self.fault {
                    Fault::Abort => process.tell(&Harm::Abort).await?,
                    Fault::Overflow => process.tell(&Harm::Overflow).await?,
                    _ => process.signal(Signal::KILL),
                }
                process.ended().await?;
                // What was held back is lost with it.
                proxy.cut().await;
                stage.worker("second").await?;
                ledger.open_gate();
            }
            Fault::Freeze => {
                ledger.worker("first", Life::Frozen);
                stage.worker_called("first").process.signal(Signal::STOP);
                stage.worker("second").await?;
                ledger.open_gate();
                stage.settled().await?;
                ledger.worker("first", Life::Continued);
                let first = stage.worker_called("first");
                first.process.signal(Signal::CONT);
                // What it sent under its old lease arrives now.
                first.proxy.thaw();
                self.serves_again(stage).await?;
            }
            Fault::Terminate => {
                ledger.worker("first", Life::Draining);
                let Worker { process, proxy } = stage.take_worker("first");
                process.signal(Signal::TERM);
                proxy.thaw();
                stage.worker("second").await?;
                process.ended().await?;
                ledger.worker("first", Life::Killed);
                ledger.open_gate();
            }
            Fault::Block => {
                let longer = stage.kind.lease() * 3 / 2;
                let first = stage.worker_called("first");
                first.process.tell(&Harm::Block(longer)).await?;
                first.proxy.thaw();
                stage.worker("second").await?;
                eventually("its runtime is free again", async || {
                    ledger.entries().iter().any(|it| matches!(it.event, Event::FaultEnds { .. }))
                })
                .await?;
                ledger.open_gate();
            }
        }
        Ok(())
    }

    /// A worker that was frozen takes requests again: it is the only one then.
    async fn serves_again(self, stage: &mut Stage) -> anyhow::Result<()> {
        let second = stage.take_worker("second");
        stage.ledger.worker("second", Life::Draining);
        second.process.signal(Signal::TERM);
        second.process.ended().await?;
        stage.ledger.worker("second", Life::Killed);
        let (caller, order) = (stage.caller().await?, stage.bread());
        // The same key: what it finds is the outcome.
        stage.call(&caller, order).await?;
        Ok(())
    }

    fn expected(self) -> Expected {
        let dies = matches!(self.fault, Fault::Kill | Fault::Abort | Fault::Overflow | Fault::Freeze);
        match (self.fault, self.step) {
            (_, Step::AfterTheOutcome | Step::BeforeTheAck) | (Fault::Block, _) => Expected::value(1, 1),
            (_, Step::InTheHandler) => Expected::value(2, 2),
            (_, Step::BeforeTheClaim | Step::BeforeTheHandler) if dies => Expected::value(1, 2),
            // It may have started the handler before it was told to stop.
            _ => Expected { runs: (1, 2), class: Class::Ok, attempt: (1, 2) },
        }
    }
}

async fn spring(trap: Option<Trap>) {
    if let Some(trap) = trap {
        trap.sprung().await;
    }
}
