//! A handler that takes ten leases keeps its request, alone and beside two hundred others, whether it awaits or blocks.

use std::{future::IntoFuture, sync::Arc};

use requite::RunningServer;
use requite_test::NatsServer;
use tokio::task::JoinSet;

use tests::{entry::Step, mill::Work};

use super::{
    LEASE,
    site::{Answer, PATIENCE, Site, eventually, job},
    workshop::Workshop,
};

/// Ten leases in milliseconds.
const LONG: u64 = 10 * LEASE.as_millis() as u64;

/// Runs so many handlers at once and asserts that the server gave each request out once.
async fn keeps(site: &Site, worker: &RunningServer, count: usize, work: Work) {
    let caller = site.caller().await;
    let calls: JoinSet<Answer> = (0..count).map(|n| caller.grind(job(n, work)).into_future()).collect();
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
        keeps(&many, &crowd.worker, 200, Work::Block(LONG)),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_block_their_threads_hold_up_nobody_else() {
    let nats = NatsServer::start().await.unwrap();
    let site = Arc::new(Site::new(&nats.url(), "rq").await);
    let _workshop = Workshop::with_threads(&site, 204).await;
    let caller = site.caller().await;
    let blocked: JoinSet<Answer> =
        (0..200).map(|n| caller.grind(job(n, Work::BlockAtGate)).into_future()).collect();
    eventually("all block", async || site.count(Step::Start) == 200).await;
    for n in 200..300 {
        let answer = caller.patient(job(n, Work::Bytes(1))).deadline(PATIENCE).await;
        assert!(answer.is_ok(), "{n}: {answer:?}");
    }
    site.ledger.open_gate();
    assert!(blocked.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_blocks_the_only_thread_keeps_its_request() {
    let nats = NatsServer::start().await.unwrap();
    let site = Arc::new(Site::new(&nats.url(), "rq").await);
    let workshop = Workshop::with_threads(&site, 1).await;
    keeps(&site, &workshop.worker, 1, Work::Block(LONG)).await;
    assert!(workshop.worker.stats().blocked >= 1, "{:?}", workshop.worker.stats());
}
