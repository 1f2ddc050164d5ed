//! Checkpoints on a real server: the next attempt goes on where the last one was, and a worker that lost its lease
//! stores nothing.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64;
use requite::{CheckpointError, RunningServer, StreamLimits, prelude::*};
use requite_test::{NatsCluster, NatsServer, Proxy};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use tests::{
    entry::Step,
    mill::{MillClient, Work},
};

use super::site::{PATIENCE, Site, call, eventually, job};

/// More than the servers take as a message.
const TOO_LARGE: usize = 2 << 20;

/// Worth another try.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, thiserror::Error, CallError)]
#[error("not done yet")]
#[retry(after = "100ms")]
struct NotDone;

/// Handlers that store checkpoints, and say what came of it.
struct Press {
    /// What was not said in an answer.
    said: mpsc::UnboundedSender<Result<(), CheckpointError>>,
    no_room: Notify,
    gate: Arc<Notify>,
}

#[service(name = "press")]
impl Press {
    /// Counts on from the last checkpoint in every attempt, and needs three.
    #[handler(lease = "6s", attempts = 3)]
    async fn count(&self, cx: &Context) -> Result<u32, NotDone> {
        count(cx).await
    }

    /// What the second attempt finds; the first stores something, or nothing.
    #[handler(lease = "6s", attempts = 2)]
    async fn find(&self, cx: &Context, stores: bool) -> Result<Option<String>, NotDone> {
        if cx.attempt() == 2 {
            return Ok(cx.last_checkpoint().unwrap());
        }
        if stores {
            cx.checkpoint("must").await.unwrap();
        }
        Err(NotDone)
    }

    /// Stores one that is too large, and one that is of another type, and goes on.
    #[handler(lease = "6s")]
    async fn stumble(&self, cx: &Context) -> String {
        cx.checkpoint(&1).await.unwrap();
        let large = cx.checkpoint(&"x".repeat(TOO_LARGE)).await.unwrap_err();
        assert!(matches!(large, CheckpointError::TooLarge { .. }), "{large:?}");
        assert_eq!(cx.last_checkpoint(), Ok(Some(1)), "the one before it stands");
        cx.checkpoint("two").await.unwrap();
        let other = cx.last_checkpoint::<u32>().unwrap_err();
        assert!(matches!(other, CheckpointError::Undecodable { .. }), "{other:?}");
        cx.last_checkpoint().unwrap().unwrap()
    }

    /// Makes many at once, and drops some of them on the way.
    #[handler(lease = "6s")]
    async fn rush(&self, cx: &Context) -> u32 {
        for n in 0..20u32 {
            let (first, second) = (2 * n, 2 * n + 1);
            let both = async { tokio::join!(cx.checkpoint(&first), cx.checkpoint(&second)) };
            match n % 4 {
                // As a handler does that gives up on one.
                3 => drop(tokio::time::timeout(Duration::from_micros(100), both).await),
                _ => assert_eq!(both.await, (Ok(()), Ok(()))),
            }
        }
        cx.checkpoint(&100).await.unwrap();
        cx.last_checkpoint().unwrap().unwrap()
    }

    /// Leaves something behind that stores another one when the lease is lost.
    #[handler(lease = "6s")]
    async fn outlived(&self, cx: &Context) -> Option<u32> {
        let found = cx.last_checkpoint().unwrap();
        cx.checkpoint(&cx.attempt()).await.unwrap();
        let (said, cx) = (self.said.clone(), cx.clone());
        if found.is_none() {
            tokio::spawn(async move {
                cx.stopped().await;
                said.send(cx.checkpoint(&77).await).unwrap();
            });
            std::future::pending::<()>().await;
        }
        found
    }

    /// Stores one, at once or behind the gate, and waits for ever; the next attempt says what it finds.
    #[handler(lease = "6s")]
    async fn pause(&self, cx: &Context, at_once: bool) -> bool {
        if let Some(found) = cx.last_checkpoint().unwrap() {
            return found;
        }
        if !at_once {
            self.gate.notified().await;
        }
        let stored = cx.checkpoint(&at_once).await;
        self.said.send(stored).unwrap();
        std::future::pending().await
    }

    /// Stores a large one, and keeps it until another one has found no room.
    #[handler(lease = "6s")]
    async fn hold(&self, cx: &Context, bytes: usize) {
        cx.checkpoint(&"x".repeat(bytes)).await.unwrap();
        self.no_room.notified().await;
    }

    /// Stores small ones until there is no room.
    #[handler(lease = "6s")]
    async fn squeeze(&self, cx: &Context) -> String {
        loop {
            match cx.checkpoint(&1).await {
                Ok(()) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(full) => {
                    self.no_room.notify_one();
                    return full.to_string();
                }
            }
        }
    }
}

/// The same with the shortest lease that replicated streams allow.
struct Vat;

#[service(name = "vat")]
impl Vat {
    /// Counts on from the last checkpoint in every attempt, and needs three.
    #[handler(lease = "20s", attempts = 3)]
    async fn count(&self, cx: &Context) -> Result<u32, NotDone> {
        count(cx).await
    }
}

async fn count(cx: &Context) -> Result<u32, NotDone> {
    let found = cx.last_checkpoint::<u32>().unwrap().unwrap_or(0);
    cx.checkpoint(&(found + 10)).await.unwrap();
    assert_eq!(cx.last_checkpoint(), Ok(Some(found + 10)));
    if cx.attempt() < 3 { Err(NotDone) } else { Ok(found) }
}

type Said = mpsc::UnboundedReceiver<Result<(), CheckpointError>>;

fn press() -> (Press, Said) {
    let (said, heard) = mpsc::unbounded_channel();
    (Press { said, no_room: Notify::new(), gate: Arc::default() }, heard)
}

async fn worker(site: &Site, url: &str) -> (RunningServer, Said) {
    let (press, said) = press();
    (site.server(url, press).await.start().await.unwrap(), said)
}

async fn caller(site: &Site) -> PressClient {
    PressClient::new(site.client(&site.url).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_goes_on_where_the_last_one_was() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (worker, _said) = worker(&site, &site.url).await;
    assert_eq!(caller(&site).await.count().deadline(PATIENCE).await.unwrap(), 20);
    assert_eq!(worker.stats().runs, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_three_servers_as_well() {
    let cluster = NatsCluster::start(3).await.unwrap();
    let site = Site::new(&cluster.urls().join(","), "rq").await;
    let _worker = site.server(&site.url, Vat).await.replicas(3).start().await.unwrap();
    let caller = VatClient::new(site.client(&site.url).await);
    assert_eq!(caller.count().deadline(PATIENCE).await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_of_a_killed_worker_is_found_by_the_next() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let first = site.process("first", Duration::from_secs(1)).await;
    let caller: MillClient = site.caller().await;
    let answer = call(caller.grind(job("bread", Work::Checkpoint)).deadline(PATIENCE));
    eventually("the checkpoint is stored", async || site.checkpoints("mill").await == 1).await;
    first.kill().await.unwrap();
    let _second = site.worker("second").await;
    site.reaches("second", "bread", Step::Start).await;
    site.ledger.open_gate();
    let flour = answer.await.unwrap().unwrap();
    assert_eq!((flour.worker.as_str(), flour.attempt, flour.bytes.as_str()), ("second", 2, "first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_drains_hands_over_at_the_checkpoint() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (press, mut said) = press();
    let gate = Arc::clone(&press.gate);
    // So long that what is only let go at its end is never answered.
    let server = site.server(&site.url, press).await.drain_timeout(2 * PATIENCE);
    let first = server.start().await.unwrap();
    let caller = caller(&site).await;
    let at_once = call(caller.pause(true).deadline(PATIENCE));
    let behind = call(caller.pause(false).deadline(PATIENCE));
    assert_eq!(said.recv().await, Some(Ok(())));
    eventually("both run", async || first.stats().runs == 2).await;
    let drains = tokio::spawn(first.shutdown());
    let (_second, _said) = worker(&site, &site.url).await;
    assert!(at_once.await.unwrap().unwrap());
    gate.notify_one();
    assert!(!behind.await.unwrap().unwrap());
    drains.await.unwrap();
    assert!(said.try_recv().is_err(), "a handler went on behind the checkpoint at which it was handed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_said_and_the_handler_goes_on() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (worker, _said) = worker(&site, &site.url).await;
    let caller = caller(&site).await;
    assert_eq!(caller.stumble().deadline(PATIENCE).await.unwrap(), "two");
    assert_eq!(caller.rush().deadline(PATIENCE).await.unwrap(), 100);
    assert_eq!(worker.stats().redeliveries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_loss_of_its_lease_a_handler_stores_nothing() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let proxy = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
    let (_first, mut said) = worker(&site, &proxy.url()).await;
    let answer = call(caller(&site).await.outlived().deadline(PATIENCE));
    eventually("the checkpoint is stored", async || site.checkpoints("press").await == 1).await;
    proxy.freeze();
    let refused = said.recv().await.unwrap();
    assert_eq!(refused, Err(CheckpointError::Stopped));
    let (_second, _) = worker(&site, &site.url).await;
    proxy.thaw();
    assert_eq!(answer.await.unwrap().unwrap(), Some(1), "the second attempt finds the first one's");
}

/// The last tenth of the record stream is for outcomes.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_leave_room_for_outcomes() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let mut limits = StreamLimits::default();
    limits.record_bytes = 1 << 20;
    let (press, _said) = press();
    let _worker = site.server(&site.url, press).await.limits(limits).start().await.unwrap();
    let caller = caller(&site).await;
    let small = call(caller.squeeze().deadline(PATIENCE));
    eventually("a small one is stored", async || site.checkpoints("press").await == 1).await;
    // Nine tenths, and still nothing that the server refuses.
    let large = call(caller.hold(950_000).deadline(PATIENCE));
    let refused = small.await.unwrap().unwrap();
    assert!(refused.contains("is for outcomes"), "{refused}");
    large.await.unwrap().unwrap();
}

/// Under one key, after the first outcome is gone.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_is_of_one_request_and_kept_until_its_deadline() {
    let nats = NatsServer::start().await.unwrap();
    let site = Site::new(&nats.url(), "rq").await;
    let (_worker, _said) = worker(&site, &site.url).await;
    let caller = caller(&site).await;
    assert_eq!(caller.find(true).key("grape").deadline(PATIENCE).await.unwrap().as_deref(), Some("must"));
    let outcomes = json!({ "filter": "rq.out.>" });
    let purged = site.ask("$JS.API.STREAM.PURGE.rq_OUT_press", outcomes).await;
    assert_eq!(purged["purged"], 1, "{purged}");
    assert_eq!(site.checkpoints("press").await, 1);
    assert_eq!(caller.find(false).key("grape").deadline(PATIENCE).await.unwrap(), None);

    let read = json!({ "last_by_subj": "rq.chk.>" });
    let read = site.ask("$JS.API.STREAM.MSG.GET.rq_OUT_press", read).await;
    let headers = BASE64.decode(read["message"]["hdrs"].as_str().unwrap().as_bytes()).unwrap();
    let headers = String::from_utf8(headers).unwrap();
    let kept = headers.lines().find_map(|line| line.strip_prefix("Nats-TTL: ")?.strip_suffix('s'));
    let (kept, deadline) = (kept.unwrap().parse::<u64>().unwrap(), PATIENCE.as_secs());
    assert!((deadline..=deadline + 60).contains(&kept), "{headers}");
}
