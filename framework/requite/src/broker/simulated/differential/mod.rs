//! The simulated server against a real one: random operations on both, compared step by step.
//!
//! What differs is a mistake of the simulation, or a fact about the server that has to be written down. A seed decides
//! everything: `REQUITE_SEED=7 cargo test -p requite --lib differential` repeats one sequence, `REQUITE_SEQUENCES=2000`
//! plays more of them than usual; both together say which is the first.
//!
//! | file | what |
//! |---|---|
//! | `plan` | what is decided before a sequence begins |
//! | `play` | the sequence: its phases, and how often what is done |
//! | `setting`, `publish`, `deliver`, `observe` | what is done |
//! | `restored` | one case whose times are looked at closely |
//! | `transcript`, `starved` | what was seen, the comparison, and what counts as late |
//!
//! A real run that differs is played again only if it was late before it differed, by the measure of `transcript`; one
//! that never agrees differs. Which updates a consumer had written when its server was killed hangs on a flusher that
//! runs about every 100 ms, so what is killed here has been left alone for a moment. `Simulation::kill` is told how much
//! is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    future::{join, join_all},
    stream::{self, StreamExt},
};
use requite_test::NatsServer;
use tokio::sync::{Barrier, Mutex};

use super::{Connection, Simulation};
use crate::{
    broker::jetstream::{self, Settings},
    simulation::PROCESSORS,
    wire::jetstream::nanos,
};

mod deliver;
mod observe;
mod plan;
mod play;
mod publish;
mod restored;
mod setting;
mod starved;
mod transcript;

use plan::{Pause, Plan};
use starved::{Waits, Watch};
use transcript::{Transcript, Verdict};

/// How many sequences are played if nobody says otherwise.
const SEQUENCES: u64 = 200;
/// Seeds beyond the usual ones that found something, always played. Whatever changes what a seed decides makes other
/// sequences of them: the list then begins anew.
const REGRESSIONS: [u64; 2] = [442, 826];
/// How many are played at once, on one server or on each of those that restart: fewer every time.
const AT_ONCE: [usize; 6] = [96, 32, 16, 8, 4, 1];
/// How many servers restart at once.
const SERVERS: usize = 4;
/// What a consumer has to write is written by then.
const WRITTEN: Duration = Duration::from_millis(400);
const DOWN: Duration = Duration::from_millis(100);

/// What has to have been seen, sometimes; otherwise it was not compared.
const MARKS: [(&str, &str); 22] = [
    ("duplicate", "Bool(true), Null"),
    ("one message per subject", "maximum messages per subject exceeded"),
    ("full of messages", "maximum messages exceeded"),
    ("full of bytes", "maximum bytes exceeded"),
    ("compare-and-set lost", "wrong last sequence: "),
    ("TTL refused", "per-message TTL is disabled"),
    ("TTL that is none", "invalid per-message TTL"),
    ("rollup", "rollup not permitted"),
    ("nobody takes it", "Err(NoResponders)"),
    ("larger than the server takes", "Err(TooLarge"),
    ("republished", "pushed -> "),
    ("redelivery", " delivery 2 "),
    ("third delivery", " delivery 3 "),
    ("no message", "No Messages"),
    ("end of a pull", "Request Timeout"),
    ("heartbeat of a pull", "Some(100)"),
    ("too many pulls", "Exceeded MaxWaiting"),
    ("consumer deleted", "Consumer Deleted"),
    ("direct get", "any -> Ok((None, "),
    ("direct get of nothing", "any -> Ok((Some(404), "),
    ("ack without an answer", ".999.0 -> \"silence\""),
    ("next by subject", "next from 0 -> Ok(Some"),
];

/// Plays a sequence on the simulation.
fn simulated(plan: Plan, namespace: &str) -> Transcript {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let simulation = Simulation::new(plan.seed);
        let broker: Connection = simulation.connect("player").unwrap();
        play::play(&broker, plan, namespace, async |pause| match pause {
            Pause::Begin => tokio::time::sleep(to_full_second(simulation.server_time())).await,
            Pause::Wait => {}
            Pause::Stop => simulation.restart(DOWN),
            Pause::Kill => simulation.kill(Duration::ZERO, DOWN),
        })
        .await
    })
}

fn to_full_second(clock: u64) -> Duration {
    Duration::from_nanos(1_000_000_000 - clock % 1_000_000_000)
}

async fn connect(server: &NatsServer) -> jetstream::Connection {
    let mut settings = Settings { inbox_owner: "player".into(), ..Settings::default() };
    settings.addresses(&server.url()).unwrap();
    jetstream::Connection::connect(Arc::new(settings), "player").await.unwrap()
}

/// A sequence as it was played on a real server.
struct Played {
    plan: Plan,
    namespace: String,
    transcript: Transcript,
    waits: Arc<Waits>,
}

/// Tells apart what one seed leaves on a server from what another left, or the same one before.
fn namespace(plan: Plan, attempt: usize) -> String {
    format!("d{}t{attempt}", plan.seed)
}

/// Plays sequences on one server, so many at a time.
async fn run_through(plans: &[Plan], attempt: usize) -> Vec<Played> {
    let server = NatsServer::start().await.unwrap();
    let (broker, watch) = (connect(&server).await, Watch::new(server.pid()));
    let next = AtomicUsize::new(0);
    let players = (0..AT_ONCE[attempt].min(plans.len())).map(async |_| {
        let mut played = Vec::new();
        while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let namespace = namespace(plan, attempt);
            let transcript = play::play(&broker, plan, &namespace, async |_| {}).await;
            played.push((plan, namespace, transcript));
        }
        played
    });
    let played = join_all(players).await.into_iter().flatten().collect();
    with_waits(played, watch)
}

/// Plays sequences whose server restarts. They share one, so they wait for each other before something happens to it.
async fn restart_together(plans: &[Plan], attempt: usize) -> Vec<Played> {
    let server = NatsServer::start().await.unwrap();
    let (broker, watch) = (connect(&server).await, Watch::new(server.pid()));
    let server = Mutex::new(server);
    let barrier = Barrier::new(plans.len());
    let players = plans.iter().map(async |plan| {
        let namespace = namespace(*plan, attempt);
        let played = play::play(&broker, *plan, &namespace, async |pause| {
            if barrier.wait().await.is_leader() {
                let mut server = server.lock().await;
                strike(&mut server, pause).await;
                watch.restarted(server.pid());
            }
            barrier.wait().await;
        });
        let transcript = played.await;
        (*plan, namespace, transcript)
    });
    let played = join_all(players).await;
    with_waits(played, watch)
}

fn with_waits(played: Vec<(Plan, String, Transcript)>, watch: Watch) -> Vec<Played> {
    let waits = Arc::new(watch.waits());
    let played = played.into_iter().map(|(plan, namespace, transcript)| {
        let waits = Arc::clone(&waits);
        Played { plan, namespace, transcript, waits }
    });
    played.collect()
}

async fn strike(server: &mut NatsServer, pause: Pause) {
    match pause {
        Pause::Begin => {
            let clock = nanos(std::time::UNIX_EPOCH.elapsed().unwrap());
            return tokio::time::sleep(to_full_second(clock)).await;
        }
        Pause::Wait => return,
        Pause::Stop => {}
        Pause::Kill => {
            tokio::time::sleep(WRITTEN).await;
            server.kill9().await;
        }
    }
    server.restart().await.unwrap();
}

/// Plays every seed on a real server.
async fn play_real(seeds: &[u64], attempt: usize) -> Vec<Played> {
    let plans = seeds.iter().map(|seed| Plan::new(*seed));
    let (restarting, steady): (Vec<_>, Vec<_>) = plans.partition(|plan| plan.restarts());
    let mut groups: Vec<Vec<Plan>> = Vec::new();
    for plan in restarting {
        let fits = |group: &&mut Vec<Plan>| group[0].pauses == plan.pauses && group.len() < AT_ONCE[attempt];
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(plan),
            None => groups.push(vec![plan]),
        }
    }
    let restarted = stream::iter(&groups).map(|group| restart_together(group, attempt));
    let restarted = restarted.buffer_unordered(SERVERS).collect::<Vec<_>>();
    let (steady, restarted) = join(run_through(&steady, attempt), restarted).await;
    steady.into_iter().chain(restarted.into_iter().flatten()).collect()
}

/// What came of many sequences.
#[derive(Default)]
struct Tally {
    steps: usize,
    /// Plays of what had been late.
    repeated: usize,
    marks: BTreeSet<&'static str>,
    /// Late the last time they were played.
    late: Vec<(u64, String)>,
    differences: Vec<String>,
}

impl Tally {
    fn add(&mut self, played: &Played) {
        let Played { plan, namespace, transcript, waits } = played;
        let lines = transcript.lines();
        self.steps += lines.len();
        for (mark, text) in MARKS {
            if !self.marks.contains(mark) && lines.iter().any(|line| line.text.contains(text)) {
                self.marks.insert(mark);
            }
        }
        match transcript::compare(plan.seed, transcript, &simulated(*plan, namespace), waits) {
            Verdict::Same => {}
            Verdict::Late(text) => self.late.push((plan.seed, text)),
            Verdict::Differ(text) => self.differences.push(text),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn seeds() -> Vec<u64> {
    match (number("REQUITE_SEED"), number("REQUITE_SEQUENCES")) {
        (Some(first), count) => (first..first + count.unwrap_or(1)).collect(),
        (None, count) => {
            let usual = 0..count.unwrap_or(SEQUENCES);
            REGRESSIONS.into_iter().filter(|it| !usual.contains(it)).chain(usual.clone()).collect()
        }
    }
}

/// Plays every seed, and those again that were late, until one differs for certain.
async fn play_all(seeds: &[u64]) -> Tally {
    let (mut seeds, mut tally) = (seeds.to_vec(), Tally::default());
    for attempt in 0..AT_ONCE.len() {
        let played = play_real(&seeds, attempt).await;
        // Not before all have been played: that would make them late.
        let judged = tokio::task::spawn_blocking(move || {
            tally.late.clear();
            played.iter().for_each(|it| tally.add(it));
            tally
        });
        tally = judged.await.unwrap();
        seeds = tally.late.iter().map(|(seed, _)| *seed).collect();
        if seeds.is_empty() || !tally.differences.is_empty() {
            return tally;
        }
        tally.repeated += seeds.len();
    }
    tally.differences.extend(tally.late.drain(..).map(|(_, text)| text));
    tally
}

#[tokio::test]
async fn both_brokers_do_the_same() {
    let _alone = PROCESSORS.lock().await;
    let (seeds, began) = (seeds(), std::time::Instant::now());
    let Tally { steps, repeated, marks, differences, .. } = play_all(&seeds).await;
    println!("{steps} steps, {repeated} late and repeated, in {:.1?}", began.elapsed());
    for difference in differences.iter().take(8) {
        println!("{difference}\n");
    }
    assert!(differences.is_empty(), "{} sequences differ", differences.len());
    let count = seeds.len();
    if count as u64 >= SEQUENCES {
        let never: Vec<_> = MARKS.iter().filter(|(mark, _)| !marks.contains(mark)).collect();
        assert!(never.is_empty(), "never happened, so nothing was compared of it: {never:?}");
    }
    let restarting = seeds.iter().filter(|seed| Plan::new(**seed).restarts()).count();
    println!(
        "proof | differential, one replica | {count} sequences | {restarting} with restarts, 0 differences"
    );
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 0..8 {
        let plan = Plan::new(seed);
        let [first, second] = [(); 2].map(|()| simulated(plan, "same"));
        assert!(matches!(transcript::compare(seed, &first, &second, &[]), Verdict::Same));
    }
}
