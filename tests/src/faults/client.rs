//! A caller that is killed, in every step of its call; another process then calls again, or attaches.

use std::{fmt, time::Duration};

use requite_test::{Direction, Hold};
use rustix::process::Signal;

use super::{
    Expected, Stage,
    message::{is_pushed, is_request, is_stored_in},
};
use crate::{
    caller::What,
    entry::{Class, Event, Step as RunStep},
};

/// How long somebody waits for the answer to a call that was never made.
const IN_VAIN: Duration = Duration::from_secs(3);

/// When a caller is killed, and what the next one does.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    step: Step,
    then: Then,
}

/// Where its request is when the caller is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    BeforeThePublish,
    /// Stored; the caller has not heard so.
    AfterThePublish,
    /// Accepted, and no worker is there.
    AfterThePubAck,
    WhileItRuns,
    /// Stored; the caller has not heard so.
    AfterTheOutcome,
}

/// What another process of the same name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    CallsAgain,
    Attaches,
}

const STEPS: [Step; 5] = [
    Step::BeforeThePublish,
    Step::AfterThePublish,
    Step::AfterThePubAck,
    Step::WhileItRuns,
    Step::AfterTheOutcome,
];

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let thens = [Then::CallsAgain, Then::Attaches];
    STEPS.into_iter().flat_map(move |step| thens.into_iter().map(move |then| Case { step, then }))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::BeforeThePublish => "before the publish",
            Step::AfterThePublish => "after the publish",
            Step::AfterThePubAck => "after the PubAck",
            Step::WhileItRuns => "while it runs",
            Step::AfterTheOutcome => "after the outcome",
        };
        let then = match self.then {
            Then::CallsAgain => "another calls again",
            Then::Attaches => "another attaches",
        };
        write!(f, "caller killed {step}, {then}")
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.worker("first").await?;
        if self.is_before_the_start() {
            // Nobody is there to run it: only the streams that it made.
            let first = stage.take_worker("first");
            first.process.kill().await?;
        }
        self.kill_in_the_step(stage).await?;

        let caller = stage.caller().await?;
        let mut order = stage.bread();
        if self.then == Then::Attaches {
            order.what = What::AttachKey("bread".to_owned());
            if self.step == Step::BeforeThePublish {
                order.deadline = IN_VAIN;
            }
        }
        let answer = stage.call(&caller, order);
        if self.is_before_the_start() {
            stage.worker("second").await?;
        }
        stage.ledger.open_gate();
        answer.await?;
        Ok(self.expected())
    }

    fn is_before_the_start(self) -> bool {
        matches!(self.step, Step::BeforeThePublish | Step::AfterThePublish | Step::AfterThePubAck)
    }

    async fn kill_in_the_step(self, stage: &mut Stage) -> anyhow::Result<()> {
        let proxy = stage.proxy().await?;
        let mut process = stage.place(&proxy.url()).start_caller()?;
        let (to_server, to_client) = (Direction::ToServer, Direction::ToClient);
        let trap = match self.step {
            Step::BeforeThePublish => Some(proxy.trap(to_server, Hold::Before, is_request)),
            Step::AfterThePublish => {
                Some(proxy.trap(to_client, Hold::Before, is_stored_in(stage.kind.stream("REQ"))))
            }
            Step::AfterTheOutcome => Some(proxy.trap(to_client, Hold::Before, is_pushed("outcome"))),
            Step::AfterThePubAck | Step::WhileItRuns => None,
        };
        let order = stage.bread();
        process.tell(&order).await?;
        match self.step {
            Step::BeforeThePublish | Step::AfterThePublish => {}
            Step::AfterThePubAck => stage.accepted(&order.call).await?,
            Step::WhileItRuns => stage.reaches("first", "bread", RunStep::Start).await?,
            Step::AfterTheOutcome => stage.ledger.open_gate(),
        }
        if let Some(trap) = trap {
            trap.sprung().await;
        }
        stage.ledger.write(Event::CallerKilled { pid: process.pid() });
        process.signal(Signal::KILL);
        process.ended().await?;
        // What was held back is lost with it.
        proxy.cut().await;
        Ok(())
    }

    fn expected(self) -> Expected {
        match (self.step, self.then) {
            (Step::BeforeThePublish, Then::Attaches) => {
                Expected { runs: (0, 0), class: Class::Unknown, attempt: (0, 0) }
            }
            _ => Expected::value(1, 1),
        }
    }
}
