//! Cancelling in the states that only workers know: run by one that stops.

use std::time::Duration;

use requite::{Accepted, CallError};
use requite_test::NatsServer;
use rustix::process::Signal;

use tests::{
    entry::Step,
    mill::{Flour, MillError, Work},
};

use super::site::{Answer, PATIENCE, Site, eventually, job};

/// So long that what is only let go at its end is never answered.
const DRAIN: Duration = Duration::from_secs(240);
/// Until it is cancelled.
const HEED: Work = Work::Heed(240_000);

async fn started(call: requite::Call<Flour, MillError>) -> Accepted<Flour, MillError> {
    call.deadline(PATIENCE).start().await.unwrap()
}

fn may_have_run(answer: Answer) -> bool {
    match answer {
        Err(CallError::Cancelled(cancelled)) => cancelled.may_have_run,
        other => panic!("not cancelled: {other:?}"),
    }
}

/// The handler was told, and has said so.
fn has_heeded(answer: &Answer) -> bool {
    matches!(answer, Err(CallError::Failed(MillError::NoGrain)))
}

/// Nobody else is there who could hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_go_on_while_their_only_worker_drains_are_told_to_cancel() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let caller = site.caller().await;
    let heeds = started(caller.grind(job("heeds", HEED)).key("heeds")).await;
    let unclaimed = started(caller.grind(job("unclaimed", HEED))).await;
    let goes_on = started(caller.grind(job("goes on", Work::Gate))).await;
    for name in ["heeds", "unclaimed", "goes on"] {
        site.reaches("first", name, Step::Start).await;
    }
    first.signal(Signal::TERM);
    eventually("it pulls no more", async || site.consumer("grind").await["num_waiting"] == 0).await;
    for call in [&heeds, &unclaimed, &goes_on] {
        call.cancel().await.unwrap();
    }
    for call in [heeds, unclaimed] {
        let answer = call.await;
        assert!(has_heeded(&answer), "{answer:?}");
    }
    assert!(may_have_run(goes_on.await));
    assert!(first.ended().await.unwrap().success());
    assert_eq!(site.story("goes on"), ["first Start 1", "first Drop 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_of_a_dropped_server_is_told_to_cancel() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.worker("first").await;
    let call = started(site.caller().await.grind(job("bread", HEED))).await;
    site.reaches("first", "bread", Step::Start).await;
    drop(first);
    eventually("it pulls no more", async || site.consumer("grind").await["num_waiting"] == 0).await;
    call.cancel().await.unwrap();
    let answer = call.await;
    assert!(has_heeded(&answer), "{answer:?}");
    eventually("it looks for no more to cancel", async || site.consumer("-cancel").await["num_waiting"] == 0)
        .await;
}
