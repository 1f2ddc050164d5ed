//! A handler that takes ten leases keeps its request, alone and beside two hundred others, whether it awaits or blocks.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use requite::RunningServer;
use requite_test::NatsServer;
use tokio::task::JoinSet;

use super::{
    LEASE,
    ledger::Step,
    mill::Work,
    site::{Answer, Site, eventually, job},
    workshop::Workshop,
};

/// Ten leases in milliseconds.
const LONG: u64 = 10 * LEASE.as_millis() as u64;

/// Among many blocked threads, tokio may keep a handler that was just woken behind one of them until that is free.
const LONG_ENOUGH: Duration = Duration::from_millis(3 * LONG);

/// Runs so many handlers at once and asserts that the server gave each request out once.
async fn keeps(site: &Site, worker: &RunningServer, count: usize, work: Work) {
    let caller = site.caller().await;
    let calls: JoinSet<Answer> =
        (0..count).map(|n| caller.grind(job(n, work)).deadline(LONG_ENOUGH).into_future()).collect();
    eventually("all run", async || site.count(Step::Start) == count).await;
    site.ledger.open_gate();
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|flour| flour.attempt == 1)), "{answers:?}");
    assert_eq!((site.count(Step::Start), site.count(Step::End)), (count, count));
    let stats = worker.stats();
    assert_eq!((stats.redeliveries, stats.lost_leases), (0, 0), "{stats:?}");
    assert!(stats.heartbeats >= 50 * count as u64, "{stats:?}");
    site.assert_delivered_once("grind", count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_handler_is_never_redelivered() {
    let nats = NatsServer::start().await.unwrap();
    let (one, many) = (Site::new(&nats.url(), "one").await, Site::new(&nats.url(), "many").await);
    let (alone, crowd) = (one.worker("alone").await, many.worker("crowd").await);
    tokio::join!(keeps(&one, &alone, 1, Work::Wait(LONG)), keeps(&many, &crowd, 200, Work::Wait(LONG)),);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_blocking_handler_is_never_redelivered() {
    let nats = NatsServer::start().await.unwrap();
    let (one, many) =
        (Arc::new(Site::new(&nats.url(), "one").await), Arc::new(Site::new(&nats.url(), "many").await));
    let (alone, crowd) = (Workshop::with_threads(&one, 2).await, Workshop::with_threads(&many, 204).await);
    tokio::join!(
        keeps(&one, &alone.worker, 1, Work::Block(LONG)),
        // Blocked threads start nothing, so all start before the first one blocks.
        keeps(&many, &crowd.worker, 200, Work::GateThenBlock(LONG)),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_blocks_the_only_thread_keeps_its_request() {
    let nats = NatsServer::start().await.unwrap();
    let site = Arc::new(Site::new(&nats.url(), "rq").await);
    let workshop = Workshop::with_threads(&site, 1).await;
    keeps(&site, &workshop.worker, 1, Work::Block(LONG)).await;
    assert!(workshop.worker.stats().blocked >= 1, "{:?}", workshop.worker.stats());
}
