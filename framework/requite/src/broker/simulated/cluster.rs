//! Three servers as clients see them: JetStream without a leader while one is elected, and a leader that was cut off
//! from the others and does not know it.
//!
//! One server leads everything. What it confirms is on the others too, except heartbeats and NAKs, which it confirms
//! alone; so a leader that was cut off goes on to confirm those, and to answer reads, until it steps down. Of what it
//! took in meanwhile nothing is left, unless it is still the leader when it is back.

use super::{
    api::JetStream,
    network::{LinkId, Network},
    stream::Publish,
    turn::Turn,
};
use crate::broker::Outgoing;

const SECOND: u64 = 1_000_000_000;
/// An election that the leader did not hand over takes this long, and up to as much more.
const ELECTION: (u64, u64) = (4 * SECOND, 5 * SECOND);
/// A leader looks every 10 s whether it heard nobody for 10 s.
const STEPS_DOWN: (u64, u64) = (10 * SECOND, 10 * SECOND);
/// A replica is behind by this much at most.
const LAG: u64 = 50_000_000;

/// Which servers a connection ends at while the cluster is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    #[default]
    Majority,
    Minority,
}

/// How an election begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// The leader died.
    Death,
    /// The leader stepped down in good order, as in a rolling upgrade; message ids are forgotten by the end of that.
    Upgrade,
}

/// A leader without its followers.
struct CutOff {
    jetstream: JetStream,
    steps_down_at: u64,
    /// What it took in and could not commit.
    uncommitted: Vec<(LinkId, Outgoing)>,
}

/// What is different where there are several servers.
#[derive(Default)]
pub(super) struct Cluster {
    /// Until when nobody leads the majority.
    leaderless_until: u64,
    /// Counts elections; one that the old leader's return ended is none.
    election: u64,
    /// The election under way ends with an upgrade.
    upgrade: bool,
    cut_off: Option<CutOff>,
}

impl Cluster {
    /// Whether anybody leads on this side.
    pub(super) fn leads(&self, side: Side, elapsed: u64) -> bool {
        match (side, &self.cut_off) {
            (Side::Minority, Some(cut_off)) => elapsed < cut_off.steps_down_at,
            _ => elapsed >= self.leaderless_until,
        }
    }

    /// The state of the leader that was cut off.
    pub(super) fn cut_off(&mut self) -> Option<&mut JetStream> {
        self.cut_off.as_mut().map(|it| &mut it.jetstream)
    }

    /// When the leader that was cut off has something to do, by the server's clock.
    pub(super) fn next_wake(&self, elapsed: u64) -> Option<u64> {
        self.cut_off.as_ref().filter(|it| elapsed < it.steps_down_at)?.jetstream.next_wake()
    }

    /// The leader is gone: which election this is, and when it is over.
    pub(super) fn elect(&mut self, election: Election, network: &mut Network, elapsed: u64) -> (u64, u64) {
        let span = match election {
            Election::Death => ELECTION.0 + network.random.below(ELECTION.1),
            Election::Upgrade => SECOND / 10 + network.random.below(2 * SECOND),
        };
        self.upgrade |= election == Election::Upgrade;
        self.leaderless_until = self.leaderless_until.max(elapsed + span);
        self.election += 1;
        (self.election, self.leaderless_until)
    }

    /// An election is over: whether message ids are forgotten by it; nothing if another one has begun meanwhile.
    pub(super) fn elected(&mut self, election: u64) -> Option<bool> {
        (election == self.election).then(|| std::mem::take(&mut self.upgrade))
    }

    /// Whether the servers see one another.
    pub(super) fn is_whole(&self) -> bool {
        self.cut_off.is_none()
    }

    /// Cuts the leader off, with what it knows.
    pub(super) fn split(&mut self, jetstream: &JetStream, network: &mut Network, elapsed: u64) {
        let steps_down_at = elapsed + STEPS_DOWN.0 + network.random.below(STEPS_DOWN.1);
        self.cut_off = Some(CutOff { jetstream: jetstream.clone(), steps_down_at, uncommitted: Vec::new() });
    }

    /// Keeps what a leader without followers cannot commit.
    pub(super) fn keep(&mut self, link: LinkId, message: &Outgoing) {
        if let Some(cut_off) = &mut self.cut_off {
            cut_off.uncommitted.push((link, message.clone()));
        }
    }

    /// The servers see one another again: what is committed now, if nobody else has been elected.
    pub(super) fn heal(&mut self, elapsed: u64) -> Vec<(LinkId, Outgoing)> {
        let Some(cut_off) = self.cut_off.take() else { return Vec::new() };
        if self.leads(Side::Majority, elapsed) {
            return Vec::new();
        }
        self.leaderless_until = elapsed;
        self.election += 1;
        cut_off.uncommitted
    }
}

/// What is done without a leader: whether anybody listens on the subject at all.
pub(super) fn take_leaderless(jetstream: &mut JetStream, publish: &Publish<'_>, turn: &mut Turn<'_>) -> bool {
    let Some(question) = publish.subject.strip_prefix("$JS.API.") else { return false };
    if question.starts_with("DIRECT.GET.") || question == "STREAM.NAMES" {
        return jetstream.take(publish, turn);
    }
    // The others are heard, and answered by nobody.
    !question.starts_with("CONSUMER.MSG.NEXT.")
}

/// How far the replica that answers a direct get is behind.
pub(super) fn draw_lag(network: &mut Network) -> u64 {
    if network.random.below(5) == 0 { network.random.below(LAG) } else { 0 }
}
