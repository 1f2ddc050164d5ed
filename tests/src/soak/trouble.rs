//! Random faults, one after the other: processes, the network between them and the servers, the servers themselves.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use requite_test::{NatsCluster, Proxy};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    entry::{Event, Fault, Life},
    faults::{Servers, Stage, eventually, stage::Running},
    process::Process,
    random::Random,
    role::Harm,
    store::ask,
};

/// How many workers there are.
const WORKERS: usize = 3;

/// How long a fault may take, until all is mended.
const STRIKE: Duration = Duration::from_secs(150);

/// What is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    Kill,
    Abort,
    Terminate,
    Freeze,
    Block,
    Cut,
    HalfOpen,
    ServerKilled,
    ServerRestarted,
    ServerPaused,
}

const ON_ONE: [Strike; 9] = [
    Strike::Kill,
    Strike::Abort,
    Strike::Terminate,
    Strike::Freeze,
    Strike::Block,
    Strike::Cut,
    Strike::HalfOpen,
    Strike::ServerKilled,
    Strike::ServerRestarted,
];
const ON_THREE: [Strike; 8] = [
    Strike::Kill,
    Strike::Abort,
    Strike::Terminate,
    Strike::Freeze,
    Strike::Block,
    Strike::ServerKilled,
    Strike::ServerRestarted,
    Strike::ServerPaused,
];

impl Strike {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "workers killed",
            Self::Abort => "workers aborted",
            Self::Terminate => "workers terminated",
            Self::Freeze => "workers frozen",
            Self::Block => "runtimes blocked",
            Self::Cut => "workers cut off",
            Self::HalfOpen => "connections half open",
            Self::ServerKilled => "servers killed",
            Self::ServerRestarted => "servers restarted",
            Self::ServerPaused => "servers paused",
        }
    }
}

pub(super) struct Trouble {
    random: Random,
    /// The first one is never killed.
    workers: Vec<Hand>,
    started: usize,
    struck: BTreeMap<&'static str, u64>,
}

/// A worker, and the way to it where that can be cut.
struct Hand {
    name: String,
    process: Process,
    proxy: Option<Proxy>,
}

impl Trouble {
    pub(super) async fn start(stage: &mut Stage, random: Random) -> anyhow::Result<Self> {
        let mut trouble = Self { random, workers: Vec::new(), started: 0, struck: BTreeMap::new() };
        for _ in 0..WORKERS {
            trouble.start_one(stage).await?;
        }
        Ok(trouble)
    }

    /// The process that is never killed.
    pub(super) fn steady(&self) -> u32 {
        self.workers[0].process.pid()
    }

    /// What was struck, and how often.
    pub(super) fn struck(&self) -> Vec<(&'static str, u64)> {
        self.struck.iter().map(|(name, count)| (*name, *count)).collect()
    }

    pub(super) async fn go_on(&mut self, stage: &mut Stage, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            self.rest(1_000..6_000).await;
            let strikes = match stage.kind {
                Servers::One => &ON_ONE[..],
                Servers::Three => &ON_THREE,
            };
            let strike = *self.random.one_of(strikes).expect("there are some");
            *self.struck.entry(strike.name()).or_default() += 1;
            let struck = tokio::time::timeout(STRIKE, self.strike(strike, stage)).await;
            struck.with_context(|| format!("{}: no end of it within {STRIKE:?}", strike.name()))??;
            for hand in &mut self.workers {
                ensure!(hand.process.is_alive()?, "{} ended by itself", hand.name);
            }
        }
        Ok(())
    }

    async fn strike(&mut self, strike: Strike, stage: &mut Stage) -> anyhow::Result<()> {
        match strike {
            Strike::Kill | Strike::Abort | Strike::Terminate => self.end_one(strike, stage).await,
            Strike::Freeze | Strike::Block | Strike::Cut | Strike::HalfOpen => {
                self.hinder(strike, stage).await
            }
            Strike::ServerKilled | Strike::ServerRestarted | Strike::ServerPaused => {
                self.strike_server(strike, stage).await
            }
        }
    }

    async fn rest(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.within(millis))).await;
    }

    async fn start_one(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let (process, proxy) = match stage.kind {
            Servers::One => {
                stage.worker(&name).await?;
                let worker = stage.take_worker(&name);
                (worker.process, Some(worker.proxy))
            }
            Servers::Three => (stage.process_at(&stage.servers.urls(), &name).await?, None),
        };
        self.workers.push(Hand { name, process, proxy });
        Ok(())
    }

    /// Ends a worker, any but the first, and starts another one.
    async fn end_one(&mut self, strike: Strike, stage: &mut Stage) -> anyhow::Result<()> {
        let at = 1 + usize::try_from(self.random.within(0..WORKERS as u64 - 1))?;
        let mut hand = self.workers.swap_remove(at);
        if strike == Strike::Terminate {
            stage.ledger.worker(&hand.name, Life::Draining);
            hand.process.signal(Signal::TERM);
            let ended = hand.process.ended().await?;
            ensure!(ended.success(), "{} was terminated and ended with {ended}", hand.name);
            stage.ledger.worker(&hand.name, Life::Killed);
        } else {
            stage.ledger.worker(&hand.name, Life::Killed);
            match strike {
                Strike::Abort => hand.process.tell(&Harm::Abort).await?,
                _ => hand.process.signal(Signal::KILL),
            }
            hand.process.ended().await?;
        }
        self.rest(0..5_000).await;
        self.start_one(stage).await
    }

    /// Hinders a worker for a while.
    async fn hinder(&mut self, strike: Strike, stage: &mut Stage) -> anyhow::Result<()> {
        let longest = u64::try_from(stage.kind.lease().as_millis())? * 3 / 2;
        let span = Duration::from_millis(self.random.within(500..longest));
        let at = usize::try_from(self.random.within(0..WORKERS as u64))?;
        let hand = &mut self.workers[at];
        let ledger = &stage.ledger;
        let cut = Fault { name: format!("{} {}", strike.name(), hand.name), costs: vec![hand.name.clone()] };
        match (strike, &hand.proxy) {
            (Strike::Freeze, _) => {
                ledger.worker(&hand.name, Life::Frozen);
                hand.process.signal(Signal::STOP);
                tokio::time::sleep(span).await;
                ledger.worker(&hand.name, Life::Continued);
                hand.process.signal(Signal::CONT);
            }
            (Strike::Block, _) => hand.process.tell(&Harm::Block(span)).await?,
            (Strike::Cut, Some(proxy)) => {
                ledger.write(Event::FaultBegins(cut.clone()));
                proxy.cut().await;
                tokio::time::sleep(span).await;
                proxy.heal().await?;
                ledger.write(Event::FaultEnds { name: cut.name });
            }
            (_, Some(proxy)) => {
                ledger.write(Event::FaultBegins(cut.clone()));
                proxy.freeze();
                tokio::time::sleep(span).await;
                proxy.thaw();
                ledger.write(Event::FaultEnds { name: cut.name });
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// On a single server every lease may be lost while it is away; of three, one may be away.
    async fn strike_server(&mut self, strike: Strike, stage: &mut Stage) -> anyhow::Result<()> {
        let all = self.workers.iter().map(|hand| hand.name.clone()).collect();
        let costs = if stage.kind == Servers::One { all } else { Vec::new() };
        let name = strike.name().to_owned();
        stage.ledger.write(Event::FaultBegins(Fault { name: name.clone(), costs }));
        let away = Duration::from_millis(self.random.within(0..4_000));
        let (at, service) = (usize::try_from(self.random.within(0..3))?, stage.kind.service());
        let server = match &mut stage.servers {
            Running::One(server) => server,
            Running::Three(cluster) => cluster.node_mut(at),
        };
        match strike {
            Strike::ServerKilled => server.kill9().await,
            Strike::ServerPaused => server.pause()?,
            _ => server.terminate().await?,
        }
        tokio::time::sleep(away).await;
        match strike {
            Strike::ServerPaused => server.resume()?,
            _ => server.restart().await?,
        }
        if let Running::Three(cluster) = &mut stage.servers {
            all_follow(cluster, &stage.nats, service).await?;
        }
        stage.ledger.write(Event::FaultEnds { name });
        Ok(())
    }
}

/// Waits until every stream has a leader that both others follow: only then may the next server go.
async fn all_follow(
    cluster: &mut NatsCluster,
    nats: &requite::async_nats::Client,
    service: &str,
) -> anyhow::Result<()> {
    cluster.wait_ready().await?;
    for kind in ["REQ", "OUT", "DEAD", "ITM"] {
        let subject = format!("$JS.API.STREAM.INFO.rq_{kind}_{service}");
        eventually("all follow", async || {
            let info = ask(nats, &subject, Value::Null).await.unwrap_or_default();
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            let current = |it: &&Value| it["current"] == true && it["offline"] != true;
            info["cluster"]["leader"].is_string() && replicas.iter().filter(current).count() == 2
        })
        .await?;
    }
    Ok(())
}
