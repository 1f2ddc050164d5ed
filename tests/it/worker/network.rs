//! The worker's connections are cut: within the lease nothing is lost, past it another worker takes over.

use std::time::Duration;

use requite::RunningServer;
use requite_test::{NatsServer, Proxy};

use tokio::task::JoinHandle;

use tests::{entry::Step, mill::Work};

use super::site::{Answer, PATIENCE, Site, call, calls, eventually, job};

/// Of a worker: its own, and its keeper's.
const CONNECTIONS: usize = 2;

async fn behind_a_proxy(site: &Site, nats: &NatsServer) -> (Proxy, RunningServer) {
    let proxy = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    let worker = site.server(&proxy.url(), site.mill("cut")).await.start().await.unwrap();
    proxy.wait_connections(CONNECTIONS).await;
    (proxy, worker)
}

/// Cuts a worker off for less than its lease, while one handler ends and another one runs on.
async fn keeps_its_requests(cut: Duration) {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (proxy, worker) = behind_a_proxy(&site, &nats).await;
    let caller = site.caller().await;
    let half = u64::try_from(cut.as_millis()).unwrap() / 2;
    let ends = call(caller.patient(job("ends", Work::Wait(half))).deadline(PATIENCE));
    let runs_on = call(caller.patient(job("runs on", Work::Gate)).deadline(PATIENCE));
    site.reaches("cut", "ends", Step::Start).await;
    site.reaches("cut", "runs on", Step::Start).await;
    // Whatever is let go, this one takes.
    let other = site.worker("other").await;

    proxy.cut().await;
    tokio::time::sleep(cut).await;
    assert_eq!(site.story("ends"), ["cut Start 1", "cut End 1"], "the handler was to end during the cut");
    proxy.heal().await.unwrap();
    assert_eq!(ends.await.unwrap().unwrap().worker, "cut");
    let barriers = worker.stats().barriers;
    // Longer than a lease since the last heartbeat before the cut.
    eventually("the lease is renewed", async || worker.stats().barriers >= barriers + 6).await;
    site.ledger.open_gate();
    assert_eq!(runs_on.await.unwrap().unwrap().worker, "cut");

    site.settled().await;
    assert_eq!(site.story("runs on"), ["cut Start 1", "cut End 1"]);
    let stats = worker.stats();
    assert_eq!((stats.runs, stats.outcomes, stats.lost_leases), (2, 2, 0), "{stats:?}");
    assert_eq!(other.stats().redeliveries, 0);
    site.assert_delivered_once("patient", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_cut_off_for_3_seconds_keeps_its_requests() {
    keeps_its_requests(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_cut_off_for_15_seconds_keeps_its_requests() {
    keeps_its_requests(Duration::from_secs(15)).await;
}

/// An outcome that went down with the connection is stored as soon as the connection is back, and not after the time
/// that an answer may take.
#[tokio::test(flavor = "multi_thread")]
async fn outcome_that_was_under_way_at_a_cut_is_stored_at_the_reconnect() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (proxy, worker) = behind_a_proxy(&site, &nats).await;
    let caller = site.caller().await;
    let answer = call(caller.patient(job("bread", Work::Gate)).deadline(PATIENCE));
    site.reaches("cut", "bread", Step::Start).await;
    proxy.freeze();
    site.ledger.open_gate();
    site.reaches("cut", "bread", Step::End).await;
    // What is frozen is lost with the connection.
    proxy.cut().await;
    proxy.thaw();
    proxy.heal().await.unwrap();
    let healed = std::time::Instant::now();
    assert_eq!(answer.await.unwrap().unwrap().worker, "cut");
    assert!(healed.elapsed() < Duration::from_secs(3), "{:?}", healed.elapsed());
    site.settled().await;
    assert_eq!((worker.stats().runs, worker.stats().outcomes), (1, 1));
}

/// A half-open connection: everything is sent, nothing arrives.
#[tokio::test(flavor = "multi_thread")]
async fn worker_that_hears_nothing_for_longer_than_its_lease_stops_its_handlers() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (proxy, worker) = behind_a_proxy(&site, &nats).await;
    let caller = site.caller().await;
    let answer = call(caller.grind(job("bread", Work::Gate)).key("bread").deadline(PATIENCE));
    site.reaches("cut", "bread", Step::Start).await;
    let other = site.worker("other").await;
    proxy.freeze();
    loses_its_request_to(&site, &worker, &other).await;
    proxy.thaw();
    answer_comes_from_the_other(&site, answer, &worker, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_cut_off_for_longer_than_its_lease_stops_its_handlers() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (proxy, worker) = behind_a_proxy(&site, &nats).await;
    let caller = site.caller().await;
    let answer = call(caller.grind(job("bread", Work::Gate)).key("bread").deadline(PATIENCE));
    site.reaches("cut", "bread", Step::Start).await;
    let other = site.worker("other").await;
    proxy.cut().await;
    loses_its_request_to(&site, &worker, &other).await;
    proxy.heal().await.unwrap();
    answer_comes_from_the_other(&site, answer, &worker, &other).await;
}

/// The first handler is stopped before the second one starts: they do not even overlap.
async fn loses_its_request_to(site: &Site, worker: &RunningServer, other: &RunningServer) {
    let dropped = site.reaches("cut", "bread", Step::Drop).await;
    let started = site.reaches("other", "bread", Step::Start).await;
    assert!(dropped.at < started.at, "{dropped:?} {started:?}");
    assert_eq!((started.attempt, worker.stats().lost_leases), (2, 1));
    assert_eq!(other.stats().runs, 1);
}

async fn answer_comes_from_the_other(
    site: &Site,
    answer: JoinHandle<Answer>,
    worker: &RunningServer,
    other: &RunningServer,
) {
    // The worker is back before the outcome is stored: now it could do harm.
    let caller = site.caller().await;
    // Several at once, so that the server goes round the workers that pull.
    eventually("it serves again", async || {
        let answers = calls(4, |_| caller.grind(job("next", Work::Wait(500)))).join_all().await;
        answers.into_iter().any(|it| it.unwrap().worker == "cut")
    })
    .await;
    site.ledger.open_gate();
    assert_eq!(answer.await.unwrap().unwrap().worker, "other");
    site.settled().await;
    let story = ["cut Start 1", "cut Drop 1", "other Start 2", "other End 2"];
    assert_eq!(site.story("bread"), story);
    let nexts = site.ledger.runs().iter().filter(|it| it.job == "next" && it.step == Step::End).count();
    let outcomes = worker.stats().outcomes + other.stats().outcomes;
    assert_eq!(outcomes, 1 + nexts as u64);
}
