//! What can be made to go wrong between a client and the server, and the randomness of the whole simulation.

use std::time::Duration;

use super::{pattern::matches, turn::Kind};
use crate::wire::jetstream::nanos;

/// A seeded generator (splitmix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0; the small bias does not matter here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// How long a message travels between a client and the server: `fixed`, give or take `jitter`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) fixed: Duration,
    pub(super) jitter: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { fixed: Duration::from_micros(200), jitter: Duration::from_micros(100) }
    }
}

impl Latency {
    pub(super) fn draw(self, random: &mut Random) -> u64 {
        let (fixed, jitter) = (nanos(self.fixed), nanos(self.jitter));
        (fixed + random.below(2 * jitter + 1)).saturating_sub(jitter)
    }
}

/// Messages from the server that are to be lost.
#[derive(Clone, Debug)]
pub(super) enum Losing {
    /// Answers to publishes into streams, on one connection.
    PubAcks(String),
    /// Answers to requests of any kind, on one connection.
    Answers(String),
    /// Everything shown under a subject of this pattern: pushes, deliveries, signals.
    Subject(String),
}

/// Publishes that hang in the network.
#[derive(Clone, Debug)]
pub(super) struct Hanging {
    pub(super) pattern: String,
    /// What their payload begins with.
    pub(super) begins: &'static str,
    pub(super) delay: Duration,
}

/// What goes wrong, and how often still.
#[derive(Debug, Default)]
pub(super) struct Faults {
    losing: Vec<(Losing, usize)>,
    /// Publishes that hang in the network.
    hanging: Vec<(Hanging, usize)>,
    /// Connection, or none for all, and pattern.
    denied: Vec<(Option<String>, String)>,
}

impl Faults {
    pub(super) fn lose(&mut self, losing: Losing, count: usize) {
        self.losing.push((losing, count));
    }

    pub(super) fn hang(&mut self, hanging: Hanging, count: usize) {
        self.hanging.push((hanging, count));
    }

    pub(super) fn deny(&mut self, link: Option<&str>, pattern: &str) {
        self.denied.push((link.map(str::to_owned), pattern.to_owned()));
    }

    /// Permissions are back; what was to be lost or to hang is not.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Whether this message to `link` is lost; `answer` if it answers a request of the connection.
    pub(super) fn loses(&mut self, link: &str, subject: &str, kind: Kind, answer: bool) -> bool {
        take(&mut self.losing, |it| match it {
            Losing::PubAcks(name) => name == link && kind == Kind::PubAck,
            Losing::Answers(name) => name == link && answer,
            Losing::Subject(pattern) => matches(pattern, subject),
        })
        .is_some()
    }

    /// How long a publish hangs in the network.
    pub(super) fn hangs(&mut self, subject: &str, payload: &[u8]) -> Option<Duration> {
        let fits = |it: &Hanging| matches(&it.pattern, subject) && payload.starts_with(it.begins.as_bytes());
        take(&mut self.hanging, fits).map(|it| it.delay)
    }

    pub(super) fn denies(&self, link: &str, subject: &str) -> bool {
        self.denied
            .iter()
            .any(|(name, pattern)| name.as_deref().is_none_or(|it| it == link) && matches(pattern, subject))
    }
}

/// Counts down the first entry that fits and removes it at 0.
fn take<T: Clone>(counted: &mut Vec<(T, usize)>, fits: impl Fn(&T) -> bool) -> Option<T> {
    let at = counted.iter().position(|(it, left)| *left > 0 && fits(it))?;
    let (taken, left) = &mut counted[at];
    let taken = taken.clone();
    *left -= 1;
    if *left == 0 {
        counted.remove(at);
    }
    Some(taken)
}
