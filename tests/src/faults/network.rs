//! The way between a process and its servers: cut for a minute, flapping, half open, slow. Of three servers it is the way
//! to those that the process is connected to, and there is another one.

use std::{fmt, time::Duration};

use requite_test::{NatsServer, Proxy};

use super::{Expected, Servers, Stage, stage::Running};
use crate::entry::{Class, Step as RunStep};

/// How long a cut lasts.
const MINUTE: Duration = Duration::from_secs(60);
/// How often a way flaps, and for how long it is away and there.
const FLAPS: usize = 12;
const AWAY: Duration = Duration::from_millis(300);
const THERE: Duration = Duration::from_millis(1_200);
/// What a slow way adds to each piece, there and back.
const DELAY: Duration = Duration::from_millis(200);
/// How many calls are made meanwhile.
const CALLS: usize = 20;

/// What happens to the way of whom.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    of: Of,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Worker,
    Caller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Connections are closed, and no new one is made.
    Cut,
    /// Cut and healed in turns.
    Flapping,
    /// Connections stay, and nothing arrives.
    HalfOpen,
    Slow,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let faults = [Fault::Cut, Fault::Flapping, Fault::HalfOpen, Fault::Slow];
    let of = [Of::Worker, Of::Caller];
    of.into_iter().flat_map(move |of| faults.into_iter().map(move |fault| Case { of, fault }))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Worker => "worker's",
            Of::Caller => "caller's",
        };
        let fault = match self.fault {
            Fault::Cut => "cut for a minute",
            Fault::Flapping => "flapping",
            Fault::HalfOpen => "half open",
            Fault::Slow => "slow",
        };
        write!(f, "{of} connection {fault}")
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.ways = ways(stage).await?;
        match self.of {
            Of::Worker => self.strike_a_worker(stage).await,
            Of::Caller => self.strike_a_caller(stage).await,
        }
    }

    async fn strike_a_worker(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        let caller = stage.caller_at(&urls).await?;
        stage.join("first", &through(&stage.ways)).await?;
        let order = stage.bread();
        let answer = stage.call(&caller, order);
        stage.reaches("first", "bread", RunStep::Start).await?;
        stage.join("second", &urls).await?;

        let name = self.to_string();
        let costs: &[&str] = if self.may_cost(stage.kind) { &["first"] } else { &[] };
        stage.breaks(&name, costs);
        let struck = self.begin(&stage.ways).await?;
        if self.costs(stage.kind) {
            stage.reaches("second", "bread", RunStep::Start).await?;
            stage.did_not_overlap("first", "second")?;
        }
        match self.fault {
            Fault::Cut => tokio::time::sleep(MINUTE).await,
            Fault::HalfOpen | Fault::Slow => stage.outlast_a_lease().await,
            Fault::Flapping => {}
        }
        if self.fault == Fault::Slow {
            // It serves all the same.
            stage.serves_again(&caller, "first").await?;
        }
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        stage.outlast_a_lease().await;
        stage.ledger.open_gate();
        answer.await?;
        stage.leave("second").await?;
        stage.serves_again(&caller, "first").await?;
        Ok(match (self.costs(stage.kind), self.may_cost(stage.kind)) {
            (true, _) => Expected::value(2, 2),
            (false, true) => Expected { runs: (1, 2), attempt: (1, 2), ..Expected::value(1, 1) },
            (false, false) => Expected::value(1, 1),
        })
    }

    /// Whether it takes the lease away: where there is no other way.
    fn costs(self, servers: Servers) -> bool {
        servers == Servers::One && self.may_cost(servers)
    }

    /// A half-open connection is noticed by pings that are not answered; with luck before the lease is lost.
    fn may_cost(self, servers: Servers) -> bool {
        self.fault == Fault::HalfOpen || (self.fault == Fault::Cut && servers == Servers::One)
    }

    async fn strike_a_caller(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.join("first", &urls).await?;
        let caller = stage.caller_at(&through(&stage.ways)).await?;
        let order = stage.bread();
        let bread = order.call.clone();
        let answer = stage.call(&caller, order);
        stage.reaches("first", "bread", RunStep::Start).await?;

        let name = self.to_string();
        stage.breaks(&name, &[]);
        let goes_on = self.fault == Fault::Slow || stage.kind == Servers::Three;
        // What is under way is lost there; where that is not noticed at once, some calls are given up.
        let comes_back = self.fault == Fault::Flapping || (goes_on && self.fault != Fault::HalfOpen);
        let crumbs = stage.crumbs(if comes_back { CALLS } else { 0 });
        let calls = stage.calls(&caller, crumbs);
        let struck = self.begin(&stage.ways).await?;
        stage.ledger.open_gate();
        // Its outcome is stored where the caller does not hear of it.
        stage.reaches("first", "bread", RunStep::End).await?;
        if goes_on {
            // It comes before anything is mended, and by the way on which it comes the next ones go.
            stage.answered(&bread).await?;
            let crumbs = stage.crumbs(CALLS);
            for call in stage.calls(&caller, crumbs) {
                let answer = call.await?;
                anyhow::ensure!(answer.class == Class::Ok, "{answer:?}");
            }
        } else if self.fault != Fault::Flapping {
            stage.in_vain(&caller, &[Class::Unavailable, Class::Unknown]).await?;
        }
        if self.fault == Fault::Cut {
            tokio::time::sleep(MINUTE).await;
        }
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        for call in calls {
            let answer = call.await?;
            anyhow::ensure!(answer.class == Class::Ok, "{answer:?}");
        }
        answer.await?;
        Ok(Expected::value(1, 1))
    }

    /// Strikes the ways that are in use, and says which.
    async fn begin(self, ways: &[Proxy]) -> anyhow::Result<Vec<usize>> {
        let struck = in_use(ways)?;
        for way in struck.iter().map(|at| &ways[*at]) {
            match self.fault {
                Fault::Cut => way.cut().await,
                Fault::HalfOpen => way.freeze(),
                Fault::Slow => way.slow(DELAY),
                Fault::Flapping => {}
            }
        }
        if self.fault == Fault::Flapping {
            for _ in 0..FLAPS {
                for way in ways {
                    way.cut().await;
                }
                tokio::time::sleep(AWAY).await;
                for way in ways {
                    way.heal().await?;
                }
                tokio::time::sleep(THERE).await;
            }
        }
        Ok(struck)
    }
}

/// A proxy before every server.
pub(super) async fn ways(stage: &Stage) -> anyhow::Result<Vec<Proxy>> {
    let ports = match &stage.servers {
        Running::One(server) => vec![server.port()],
        Running::Three(cluster) => cluster.nodes().iter().map(NatsServer::port).collect(),
    };
    let mut ways = Vec::new();
    for port in ports {
        ways.push(Proxy::start(([127, 0, 0, 1], port).into()).await?);
    }
    Ok(ways)
}

pub(super) fn through(ways: &[Proxy]) -> String {
    ways.iter().map(Proxy::url).collect::<Vec<_>>().join(",")
}

/// Those of the ways through which somebody is connected; of three there is one that is free.
pub(super) fn in_use(ways: &[Proxy]) -> anyhow::Result<Vec<usize>> {
    let used: Vec<usize> = (0..ways.len()).filter(|at| ways[*at].connections() > 0).collect();
    anyhow::ensure!(!used.is_empty() && (ways.len() == 1 || used.len() < ways.len()), "{used:?}");
    Ok(used)
}

/// Cuts the ways that are in use, and says which.
pub(super) async fn cut(ways: &[Proxy]) -> anyhow::Result<Vec<usize>> {
    let struck = in_use(ways)?;
    for at in &struck {
        ways[*at].cut().await;
    }
    Ok(struck)
}

pub(super) async fn mend(ways: &[Proxy], struck: &[usize]) -> anyhow::Result<()> {
    for way in struck.iter().map(|at| &ways[*at]) {
        way.thaw();
        way.heal().await?;
    }
    Ok(())
}
