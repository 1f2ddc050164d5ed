//! One direction of a stream that is stored, explored to its end: every order in which its writers, one after the other
//! and beside each other, a log of slots and a bounded number of faults can come.
//!
//! As in the rest of the model, the machines are the product's: [`Writer`](crate::protocol::items::writer::Writer) and
//! [`Reader`](crate::protocol::items::reader::Reader), and whether a slot has to be empty is read off the headers of a
//! frame. A frame takes one item, so that several are on their way.
//!
//! | file | what |
//! |---|---|
//! | `setting` | who writes, which faults, how many |
//! | `world` | a state, and its steps |
//! | `log`, `eye` | the slots, and who reads them |
//! | `promises` | what must hold in every state, and what has to be reached in some |
//!
//! # What is left out
//!
//! **Time.** Nobody gives up: not a writer whose log refuses, nor a reader that misses a slot. That no slot stays out which
//! a reader would call lost is a promise of its own.
//!
//! **Room.** Credit comes, or does not come yet; it does not run out.
//!
//! **Crashes.** Whoever does no more is dead: no step is taken for granted, so every state shows what becomes of the
//! stream if one of its writers dies there, with what it has on its way stored later or never.
//!
//! **A reader's pace.** What lies in a slot stays, so a reader sees the same whenever it looks: it takes what there is. One
//! that begins only now is held against it in every state.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use stateright::{Checker, Model, Property};

use super::{Break, shortest_break, wanted};
use crate::{
    broker::Headers,
    items::lane::into_empty,
    planted::{Bug, plant},
    simulation::PROCESSORS,
    wire::header,
};

mod eye;
mod log;
mod promises;
mod setting;
mod world;

use promises::Mark;
use setting::{Setting, settings};
use world::{Step, World};

/// Of all states that are wanted of the model, the streams see one in so many.
const SHARE: u64 = 10;

/// A setting, with what the product's own code says about a slot.
struct Streams {
    setting: Setting,
    /// A frame is stored only where nothing is.
    into_empty: bool,
    marks: AtomicU64,
}

impl Streams {
    fn new(setting: Setting, bug: Option<Bug>) -> Self {
        plant(bug);
        let headers = into_empty(Headers::default(), Duration::from_secs(1));
        plant(None);
        let into_empty = headers.first(header::EXPECTED_LAST) == Some("0");
        Self { setting, into_empty, marks: AtomicU64::new(0) }
    }
}

impl Model for Streams {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.steps(self, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.apply(self, step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = promises::properties();
        all.extend(promises::reached());
        all
    }
}

fn break_of(setting: &Setting, bug: Option<Bug>) -> Option<Break<Step>> {
    let promises: Vec<_> = promises::properties().iter().map(|it| it.name).collect();
    shortest_break(|| Streams::new(setting.clone(), bug), &promises)
}

/// Sees every state of a setting: how many there are, and the marks that were reached.
fn explore(setting: &Setting) -> (u64, Vec<&'static str>) {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Streams::new(setting.clone(), None).checker().threads(threads).spawn_dfs().join();
    let found = checker.discoveries();
    let Setting { name, budget: faults, .. } = *setting;
    if let Some(property) = promises::properties().iter().find(|it| found.contains_key(it.name)) {
        let broken = break_of(setting, None).expect("it was found a moment ago");
        panic!("{name}, {faults} faults: not so: {}\nfirst of all: {broken:#?}", property.name);
    }
    let states = checker.unique_state_count() as u64;
    let (depth, took) = (checker.max_depth(), began.elapsed());
    println!("{name:<28} {faults} faults {states:>10} states, {depth:>3} deep, {took:.1?}");
    (states, Mark::NAMES.iter().copied().filter(|name| found.contains_key(name)).collect())
}

#[test]
fn a_reader_sees_one_attempt_whole_in_every_state() {
    let _alone = PROCESSORS.blocking_lock();
    let (wanted, all) = (wanted() / SHARE, settings());
    let mut states = vec![0; all.len()];
    let (mut marks, mut most) = (Vec::new(), 0);
    for (more, at) in (0u8..).flat_map(|more| (0..all.len()).map(move |at| (more, at))) {
        if more > 0 && states.iter().sum::<u64>() >= wanted {
            break;
        }
        let setting = Setting { budget: all[at].budget + more, ..all[at].clone() };
        let (seen, reached) = explore(&setting);
        // With one fault more it is the same states again, and others.
        states[at] = seen;
        marks.extend(reached);
        most = most.max(setting.budget);
    }
    let never: Vec<_> = Mark::NAMES.iter().filter(|name| !marks.contains(*name)).collect();
    assert!(never.is_empty(), "never happened, so nothing was tested of it: {never:?}");
    println!(
        "proof | model of streams | {} states | {} settings, up to {most} faults in a run, {} of {} things happened",
        states.iter().sum::<u64>(),
        all.len(),
        Mark::NAMES.len(),
        Mark::NAMES.len(),
    );
}

#[test]
fn every_twin_breaks_its_promise() {
    let all = settings();
    for name in ["goes on", "begins anew", "two join"] {
        let setting = all.iter().find(|it| it.name == name).expect("a setting of that name");
        let setting = Setting { budget: 0, ..setting.clone() };
        let broken = break_of(&setting, Some(Bug::ItemUnchecked)).expect("frames are written over others");
        println!("{name:<28} {:>6} {:>7}  {}", broken.steps.len(), broken.states, broken.promise);
        // A later writer's first frame, where a reader has been already.
        assert_eq!(broken.promise, promises::ENDS, "by {:?}", broken.steps);
    }
}
