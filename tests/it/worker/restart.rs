//! The server is killed and comes back: what runs goes on, what waits is not forgotten, and nothing runs twice.

use requite_test::NatsServer;

use tests::{entry::Step, mill::Work};

use super::{
    LEASE,
    site::{PATIENCE, Site, barriers_of, call, calls, eventually, job, renewed},
};

#[tokio::test(flavor = "multi_thread")]
async fn running_handlers_survive_a_restart_of_the_server() {
    let mut nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (one, two) = (site.worker("one").await, site.worker("two").await);
    let caller = site.caller().await;
    let count = 20;
    let answers = calls(count, |n| caller.grind(job(n, Work::Gate)));
    eventually("all run", async || site.count(Step::Start) == count).await;
    nats.kill9().await;
    nats.restart().await.unwrap();
    // A heartbeat a second: for longer than a lease after the restart.
    renewed([&one, &two], barriers_of([&one, &two]), LEASE.as_secs() + 3).await;
    site.ledger.open_gate();
    let answers = answers.join_all().await;
    assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|flour| flour.attempt == 1)), "{answers:?}");
    site.settled().await;
    assert_eq!((site.count(Step::Start), site.count(Step::End)), (count, count));
    let (one, two) = (one.stats(), two.stats());
    assert_eq!(one.outcomes + two.outcomes, count as u64, "{one:?} {two:?}");
    assert_eq!(one.lost_leases + two.lost_leases, 0, "{one:?} {two:?}");
}

/// After a restart the server counts the lease of a first delivery from the moment the request was published: what
/// waited long would be given out again at once.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_waited_long_are_safe_before_they_start() {
    let mut nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    // Makes the streams.
    site.worker("nobody").await.shutdown().await;
    let caller = site.caller().await;
    let count = 50;
    let answers = calls(count, |n| caller.grind(job(n, Work::Gate)));
    eventually("all wait", async || site.stream("REQ").await["state"]["messages"] == count).await;
    // The wait is what is tested.
    tokio::time::sleep(LEASE).await;

    let worker = site.worker("one").await;
    eventually("the first one starts", async || worker.stats().runs > 0).await;
    let stats = worker.stats();
    assert!(stats.heartbeats > 0 && stats.barriers > 0, "before a run: {stats:?}");
    eventually("all run", async || site.count(Step::Start) == count).await;
    nats.kill9().await;
    nats.restart().await.unwrap();
    let barriers = worker.stats().barriers;
    eventually("leases are renewed", async || worker.stats().barriers >= barriers + LEASE.as_secs() + 3)
        .await;
    site.ledger.open_gate();
    let answers = answers.join_all().await;
    assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|flour| flour.attempt == 1)), "{answers:?}");
    site.settled().await;
    assert_eq!(site.count(Step::Start), count);
    let stats = worker.stats();
    assert_eq!((stats.redeliveries, stats.lost_leases), (0, 0), "{stats:?}");
}

/// The same for a request that is stored while the worker is there to see it, but has no slot for it: it needs no claim.
#[tokio::test(flavor = "multi_thread")]
async fn request_that_waited_for_a_slot_is_safe_before_it_starts() {
    let mut nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    caller.narrow(job("before", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    let first = call(caller.narrow(job("first", Work::Gate)).deadline(PATIENCE));
    site.reaches("one", "first", Step::Start).await;
    let waits = caller.narrow(job("waits", Work::Wait(9000))).deadline(PATIENCE).start().await.unwrap();
    // The wait is what is tested: more than a third of the lease.
    tokio::time::sleep(LEASE / 2).await;
    // It is the third message of the stream; its delivery is its first.
    let mut heartbeats = site.nats.subscribe("$JS.ACK.rq_REQ_mill.narrow.1.3.>").await.unwrap();
    site.heard(&mut heartbeats).await;
    site.ledger.open_gate();
    site.reaches("one", "waits", Step::Start).await;
    let heard = site.heard(&mut heartbeats).await;
    assert!(heard.iter().any(|it| *it.payload == *b"+WPI"), "no heartbeat before the start: {heard:?}");
    nats.kill9().await;
    nats.restart().await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(waits.await.unwrap().attempt, 1);
    site.settled().await;
    assert_eq!(site.story("waits"), ["one Start 1", "one End 1"]);
    let stats = worker.stats();
    assert_eq!((stats.redeliveries, stats.lost_leases), (0, 0), "{stats:?}");
}
