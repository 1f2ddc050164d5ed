//! SIGTERM with work in hand: what cannot be ended in time starts elsewhere at once, and nothing runs twice.

use std::time::Duration;

use requite::async_nats::RequestErrorKind;
use requite_test::NatsServer;
use rustix::process::Signal;

use tests::{
    entry::{Moment, Step},
    mill::Work,
};

use super::{
    LEASE,
    site::{PATIENCE, Site, call, eventually, job},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn terminated_worker_ends_what_it_can_and_lets_go_of_the_rest() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    // Longer than the lease, so that what is in hand is lost unless the heartbeats go on.
    let drain = LEASE + 3 * SECOND;
    let first = site.process("first", drain).await;
    let caller = site.caller().await;
    let ends = call(caller.grind(job("ends", Work::Wait(8000))).deadline(PATIENCE));
    let stays = call(caller.grind(job("stays", Work::Gate)).deadline(PATIENCE));
    let narrow = call(caller.narrow(job("narrow", Work::Gate)).deadline(PATIENCE));
    for name in ["ends", "stays", "narrow"] {
        site.reaches("first", name, Step::Start).await;
    }
    // The only slot is taken: this one waits at the server.
    let queued = caller.narrow(job("queued", Work::Gate)).deadline(PATIENCE).start().await.unwrap();
    let second = site.process("second", drain).await;
    // The second worker has a slot of this kind too; it is taken as well, so the next one is queued again.
    site.reaches("second", "queued", Step::Start).await;
    let last = caller.narrow(job("last", Work::Wait(0))).deadline(PATIENCE).start().await.unwrap();

    let told = Moment::now();
    first.signal(Signal::TERM);
    assert_eq!(ends.await.unwrap().unwrap().worker, "first");
    for name in ["stays", "narrow"] {
        let dropped = site.reaches("first", name, Step::Drop).await;
        assert!(dropped.at.since(told) >= drain, "{name} was dropped before the drain time was over");
    }
    let restarted = site.reaches("second", "stays", Step::Start).await;
    let dropped = site.reaches("first", "stays", Step::Drop).await;
    assert!(restarted.at.since(dropped.at) < SECOND, "{dropped:?} {restarted:?}");
    assert!(first.ended().await.unwrap().success());

    site.ledger.open_gate();
    for answer in [stays, narrow] {
        let flour = answer.await.unwrap().unwrap();
        assert_eq!((flour.worker.as_str(), flour.attempt), ("second", 2));
    }
    assert_eq!(queued.await.unwrap().worker, "second");
    assert_eq!(last.await.unwrap().worker, "second");
    site.settled().await;
    assert_eq!(site.story("ends"), ["first Start 1", "first End 1"]);
    assert_eq!(site.story("queued"), ["second Start 1", "second End 1"]);
    assert_eq!(site.story("stays"), ["first Start 1", "first Drop 1", "second Start 2", "second End 2"]);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_worker_keeps_only_what_could_not_go_on_elsewhere() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    // So long that what is only let go at its end is never answered.
    let first = site.process("first", 2 * PATIENCE).await;
    let caller = site.caller().await;
    let moves = call(caller.grind(job("moves", Work::Checkpoint)).deadline(PATIENCE));
    let stays = call(caller.grind(job("stays", Work::Gate)).deadline(PATIENCE));
    site.reaches("first", "stays", Step::Start).await;
    eventually("the checkpoint is stored", async || site.checkpoints("mill").await == 1).await;

    first.signal(Signal::TERM);
    let second = site.process("second", Duration::ZERO).await;
    site.reaches("second", "moves", Step::Start).await;
    assert_eq!(site.story("stays"), ["first Start 1"]);
    site.ledger.open_gate();
    let flour = moves.await.unwrap().unwrap();
    assert_eq!((flour.worker.as_str(), flour.attempt, flour.bytes.as_str()), ("second", 2, "first"));
    assert_eq!(stays.await.unwrap().unwrap().worker, "first");
    assert!(first.ended().await.unwrap().success());
    assert_eq!(site.story("moves"), ["first Start 1", "first Drop 1", "second Start 2", "second End 2"]);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_drains_starts_nothing_new() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.worker("first").await;
    let caller = site.caller().await;
    let stays = call(caller.grind(job("stays", Work::Gate)).deadline(PATIENCE));
    site.reaches("first", "stays", Step::Start).await;
    // A pull for the free slots is open: the server may still send what comes next to this worker.
    let mut drains = Box::pin(first.shutdown());
    assert!(futures_util::poll!(&mut drains).is_pending());
    let drains = tokio::spawn(drains);
    let new = call(caller.grind(job("new", Work::Wait(0))).deadline(PATIENCE));
    let second = site.worker("second").await;
    assert_eq!(new.await.unwrap().unwrap().worker, "second");
    assert_eq!(site.story("stays"), ["first Start 1"]);
    assert_eq!(site.ledger.runs().iter().filter(|it| it.job == "new" && it.step == Step::Start).count(), 1);
    site.ledger.open_gate();
    assert_eq!(stays.await.unwrap().unwrap().worker, "first");
    drains.await.unwrap();
    assert_eq!(second.stats().runs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_server_keeps_the_leases_of_what_runs() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.worker("first").await;
    let caller = site.caller().await;
    // Longer than the lease.
    let runs = call(caller.grind(job("runs", Work::Wait(8000))).deadline(PATIENCE));
    site.reaches("first", "runs", Step::Start).await;
    drop(first);
    let second = site.worker("second").await;
    assert_eq!(caller.grind(job("new", Work::Wait(0))).deadline(PATIENCE).await.unwrap().worker, "second");
    // One, if the new request was sent for a pull that the first worker left open, and was handed on from there.
    let handed_on = second.stats().redeliveries;
    assert!(handed_on <= 1, "{handed_on}");
    assert_eq!(runs.await.unwrap().unwrap().worker, "first");
    site.settled().await;
    assert_eq!(site.story("runs"), ["first Start 1", "first End 1"]);
    assert_eq!(second.stats().redeliveries, handed_on, "the lease of what runs was lost");
    second.shutdown().await;
    eventually("no keeper is left", async || {
        // A keeper that ends may take a question and not answer it, and this connection waits for ever.
        let asked = site.nats.request("rq.ctl.mill.spy.-any.grind", "".into());
        let asked = tokio::time::timeout(SECOND, asked).await;
        asked.is_ok_and(|it| it.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders))
    })
    .await;
}
