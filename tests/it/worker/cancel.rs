//! Cancelling in the states that only workers know: claimed by one that is dead, run by one that stops, run at most once,
//! and ended with a failure.

use std::time::Duration;

use requite::{Accepted, CallError, CancelAnswer, Reason};
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

pub(super) async fn started(call: requite::Call<Flour, MillError>) -> Accepted<Flour, MillError> {
    call.deadline(PATIENCE).start().await.unwrap()
}

pub(super) fn may_have_run(answer: Answer) -> bool {
    match answer {
        Err(CallError::Cancelled(cancelled)) => cancelled.may_have_run,
        other => panic!("not cancelled: {other:?}"),
    }
}

/// The handler was told, and has said so.
pub(super) fn has_heeded(answer: &Answer) -> bool {
    matches!(answer, Err(CallError::Failed(MillError::NoGrain)))
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_request_of_a_killed_worker_begins_nowhere_else() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let caller = site.caller().await;
    // From the first answer on this caller knows the server's time: its calls need no claim before they start.
    caller.grind(job("before", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    let unclaimed = started(caller.grind(job("unclaimed", Work::Gate))).await;
    let claimed = started(caller.grind(job("claimed", Work::Gate)).key("claimed")).await;
    let watched = started(caller.grind(job("watched", Work::Gate)).key("watched")).await;
    for name in ["unclaimed", "claimed", "watched"] {
        site.reaches("first", name, Step::Start).await;
    }
    first.kill().await.unwrap();
    for call in [&unclaimed, &claimed] {
        assert_eq!(call.cancel().await, Ok(CancelAnswer::Signalled));
    }
    let second = site.worker("second").await;
    // From then on this one waits until the dead worker's claim may be taken over.
    eventually("all are given out again", async || second.stats().redeliveries >= 3).await;
    assert_eq!(watched.cancel().await, Ok(CancelAnswer::Signalled));
    for (call, name) in [(unclaimed, "unclaimed"), (claimed, "claimed"), (watched, "watched")] {
        assert!(may_have_run(call.await), "{name}");
        assert_eq!(site.story(name), ["first Start 1"]);
    }
    site.settled().await;
    assert_eq!(second.stats().runs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_request_that_was_handed_over_at_its_checkpoint_begins_nowhere_else() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let call = started(site.caller().await.grind(job("bread", Work::Checkpoint))).await;
    eventually("the checkpoint is stored", async || site.checkpoints("mill").await == 1).await;
    first.signal(Signal::TERM);
    assert!(first.ended().await.unwrap().success());
    assert_eq!(call.cancel().await, Ok(CancelAnswer::Signalled));
    let second = site.worker("second").await;
    assert!(may_have_run(call.await));
    site.settled().await;
    assert_eq!(site.story("bread"), ["first Start 1", "first Drop 1"]);
    assert_eq!(second.stats().runs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_that_is_cancelled_before_its_start_has_certainly_not_run() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    site.worker("first").await.shutdown().await;
    let caller = site.caller().await;
    let call = started(caller.once(job("bread", Work::Gate))).await;
    let id = call.id().clone();
    assert_eq!(call.cancel().await, Ok(CancelAnswer::Signalled));
    let second = site.worker("second").await;
    assert!(!may_have_run(call.await));
    assert_eq!(caller.cancel(&id).await, Ok(CancelAnswer::CancelledBeforeStart));
    assert_eq!(second.stats().runs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_that_runs_is_told_to_cancel_and_that_of_a_killed_worker_ends_as_cancelled() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let caller = site.caller().await;
    let heeds = started(caller.once(job("heeds", HEED))).await;
    let left = started(caller.once(job("left", Work::Gate))).await;
    for name in ["heeds", "left"] {
        site.reaches("first", name, Step::Start).await;
    }
    heeds.cancel().await.unwrap();
    let answer = heeds.await;
    assert!(has_heeded(&answer), "{answer:?}");
    first.kill().await.unwrap();
    assert_eq!(left.cancel().await, Ok(CancelAnswer::Signalled));
    let second = site.worker("second").await;
    assert!(may_have_run(left.await));
    site.settled().await;
    assert_eq!(site.story("left"), ["first Start 1"]);
    assert_eq!(second.stats().runs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_is_kept_when_its_call_is_cancelled_afterwards() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("first").await;
    let caller = site.caller().await;
    let refuse = || caller.grind(job("refuse", Work::Refuse)).key("refuse").deadline(PATIENCE);
    let panic = || caller.grind(job("panic", Work::Panic)).key("panic").deadline(PATIENCE);
    let is_panic = |answer: &Answer| match answer {
        Err(CallError::Aborted(aborted)) => aborted.reason == Reason::Panicked,
        _ => false,
    };
    let (refused, panicked) = tokio::join!(refuse(), panic());
    assert!(has_heeded(&refused) && is_panic(&panicked), "{refused:?} {panicked:?}");
    for key in ["refuse", "panic"] {
        for _ in 0..2 {
            assert_eq!(caller.attach_grind(key).cancel().await, Ok(CancelAnswer::AlreadyDone));
        }
    }
    // A caller that looked before the end stores it behind the end.
    let subject = format!("rq.req.mill.-cancel.shop.{}", started(refuse()).await.id());
    let mut headers = requite::async_nats::HeaderMap::new();
    headers.insert("Rq-V", "1");
    headers.insert("Rq-Kind", "cancel");
    site.nats.publish_with_headers(subject, headers, "".into()).await.unwrap();
    site.nats.flush().await.unwrap();
    site.settled().await;
    let (refused, panicked) = tokio::join!(refuse(), panic());
    assert!(has_heeded(&refused) && is_panic(&panicked), "{refused:?} {panicked:?}");
    assert_eq!(worker.stats().runs, 2);
}
