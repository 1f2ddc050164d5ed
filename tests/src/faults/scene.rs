//! What the rows about servers, networks and operators share: faults written down, more requests beside the one that
//! the row is about, and workers that are met again.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use requite::Client;
use requite_test::{NatsCluster, NatsServer};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::{
    Expected,
    cluster::{self, Of},
    stage::{Running, Servers, Stage, eventually},
};
use crate::{
    caller::{Caller, Order, What},
    entry::{Answer, Class, Event, Fault, Life, Step},
    mill::{Job, Work},
    process::Process,
};

/// How long a call may take that is not expected to be answered with a value.
const IN_VAIN: Duration = Duration::from_secs(40);
/// How many requests at once find every worker that pulls.
const ROUND: usize = 4;
/// How many calls are made at once where there are many.
const BATCH: usize = 25;
/// Between two looks at what lasts for a moment only.
const AT_ONCE: Duration = Duration::from_millis(2);
/// After so many of these rounds a worker is given up.
const ROUNDS: usize = 60;

impl Stage {
    /// Writes down that something is broken now, and whose leases it may cost.
    pub(super) fn breaks(&self, name: &str, costs: &[&str]) {
        let costs = costs.iter().map(|&worker| worker.to_owned()).collect();
        self.ledger.write(Event::FaultBegins(Fault { name: name.to_owned(), costs }));
    }

    /// Writes down that it is mended.
    pub(super) fn mended(&self, name: &str) {
        self.ledger.write(Event::FaultEnds { name: name.to_owned() });
    }

    /// Writes down that something is mended that costs nobody a lease unless it takes too long. Says how often the
    /// requests that ran may run: on a machine that is busy enough, everything takes too long.
    pub(super) fn mended_in_time(&self, name: &str, since: Instant, costs: &[&str]) -> usize {
        self.mended(name);
        let in_time = match self.kind {
            Servers::One => self.kind.lease() / 3,
            Servers::Three => self.kind.lease() / 2,
        };
        if since.elapsed() <= in_time {
            return 1;
        }
        let late = format!("{name}, for long");
        self.breaks(&late, costs);
        self.mended(&late);
        2
    }

    /// The server, where there is one.
    pub(super) fn server(&mut self) -> &mut NatsServer {
        match &mut self.servers {
            Running::One(server) => server,
            Running::Three(_) => unreachable!("a row for one server is played on one"),
        }
    }

    /// The servers, where there are three.
    pub(super) fn cluster(&mut self) -> &mut NatsCluster {
        match &mut self.servers {
            Running::Three(cluster) => cluster,
            Running::One(_) => unreachable!("a row for three servers is played on three"),
        }
    }

    /// Kills the only server, or the one of three that leads this, and says which it was.
    pub(super) async fn kill_server_of(&mut self, of: Of) -> anyhow::Result<usize> {
        if self.kind == Servers::One {
            self.server().kill9().await;
            return Ok(0);
        }
        let leader = cluster::leads(self.cluster(), of, &cluster::NODES).await?;
        self.cluster().node_mut(leader).kill9().await;
        Ok(leader)
    }

    /// Starts it again, of three when another one leads.
    pub(super) async fn restart_server_of(&mut self, of: Of, node: usize) -> anyhow::Result<()> {
        if self.kind == Servers::One {
            return Ok(self.server().restart().await?);
        }
        cluster::leads(self.cluster(), of, &cluster::others(node)).await?;
        self.cluster().node_mut(node).restart().await?;
        cluster::leads(self.cluster(), of, &cluster::NODES).await?;
        Ok(())
    }

    /// A caller in this process that connects to these addresses.
    pub(super) async fn caller_at(&self, url: &str) -> anyhow::Result<Caller> {
        let client = Client::builder().url(url).caller("shop").connect().await?;
        Ok(Caller::new(client, self.kind.service(), &self.ledger))
    }

    /// A worker at these addresses, without a proxy.
    pub(super) async fn join(&mut self, name: &str, url: &str) -> anyhow::Result<()> {
        let process = self.process_at(url, name).await?;
        self.crew.insert(name.to_owned(), process);
        Ok(())
    }

    /// Sets everything up by a worker that goes at once.
    pub(super) async fn set_up(&mut self) -> anyhow::Result<()> {
        let urls = self.servers.urls();
        self.join("founder", &urls).await?;
        self.leave("founder").await
    }

    /// A worker without a proxy.
    pub(super) fn hand(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        self.crew.get_mut(name).context("it was started before")
    }

    /// Waits until whoever sends the stream of `bread`, a worker or a call, has come to its middle.
    pub(super) async fn midway(&self, whose: &str) -> anyhow::Result<()> {
        let is_it =
            |event: &Event| matches!(event, Event::Midway { who, job } if who == whose && job == "bread");
        let comes = async || self.ledger.entries().iter().any(|it| is_it(&it.event));
        eventually(&format!("{whose} comes to the middle of its stream"), comes).await
    }

    /// Ends a worker without a proxy in good order.
    pub(super) async fn leave(&mut self, name: &str) -> anyhow::Result<()> {
        let process = self.crew.remove(name).context("it was started before")?;
        self.ledger.worker(name, Life::Draining);
        process.signal(Signal::TERM);
        process.ended().await?;
        self.ledger.worker(name, Life::Killed);
        Ok(())
    }

    /// Waits until a worker without a proxy has ended by itself, with an error.
    pub(super) async fn gives_up(&mut self, name: &str) -> anyhow::Result<()> {
        let process = self.crew.remove(name).context("it was started before")?;
        let status = process.ended().await?;
        anyhow::ensure!(!status.success(), "{name} ended without an error");
        self.ledger.worker(name, Life::Killed);
        Ok(())
    }

    /// Fails if a worker without a proxy has ended by itself.
    pub(super) fn still_lives(&mut self, name: &str) -> anyhow::Result<()> {
        let process = self.hand(name)?;
        anyhow::ensure!(process.is_alive()?, "{name} ended by itself");
        Ok(())
    }

    /// Makes so many calls that wait at the gate, `bread` the last of them, and waits until all run. They come in batches:
    /// what is to be struck is a worker with its hands full, not one that is overwhelmed.
    pub(super) async fn crowd(&mut self, caller: &Caller, count: usize) -> anyhow::Result<()> {
        for (n, order) in (1..).zip(self.loaves(count - 1)) {
            drop(self.call(caller, order));
            if n % BATCH == 0 {
                self.comes_to(Step::Start, n).await?;
            }
        }
        let order = self.bread();
        drop(self.call(caller, order));
        self.comes_to(Step::Start, count).await
    }

    /// Makes calls all at once, and comes back as soon as half of them run.
    pub(super) async fn burst(&mut self, caller: &Caller, orders: Vec<Order>) -> Vec<JoinHandle<Answer>> {
        let enough = self.count(Step::Start) + orders.len() / 2;
        let calls = self.calls(caller, orders);
        while self.count(Step::Start) < enough {
            tokio::time::sleep(AT_ONCE).await;
        }
        calls
    }

    /// Waits until handlers have come to this step so many times.
    pub(super) async fn comes_to(&self, step: Step, count: usize) -> anyhow::Result<()> {
        let waited = eventually(&format!("{count} times {step:?}"), async || self.count(step) >= count).await;
        waited.with_context(|| format!("{} times", self.count(step)))
    }

    /// Not by reading every line: of a crowd there are thousands, and they are looked at often.
    fn count(&self, step: Step) -> usize {
        let text = std::fs::read_to_string(self.ledger.path()).unwrap_or_default();
        text.matches(&format!("\"step\":\"{step:?}\"")).count()
    }

    /// Waits until a call has its answer.
    pub(super) async fn answered(&self, name: &str) -> anyhow::Result<()> {
        let is_it = |event: &Event| matches!(event, Event::Result { call, .. } if call == name);
        eventually("the call is answered", async || self.ledger.entries().iter().any(|it| is_it(&it.event)))
            .await
    }

    /// Lets a lease pass and more: what was lost without anybody knowing shows by then.
    pub(super) async fn outlast_a_lease(&self) {
        tokio::time::sleep(self.kind.lease() * 3 / 2).await;
    }

    /// Whoever runs `bread` after everything is mended keeps it for a lease and ends it: it ran so many times at most.
    pub(super) async fn lasts(&self, most: usize) -> anyhow::Result<Expected> {
        self.outlast_a_lease().await;
        self.ledger.open_gate();
        Ok(Expected { runs: (1, most), attempt: (1, u32::try_from(most)?), ..Expected::value(1, 1) })
    }

    /// A short request beside the one that the row is about.
    pub(super) fn crumb(&mut self) -> Order {
        let mut order = self.order(What::Run(Job { name: String::new(), work: Work::Wait(200) }, None));
        if let What::Run(job, _) = &mut order.what {
            job.name = format!("crumb of {}", order.call);
        }
        order
    }

    /// So many of them.
    pub(super) fn crumbs(&mut self, count: usize) -> Vec<Order> {
        (0..count).map(|_| self.crumb()).collect()
    }

    /// Requests that wait at the gate.
    pub(super) fn loaves(&mut self, count: usize) -> Vec<Order> {
        let loaf = |n| What::Run(Job { name: format!("loaf {n}"), work: Work::Gate }, None);
        (1..=count).map(|n| self.order(loaf(n))).collect()
    }

    /// Makes calls all at once.
    pub(super) fn calls(&self, caller: &Caller, orders: Vec<Order>) -> Vec<JoinHandle<Answer>> {
        orders.into_iter().map(|order| self.call(caller, order)).collect()
    }

    /// A call while something is broken: it has to end in time, in one of these classes, and with a reason.
    pub(super) async fn in_vain(&mut self, caller: &Caller, classes: &[Class]) -> anyhow::Result<Answer> {
        let mut order = self.crumb();
        order.deadline = IN_VAIN;
        let answer = caller.call(order).await;
        if !classes.contains(&answer.class) || answer.reason.is_empty() != (answer.class == Class::Ok) {
            bail!("a call beside the row was answered with {answer:?}");
        }
        Ok(answer)
    }

    /// Waits until this worker serves: of several requests at once every worker that pulls gets some.
    pub(super) async fn serves_again(&mut self, caller: &Caller, worker: &str) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            let orders = self.crumbs(ROUND);
            let first = orders[0].call.clone();
            for call in self.calls(caller, orders) {
                let answer = call.await?;
                anyhow::ensure!(answer.class == Class::Ok, "{answer:?}");
            }
            let since = self.invoked(&first);
            let serves = self.ledger.entries().into_iter().skip(since).any(
                |it| matches!(&it.event, Event::Run(run) if run.worker == worker && run.step == Step::Start),
            );
            if serves {
                return Ok(());
            }
        }
        bail!("{worker} does not serve again")
    }

    /// The line at which a call was made.
    fn invoked(&self, name: &str) -> usize {
        let is_it = |event: &Event| matches!(event, Event::Invoke(invoke) if invoke.call == name);
        self.ledger.entries().iter().position(|it| is_it(&it.event)).unwrap_or_default()
    }

    /// The handler of `bread` was stopped here before it was started there: the two did not even overlap.
    pub(super) fn did_not_overlap(&self, here: &str, there: &str) -> anyhow::Result<()> {
        let runs = self.ledger.runs();
        let at = |worker: &str, step: Step| {
            runs.iter().find(|it| it.job == "bread" && it.worker == worker && it.step == step).map(|it| it.at)
        };
        let (stopped, started) = (at(here, Step::Drop), at(there, Step::Start));
        match (stopped, started) {
            (Some(stopped), Some(started)) if stopped < started => Ok(()),
            other => bail!("{here} was stopped and {there} started: {other:?}"),
        }
    }
}
