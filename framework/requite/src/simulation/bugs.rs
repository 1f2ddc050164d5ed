//! The checks, tried on known bugs: each has to break a promise, and one that it is known to break.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{PROCESSORS, Plan, play};
use crate::planted::{Bug, plant};

/// How many seeds may be needed to notice a bug.
const SEEDS: u64 = 300;

/// The promises that a bug broke in the first seed that showed it.
struct Found {
    seed: u64,
    broken: BTreeMap<&'static str, usize>,
}

fn find(bug: Bug) -> Option<Found> {
    let plan = if bug == Bug::ItemUnchecked { Plan::with_streams } else { Plan::new };
    (0..SEEDS).find_map(|seed| {
        plant(Some(bug));
        let report = play(plan(seed));
        plant(None);
        let mut broken = BTreeMap::new();
        for it in &report.broken {
            *broken.entry(it.name).or_default() += 1;
        }
        (!broken.is_empty()).then_some(Found { seed, broken })
    })
}

#[test]
fn every_planted_bug_breaks_a_promise() {
    let _alone = PROCESSORS.blocking_lock();
    let next = AtomicUsize::new(0);
    let search = || {
        let mut found = Vec::new();
        while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push((*bug, find(*bug)));
        }
        found
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(search)).collect();
        threads.into_iter().flat_map(|it| it.join().expect("nothing panics over a bug")).collect()
    });
    for (bug, found) in &found {
        match found {
            Some(Found { seed, broken }) => println!("{bug:?}: seed {seed}, {broken:?}"),
            None => println!("{bug:?}: not noticed in {SEEDS} seeds"),
        }
    }
    let noticed = found.iter().filter(|(_, found)| found.is_some()).count();
    println!("proof | planted bugs, by the simulation | {} bugs | {noticed} noticed", found.len());
    let missed: Vec<_> = found.iter().filter(|(_, found)| found.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
