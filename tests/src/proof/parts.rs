//! What proves what: every checker as a command, in parts that can be run one at a time.

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// By which it is asked for.
    pub name: &'static str,
    /// What it tries.
    pub what: &'static str,
    /// Arguments of cargo.
    cargo: &'static str,
    /// Environment variables that ask for more than the tests do by themselves.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Part {
    /// Arguments of cargo.
    pub fn arguments(&self) -> impl Iterator<Item = &'static str> {
        self.cargo.split(' ')
    }
}

/// All parts, in the order in which they are likeliest to fail.
pub const PARTS: &[Part] = &[
    Part {
        name: "bugs",
        what: "ten planted bugs, each noticed by the simulation",
        cargo: "test -p requite --lib simulation::bugs -- --nocapture",
        environment: &[],
    },
    Part {
        name: "simulation",
        what: "the whole core in virtual time, 10,000 seeds",
        cargo: "test -p requite --lib simulation::the_promises -- --nocapture",
        environment: &[("REQUITE_SEEDS", "10000")],
    },
    Part {
        name: "differential",
        what: "2,000 random sequences on the simulated and on a real server",
        cargo: "test -p requite --lib differential -- --nocapture",
        environment: &[("REQUITE_SEQUENCES", "2000")],
    },
    Part {
        name: "model",
        what: "every order of steps and faults, 50 M states; known-bad twins",
        cargo: "test -p requite --lib model:: -- --nocapture",
        environment: &[("REQUITE_STATES", "50000000")],
    },
    Part {
        name: "faults",
        what: "one fault in one step, on real processes",
        cargo: "run -p tests --bin faults -- --all --at-once 6",
        environment: &[],
    },
    Part {
        name: "soak-one",
        what: "ten minutes of random load under random faults, one server",
        cargo: "run --release -p tests --bin soak -- --minutes 10 --seed 1 --servers 1",
        environment: &[],
    },
    Part {
        name: "soak-three",
        what: "the same on three servers",
        cargo: "run --release -p tests --bin soak -- --minutes 10 --seed 1 --servers 3",
        environment: &[],
    },
    Part {
        name: "security",
        what: "least privilege: what everybody needs, and what nobody may, on three server versions",
        cargo: "test -p tests --test security -- --nocapture",
        environment: &[],
    },
];
