//! Slots are a method's own.

use requite_test::NatsServer;

use tests::{entry::Step, mill::Work};

use super::site::{PATIENCE, Site, call, job};

#[tokio::test(flavor = "multi_thread")]
async fn method_with_all_slots_taken_does_not_hold_up_another() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let worker = site.worker("one").await;
    let caller = site.caller().await;
    let slow = call(caller.narrow(job("slow", Work::Gate)).deadline(PATIENCE));
    site.reaches("one", "slow", Step::Start).await;
    let queued = caller.narrow(job("queued", Work::Wait(0))).deadline(PATIENCE).start().await.unwrap();
    for n in 0..20 {
        caller.grind(job(n, Work::Wait(0))).deadline(PATIENCE).await.unwrap();
    }
    assert_eq!(site.story("slow"), ["one Start 1"]);
    assert!(site.story("queued").is_empty(), "one slot, and two handlers");
    assert_eq!(site.consumer("narrow").await["num_ack_pending"], 1, "no more is pulled than can be run");
    site.ledger.open_gate();
    slow.await.unwrap().unwrap();
    queued.await.unwrap();
    assert_eq!(worker.stats().runs, 22);
}
