//! A record stream that is nearly full: the worker stops to pull before an outcome could be lost, and goes on when there
//! is room again.

use futures_util::StreamExt;
use requite::StreamLimits;
use requite_test::NatsServer;
use tokio::time::timeout;

use tests::{entry::Step, mill::Work};

use super::{
    LEASE,
    site::{PATIENCE, Site, calls, eventually, job},
};

const ROOM: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn worker_rests_while_the_record_stream_is_nearly_full() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let mut limits = StreamLimits::default();
    limits.record_bytes = ROOM;
    let worker = site.server(&site.url, site.mill("one")).await.limits(limits).start().await.unwrap();
    let caller = site.caller().await;
    // 100 kB each: the ninth answer is above nine tenths.
    let mut filled = 0;
    while site.stream("OUT").await["state"]["bytes"].as_u64().unwrap() <= ROOM / 10 * 9 {
        caller.grind(job(filled, Work::Bytes(100_000))).deadline(PATIENCE).await.unwrap();
        filled += 1;
    }
    site.settled().await;
    // The worker looks at the size every few seconds; from then on it does not ask for anything.
    let mut pulls = site.nats.subscribe("$JS.API.CONSUMER.MSG.NEXT.*.grind").await.unwrap();
    let rests = async { while timeout(LEASE, pulls.next()).await.is_ok() {} };
    timeout(PATIENCE, rests).await.expect("it stops to pull");
    let count = 20;
    let answers = calls(count, |n| caller.grind(job(format!("late {n}"), Work::Wait(0))));
    eventually("all are accepted", async || site.stream("REQ").await["state"]["messages"] == count).await;
    assert_eq!(site.consumer("grind").await["num_ack_pending"], 0);
    assert_eq!(worker.stats().runs, filled);

    let purged = site.ask("$JS.API.STREAM.PURGE.rq_OUT_mill", "").await;
    assert_eq!(purged["success"], true, "{purged}");
    for answer in answers.join_all().await {
        assert_eq!(answer.unwrap().attempt, 1);
    }
    site.settled().await;
    assert_eq!(site.count(Step::Start), filled as usize + count);
    assert_eq!(worker.stats().redeliveries, 0);
}

/// Nine answers of 100 kB fit, and all start before the worker can see how full it gets.
#[tokio::test(flavor = "multi_thread")]
async fn outcome_that_finds_no_room_is_kept_until_there_is_some() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let mut limits = StreamLimits::default();
    limits.record_bytes = ROOM;
    let worker = site.server(&site.url, site.mill("one")).await.limits(limits).start().await.unwrap();
    let caller = site.caller().await;
    let count = 15;
    let answers = calls(count, |n| caller.grind(job(n, Work::Bytes(100_000))));
    eventually("all ran", async || site.count(Step::End) == count).await;
    eventually("no more fit", async || worker.stats().outcomes >= 9).await;
    assert!(worker.stats().outcomes < count as u64, "{:?}", worker.stats());
    // Room comes while the handlers' results wait for it.
    let make_room = async {
        loop {
            eventually("it is full", async || {
                site.stream("OUT").await["state"]["bytes"].as_u64() > Some(ROOM / 2)
            })
            .await;
            site.ask("$JS.API.STREAM.PURGE.rq_OUT_mill", "").await;
        }
    };
    let answers = tokio::select! {
        answers = answers.join_all() => answers,
        () = make_room => unreachable!("it makes room for ever"),
    };
    assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|flour| flour.attempt == 1)), "{answers:?}");
    site.settled().await;
    assert_eq!((site.count(Step::Start), worker.stats().outcomes), (count, count as u64));
    assert_eq!((worker.stats().redeliveries, worker.stats().lost_leases), (0, 0));
}
