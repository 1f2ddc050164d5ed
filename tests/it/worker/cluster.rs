//! Three servers that replicate to each other: leaders die, workers die, deliveries are bounced, and every request runs
//! once.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use requite::{CancelAnswer, RunningServer};
use requite_test::NatsCluster;
use serde_json::Value;

use tests::{
    entry::Step,
    mill::{SiloClient, Work},
};

use super::{
    cancel::{has_heeded, may_have_run, started},
    site::{PATIENCE, Site, barriers_of, call, calls, eventually, job, renewed},
};

const CONSUMER: &str = "$JS.API.CONSUMER.INFO.rq_REQ_silo.store";

/// Acks of what is settled already: no delivery has this time stamp. Only a leader with a quorum answers them.
const BARRIERS: &str = "$JS.ACK.rq_REQ_silo.store.1.*.*.0.0";

async fn site(cluster: &NatsCluster) -> Site {
    Site::new(&cluster.urls().join(","), "rq").await
}

async fn worker(site: &Site, name: &str) -> RunningServer {
    let server = site.server(&site.url, site.silo(name)).await.replicas(3);
    server.start().await.unwrap()
}

async fn caller(site: &Site) -> SiloClient {
    SiloClient::new(site.client(&site.url).await)
}

/// The leader of a stream or consumer, and the others if all of them follow it.
async fn leader(cluster: &NatsCluster, info: &str) -> Option<(String, BTreeSet<String>)> {
    for node in cluster.nodes().iter().filter(|node| node.pid().is_some()) {
        let Ok(answer) = node.ask(info, "").await else { continue };
        let info: Value = serde_json::from_slice(&answer).unwrap();
        let Some(leader) = info["cluster"]["leader"].as_str() else { continue };
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        let current = replicas.iter().filter(|it| it["current"] == true && it["offline"] != true);
        let names = current.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect();
        return Some((leader.to_owned(), names));
    }
    None
}

/// Waits until every request is acked.
async fn settled(site: &Site) {
    eventually("every request is settled", async || {
        let consumer = site.ask(CONSUMER, "").await;
        consumer["num_ack_pending"] == 0 && consumer["num_pending"] == 0
    })
    .await;
}

/// Kills the leader and brings it back once there is another one.
async fn kill_leader(cluster: &mut NatsCluster, info: &str) {
    let (old, _) = leader(cluster, info).await.expect("there is a leader");
    cluster.node_by_name(&old).unwrap().kill9().await;
    eventually("another one leads", async || leader(cluster, info).await.is_some_and(|(new, _)| new != old))
        .await;
    cluster.node_by_name(&old).unwrap().restart().await.unwrap();
    cluster.wait_ready().await.unwrap();
    for info in [CONSUMER, "$JS.API.STREAM.INFO.rq_REQ_silo", "$JS.API.STREAM.INFO.rq_OUT_silo"] {
        eventually("all follow", async || {
            leader(cluster, info).await.is_some_and(|(_, others)| others.len() == 2)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_handlers_keep_their_requests_while_leaders_die() {
    let mut cluster = NatsCluster::start(3).await.unwrap();
    let site = site(&cluster).await;
    let (one, two) = (worker(&site, "one").await, worker(&site, "two").await);
    let mut barriers = site.nats.subscribe(BARRIERS).await.unwrap();
    let caller = caller(&site).await;
    let count = 20;
    let answers = calls(count, |n| caller.store(job(n, Work::Gate)));
    eventually("all run", async || site.count(Step::Start) == count).await;

    for info in [CONSUMER, "$JS.API.STREAM.INFO.rq_REQ_silo", "$JS.API.STREAM.INFO.rq_OUT_silo"] {
        kill_leader(&mut cluster, info).await;
        renewed([&one, &two], barriers_of([&one, &two]), 1).await;
    }
    assert_eq!((site.count(Step::End), site.count(Step::Drop)), (0, 0));
    let barriers = site.heard(&mut barriers).await;
    assert!(barriers.len() >= 3 && barriers.iter().all(|it| *it.payload == *b"+ACK"), "{barriers:?}");
    site.ledger.open_gate();
    let answers = answers.join_all().await;
    assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|flour| flour.attempt == 1)), "{answers:?}");
    assert_eq!((site.count(Step::Start), site.count(Step::End)), (count, count));
    settled(&site).await;
    let (one, two) = (one.stats(), two.stats());
    assert_eq!(one.redeliveries + two.redeliveries, 0, "{one:?} {two:?}");
    assert_eq!(one.lost_leases + two.lost_leases, 0, "{one:?} {two:?}");
    assert_eq!(one.outcomes + two.outcomes, count as u64, "{one:?} {two:?}");
    // One more is the message of set-up.
    let consumer = site.ask(CONSUMER, "").await;
    assert_eq!(consumer["delivered"]["consumer_seq"], count + 1, "{consumer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn claimed_request_that_is_bounced_between_workers_runs_once() {
    let cluster = NatsCluster::start(3).await.unwrap();
    let site = site(&cluster).await;
    let mut workers = Vec::new();
    for name in ["one", "two", "three"] {
        workers.push(worker(&site, name).await);
    }
    let sum = |of: fn(&requite::Stats) -> u64| workers.iter().map(|it| of(&it.stats())).sum::<u64>();
    let caller = caller(&site).await;
    let mut heartbeats = site.nats.subscribe("$JS.ACK.rq_REQ_silo.store.>").await.unwrap();
    let answer = call(caller.store(job("bread", Work::Gate)).key("bread").deadline(PATIENCE));
    let ack = loop {
        let message = heartbeats.next().await.unwrap();
        if *message.payload == *b"+WPI" {
            break message.subject;
        }
    };
    for bounces in 1..=6 {
        site.nats.publish(ack.clone(), "-NAK".into()).await.unwrap();
        eventually("it is given out again", async || sum(|it| it.redeliveries) >= bounces).await;
    }
    // Two heartbeats later nobody has been misled.
    let before = sum(|it| it.barriers);
    eventually("the owner keeps beating", async || sum(|it| it.barriers) >= before + 2).await;
    site.ledger.open_gate();
    assert_eq!(answer.await.unwrap().unwrap().attempt, 1);
    assert_eq!((site.count(Step::Start), site.count(Step::End)), (1, 1));
    settled(&site).await;
    assert_eq!(sum(|it| it.outcomes), 1);
    assert_eq!(sum(|it| it.lost_leases), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_of_a_killed_worker_is_taken_over() {
    let cluster = NatsCluster::start(3).await.unwrap();
    let site = site(&cluster).await;
    let first = site.process_of("silo", "first", Duration::ZERO);
    eventually("it pulls", async || site.ask(CONSUMER, "").await["num_waiting"].as_u64() > Some(0)).await;
    let caller = caller(&site).await;
    let answer = call(caller.store(job("bread", Work::Gate)).key("bread").deadline(PATIENCE));
    let started = site.reaches("first", "bread", Step::Start).await;
    first.kill().await.unwrap();
    let second = worker(&site, "second").await;
    let taken_over = site.reaches("second", "bread", Step::Start).await;
    // The lease, and two seconds of asking an owner that does not answer.
    assert!(taken_over.at.since(started.at) < Duration::from_secs(30), "{started:?} {taken_over:?}");
    assert_eq!((taken_over.attempt, &taken_over.key), (2, &started.key));
    site.ledger.open_gate();
    assert_eq!(answer.await.unwrap().unwrap().worker, "second");
    assert_eq!(second.stats().runs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_requests_are_ended_by_who_has_them_or_comes_next() {
    let cluster = NatsCluster::start(3).await.unwrap();
    let site = site(&cluster).await;
    let first = site.process_of("silo", "first", Duration::ZERO);
    eventually("it pulls", async || site.ask(CONSUMER, "").await["num_waiting"].as_u64() > Some(0)).await;
    let caller = caller(&site).await;
    let heeds = started(caller.store(job("heeds", Work::Heed(240_000)))).await;
    let left = started(caller.store(job("left", Work::Gate)).key("left")).await;
    for name in ["heeds", "left"] {
        site.reaches("first", name, Step::Start).await;
    }
    heeds.cancel().await.unwrap();
    let answer = heeds.await;
    assert!(has_heeded(&answer), "{answer:?}");
    first.kill().await.unwrap();
    let waits = started(caller.store(job("waits", Work::Gate))).await;
    for call in [&left, &waits, &left] {
        assert_eq!(call.cancel().await, Ok(CancelAnswer::Signalled));
    }
    let second = worker(&site, "second").await;
    let id = waits.id().clone();
    assert!(!may_have_run(waits.await));
    eventually("a replica says so", async || {
        caller.cancel(&id).await == Ok(CancelAnswer::CancelledBeforeStart)
    })
    .await;
    assert!(may_have_run(left.await));
    settled(&site).await;
    assert_eq!(site.story("left"), ["first Start 1"]);
    assert_eq!(second.stats().runs, 0);
}
