//! What callers wait for: answers in time, and an end of everything.

use std::time::Duration;

use super::Case;

/// How long after its deadline a call may end.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);
/// How long after the last fault everything may take to come to its end.
const DRAINS_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn calls_end_in_time(case: &Case<'_>) -> Vec<String> {
    let late = |call: &&super::Call<'_>| {
        let last = call.invoke.deadline + AFTER_DEADLINE;
        call.result.is_some_and(|(at, ..)| at.since(call.at) > last)
    };
    let tell = |call: &super::Call<'_>| {
        let took = call.result.map(|(at, ..)| at.since(call.at));
        format!("{:?} took {took:?}", call.invoke)
    };
    case.calls.values().filter(late).map(tell).collect()
}

pub(super) fn everything_drains(case: &Case<'_>) -> Vec<String> {
    let is_let_go =
        |call: &super::Call<'_>| call.given_up.is_some() || case.callers_killed.contains_key(&call.pid);
    let waits = |call: &&super::Call<'_>| call.result.is_none() && !is_let_go(call);
    let stuck = case.calls.values().filter(waits).map(|call| format!("no answer to {:?}", call.invoke));
    let left = case.store.queued.keys().map(|subject| format!("left in the queue: {subject}"));
    let late = match (case.drained, case.last_fault()) {
        (None, _) => Some("work was left over".to_owned()),
        (Some(at), Some(fault)) if at.since(fault) > DRAINS_WITHIN => {
            Some(format!("it took {:?} after the last fault", at.since(fault)))
        }
        _ => None,
    };
    stuck.chain(left).chain(late).collect()
}
