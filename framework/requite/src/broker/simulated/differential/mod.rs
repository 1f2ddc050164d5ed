//! The simulated server against a real one: random operations on both, compared step by step.
//!
//! What differs is a mistake of the simulation. `REQUITE_SEED=n REQUITE_SEQUENCES=1` replays one sequence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use requite_test::NatsServer;
use tokio::sync::Barrier;

use super::{Connection, Simulation};
use crate::broker::jetstream::{self, Settings};

mod play;

const SEQUENCES: u64 = 200;
const AT_ONCE: usize = 70;
/// A busy machine can stretch real time over a lease; a mistake differs every time. What differed is played again with
/// fewer beside it.
const TRIES: u64 = 4;
/// After a restart the server looks at leases within 1.5 s, and all of them have run out.
const AFTER_RESTART: Duration = Duration::from_millis(3_500);

/// Plays a sequence on the simulation; between phases either time passes or the server restarts.
fn simulated(seed: u64, namespace: &str, restart: bool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let simulation = Simulation::new(seed);
        let broker: Connection = simulation.connect("player").unwrap();
        play::play(&broker, seed, namespace, async |wait| {
            if restart {
                simulation.restart(Duration::from_millis(100));
                tokio::time::sleep(AFTER_RESTART).await;
            } else {
                tokio::time::sleep(wait).await;
            }
        })
        .await
    })
}

async fn simulated_aside(seed: u64, namespace: String, restart: bool) -> Vec<String> {
    tokio::task::spawn_blocking(move || simulated(seed, &namespace, restart)).await.unwrap()
}

/// The first step that differs, with what led to it.
fn difference(seed: u64, real: &[String], simulated: &[String]) -> Option<String> {
    let at = (0..real.len().max(simulated.len())).find(|at| real.get(*at) != simulated.get(*at))?;
    let before = real[at.saturating_sub(40)..at].join("\n  ");
    Some(format!(
        "seed {seed}, after\n  {before}\nreal:      {}\nsimulated: {}",
        real.get(at).map_or("nothing", String::as_str),
        simulated.get(at).map_or("nothing", String::as_str),
    ))
}

/// Plays sequences, so many at a time: which differ, and how.
async fn compare(
    broker: &jetstream::Connection,
    seeds: &[u64],
    attempt: u64,
    at_once: usize,
) -> Vec<(u64, String)> {
    let next = AtomicUsize::new(0);
    let players = (0..at_once).map(async |_| {
        let mut differences = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let namespace = format!("d{seed}t{attempt}");
            let wait = async |wait| tokio::time::sleep(wait).await;
            let real = play::play(broker, *seed, &namespace, wait).await;
            let difference = difference(*seed, &real, &simulated_aside(*seed, namespace, false).await);
            differences.extend(difference.map(|it| (*seed, it)));
        }
        differences
    });
    join_all(players).await.concat()
}

async fn connect(server: &NatsServer) -> jetstream::Connection {
    let mut settings = Settings { inbox_owner: "player".into(), ..Settings::default() };
    settings.addresses(&server.url()).unwrap();
    jetstream::Connection::connect(Arc::new(settings), "player").await.unwrap()
}

fn report(differences: &[String]) {
    let shown = differences.iter().take(4).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(differences.is_empty(), "{} sequences differ\n\n{shown}", differences.len());
}

#[tokio::test]
async fn both_brokers_do_the_same() {
    let server = NatsServer::start().await.unwrap();
    let broker = connect(&server).await;
    let first = setting("REQUITE_SEED").unwrap_or(1);
    let mut seeds: Vec<u64> = (first..first + setting("REQUITE_SEQUENCES").unwrap_or(SEQUENCES)).collect();
    let mut differences = Vec::new();
    for (attempt, at_once) in (0..TRIES).zip([AT_ONCE, 8, 4, 2]) {
        let found = compare(&broker, &seeds, attempt, at_once).await;
        (seeds, differences) = found.into_iter().unzip();
        if seeds.is_empty() {
            break;
        }
    }
    report(&differences);
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays sequences with restarts of a server that they share, so they wait for each other before it restarts: which
/// differ, and how.
async fn restart_together(server: &mut NatsServer, seeds: &[u64], attempt: u64) -> Vec<(u64, String)> {
    let (broker, server) = (connect(server).await, tokio::sync::Mutex::new(server));
    let barrier = Barrier::new(seeds.len());
    let players = seeds.iter().map(async |seed| {
        let namespace = format!("r{seed}t{attempt}");
        let real = play::play(&broker, *seed, &namespace, async |_| {
            if barrier.wait().await.is_leader() {
                server.lock().await.restart().await.unwrap();
            }
            barrier.wait().await;
            tokio::time::sleep(AFTER_RESTART).await;
        });
        let real = real.await;
        let difference = difference(*seed, &real, &simulated_aside(*seed, namespace, true).await);
        difference.map(|it| (*seed, it))
    });
    join_all(players).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn both_brokers_restart_the_same() {
    let mut server = NatsServer::start().await.unwrap();
    let first = setting("REQUITE_SEED").unwrap_or(10_000);
    let mut seeds: Vec<u64> = (first..first + AT_ONCE as u64).collect();
    let mut differences = Vec::new();
    for attempt in 0..TRIES {
        let found = restart_together(&mut server, &seeds, attempt).await;
        (seeds, differences) = found.into_iter().unzip();
        if seeds.is_empty() {
            break;
        }
    }
    report(&differences);
}

#[test]
fn one_seed_gives_one_run() {
    assert_eq!(simulated(7, "same", false), simulated(7, "same", false));
}
