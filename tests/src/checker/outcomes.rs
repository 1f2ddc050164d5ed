//! What becomes of requests: one outcome, also for what goes wrong, and nothing for what was refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Case};
use crate::entry::{Class, cancelled};

/// Why a request becomes a dead letter.
const POISON: [&str; 3] = ["panicked", "exhausted", "undecodable"];

/// A caller that was told the outcome is as good a witness as the record, which is not kept for ever.
pub(super) fn accepted_ends_in_an_outcome(case: &Case<'_>) -> Vec<String> {
    let mut ended: BTreeSet<String> = told(case).into_keys().collect();
    ended.extend(case.store.records.keys().filter(|id| case.store.outcome(id).is_some()).cloned());
    let accepted = case.calls.values().filter(|call| call.accepted.is_some());
    let lost = accepted.filter(|call| call.id().is_none_or(|id| !ended.contains(&id)));
    lost.map(|call| format!("{:?} as {:?}", call.invoke, call.accepted)).collect()
}

pub(super) fn a_request_has_one_outcome(case: &Case<'_>) -> Vec<String> {
    let mut outcomes = told(case);
    for (id, records) in &case.store.records {
        let stored = records.iter().filter_map(|it| it.outcome.as_deref());
        outcomes.entry(id.clone()).or_default().extend(stored);
    }
    outcomes.retain(|_, outcomes| outcomes.len() > 1);
    let mut broken: Vec<_> = outcomes.iter().map(|(id, outcomes)| format!("{id}: {outcomes:?}")).collect();
    // The same outcome written twice is one too many.
    for (id, records) in &case.store.records {
        let after = records.iter().skip_while(|it| it.kind != "outcome").skip(1);
        broken.extend(after.map(|it| format!("{id}: written over its outcome: {it:?}")));
    }
    broken
}

/// The outcomes that callers were told, by `<caller>.<id>`.
fn told<'a>(case: &'a Case<'_>) -> BTreeMap<String, BTreeSet<&'a str>> {
    let mut told: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for call in case.calls.values() {
        if let (Some(id), Some(outcome)) = (call.id(), call.answer().and_then(|it| it.outcome.as_deref())) {
            told.entry(id).or_default().insert(outcome);
        }
    }
    told
}

pub(super) fn what_was_refused_never_ran(case: &Case<'_>) -> Vec<String> {
    let refused = |call: &Call<'_>| {
        call.answer().is_some_and(|it| matches!(it.class, Class::Rejected | Class::Unavailable))
    };
    let mut broken = Vec::new();
    for call in case.calls.values().filter(|call| refused(call)) {
        // Another call for the same may have had more luck.
        let same = |it: &&Call<'_>| it.invoke.payload == call.invoke.payload && it.id() == call.id();
        let alone = case.calls.values().filter(same).all(refused);
        let is_outcome = call.answer().is_some_and(|it| it.outcome.is_some());
        // Of a key that was used before, the earlier request may have run.
        let key_was_used = call.answer().is_some_and(|it| it.class == Class::Rejected) && !is_outcome;
        for ran in case.runs.iter().flat_map(|(id, runs)| runs.iter().map(move |run| (id, run))) {
            let (id, run) = ran;
            let own_id = call.id().as_ref() == Some(id) && !key_was_used && (alone || is_outcome);
            let own_payload = call.invoke.payload.as_ref() == Some(&run.run.payload) && alone;
            if own_id || own_payload {
                broken.push(format!("{:?} was answered {:?}: {:?}", call.invoke, call.answer(), run.run));
            }
        }
    }
    broken
}

pub(super) fn dead_letters_are_for_poison(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let is_poison = |id: &str| {
        let reason = case.store.outcome(id).and_then(|it| it.reason.as_deref());
        reason.is_some_and(|reason| POISON.contains(&reason))
    };
    // What is cancelled meanwhile ends so: its last worker may have died between dead letter and outcome.
    let is_cancelled = |id: &str| {
        case.outcome(id)
            .is_some_and(|outcome| [cancelled(true), cancelled(false)].iter().any(|it| it == outcome))
    };
    for (id, reasons) in &case.store.dead {
        if !is_poison(id) && !is_cancelled(id) {
            broken.push(format!("{id} is a dead letter ({reasons:?}), and its outcome does not say so"));
        }
        // Who was killed, or gave up, before it knew the id asked for it all the same.
        let ran = |call: &Call<'_>| {
            let mut runs = case.runs.get(id).into_iter().flatten();
            runs.any(|ran| call.invoke.payload.as_ref() == Some(&ran.run.payload))
        };
        let mut poison = case.calls.values().filter(|call| call.invoke.poison);
        let meant = poison.any(|call| call.id().map_or_else(|| ran(call), |of| of == *id));
        if !meant && reasons.iter().any(|reason| reason != "exhausted") {
            broken.push(format!("{id} is a dead letter ({reasons:?}), and nobody sent poison"));
        }
    }
    for id in case.store.records.keys().filter(|id| is_poison(id)) {
        if !case.store.dead.contains_key(id) {
            broken.push(format!("{id} was poison, and there is no dead letter"));
        }
    }
    for call in case.calls.values().filter(|call| call.invoke.poison && call.accepted.is_some()) {
        if call.id().is_none_or(|id| !case.store.dead.contains_key(&id) && !is_cancelled(&id)) {
            broken.push(format!("poison without a dead letter: {:?}", call.invoke));
        }
    }
    broken.extend(case.store.copied.iter().map(|subject| format!("queued twice: {subject}")));
    broken
}
