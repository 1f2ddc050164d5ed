//! The whole core under faults, in virtual time: real clients, servers, keepers and state machines over the simulated
//! broker, thousands of seeds, and the promises checked after each.
//!
//! A seed decides everything, so a failure is repeated by its seed: `REQUITE_SEED=7 cargo test -p requite --lib
//! simulation`. `REQUITE_SEEDS=10000` plays more of them than usual.
//!
//! | file | what |
//! |---|---|
//! | `plan` | what a seed decides |
//! | `stage` | the plan, played |
//! | `worker`, `caller` | the processes |
//! | `standstill` | how they stand still |
//! | `history` | what handlers and callers saw |
//! | `evidence` | what the broker has to show for it |
//! | `streams` | what of them is sent and read |
//! | `checks`, `leases` | the promises, held against both |
//! | `bugs` | which planted bug breaks which promise |
//! | `marks` | what has to have happened, sometimes |

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Mutex;

use crate::broker::simulated::{Passage, Random};

mod bugs;
mod caller;
mod checks;
mod evidence;
mod history;
mod leases;
mod marks;
mod plan;
mod stage;
pub(crate) mod standstill;
mod streams;
mod worker;

use checks::Broken;
use marks::Marks;
pub(crate) use marks::{Mark, mark};
use plan::Plan;

/// Held by tests that keep every processor busy, and by those that hold their own clock against a real server's: beside
/// the first, the second are late.
pub(crate) static PROCESSORS: Mutex<()> = Mutex::const_new(());
/// How many seeds are played if nobody says otherwise.
const SEEDS: u64 = 2_000;
/// The same for runs with streams, which take several times as long.
const SEEDS_WITH_STREAMS: u64 = 100;
/// Seeds beyond the usual ones that found something, always played. Whatever changes what a seed decides makes other
/// runs of them: the list then begins anew.
const REGRESSIONS: [u64; 2] = [9377, 9568];

thread_local! {
    /// Where the ids of instances come from while a simulation runs on this thread.
    static SEEDED: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// Random bits that the seed gives, in a simulation.
pub(crate) fn seeded_bits() -> Option<[u8; 16]> {
    SEEDED.with_borrow_mut(|seeded| {
        let random = seeded.as_mut()?;
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        Some(bits.to_be_bytes())
    })
}

/// What came of one seed.
struct Report {
    /// Promises that were broken.
    broken: Vec<Broken>,
    marks: Marks,
    log: Vec<Passage>,
}

/// Plays one seed.
fn run(seed: u64) -> Report {
    play(Plan::new(seed))
}

fn play(plan: Plan) -> Report {
    SEEDED.set(Some(Random::new(!plan.seed)));
    marks::take();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without threads can be built");
    let played = runtime.block_on(stage::play(plan.clone()));
    drop(runtime);
    SEEDED.set(None);
    let broken = checks::check(&plan, &played);
    Report { broken, marks: marks::take(), log: played.log }
}

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What came of many seeds.
#[derive(Default)]
struct Tally {
    marks: Marks,
    /// The seeds that broke promises, and which.
    broken: BTreeMap<u64, Vec<Broken>>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (mark, count) in other.marks {
            *self.marks.entry(mark).or_default() += count;
        }
        self.broken.extend(other.broken);
    }
}

/// Plays seeds on every processor; each stays on one thread.
fn run_all(seeds: &[u64], plan: fn(u64) -> Plan) -> Tally {
    let next = AtomicUsize::new(0);
    let play = || {
        let mut tally = Tally::default();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Report { broken, marks, .. } = play(plan(*seed));
            let broken = BTreeMap::from_iter((!broken.is_empty()).then_some((*seed, broken)));
            tally.add(Tally { marks, broken });
        }
        tally
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        let mut tally = Tally::default();
        for thread in threads {
            tally.add(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        tally
    })
}

#[test]
fn the_promises_hold_whatever_goes_wrong() {
    let _alone = PROCESSORS.blocking_lock();
    let seeds: Vec<u64> = match number("REQUITE_SEED") {
        Some(seed) => vec![seed],
        None => REGRESSIONS.into_iter().chain(0..number("REQUITE_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let began = std::time::Instant::now();
    let Tally { marks, broken } = run_all(&seeds, Plan::new);
    println!("{} seeds in {:.1?}: {marks:?}", seeds.len(), began.elapsed());
    for (seed, broken) in broken.iter().take(10) {
        println!("REQUITE_SEED={seed} repeats this, of {:?}:", Plan::new(*seed).faults);
        broken.iter().for_each(|it| println!("  {it}"));
    }
    assert!(broken.is_empty(), "seeds that break promises: {:?}", broken.keys());
    if seeds.len() as u64 >= SEEDS {
        let never: Vec<_> = Mark::ALL.into_iter().filter(|mark| !marks.contains_key(mark)).collect();
        assert!(never.is_empty(), "never happened, so nothing was tested of it: {never:?}");
    }
    let faults =
        [Mark::Redelivery, Mark::Forgotten, Mark::TakeOver, Mark::LostLease, Mark::Death, Mark::Election];
    let faults = faults.map(|mark| format!("{} {mark:?}", marks.get(&mark).unwrap_or(&0))).join(", ");
    println!("proof | simulation | {} seeds | {faults}", seeds.len());
}

#[test]
fn the_promises_of_streams_hold_whatever_goes_wrong() {
    let _alone = PROCESSORS.blocking_lock();
    let seeds: Vec<u64> = match number("REQUITE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("REQUITE_SEEDS").unwrap_or(SEEDS_WITH_STREAMS)).collect(),
    };
    let Tally { marks, broken } = run_all(&seeds, Plan::with_streams);
    for (seed, broken) in broken.iter().take(10) {
        println!("REQUITE_SEED={seed} repeats this, of {:?}:", Plan::with_streams(*seed).faults);
        broken.iter().for_each(|it| println!("  {it}"));
    }
    assert!(broken.is_empty(), "seeds that break promises: {:?}", broken.keys());
    if seeds.len() as u64 >= SEEDS_WITH_STREAMS {
        let never: Vec<_> = Mark::OF_STREAMS.into_iter().filter(|mark| !marks.contains_key(mark)).collect();
        assert!(never.is_empty(), "never happened, so nothing was tested of it: {never:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..5 {
        let (first, second) = (run(seed), run(seed));
        let differs = first.log.iter().zip(&second.log).position(|(first, second)| first != second);
        if let Some(at) = differs {
            panic!("seed {seed}, entry {at}: {:?} then {:?}", first.log[at], second.log[at]);
        }
        assert_eq!(first.log.len(), second.log.len(), "seed {seed}");
        assert!(!first.log.is_empty());
    }
}
