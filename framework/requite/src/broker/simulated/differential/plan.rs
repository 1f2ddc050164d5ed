//! What is decided about a sequence before it begins: how long its leases are, and what happens between its phases.
//!
//! Nothing hangs on a moment. Whatever starts a lease or a time to live happens in a phase; phases begin at fixed times;
//! and a lease outlasts one pause and both phases around it, but never two pauses. After a restart it may be a second
//! shorter, because stamps on disk are cut, and the server looks at leases within 1.5 s.

use std::time::Duration;

/// How often something happens between two phases.
pub(super) const PAUSES: usize = 3;
/// The steps of a phase, without what the machine adds, take less; with it, they may take [`PHASE_SLACK`] more.
///
/// [`PHASE_SLACK`]: super::transcript::PHASE_SLACK
const PHASE: Duration = Duration::from_millis(600);

/// What happens to the server while time passes between two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Before the first phase: until all who share the server are ready, and its clock shows a full second. The stamps
    /// of a phase are then cut to the same one.
    Begin,
    Wait,
    /// Stopped in good order, and started again.
    Stop,
    /// Killed once it has written what it had to write, and started again.
    Kill,
}

/// One sequence, before it is played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) pauses: [Pause; PAUSES],
    pub(super) lease: Duration,
    /// From the beginning of a phase to that of the next.
    pub(super) pace: Duration,
    /// The same after a phase that stored a message with a [short](Self::SHORT_TTL) time to live, which is gone then:
    /// the server looks once a second.
    pub(super) long_pace: Duration,
}

impl Plan {
    /// In seconds.
    pub(super) const SHORT_TTL: u64 = 2;
    /// In seconds: where the server restarts, it outlasts one pause and not two.
    pub(super) const LONG_TTL: u64 = 6;
    /// How the server may fare. Half of the seeds have one that runs through.
    const FATES: [[Pause; PAUSES]; 4] = [
        [Pause::Wait, Pause::Stop, Pause::Wait],
        [Pause::Wait, Pause::Kill, Pause::Wait],
        [Pause::Stop, Pause::Wait, Pause::Kill],
        [Pause::Kill, Pause::Stop, Pause::Wait],
    ];

    pub(super) fn new(seed: u64) -> Self {
        let millis = Duration::from_millis;
        let fate = usize::try_from(seed % 8).ok().and_then(|it| Self::FATES.get(it));
        match fate {
            Some(pauses) => {
                let pace = millis(5_000);
                Self { seed, pauses: *pauses, lease: millis(7_500), pace, long_pace: pace }
            }
            None => Self {
                seed,
                pauses: [Pause::Wait; PAUSES],
                lease: millis(3_300),
                pace: millis(2_300),
                long_pace: millis(4_800),
            },
        }
    }

    pub(super) fn restarts(&self) -> bool {
        self.pauses != [Pause::Wait; PAUSES]
    }

    pub(super) fn kills(&self) -> bool {
        self.pauses.contains(&Pause::Kill)
    }
}

#[test]
fn no_lease_ends_while_it_is_looked_at() {
    let second = Duration::from_secs(1);
    for plan in (0..8).map(Plan::new) {
        let (phase, cut) =
            (PHASE + super::transcript::PHASE_SLACK, if plan.restarts() { second } else { Duration::ZERO });
        assert!(plan.pace + phase < plan.lease - cut, "{plan:?}");
        assert!(plan.lease + second / 4 < plan.pace * 2 - phase, "{plan:?}");
        assert!(Duration::from_secs(Plan::SHORT_TTL) + second < plan.long_pace - phase, "{plan:?}");
        assert!(phase < Duration::from_secs(Plan::SHORT_TTL), "{plan:?}");
        if plan.long_pace > plan.pace {
            assert!(plan.lease + second / 4 < plan.long_pace - phase, "{plan:?}");
        }
        if plan.restarts() {
            assert!(plan.pace + phase < Duration::from_secs(Plan::LONG_TTL), "{plan:?}");
            assert!(Duration::from_secs(Plan::LONG_TTL) + second < plan.pace * 2 - phase, "{plan:?}");
        }
    }
}
