//! Progress of one request in a worker's hands: the handler reports it at any rate, the keeper passes it on at its own.

use std::sync::{Arc, Mutex, MutexGuard, atomic::Ordering};

use futures_util::FutureExt;
use tokio::sync::Notify;

use super::{held::Held, keeper::Keeper, settle};
use crate::{
    broker::{
        AnyBroker, Broker, Headers, Outgoing,
        api::{self, StoreAnswer},
    },
    progress::Progress,
    protocol::{
        attempt::{Action, Attempt, Event},
        progress::{Due, KEPT, Pace},
    },
    subject::joined,
    wire::{VERSION, header, progress::StoredProgress, signal::SignalKind},
};

/// What a handler has reported.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    state: Mutex<(Pace, Progress)>,
    /// Wakes the keeper's task: there is something new, or the attempt is over.
    pub(super) changed: Notify,
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, (Pace, Progress)> {
        self.state.lock().expect("nobody panics with the progress in hand")
    }

    /// The newest, and its number.
    pub(super) fn newest(&self) -> (u64, Progress) {
        let state = self.state();
        (state.0.newest(), state.1.clone())
    }

    /// A checkpoint is stored.
    pub(super) fn checkpoint(&self) {
        self.state().0.checkpoint();
        self.changed.notify_one();
    }
}

/// Takes a report in; never waits.
pub(crate) fn report(held: &Arc<Held>, keeper: &Keeper, progress: Progress) {
    let mut is_first = false;
    let reports = held.reports.get_or_init(|| {
        is_first = true;
        Box::default()
    });
    if is_first {
        keeper.pass_on_progress(held);
    }
    let now = held.now();
    let mut state = reports.state();
    state.1 = progress;
    let changed = state.0.report(now);
    drop(state);
    if changed {
        reports.changed.notify_one();
    }
}

/// Passes reports on for as long as the attempt lives. It runs with the keeper, so that the caller also hears of a
/// handler that blocks its thread.
pub(super) async fn pass_on(held: Arc<Held>, keeper: Keeper, via: AnyBroker) {
    let reports = held.reports.get().expect("they are made before they are passed on");
    while !held.is_over() {
        let due = reports.state().0.due(held.now());
        match due {
            // A hint is not worth waiting for, and is no news any more when a connection is back.
            Due::Signal if via.is_connected() => {
                let _ = settle::signal(&held, SignalKind::Progress, &via).now_or_never();
            }
            Due::Signal => {}
            Due::Store => {
                if !store(&held, reports, &keeper, &via).await {
                    reports.state().0.not_stored();
                }
            }
            Due::Wait(until) => {
                let wait = until.since(held.now());
                let _ = tokio::time::timeout(wait, reports.changed.notified()).await;
            }
        }
    }
}

/// Stores the newest report, under a claim: whoever does not hold the request any more is refused. It may fail, and
/// nobody minds: the next one comes soon.
async fn store(held: &Held, reports: &Reports, keeper: &Keeper, via: &AnyBroker) -> bool {
    let service = &held.method.service;
    if service.full.load(Ordering::Relaxed) {
        return false;
    }
    if held.look(Attempt::fence).is_none() {
        let action = held.step(Event::Beat);
        if action != Action::None {
            settle::drive(held, action, keeper, via).await;
        }
    }
    // Once the handler is done, the attempt's last record is a claim no more.
    let claim = |it: &Attempt| it.is_running().then(|| it.fence()).flatten().zip(Some(it.number()));
    let Some((claim, attempt)) = held.look(claim) else {
        return false;
    };
    let origin = held.origin();
    let headers = Headers::default()
        .with(header::VERSION, VERSION)
        .with(header::KIND, header::KIND_PROGRESS)
        .with(header::EXPECTED_LAST, claim.to_string())
        .with(header::EXPECTED_SUBJECT, service.subjects.record(origin.caller, origin.id))
        .with(header::TTL, format!("{}s", KEPT.as_secs()));
    let (number, progress) = reports.newest();
    let stored = StoredProgress { request: held.sequence, attempt, report: progress.report(number) };
    let subject = joined([&service.progress_put_prefix, origin.caller, ".", origin.id]);
    let message = Outgoing::new(subject, stored.encode()).headers(headers);
    let answer = api::store(via, message, settle::answer_within(held)).await;
    matches!(answer, StoreAnswer::Stored(_))
}
