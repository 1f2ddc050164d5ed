//! The server is killed and comes back: what runs goes on, what waits is not forgotten, and nothing runs twice.

use requite_test::NatsServer;

use super::{
    LEASE,
    ledger::Step,
    mill::Work,
    site::{Site, barriers_of, calls, eventually, job, renewed},
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
