//! The protocol, explored to its end: every order in which callers, workers, a server and a bounded number of faults
//! can come, and the promises held against every state on the way.
//!
//! This is no second description of the protocol. Each delivery is driven by the machine that the product drives,
//! [`Attempt`](crate::protocol::attempt::Attempt), each call by [`Caller`](crate::protocol::caller::Caller); whether an
//! id is queued once is read off the stream's configuration, whether an outcome is compared off the record's headers.
//! Only what stands between them is made here: a work queue whose acks nobody fences, a record by compare-and-set,
//! message ids that a restart forgets, and what does what a machine asks for.
//!
//! | file | what |
//! |---|---|
//! | `setting` | who takes part, which faults, how many |
//! | `world` | a state, and its steps |
//! | `server`, `worker`, `caller`, `cancel` | what each can do, and what can go wrong with it |
//! | `promises` | what must hold in every state |
//! | `marks` | what has to be reached in some |
//! | `twins` | known bugs, and the promise that each breaks |
//! | `streams` | the same of a stream's two ends and the log between them |
//!
//! # What is left out
//!
//! **Time.** No clock runs. A machine is told that it is now, until its deadline passes or it has waited for as long as
//! it has to; both may happen at any moment, but not before what the take-over rules rest on:
//!
//! - A worker's own lease ends before the server's. So a delivery is given to the next worker when the one before it has
//!   died, lost its lease or handed back, or when a server forgot it; a heartbeat that nobody fences counts for whoever
//!   has the message.
//! - A worker that can be reached answers whether a request is its own, and writes the claim that a reconnect asks for,
//!   before a newcomer has waited for as long as it must, or asked for as long as that takes. One that cannot be reached
//!   then may run beside the newcomer: the promise that two never run at once does not cover it, the compare-and-set and
//!   the fencing do.
//! - A first copy of a request that a later one has overtaken is not fresh any more when it arrives.
//! - An outcome is kept for as long as anybody may ask; a call gives up accepting long before.
//!
//! So this shows nothing about the lengths of these times, nor about clocks that jump: the lease's own tests, the
//! simulation and the tests on servers do.
//!
//! **Connections.** A worker's two connections break as one. What is not sent while they are down is not modelled piece
//! by piece; a write, an ack or a NAK that hangs is. Heartbeats, barriers, pulls and slots are not here.
//!
//! **Places.** Every delivery is at a worker of its own: a process that dies with several requests is several faults.
//! Reads of the leader are true; replicas may know of no record yet.
//!
//! # How it is run
//!
//! `cargo test -p requite --lib model` explores the settings as they stand. `REQUITE_STATES=50000000` lets one fault
//! more strike in each, and again one more, until that many states have been seen.

use std::{collections::BTreeSet, fmt::Debug, hash::Hash, sync::atomic::AtomicU64, time::Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{
    name::Name,
    planted::{Bug, plant},
    server::{checkpoint, method::record_headers},
    service::Method,
    setup::{self, Plan, Setup, StreamLimits},
    simulation::PROCESSORS,
    subject::ServiceSubjects,
    wire::{header, record::Kind},
};

mod caller;
mod cancel;
mod marks;
mod promises;
mod server;
mod setting;
mod streams;
mod twins;
mod worker;
mod world;

use marks::Mark;
use setting::{Setting, settings};
use world::{Step, World};

/// How many states a run of continuous integration sees at least.
const STATES: u64 = 1_000_000;

/// A setting, with what the product's own code says about the server in it.
struct Protocol {
    setting: Setting,
    /// The bug that is planted while a machine is fed.
    bug: Option<Bug>,
    /// The request stream takes one message for an id.
    one_per_subject: bool,
    /// An outcome is stored by compare-and-set.
    compares_outcomes: bool,
    /// A checkpoint names its claim.
    compares_checkpoints: bool,
    marks: AtomicU64,
}

impl Protocol {
    fn new(setting: Setting, bug: Option<Bug>) -> Self {
        plant(bug);
        let name = |text: &str| text.parse::<Name>().expect("a valid name");
        let plan = Plan {
            subjects: &ServiceSubjects::new(&name("rq"), &name("mill")),
            about: String::new(),
            methods: &[Method::new("mill", "grind")],
            limits: StreamLimits::default(),
            setup: Setup::Create,
        };
        let requests = setup::requests(&plan);
        let one_per_subject = requests.discard_new_per_subject && requests.max_msgs_per_subject == 1;
        let compares_outcomes =
            record_headers(Kind::Outcome, 7, None).first(header::EXPECTED_LAST) == Some("7");
        let compares_checkpoints =
            checkpoint::headers(7, String::new()).first(header::EXPECTED_LAST) == Some("7");
        plant(None);
        let marks = AtomicU64::new(0);
        Self { setting, bug, one_per_subject, compares_outcomes, compares_checkpoints, marks }
    }

    fn is_compared(&self, kind: Kind) -> bool {
        kind != Kind::Outcome || self.compares_outcomes
    }

    /// Does something with the bug planted: the checker's threads are its own.
    fn with_bug<T>(&self, act: impl FnOnce() -> T) -> T {
        plant(self.bug);
        let done = act();
        plant(None);
        done
    }
}

impl Model for Protocol {
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
        self.with_bug(|| next.apply(self, step));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = promises::properties();
        all.extend(marks::reached());
        all
    }
}

/// What came of one setting.
struct Explored {
    name: &'static str,
    faults: u8,
    states: u64,
    /// The marks that were reached.
    marks: BTreeSet<&'static str>,
}

/// Sees every state of a setting.
fn explore(setting: &Setting) -> Explored {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Protocol::new(setting.clone(), None).checker().threads(threads).spawn_dfs().join();
    let found = checker.discoveries();
    let Setting { name, budget: faults, .. } = *setting;
    if let Some(property) = promises::properties().iter().find(|it| found.contains_key(it.name)) {
        // The way on which it was found is long; the shortest one is worth another search.
        let broken = break_of(setting, None).expect("it was found a moment ago");
        panic!("{name}, {faults} faults: not so: {}\nfirst of all: {broken:#?}", property.name);
    }
    let states = checker.unique_state_count() as u64;
    let marks = Mark::NAMES.iter().copied().filter(|name| found.contains_key(name)).collect();
    let (depth, took) = (checker.max_depth(), began.elapsed());
    println!("{name:<28} {faults} faults {states:>10} states, {depth:>3} deep, {took:.1?}");
    Explored { name, faults, states, marks }
}

/// A promise that was broken, and the shortest way there.
#[derive(Debug)]
struct Break<S> {
    promise: &'static str,
    steps: Vec<S>,
    /// How many states were seen before.
    states: usize,
}

fn break_of(setting: &Setting, bug: Option<Bug>) -> Option<Break<Step>> {
    let promises: Vec<_> = promises::properties().iter().map(|it| it.name).collect();
    shortest_break(|| Protocol::new(setting.clone(), bug), &promises)
}

/// Looks for the shortest way to a broken promise: the checker notes the last of those that it finds at about the same
/// time, so it is asked for each length in turn.
fn shortest_break<M>(model: impl Fn() -> M, promises: &[&'static str]) -> Option<Break<M::Action>>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync> + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let mut before = 0;
    for depth in 1.. {
        let failing = model().checker().finish_when(HasDiscoveries::AnyFailures);
        let checker = failing.target_max_depth(depth).spawn_bfs().join();
        let (found, states) = (checker.discoveries(), checker.unique_state_count());
        if let Some(promise) = promises.iter().find(|it| found.contains_key(**it)) {
            let steps = found[*promise].clone().into_actions();
            return Some(Break { promise, steps, states });
        }
        if states == before {
            break;
        }
        before = states;
    }
    None
}

fn wanted() -> u64 {
    std::env::var("REQUITE_STATES").map_or(STATES, |text| text.parse().expect("a number of states"))
}

#[test]
fn the_promises_hold_in_every_state() {
    let _alone = PROCESSORS.blocking_lock();
    let wanted = wanted();
    let mut explored: Vec<Explored> = Vec::new();
    let all = settings();
    for (more, at) in (0u8..).flat_map(|more| (0..all.len()).map(move |at| (more, at))) {
        let states: u64 = explored.iter().map(|it| it.states).sum();
        if more > 0 && states >= wanted {
            break;
        }
        let setting = Setting { budget: all[at].budget + more, ..all[at].clone() };
        let one = explore(&setting);
        // With one fault more it is the same states again, and others.
        explored.retain(|it| it.name != one.name);
        explored.push(one);
    }
    let marks: BTreeSet<_> = explored.iter().flat_map(|it| it.marks.iter().copied()).collect();
    let never: Vec<_> = Mark::NAMES.iter().filter(|name| !marks.contains(*name)).collect();
    assert!(never.is_empty(), "never happened, so nothing was tested of it: {never:?}");
    let states: u64 = explored.iter().map(|it| it.states).sum();
    let faults: Vec<_> = explored.iter().map(|it| it.faults).collect();
    let (least, most) = (faults.iter().min().expect("some"), faults.iter().max().expect("some"));
    assert!(states >= STATES, "{states} states are too few");
    println!(
        "proof | model | {states} states | {} settings, {least} to {most} faults in a run, {} of {} things happened",
        explored.len(),
        marks.len(),
        Mark::NAMES.len()
    );
}
