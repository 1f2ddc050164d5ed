//! Random load under random faults, for as long as one likes, and the same promises as for a single fault.

use std::{
    convert::Infallible,
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use requite::async_nats::Client;

use crate::{
    checker::{self, Counts},
    faults::{Servers, Stage},
    random::Random,
    store::Tap,
};

mod load;
mod memory;
mod trouble;

use load::Load;
use memory::{Memory, Slope};
use trouble::Trouble;

/// A process that grows faster than this, in bytes a minute, grows without end.
const STEEP: f64 = 1024.0 * 1024.0;
/// What takes less time says nothing of memory: caches and pools still fill.
const TELLING: Duration = Duration::from_secs(5 * 60);
/// In less time a fault may meet no stream and no handler with a checkpoint, no handler hear that its reader has left, and
/// nobody find again what was given up.
const EVENTFUL: Duration = Duration::from_secs(60);
/// Often enough to see an outcome that is kept for two minutes.
const KEEP_UP: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long faults go on.
    pub time: Duration,
    /// What decides load and faults.
    pub seed: u64,
    /// How many servers there are.
    pub servers: Servers,
    /// Requests a second.
    pub rate: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    settings: Settings,
    counts: Counts,
    /// What was struck, and how often.
    faults: Vec<(&'static str, u64)>,
    /// By the promise that they break.
    broken: Vec<(&'static str, Vec<String>)>,
    slopes: Vec<Slope>,
    /// Where the ledger and the logs were kept, if anything is wrong.
    kept: Option<String>,
}

/// Puts load on servers, strikes, waits for the end of everything, and holds the promises against what happened.
///
/// # Errors
///
/// When a server, a worker or a caller does not start.
pub async fn run(settings: Settings, program: &Path) -> anyhow::Result<Summary> {
    let mut stage = Stage::open(settings.servers, program).await?;
    let mut random = Random::new(settings.seed);
    let mut trouble = Trouble::start(&mut stage, Random::new(random.number())).await?;
    let mut load = Load::start(&stage, Random::new(random.number()), settings.rate)?;
    let steady = [("worker", trouble.steady()), ("caller", load.steady())];
    let mut memory = Memory::of(steady);
    let (tap, nats) = (stage.tap.clone(), stage.nats.clone());
    let until = Instant::now() + settings.time;
    let struck = {
        let watched = async {
            let (struck, loaded) = tokio::join!(trouble.go_on(&mut stage, until), load.go_on(until));
            struck.and(loaded)
        };
        tokio::select! {
            ended = watched => ended,
            never = memory.watch() => match never {},
            never = keep_up(&tap, &nats) => match never {},
        }
    };
    if let Err(error) = struck {
        return Err(error.context(stage.keep()));
    }
    stage.drain().await;
    let store = stage.store().await?;
    let entries = stage.ledger.entries();
    let case = checker::Case::new(&entries, &store, settings.servers.lease());
    let broken = checker::RULES.into_iter().map(|(name, rule)| (name, rule(&case)));
    let mut summary = Summary {
        settings,
        counts: checker::counts(&case),
        faults: trouble.struck().into_iter().chain(load.struck()).collect(),
        broken: broken.collect(),
        slopes: memory.slopes(),
        kept: None,
    };
    if !summary.holds() {
        summary.kept = Some(stage.keep());
    }
    Ok(summary)
}

/// Outcomes are not kept for ever, and what is stored while a server is away is not heard.
async fn keep_up(tap: &Tap, nats: &Client) -> Infallible {
    loop {
        tokio::time::sleep(KEEP_UP).await;
        // While a server is away it fails: the next one reads what this one could not.
        let _ = tap.read(nats).await;
    }
}

impl Summary {
    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        let is_steep = |slope: &Slope| slope.bytes_a_minute > STEEP;
        let grows = self.settings.time >= TELLING && self.slopes.iter().any(is_steep);
        self.keeps_the_promises() && !self.is_vacuous() && !grows
    }

    /// Whether something that the load is there for did not happen: a promise about it was not tried.
    pub fn is_vacuous(&self) -> bool {
        let Counts { items, left, given_up, cancels, .. } = self.counts;
        let Counts { restarts, left_alone, found_again, cancelled, checkpoints_found, .. } = self.counts;
        let has_met_all = self.settings.time < EVENTFUL
            || ![restarts, left_alone, found_again, cancelled, checkpoints_found].contains(&0);
        [items, left, given_up, cancels, self.faults()].contains(&0) || !has_met_all
    }

    /// Whether no promise is broken.
    pub fn keeps_the_promises(&self) -> bool {
        self.broken.iter().all(|(_, what)| what.is_empty())
    }

    fn broken(&self, rule: usize) -> usize {
        self.broken[rule].1.len()
    }

    fn faults(&self) -> u64 {
        self.faults.iter().map(|(_, count)| count).sum()
    }

    /// The line for all, in the form that everything which proves something prints.
    pub fn proof(&self) -> String {
        format!(
            "proof | soak, {} | {} s, {} requests, {} streams of {} items, {} left, {} given up, {} cancels | \
             {} faults, {} redeliveries, {} re-attached, {} streams in two attempts, {} left alone, {} found again, \
             {} cancelled, {} checkpoints found, {} broken promises",
            self.settings.servers,
            self.settings.time.as_secs(),
            self.counts.calls,
            self.counts.streams,
            self.counts.items,
            self.counts.left,
            self.counts.given_up,
            self.counts.cancels,
            self.faults(),
            self.counts.redeliveries,
            self.counts.reattached,
            self.counts.restarts,
            self.counts.left_alone,
            self.counts.found_again,
            self.counts.cancelled,
            self.counts.checkpoints_found,
            self.broken.iter().map(|(_, what)| what.len()).sum::<usize>(),
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { time, seed, servers, .. } = self.settings;
        writeln!(f, "{servers}, {} s, seed {seed}", time.as_secs())?;
        writeln!(f, "requests      {}", self.counts.calls)?;
        let faults: Vec<_> = self.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "faults        {}: {}", self.faults(), faults.join(", "))?;
        writeln!(f, "redeliveries  {}", self.counts.redeliveries)?;
        writeln!(f, "re-attaches   {}", self.counts.reattached)?;
        writeln!(f, "lost          {}", self.broken(0))?;
        writeln!(f, "conflicting   {}", self.broken(1))?;
        writeln!(f, "unexplained   {}", self.broken(2))?;
        writeln!(f, "stuck         {}", self.broken(7))?;
        for slope in &self.slopes {
            writeln!(f, "memory        {slope}")?;
        }
        writeln!(f, "seen          {}", self.counts)?;
        for (name, what) in self.broken.iter().filter(|(_, what)| !what.is_empty()) {
            writeln!(f, "BROKEN        {name}: {}", what.len())?;
            what.iter().take(5).try_for_each(|what| writeln!(f, "    {what}"))?;
        }
        self.kept.iter().try_for_each(|kept| writeln!(f, "{kept}"))
    }
}
