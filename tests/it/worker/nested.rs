//! Calls that a handler makes with its own request, when that goes on elsewhere: the next attempt waits for the same call.

use std::time::Duration;

use futures_util::StreamExt;
use requite::{CallError, NoError, Reason, RunningServer, prelude::*};
use requite_test::{NatsServer, Proxy};
use tokio::sync::watch;

use super::site::{PATIENCE, Site, call, eventually};
use crate::caller::fixture::within;

/// Hews when the test lets it; half a stone if it is told to end.
#[derive(Clone)]
struct Quarry {
    begun: watch::Sender<u32>,
    gate: watch::Sender<bool>,
}

#[service(name = "quarry")]
impl Quarry {
    #[handler]
    async fn hew(&self, cx: &Context, stone: u32) -> u32 {
        self.begun.send_modify(|begun| *begun += 1);
        let mut gate = self.gate.subscribe();
        tokio::select! {
            () = cx.cancelled() => stone / 2,
            _ = gate.wait_for(|open| *open) => stone,
        }
    }
}

/// Has a stone hewn that belongs to its request.
struct Mason {
    begun: watch::Sender<u32>,
    dropped: watch::Sender<u32>,
    quarry: QuarryClient,
}

struct CountsDrop(watch::Sender<u32>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.send_modify(|dropped| *dropped += 1);
    }
}

impl Mason {
    async fn lay(&self, cx: &Context, cascades: bool, keyed: bool) -> u32 {
        self.begun.send_modify(|begun| *begun += 1);
        let _counts = CountsDrop(self.dropped.clone());
        let stone = self.quarry.hew(10);
        let stone = if keyed { stone.key(cx.idempotency_key()) } else { stone };
        let stone = if cascades { stone.cascade() } else { stone.cancel_on_drop() };
        stone.await.unwrap()
    }
}

#[service(name = "mason")]
impl Mason {
    /// Goes on elsewhere from its checkpoint.
    #[handler(lease = "6s")]
    async fn build(&self, cx: &Context, cascades: bool) -> u32 {
        cx.checkpoint(&1).await.unwrap();
        self.lay(cx, cascades, true).await
    }

    /// The same, with a stone that nobody finds again.
    #[handler(lease = "6s")]
    async fn pile(&self, cx: &Context) -> u32 {
        cx.checkpoint(&1).await.unwrap();
        self.lay(cx, true, false).await
    }

    /// Nobody goes on with it.
    #[handler(lease = "6s", once)]
    async fn carve(&self, cx: &Context) -> u32 {
        self.lay(cx, true, true).await
    }
}

struct Yard {
    nats: NatsServer,
    site: Site,
    quarry: Quarry,
    begun: watch::Sender<u32>,
    dropped: watch::Sender<u32>,
    _hewer: RunningServer,
    cancels: requite::async_nats::Subscriber,
}

impl Yard {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let site = Site::new(&nats.url(), "rq").await;
        let quarry = Quarry { begun: watch::Sender::new(0), gate: watch::Sender::new(false) };
        let hewer = site.server(&site.url, quarry.clone()).await.start().await.unwrap();
        let cancels = site.nats.subscribe("rq.req.quarry.-cancel.>").await.unwrap();
        let (begun, dropped) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { nats, site, quarry, begun, dropped, _hewer: hewer, cancels }
    }

    /// A worker at `url` whose handlers make their calls over a connection that stays.
    async fn mason(&self, url: &str) -> Server {
        let quarry = QuarryClient::new(self.site.client(&self.site.url).await);
        let mason = Mason { begun: self.begun.clone(), dropped: self.dropped.clone(), quarry };
        self.site.server(url, mason).await.drain_timeout(2 * PATIENCE)
    }

    async fn has(&self, what: &str, count: &watch::Sender<u32>, least: u32) {
        eventually(what, async || *count.borrow() >= least).await;
    }

    async fn caller(&self) -> MasonClient {
        MasonClient::new(self.site.client(&self.site.url).await)
    }

    /// The second attempt has the stone, and nobody has asked to cancel it.
    async fn stone_is_whole(&mut self, answer: tokio::task::JoinHandle<Result<u32, CallError<NoError>>>) {
        self.has("the second attempt runs", &self.begun, 2).await;
        assert_eq!(*self.dropped.borrow(), 1);
        self.quarry.gate.send_replace(true);
        assert_eq!(answer.await.unwrap().unwrap(), 10);
        assert_eq!(*self.quarry.begun.borrow(), 1);
        assert!(self.site.heard(&mut self.cancels).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handed_over_handler_waited_for_is_there_for_the_next_attempt() {
    for cascades in [true, false] {
        let mut yard = Yard::open().await;
        let first = yard.mason(&yard.site.url).await.start().await.unwrap();
        let answer = call(yard.caller().await.build(cascades).deadline(PATIENCE));
        yard.has("the stone is hewn", &yard.quarry.begun, 1).await;
        let _second = yard.mason(&yard.site.url).await.start().await.unwrap();
        first.shutdown().await;
        yard.stone_is_whole(answer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_waited_for_that_lost_its_lease_is_there_for_the_next_attempt() {
    let mut yard = Yard::open().await;
    let proxy = Proxy::start(([127, 0, 0, 1], yard.nats.port()).into()).await.unwrap();
    let _first = yard.mason(&proxy.url()).await.start().await.unwrap();
    let answer = call(yard.caller().await.build(true).deadline(PATIENCE));
    yard.has("the stone is hewn", &yard.quarry.begun, 1).await;
    proxy.freeze();
    let _second = yard.mason(&yard.site.url).await.start().await.unwrap();
    yard.stone_is_whole(answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_attempt_cannot_find_is_cancelled_and_called_anew() {
    let mut yard = Yard::open().await;
    let first = yard.mason(&yard.site.url).await.start().await.unwrap();
    let answer = call(yard.caller().await.pile().deadline(PATIENCE));
    yard.has("the stone is hewn", &yard.quarry.begun, 1).await;
    let _second = yard.mason(&yard.site.url).await.start().await.unwrap();
    first.shutdown().await;
    assert!(within(PATIENCE, yard.cancels.next()).await.is_some());
    yard.has("another stone is hewn", &yard.quarry.begun, 2).await;
    yard.quarry.gate.send_replace(true);
    assert_eq!(answer.await.unwrap().unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_waited_for_that_nobody_goes_on_with_is_cancelled() {
    let mut yard = Yard::open().await;
    let first = yard.mason(&yard.site.url).await.drain_timeout(Duration::ZERO).start().await.unwrap();
    let answer = call(yard.caller().await.carve().deadline(PATIENCE));
    yard.has("the stone is hewn", &yard.quarry.begun, 1).await;
    first.shutdown().await;
    let error = answer.await.unwrap().unwrap_err();
    assert!(matches!(&error, CallError::Aborted(it) if it.reason == Reason::Interrupted), "{error}");
    assert!(within(PATIENCE, yard.cancels.next()).await.is_some());
}
