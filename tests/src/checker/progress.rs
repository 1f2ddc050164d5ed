//! Progress: what a caller is told was reported, by an attempt of which it was told before, and never goes back.

use std::collections::BTreeSet;

use super::Case;
use crate::entry::Saw;

pub(super) fn progress_goes_forward(case: &Case<'_>) -> Vec<String> {
    let named = case.reports.iter().map(|it| (format!("{}.{}", it.caller, it.id), it.attempt, it.number));
    let reported: BTreeSet<(String, u32, u64)> = named.collect();
    let mut broken = Vec::new();
    for (name, told) in &case.watched {
        let id = case.calls.get(name).and_then(super::Call::id).unwrap_or_default();
        let (mut runs, mut last) = (0, (0, 0));
        for saw in told {
            match *saw {
                Saw::Attempt(attempt) if attempt > runs => runs = attempt,
                Saw::Report { attempt, number }
                    if attempt <= runs
                        && (attempt, number) > last
                        && reported.contains(&(id.clone(), attempt, number)) =>
                {
                    last = (attempt, number);
                }
                _ => {
                    broken.push(format!("{name} ({id}) was told {saw:?} behind attempt {runs} and {last:?}"))
                }
            }
        }
    }
    broken
}
