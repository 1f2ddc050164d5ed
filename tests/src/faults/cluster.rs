//! Three servers of which some are killed, stopped, frozen, or cut off from the others and not from their clients.

use std::{
    cell::Cell,
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context;
use requite_test::NatsCluster;
use serde_json::Value;

use super::{
    Expected, Stage,
    stage::{Running, eventually},
};
use crate::entry::{Class, Step as RunStep};

/// How many handlers run meanwhile, on two workers.
const COUNT: usize = 50;
/// How many calls are made just before a server is killed, and how many after.
const CALLS: usize = 6;
const WORKERS: [&str; 2] = ["first", "second"];
pub(super) const NODES: [usize; 3] = [0, 1, 2];
/// How long the servers may take to be ready.
const PATIENCE: Duration = Duration::from_secs(90);
/// Long enough for an election, and short for a lease.
const MOMENT: Duration = Duration::from_secs(5);

/// What happens to which servers.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    LeaderKilled(Of),
    RollingRestart,
    AllKilled,
    /// The leader of the consumer stands still for longer than a lease.
    OneFrozen(Workers),
    /// Two stand still, so that nobody leads.
    TwoFrozen(For),
    /// One reaches its clients, and not the others.
    Partition(Partition),
}

/// What is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Requests,
    Records,
    Consumer,
    Items,
}

/// What there is for every method.
const ALL: [Of; 3] = [Of::Requests, Of::Records, Of::Consumer];

/// Where the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// At the server that stands still.
    There,
    Elsewhere,
}

/// How long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    AMoment,
    /// Until every lease is lost.
    LongerThanALease,
}

/// Who is cut off, and who is with him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// The consumer's leader, and a worker; the routes are closed.
    LeaderCut,
    /// The same, and nobody is told.
    LeaderSilent,
    /// Another server, and a worker.
    FollowerCut,
    /// The leader of the requests, and a caller.
    Caller,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    let killed = ALL.into_iter().map(Case::LeaderKilled);
    let rest = [
        Case::RollingRestart,
        Case::AllKilled,
        Case::OneFrozen(Workers::There),
        Case::OneFrozen(Workers::Elsewhere),
        Case::TwoFrozen(For::AMoment),
        Case::TwoFrozen(For::LongerThanALease),
        Case::Partition(Partition::LeaderCut),
        Case::Partition(Partition::LeaderSilent),
        Case::Partition(Partition::FollowerCut),
        Case::Partition(Partition::Caller),
    ];
    killed.chain(rest)
}

/// Servers whose routes can be cut.
pub(super) async fn servers() -> anyhow::Result<Running> {
    Ok(Running::Three(NatsCluster::builder().severable().patience(PATIENCE).start(3).await?))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaderKilled(of) => {
                let of = match of {
                    Of::Requests => "requests",
                    Of::Records => "records",
                    Of::Consumer => "consumer",
                    Of::Items => "items",
                };
                write!(f, "leader of the {of} killed under {COUNT} leases")
            }
            Self::RollingRestart => write!(f, "rolling restart under {COUNT} leases"),
            Self::AllKilled => write!(f, "all servers killed at once under {COUNT} leases"),
            Self::OneFrozen(workers) => f.write_str(match workers {
                Workers::There => "leader frozen under its workers",
                Workers::Elsewhere => "leader frozen, its workers elsewhere",
            }),
            Self::TwoFrozen(span) => f.write_str(match span {
                For::AMoment => "two servers frozen for a moment",
                For::LongerThanALease => "two servers frozen for longer than a lease",
            }),
            Self::Partition(partition) => f.write_str(match partition {
                Partition::LeaderCut => "leader cut off from its peers and not from its worker",
                Partition::LeaderSilent => "leader half cut off from its peers and not from its worker",
                Partition::FollowerCut => "follower cut off from its peers and not from its worker",
                Partition::Caller => "leader cut off from its peers and not from its caller",
            }),
        }
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        match self {
            Self::LeaderKilled(_) | Self::RollingRestart | Self::AllKilled => self.kill(stage).await,
            Self::OneFrozen(workers) => self.freeze_one(stage, workers).await,
            Self::TwoFrozen(span) => self.freeze_two(stage, span).await,
            Self::Partition(Partition::Caller) => self.cut_off_a_caller(stage).await,
            Self::Partition(partition) => self.cut_off_a_worker(stage, partition).await,
        }
    }

    async fn kill(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        work(stage, &urls).await?;
        let caller = stage.caller_at(&urls).await?;
        let (name, mut most) = (self.to_string(), 1);
        let nodes = match self {
            Self::LeaderKilled(of) => vec![leads(stage.cluster(), of, &NODES).await?],
            _ => NODES.to_vec(),
        };
        let together = if matches!(self, Self::AllKilled) { nodes.len() } else { 1 };
        for nodes in nodes.chunks(together) {
            let crumbs = stage.crumbs(CALLS);
            let mut calls = stage.burst(&caller, crumbs).await;
            let began = Instant::now();
            stage.breaks(&name, &[]);
            for node in nodes {
                match self {
                    Self::RollingRestart => stage.cluster().node_mut(*node).terminate().await?,
                    _ => stage.cluster().node_mut(*node).kill9().await,
                }
            }
            let crumbs = stage.crumbs(CALLS);
            calls.extend(stage.calls(&caller, crumbs));
            if let Self::LeaderKilled(of) = self {
                leads(stage.cluster(), of, &others(nodes[0])).await?;
            }
            for node in nodes {
                stage.cluster().node_mut(*node).restart().await?;
            }
            match self {
                // Or the next one takes the majority with it.
                Self::RollingRestart => all_follow(stage).await?,
                _ => all_are_led(stage).await?,
            }
            // While one of three is away, whatever takes long is no reason to lose a lease.
            if together == 1 {
                stage.mended(&name);
            } else {
                most = stage.mended_in_time(&name, began, &WORKERS);
            }
            for call in calls {
                let answer = call.await?;
                anyhow::ensure!(answer.class == Class::Ok, "{answer:?}");
            }
        }
        stage.lasts(most).await
    }

    async fn freeze_one(self, stage: &mut Stage, workers: Workers) -> anyhow::Result<Expected> {
        stage.set_up().await?;
        let leader = leads(stage.cluster(), Of::Consumer, &NODES).await?;
        let there = match workers {
            Workers::There => stage.cluster().url(leader),
            Workers::Elsewhere => urls_of(stage.cluster(), &others(leader)),
        };
        work(stage, &there).await?;
        let name = self.to_string();
        // They notice by pings that are not answered, and that may take them as long as their lease.
        stage.breaks(&name, if workers == Workers::There { &WORKERS } else { &[] });
        stage.cluster().node_mut(leader).pause()?;
        stage.outlast_a_lease().await;
        stage.cluster().node_mut(leader).resume()?;
        all_are_led(stage).await?;
        stage.mended(&name);
        stage.outlast_a_lease().await;
        stage.ledger.open_gate();
        Ok(match workers {
            Workers::There => Expected { runs: (1, 2), attempt: (1, 2), ..Expected::value(1, 1) },
            Workers::Elsewhere => Expected::value(1, 1),
        })
    }

    async fn freeze_two(self, stage: &mut Stage, span: For) -> anyhow::Result<Expected> {
        work(stage, &stage.servers.urls()).await?;
        let (name, began) = (self.to_string(), Instant::now());
        stage.breaks(&name, if span == For::AMoment { &[] } else { &WORKERS });
        for node in [1, 2] {
            stage.cluster().node_mut(node).pause()?;
        }
        if span == For::LongerThanALease {
            stage.comes_to(RunStep::Drop, COUNT).await?;
            // Nobody can take it, and the caller is told so.
            let url = stage.cluster().url(0);
            let caller = stage.caller_at(&url).await?;
            stage.in_vain(&caller, &[Class::Unavailable, Class::Unknown]).await?;
        } else {
            tokio::time::sleep(MOMENT).await;
        }
        for node in [1, 2] {
            stage.cluster().node_mut(node).resume()?;
        }
        all_are_led(stage).await?;
        if span == For::LongerThanALease {
            stage.mended(&name);
            stage.comes_to(RunStep::Start, 2 * COUNT).await?;
            stage.ledger.open_gate();
            return Ok(Expected::value(2, 2));
        }
        let most = stage.mended_in_time(&name, began, &WORKERS);
        stage.lasts(most).await
    }

    async fn cut_off_a_worker(self, stage: &mut Stage, partition: Partition) -> anyhow::Result<Expected> {
        stage.set_up().await?;
        let leader = leads(stage.cluster(), Of::Consumer, &NODES).await?;
        let alone = if partition == Partition::FollowerCut { others(leader)[0] } else { leader };
        let (here, there) = (stage.cluster().url(alone), urls_of(stage.cluster(), &others(alone)));
        let caller = stage.caller_at(&there).await?;
        stage.join("first", &here).await?;
        let order = stage.bread();
        let answer = stage.call(&caller, order);
        stage.reaches("first", "bread", RunStep::Start).await?;
        stage.join("second", &there).await?;

        let name = self.to_string();
        stage.breaks(&name, &["first"]);
        match partition {
            Partition::LeaderSilent => stage.cluster().freeze(alone),
            _ => stage.cluster().cut(alone).await,
        }
        stage.reaches("second", "bread", RunStep::Start).await?;
        stage.did_not_overlap("first", "second")?;
        stage.ledger.open_gate();
        answer.await?;
        stage.cluster().rejoin(alone).await?;
        all_are_led(stage).await?;
        stage.mended(&name);
        // What it thought under its old leader does no harm.
        stage.leave("second").await?;
        stage.serves_again(&caller, "first").await?;
        Ok(Expected::value(2, 2))
    }

    async fn cut_off_a_caller(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        stage.set_up().await?;
        let leader = leads(stage.cluster(), Of::Requests, &NODES).await?;
        let (here, there) = (stage.cluster().url(leader), urls_of(stage.cluster(), &others(leader)));
        let caller = stage.caller_at(&here).await?;
        stage.join("first", &there).await?;
        // Accepted before, answered after.
        let order = stage.bread();
        let answer = stage.call(&caller, order);
        stage.reaches("first", "bread", RunStep::Start).await?;

        let name = self.to_string();
        stage.breaks(&name, &[]);
        stage.cluster().cut(leader).await;
        stage.in_vain(&caller, &[Class::Unavailable, Class::Unknown]).await?;
        stage.ledger.open_gate();
        stage.reaches("first", "bread", RunStep::End).await?;
        stage.cluster().rejoin(leader).await?;
        all_are_led(stage).await?;
        stage.mended(&name);
        answer.await?;
        Ok(Expected::value(1, 1))
    }
}

/// Two workers at these addresses, with their hands full.
async fn work(stage: &mut Stage, urls: &str) -> anyhow::Result<()> {
    for name in WORKERS {
        stage.join(name, urls).await?;
    }
    let caller = stage.caller_at(urls).await?;
    stage.crowd(&caller, COUNT).await
}

pub(super) fn others(node: usize) -> Vec<usize> {
    NODES.into_iter().filter(|it| *it != node).collect()
}

fn urls_of(cluster: &NatsCluster, nodes: &[usize]) -> String {
    nodes.iter().map(|node| cluster.url(*node)).collect::<Vec<_>>().join(",")
}

impl Of {
    fn question(self) -> &'static str {
        match self {
            Self::Requests => "$JS.API.STREAM.INFO.rq_REQ_silo",
            Self::Records => "$JS.API.STREAM.INFO.rq_OUT_silo",
            Self::Consumer => "$JS.API.CONSUMER.INFO.rq_REQ_silo.store",
            Self::Items => "$JS.API.STREAM.INFO.rq_ITM_silo",
        }
    }
}

/// Who leads, as one of these nodes knows it, and how many follow without a lag.
async fn led(cluster: &NatsCluster, of: Of, nodes: &[usize]) -> Option<(usize, usize)> {
    for node in nodes {
        let Ok(answer) = cluster.node(*node).ask(of.question(), "").await else { continue };
        let info: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let leader = info["cluster"]["leader"].as_str();
        let Some(at) = nodes.iter().find(|it| leader == Some(cluster.node(**it).name())) else { continue };
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        let follows = |it: &&Value| it["current"] == true && it["offline"] != true;
        return Some((*at, replicas.iter().filter(follows).count()));
    }
    None
}

/// The node that leads.
pub(super) async fn leads(cluster: &NatsCluster, of: Of, nodes: &[usize]) -> anyhow::Result<usize> {
    let found = Cell::new(None);
    eventually("somebody leads", async || {
        found.set(led(cluster, of, nodes).await);
        found.get().is_some()
    })
    .await?;
    found.get().map(|(at, _)| at).context("somebody leads")
}

/// Waits until everything has a leader. That both others follow it may take long after a partition: a follower of a
/// consumer was seen to lag until something was delivered again.
async fn all_are_led(stage: &mut Stage) -> anyhow::Result<()> {
    for of in ALL {
        leads(stage.cluster(), of, &NODES).await?;
    }
    Ok(())
}

/// Waits until everything has a leader that both others follow.
async fn all_follow(stage: &mut Stage) -> anyhow::Result<()> {
    let cluster = stage.cluster();
    cluster.wait_ready().await?;
    for of in ALL {
        let follow = async || led(cluster, of, &NODES).await.is_some_and(|(_, count)| count == 2);
        eventually("all follow", follow).await?;
    }
    Ok(())
}
