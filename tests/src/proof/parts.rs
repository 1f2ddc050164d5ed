//! What proves what: every checker as a command, in parts that can be run one at a time.

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// By which it is asked for.
    pub name: &'static str,
    /// What it tries.
    pub what: &'static str,
    /// Program and arguments, from the repository's root.
    command: &'static str,
    /// Environment variables that ask for more than the tests do by themselves.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Part {
    /// Program and arguments.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.command.split(' ')
    }
}

/// All parts, in the order in which they are likeliest to fail.
pub const PARTS: &[Part] = &[
    Part {
        name: "bugs",
        what: "thirteen planted bugs, each noticed by the simulation",
        command: "cargo test -p requite --lib simulation::bugs -- --nocapture",
        environment: &[],
    },
    Part {
        name: "simulation",
        what: "the whole core in virtual time, 10,000 seeds",
        command: "cargo test -p requite --lib simulation::the_promises -- --nocapture",
        environment: &[("REQUITE_SEEDS", "10000")],
    },
    Part {
        name: "differential",
        what: "2,000 random sequences on the simulated and on a real server",
        command: "cargo test -p requite --lib differential -- --nocapture",
        environment: &[("REQUITE_SEQUENCES", "2000")],
    },
    Part {
        name: "model",
        what: "every order of steps and faults, 50 M states, and 5 M of streams; known-bad twins",
        command: "cargo test -p requite --lib model:: -- --nocapture",
        environment: &[("REQUITE_STATES", "50000000")],
    },
    Part {
        name: "inputs",
        what: "strangers' bytes and arbitrary clocks: inputs that were kept, 20,000 variations for each target",
        command: "cargo test -p requite --lib fuzzing -- --nocapture",
        environment: &[("REQUITE_FUZZ_INPUTS", "20000")],
    },
    Part {
        name: "fuzz",
        what: "the same under a fuzzer that looks for new branches, 3 minutes a target; needs a C++ compiler",
        command: "tests/fuzz/run --seconds 180",
        environment: &[],
    },
    Part {
        name: "faults",
        what: "one fault in one step, on real processes",
        command: "cargo run -p tests --bin faults -- --all --at-once 6",
        environment: &[],
    },
    Part {
        name: "soak-one",
        what: "ten minutes of random load under random faults, one server",
        command: "cargo run --release -p tests --bin soak -- --minutes 10 --seed 1 --servers 1",
        environment: &[],
    },
    Part {
        name: "soak-three",
        what: "the same on three servers",
        command: "cargo run --release -p tests --bin soak -- --minutes 10 --seed 1 --servers 3",
        environment: &[],
    },
    Part {
        name: "leases",
        what: "100,000 requests in flight in one worker for five leases",
        command: "cargo bench -p requite --bench leases -- --requests 100000",
        environment: &[],
    },
    Part {
        name: "security",
        what: "least privilege: what everybody needs, and what nobody may, on three server versions",
        command: "cargo test -p tests --test security -- --nocapture",
        environment: &[],
    },
];
