//! How handlers fail: every failure is stored as an outcome, poison is kept as a dead letter first, and the worker lives.

use std::sync::Arc;

use futures_util::StreamExt;
use requite::{Aborted, CallError, Reason, async_nats};
use requite_test::NatsServer;

use tests::{
    entry::Step,
    mill::{MillError, Work},
};

use super::{
    site::{Answer, PATIENCE, Site, job},
    workshop::Workshop,
};

fn aborted(answer: Answer) -> Aborted {
    match answer {
        Err(CallError::Aborted(aborted)) => aborted,
        other => panic!("not aborted: {other:?}"),
    }
}

/// The next message's subject, cut to what it is.
async fn kind(messages: &mut async_nats::Subscriber) -> &'static str {
    let subject = messages.next().await.unwrap().subject;
    ["rq.dead.", "rq.put.", "$JS.ACK."].into_iter().find(|it| subject.starts_with(it)).unwrap_or("other")
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_is_buried_before_it_is_acked_and_the_worker_lives() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    caller.grind(job("before", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    site.settled().await;

    // One connection of the worker publishes all of it, so everybody hears it in this order.
    let mut heard = site.nats.subscribe(">").await.unwrap();
    site.nats.flush().await.unwrap();
    let aborted = aborted(caller.grind(job("bread", Work::Panic)).deadline(PATIENCE).await);
    assert_eq!((aborted.reason, aborted.attempt), (Reason::Panicked, 1));
    assert!(aborted.text.contains("the millstone broke"), "{aborted}");
    let mut order = Vec::new();
    while order.last() != Some(&"$JS.ACK.") {
        order.extend(Some(kind(&mut heard).await).filter(|it| *it != "other"));
    }
    assert_eq!(order, ["rq.dead.", "rq.put.", "$JS.ACK."]);

    site.settled().await;
    assert_eq!(site.dead_letters().await, 1);
    caller.grind(job("after", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    site.settled().await;
    assert_eq!(site.story("bread"), ["one Start 1", "one Drop 1"]);
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.dead_letters, stats.redeliveries), (3, 1, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn error_worth_a_retry_is_tried_until_the_attempts_are_used_up() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    let recovers = caller.grind(job("recovers", Work::FailUpTo(2))).deadline(PATIENCE).await.unwrap();
    assert_eq!(recovers.attempt, 3);
    assert_eq!(site.dead_letters().await, 0);

    // The method allows three attempts.
    let error = caller.grind(job("exhausted", Work::FailUpTo(9))).deadline(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(MillError::NoWind)), "{error:?}");
    site.settled().await;
    assert_eq!(site.dead_letters().await, 1);
    for name in ["recovers", "exhausted"] {
        let starts: Vec<_> =
            site.ledger.runs().into_iter().filter(|it| it.job == name && it.step == Step::Start).collect();
        assert_eq!(starts.iter().map(|it| it.attempt).collect::<Vec<_>>(), [1, 2, 3], "{name}");
        assert!(starts.iter().all(|it| it.key == starts[0].key), "{starts:?}");
        for two in starts.windows(2) {
            let waited = two[1].at.since(two[0].at).as_millis();
            assert!((1000..5000).contains(&waited), "{waited} ms between attempts, 1 s was asked for");
        }
    }
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.outcomes, stats.dead_letters), (6, 2, 1), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn error_that_is_final_is_not_tried_again() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    let error = caller.grind(job("bread", Work::Refuse)).deadline(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(MillError::NoGrain)), "{error:?}");
    // Of a `once` handler every error is final.
    let error = caller.once(job("once", Work::FailUpTo(1))).deadline(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Failed(MillError::NoWind)), "{error:?}");
    site.settled().await;
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.handed_over, stats.redeliveries), (2, 0, 0), "{stats:?}");
    assert_eq!(site.dead_letters().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fencing_token_grows_from_attempt_to_attempt() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let _worker = site.worker("one").await;
    let caller = site.caller().await;
    caller.grind(job("before", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    assert_eq!(caller.fenced(job("bread", Work::FailUpTo(3))).deadline(PATIENCE).await.unwrap().attempt, 4);
    let runs = site.ledger.runs().into_iter();
    let fences: Vec<_> =
        runs.filter(|it| it.job == "bread" && it.step == Step::Start).map(|it| it.fence).collect();
    assert!(fences.iter().all(Option::is_some) && fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_hangs_is_ended_by_max_run() {
    let nats = NatsServer::start().await.unwrap();
    let site = Arc::new(Site::new(&nats.url(), "rq").await);
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    let aborted = aborted(caller.capped(job("bread", Work::Hang)).deadline(PATIENCE).await);
    assert_eq!((aborted.reason, aborted.attempt), (Reason::TimedOut, 1));
    site.settled().await;
    assert_eq!(site.story("bread"), ["one Start 1", "one Drop 1"]);
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.redeliveries), (1, 0), "{stats:?}");
}

/// The handler's own thread cannot notice; the keeper's does.
#[tokio::test(flavor = "multi_thread")]
async fn handler_that_blocks_the_only_thread_is_ended_by_max_run() {
    let nats = NatsServer::start().await.unwrap();
    let site = Arc::new(Site::new(&nats.url(), "rq").await);
    let workshop = Workshop::with_threads(&site, 1).await;
    let caller = site.caller().await;
    let aborted = aborted(caller.capped(job("bread", Work::Block(20_000))).deadline(PATIENCE).await);
    assert_eq!((aborted.reason, aborted.attempt), (Reason::TimedOut, 1));
    assert_eq!(site.story("bread"), ["workshop Start 1"], "the handler was to be still at it");
    site.settled().await;
    site.reaches("workshop", "bread", Step::End).await;
    // The thread is back: the worker goes on, and what the handler returned in the end is of no account.
    caller.grind(job("after", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    site.settled().await;
    let stats = workshop.worker.stats();
    assert_eq!((stats.runs, stats.outcomes, stats.redeliveries), (2, 2, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_does_not_fit_into_a_message_is_an_error() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    let max_payload = 1 << 20;
    // Around the limit record and headers count too, and above it the server would close the connection.
    let sizes = (0..24).map(|n| max_payload - 700 + n * 40).chain([2 * max_payload]);
    let mut refused = 0;
    for (n, size) in sizes.enumerate() {
        match caller.grind(job(n, Work::Bytes(size))).deadline(PATIENCE).await {
            Ok(flour) => assert!(flour.bytes.len() == size && refused == 0, "{size}"),
            other => {
                assert_eq!(aborted(other).reason, Reason::TooLarge, "{size}");
                refused += 1;
            }
        }
    }
    assert!((2..25).contains(&refused), "{refused}");
    site.settled().await;
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.redeliveries, stats.lost_leases), (25, 0, 0), "{stats:?}");
}
