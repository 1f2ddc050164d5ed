//! What a player saw, line by line, and the comparison of two transcripts.
//!
//! A machine that is busy can make the real run late enough to see something else. Whether it was is measured, step by
//! step: the simulated run says how long each step takes when nothing is late, and `starved` when the server stood still.

use std::{fmt::Debug, time::Duration};

use tokio::time::Instant;

/// How much longer a step of the real run may take than one of the simulated run. Nothing in a step hangs on less.
const STEP_SLACK: Duration = Duration::from_millis(25);
/// The same for all steps of a phase together.
pub(super) const PHASE_SLACK: Duration = Duration::from_millis(350);
/// The same for a restart of the server. A second and a half is left of the pause then, in which it looks at leases.
const RESTART_SLACK: Duration = Duration::from_millis(1_800);
/// Lines that are shown before the first one that differs, and from it on.
const BEFORE: usize = 60;
const AFTER: usize = 4;

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Step,
    /// The beginning of a phase.
    Phase,
    /// The end of what happened to the server between two phases.
    Server,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Since the beginning.
    at: Duration,
    about: About,
    pub(super) text: String,
}

/// Everything that one player saw.
pub(super) struct Transcript {
    began: Instant,
    lines: Vec<Line>,
}

impl Transcript {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), lines: Vec::new() }
    }

    pub(super) fn note(&mut self, about: About, what: &str, result: impl Debug) {
        let text = format!("{what} -> {result:?}");
        self.lines.push(Line { at: self.began.elapsed(), about, text });
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether the server was starved from the first phase until a line.
    fn starved(&self, until: usize, waits: &[Instant]) -> bool {
        let at = |line: &Line| self.began + line.at;
        let first = self.lines.iter().find(|line| line.about == About::Phase);
        let last = self.lines.get(until).or(self.lines.last());
        first
            .zip(last)
            .is_some_and(|(first, last)| waits.iter().any(|it| (at(first)..=at(last)).contains(it)))
    }
}

/// What the comparison of a real with a simulated run says.
pub(super) enum Verdict {
    Same,
    /// They differ, and the real run was late before they did.
    Late(String),
    Differ(String),
}

/// `waits` tells when the real server was starved.
pub(super) fn compare(seed: u64, played: &Transcript, simulated: &Transcript, waits: &[Instant]) -> Verdict {
    let (real, simulated) = (played.lines(), simulated.lines());
    let text = |lines: &[Line], at: usize| lines.get(at).map(|line| line.text.clone());
    let differs = |at: &usize| text(real, *at) != text(simulated, *at);
    let Some(at) = (0..real.len().max(simulated.len())).find(differs) else { return Verdict::Same };
    let shown = |lines: &[Line], from: usize, to: usize| {
        let lines = &lines[from.min(lines.len())..to.min(lines.len())];
        lines.iter().map(|line| format!("  {}\n", line.text)).collect::<String>()
    };
    let difference = format!(
        "REQUITE_SEED={seed} repeats this:\n{}real:\n{}simulated:\n{}",
        shown(real, at.saturating_sub(BEFORE), at),
        shown(real, at, at + AFTER),
        shown(simulated, at, at + AFTER),
    );
    let starved = || played.starved(at, waits).then(|| "the server".to_owned());
    match lateness(&real[..real.len().min(at + 1)], simulated).or_else(starved) {
        Some(late) => Verdict::Late(format!("{difference}\nlate: {late}")),
        None => Verdict::Differ(difference),
    }
}

/// Where the real run took longer than it may. Before the first phase nothing hangs on time.
fn lateness(real: &[Line], simulated: &[Line]) -> Option<String> {
    let lines = real.iter().zip(simulated).skip_while(|(_, simulated)| simulated.about != About::Phase);
    let mut lines = lines.peekable();
    let mut last = lines.peek().map(|(real, simulated)| (real.at, simulated.at))?;
    let mut phase = last;
    for (real, simulated) in lines {
        let late = |since: (Duration, Duration)| (real.at - since.0).saturating_sub(simulated.at - since.1);
        let (step, whole) = (late(last), late(phase));
        let in_time = match simulated.about {
            About::Step => step <= STEP_SLACK && whole <= PHASE_SLACK,
            About::Phase => whole <= PHASE_SLACK,
            About::Server => whole <= RESTART_SLACK,
        };
        if !in_time {
            return Some(format!("step {step:?}, phase {whole:?}: {}", simulated.text));
        }
        last = (real.at, simulated.at);
        if simulated.about == About::Phase {
            phase = last;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[(u64, About, &str)]) -> Transcript {
        let line = |(at, about, text): &(u64, About, &str)| Line {
            at: Duration::from_millis(*at),
            about: *about,
            text: (*text).to_owned(),
        };
        Transcript { began: Instant::now(), lines: lines.iter().map(line).collect() }
    }

    #[test]
    fn only_what_was_late_before_it_differed_may_be_played_again() {
        use About::{Phase, Server, Step};
        let simulated = [(0, Phase, "phase"), (5, Step, "a"), (10, Server, "stop"), (2_000, Phase, "phase")];
        let verdict =
            |real: &[(u64, About, &str)]| compare(1, &transcript(real), &transcript(&simulated), &[]);
        assert!(matches!(verdict(&simulated), Verdict::Same));
        let in_time = [(0, Phase, "phase"), (20, Step, "a"), (900, Server, "stop"), (2_000, Phase, "b")];
        assert!(matches!(verdict(&in_time), Verdict::Differ(_)));
        assert!(matches!(
            verdict(&[(0, Phase, "phase"), (20, Step, "b"), (900, Step, "a")]),
            Verdict::Differ(_)
        ));
        assert!(matches!(verdict(&[(0, Phase, "phase"), (40, Step, "b")]), Verdict::Late(_)));
        let late_start = [(0, Phase, "phase"), (20, Step, "a"), (900, Server, "stop"), (2_500, Phase, "b")];
        assert!(matches!(verdict(&late_start), Verdict::Late(_)));
        assert!(matches!(verdict(&simulated[..2]), Verdict::Differ(_)));
        let late_and_the_same =
            [(0, Phase, "phase"), (90, Step, "a"), (99, Server, "stop"), (2_000, Phase, "phase")];
        assert!(matches!(verdict(&late_and_the_same), Verdict::Same));
        let (real, simulated) = (transcript(&in_time), transcript(&simulated));
        let starved = |at: u64| [real.began + Duration::from_millis(at)];
        assert!(matches!(compare(1, &real, &simulated, &starved(1_000)), Verdict::Late(_)));
        assert!(matches!(compare(1, &real, &simulated, &starved(2_001)), Verdict::Differ(_)));
    }
}
