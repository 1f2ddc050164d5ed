//! A single server that is killed, restarted, stopped and frozen, under many leases and in every step of a request.

use std::{
    fmt,
    time::{Duration, Instant},
};

use requite_test::{Direction, Hold, Proxy, Trap};

use super::{
    Expected, Stage,
    message::{is_ack, is_record, is_request, is_stored_in},
};
use crate::{
    caller::Caller,
    entry::{Class, Step as RunStep},
};

/// One more than have to be: what is handed out again needs a free slot.
const WORKERS: [&str; 3] = ["first", "second", "third"];
/// Long enough to miss a heartbeat, not to lose a lease.
const MOMENT: Duration = Duration::from_millis(1_500);
/// How much later than the others a worker comes back.
const LATER: Duration = Duration::from_secs(1);

/// What happens to the server, and when.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// While so many handlers run.
    Running(Fault, usize),
    /// It is killed, and comes back.
    Killed(Step),
}

/// What happens to the server while handlers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and it comes back.
    Kill,
    /// The same, while it hands out: what it did in its last 100 ms it forgets, and hands out again.
    KillAmidst,
    /// SIGTERM, and it comes back.
    Restart,
    /// SIGTERM, and it comes back when every lease is lost.
    StayAway,
    /// SIGSTOP for a moment.
    Pause,
    /// SIGSTOP until every lease is lost.
    Freeze,
}

/// Where the request is when the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    RequestUnderWay,
    /// Its caller has not heard so.
    RequestStored,
    ClaimUnderWay,
    /// Its worker has not heard so.
    ClaimStored,
    OutcomeUnderWay,
    /// Its worker has not heard so.
    OutcomeStored,
    AckUnderWay,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let running = [
        (Fault::Kill, 400),
        (Fault::KillAmidst, 100),
        (Fault::Restart, 400),
        (Fault::StayAway, 40),
        (Fault::Pause, 400),
        (Fault::Freeze, 40),
    ];
    let steps = [
        Step::RequestUnderWay,
        Step::RequestStored,
        Step::ClaimUnderWay,
        Step::ClaimStored,
        Step::OutcomeUnderWay,
        Step::OutcomeStored,
        Step::AckUnderWay,
    ];
    let running = running.into_iter().map(|(fault, count)| Case::Running(fault, count));
    running.chain(steps.into_iter().map(Case::Killed))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self {
            Self::Running(fault, count) => {
                let fault = match fault {
                    Fault::Kill => "killed",
                    Fault::KillAmidst => return write!(f, "server killed as it hands out {count} requests"),
                    Fault::Restart => "restarted",
                    Fault::StayAway => "stopped for longer than a lease",
                    Fault::Pause => "frozen for a moment",
                    Fault::Freeze => "frozen for longer than a lease",
                };
                return write!(f, "server {fault} under {count} leases");
            }
            Self::Killed(step) => step,
        };
        let step = match step {
            Step::RequestUnderWay => "before it stores the request",
            Step::RequestStored => "before it says that the request is stored",
            Step::ClaimUnderWay => "before it stores the claim",
            Step::ClaimStored => "before it says that the claim is stored",
            Step::OutcomeUnderWay => "before it stores the outcome",
            Step::OutcomeStored => "before it says that the outcome is stored",
            Step::AckUnderWay => "before it gets the ack",
        };
        write!(f, "server killed {step}")
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        match self {
            Self::Running(fault, count) => strike(stage, fault, count).await,
            Self::Killed(step) => step.play(stage).await,
        }
    }
}

async fn strike(stage: &mut Stage, fault: Fault, count: usize) -> anyhow::Result<Expected> {
    for name in WORKERS {
        stage.worker(name).await?;
    }
    let caller = stage.caller().await?;
    if fault == Fault::KillAmidst {
        stage.crowd(&caller, 1).await?;
        let loaves = stage.loaves(count);
        drop(stage.burst(&caller, loaves).await);
    } else {
        stage.crowd(&caller, count).await?;
    }
    let loses = matches!(fault, Fault::StayAway | Fault::Freeze);
    let name = Case::Running(fault, count).to_string();
    let began = Instant::now();
    stage.breaks(&name, if loses { &WORKERS } else { &[] });
    match fault {
        Fault::Kill => stage.server().kill9().await,
        Fault::KillAmidst => {
            stage.server().kill9().await;
            stage.worker_called(WORKERS[0]).proxy.cut().await;
        }
        Fault::Restart | Fault::StayAway => stage.server().terminate().await?,
        Fault::Pause | Fault::Freeze => stage.server().pause()?,
    }
    if loses {
        stage.comes_to(RunStep::Drop, count).await?;
    }
    if fault == Fault::Pause {
        tokio::time::sleep(MOMENT).await;
    }
    match fault {
        Fault::Pause | Fault::Freeze => stage.server().resume()?,
        _ => stage.server().restart().await?,
    }
    if fault == Fault::KillAmidst {
        // The others are given what it runs before it can claim that.
        tokio::time::sleep(LATER).await;
        stage.worker_called(WORKERS[0]).proxy.heal().await?;
    }
    if loses {
        stage.mended(&name);
        stage.comes_to(RunStep::Start, 2 * count).await?;
        stage.ledger.open_gate();
        return Ok(Expected::value(2, 2));
    }
    let most = stage.mended_in_time(&name, began, &WORKERS);
    stage.lasts(most).await
}

impl Step {
    async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.worker("first").await?;
        let way = stage.proxy().await?;
        let caller = stage.caller_at(&way.url()).await?;
        let trap = self.come_there(stage, &way, &caller).await?;
        trap.sprung().await;

        let (name, began) = (Case::Killed(self).to_string(), Instant::now());
        stage.breaks(&name, &[]);
        stage.server().kill9().await;
        // What was held back is lost with its connection.
        let trapped = if self.is_at_the_caller() { &way } else { &stage.worker_called("first").proxy };
        trapped.cut().await;
        trapped.thaw();
        trapped.heal().await?;
        stage.server().restart().await?;
        let most = stage.mended_in_time(&name, began, &["first"]);
        stage.ledger.open_gate();
        stage.ways.push(way);
        let runs = if self == Self::OutcomeUnderWay { (1, most) } else { (1, 1) };
        // A claim whose handler was never started counts as well.
        Ok(Expected { runs, class: Class::Ok, attempt: (1, u32::try_from(most)?) })
    }

    fn is_at_the_caller(self) -> bool {
        matches!(self, Self::RequestUnderWay | Self::RequestStored)
    }

    /// Makes the call, and sets the trap at the step.
    async fn come_there(self, stage: &mut Stage, way: &Proxy, caller: &Caller) -> anyhow::Result<Trap> {
        let order = stage.bread();
        let (requests, records) = (stage.kind.stream("REQ"), stage.kind.stream("OUT"));
        let (to_server, to_client, before) = (Direction::ToServer, Direction::ToClient, Hold::Before);
        let after_the_start = matches!(self, Self::OutcomeUnderWay | Self::OutcomeStored | Self::AckUnderWay);
        if after_the_start {
            drop(stage.call(caller, order.clone()));
            stage.reaches("first", "bread", RunStep::Start).await?;
        }
        let proxy = &stage.worker_called("first").proxy;
        let trap = match self {
            Self::RequestUnderWay => way.trap(to_server, before, is_request),
            Self::RequestStored => way.trap(to_client, before, is_stored_in(requests)),
            Self::ClaimUnderWay => proxy.trap(to_server, before, is_record("claim")),
            Self::OutcomeUnderWay => proxy.trap(to_server, before, is_record("outcome")),
            Self::ClaimStored | Self::OutcomeStored => proxy.trap(to_client, before, is_stored_in(records)),
            Self::AckUnderWay => proxy.trap(to_server, before, is_ack),
        };
        if after_the_start {
            stage.ledger.open_gate();
        } else {
            drop(stage.call(caller, order));
        }
        Ok(trap)
    }
}
