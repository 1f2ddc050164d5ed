//! What becomes of a request whose worker dies: the next worker takes it over, once, and never runs what has an outcome.

use std::time::Duration;

use requite::{Aborted, CallError, Reason, async_nats::Message};
use requite_test::NatsServer;
use rustix::process::Signal;

use tests::{entry::Step, mill::Work};

use super::site::{PATIENCE, Site, call, job};

const DRAIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn request_of_a_killed_worker_is_taken_over() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let caller = site.caller().await;
    // From the first answer on this caller knows the server's time: its calls need no claim before they start.
    caller.grind(job("before", Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    let unclaimed = call(caller.grind(job("unclaimed", Work::Gate)).deadline(PATIENCE));
    let claimed = call(caller.grind(job("claimed", Work::Gate)).key("claimed").deadline(PATIENCE));
    let before = [
        site.reaches("first", "unclaimed", Step::Start).await,
        site.reaches("first", "claimed", Step::Start).await,
    ];
    first.kill().await.unwrap();
    let second = site.worker("second").await;
    site.ledger.open_gate();
    for (answer, before) in [unclaimed, claimed].into_iter().zip(before) {
        let flour = answer.await.unwrap().unwrap();
        assert_eq!((flour.worker.as_str(), flour.attempt), ("second", 2));
        let story = ["first Start 1", "second Start 2", "second End 2"];
        assert_eq!(site.story(&before.job), story);
        let after = site.reaches("second", &before.job, Step::Start).await;
        assert_eq!(before.key, after.key);
    }
    site.settled().await;
    let stats = second.stats();
    assert_eq!((stats.runs, stats.outcomes, stats.redeliveries), (2, 2, 2), "{stats:?}");
}

/// A worker that may not ack is one that dies between the outcome and the ack.
#[tokio::test(flavor = "multi_thread")]
async fn outcome_of_a_worker_that_died_before_its_ack_stands() {
    let users = r#"authorization { users: [
        { user: "all", password: "x" },
        { user: "mute", password: "x", permissions: { publish: { deny: "$JS.ACK.>" } } }
    ] }"#;
    let server = NatsServer::builder().config(users).credentials("all", "x");
    let nats = server.start().await.unwrap();
    let site = Site::new(&nats.url_as("all", "x"), "rq").await;
    let mute = site.server(&nats.url_as("mute", "x"), site.mill("mute")).await.start().await.unwrap();
    let caller = site.caller().await;
    let told = caller.grind(job("bread", Work::Wait(0))).key("bread").deadline(PATIENCE).await.unwrap();
    assert_eq!(told.worker, "mute");
    drop(mute);
    assert_eq!(site.stream("REQ").await["state"]["messages"], 1, "the ack was to be prevented");

    let second = site.worker("second").await;
    site.settled().await;
    let stats = second.stats();
    assert_eq!((stats.redeliveries, stats.known_outcomes, stats.runs), (1, 1, 0), "{stats:?}");
    assert_eq!(site.story("bread"), ["mute Start 1", "mute End 1"]);
    let again = caller.grind(job("bread", Work::Wait(0))).key("bread").deadline(PATIENCE).await.unwrap();
    assert_eq!(again, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_is_never_started_again() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let caller = site.caller().await;
    let answer = call(caller.once(job("bread", Work::Gate)).deadline(PATIENCE));
    let start = site.reaches("first", "bread", Step::Start).await;
    assert!(start.fence.is_some(), "{start:?}");
    first.kill().await.unwrap();
    let second = site.worker("second").await;
    let error = answer.await.unwrap().unwrap_err();
    assert!(matches!(&error, CallError::Aborted(Aborted { reason: Reason::Interrupted, .. })), "{error:?}");
    site.settled().await;
    assert_eq!(site.story("bread"), ["first Start 1"]);
    assert_eq!(second.stats().runs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fencing_token_grows_from_worker_to_worker() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", DRAIN).await;
    let caller = site.caller().await;
    let answer = call(caller.fenced(job("bread", Work::Gate)).deadline(PATIENCE));
    let before = site.reaches("first", "bread", Step::Start).await;
    first.kill().await.unwrap();
    let _second = site.worker("second").await;
    let after = site.reaches("second", "bread", Step::Start).await;
    assert!(before.fence.is_some() && before.fence < after.fence, "{before:?} {after:?}");
    site.ledger.open_gate();
    assert_eq!(answer.await.unwrap().unwrap().attempt, 2);
}

/// Past its lease a stopped process is taken for dead. When it wakes up it finds its leases lost.
#[tokio::test(flavor = "multi_thread")]
async fn zombie_writes_nothing_and_serves_on() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let zombie = site.process("zombie", DRAIN).await;
    let caller = site.caller().await;
    let answer = call(caller.grind(job("bread", Work::Gate)).key("bread").deadline(PATIENCE));
    site.reaches("zombie", "bread", Step::Start).await;
    zombie.signal(Signal::STOP);
    let second = site.worker("second").await;
    site.reaches("second", "bread", Step::Start).await;

    let mut records = site.nats.subscribe("rq.put.>").await.unwrap();
    // Heartbeats, acks and NAKs of the first delivery of the first request.
    let mut settles = site.nats.subscribe("$JS.ACK.*.grind.1.1.>").await.unwrap();
    site.heard(&mut settles).await;
    zombie.signal(Signal::CONT);
    site.reaches("zombie", "bread", Step::Drop).await;
    site.ledger.open_gate();
    assert_eq!(answer.await.unwrap().unwrap().worker, "second");
    let story = ["zombie Start 1", "second Start 2", "zombie Drop 1", "second End 2"];
    assert_eq!(site.story("bread"), story);
    site.settled().await;
    assert_eq!(second.stats().outcomes, 1);
    second.shutdown().await;

    let next = caller.grind(job("cake", Work::Wait(0))).key("cake").deadline(PATIENCE).await.unwrap();
    assert_eq!((next.worker.as_str(), next.attempt), ("zombie", 1));
    site.settled().await;
    let kind = |it: &Message| it.headers.as_ref().unwrap().get("Rq-Kind").unwrap().to_string();
    let records: Vec<_> = site.heard(&mut records).await.iter().map(kind).collect();
    assert_eq!(records, ["outcome", "claim", "outcome"], "the first is the second worker's");
    let settles = site.heard(&mut settles).await;
    assert!(settles.is_empty(), "{settles:?}");
}
