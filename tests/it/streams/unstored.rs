//! Streams that nothing stores: who has ended one is told that all has come, and nobody goes on with one that nobody reads.

use std::time::Duration;

use futures_util::StreamExt;
use requite::{CallError, Items, ItemsError, Reason, RunningServer, Sink, SinkError, async_nats, prelude::*};
use requite_test::{NatsServer, Proxy};
use tokio::sync::watch;

use super::fixture::Stuck;
use crate::caller::fixture::{SHOP, SOON, connect, serve, within};

/// More than may be unread.
const MANY: u64 = 40_000;

/// More than a frame that is not stored.
const LARGE: usize = 20 << 10;

/// Takes all that comes before it does anything else. Clones are the same bin.
#[derive(Clone, Debug)]
struct Bin {
    go_on: watch::Receiver<bool>,
    /// How many tips have begun, and how many have ended.
    tips: watch::Sender<(u32, u32)>,
}

impl Bin {
    async fn all(mut numbers: Items<u64>) -> Result<Vec<u64>, Stuck> {
        let mut all = Vec::new();
        while let Some(number) = numbers.next().await {
            all.push(number.map_err(|error| Stuck(error.to_string()))?);
        }
        Ok(all)
    }
}

#[service(name = "bin")]
impl Bin {
    /// Returns the sum when the test lets it.
    #[handler(volatile)]
    async fn weigh(&self, numbers: Items<u64>) -> Result<u64, Stuck> {
        let all = Self::all(numbers).await?;
        let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
        Ok(all.into_iter().sum())
    }

    /// Sends all of it back.
    #[handler(volatile)]
    async fn empty(&self, numbers: Items<u64>, mut back: Sink<u64>) -> Result<u64, Stuck> {
        let all = Self::all(numbers).await?;
        for number in &all {
            back.send(*number).await.map_err(|error| Stuck(error.to_string()))?;
        }
        Ok(all.len() as u64)
    }

    /// Sends one item when the test lets it.
    #[handler(lease = "6s", volatile)]
    async fn tip(&self, mut litter: Sink<String>) -> Result<(), Stuck> {
        self.tips.send_modify(|(begun, _)| *begun += 1);
        let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
        litter.send("x".repeat(LARGE)).await.map_err(|error| Stuck(error.to_string()))?;
        self.tips.send_modify(|(_, ended)| *ended += 1);
        Ok(())
    }

    /// The same, and its first attempt fails behind that.
    #[handler(lease = "6s", volatile)]
    async fn slip(&self, cx: &Context, litter: Sink<String>) -> Result<u32, Slipped> {
        self.tip(litter).await.map_err(|_| Slipped)?;
        if cx.attempt() == 1 { Err(Slipped) } else { Ok(cx.attempt()) }
    }

    /// Sends one item when the test lets it, and fails.
    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn spill(&self, litter: Sink<String>) -> Result<(), Stuck> {
        self.tip(litter).await?;
        Err(Stuck("spilled".to_owned()))
    }

    /// Takes all, and fails; its second attempt says what it is told.
    #[handler(lease = "6s", volatile)]
    async fn sort(
        &self,
        cx: &Context,
        mut numbers: Items<u64>,
        _back: Sink<u64>,
    ) -> Result<Option<Result<u64, ItemsError>>, Slipped> {
        if cx.attempt() > 1 {
            return Ok(numbers.next().await);
        }
        Self::all(numbers).await.map_err(|_| Slipped)?;
        Err(Slipped)
    }

    /// Takes two and fails; its second attempt drops what it is told and fails when the test lets it; its third says what it is
    /// told.
    #[handler(lease = "6s", volatile)]
    async fn sift(
        &self,
        cx: &Context,
        mut numbers: Items<u64>,
    ) -> Result<Option<Result<u64, ItemsError>>, Slipped> {
        let told = numbers.next().await;
        match cx.attempt() {
            1 => drop(numbers.next().await),
            2 => {
                drop(numbers);
                let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
            }
            _ => return Ok(told),
        }
        Err(Slipped)
    }

    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn fill(&self, numbers: Items<u64>) -> Result<u64, Stuck> {
        Ok(Self::all(numbers).await?.len() as u64)
    }
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("it slipped")]
#[retry(after = "50ms")]
struct Slipped;

/// A worker with a bin, a client, and somebody who hears what callers send.
struct Yard {
    nats: NatsServer,
    bin: Bin,
    worker: RunningServer,
    client: BinClient,
    go_on: watch::Sender<bool>,
    spy: async_nats::Client,
    heard: async_nats::Subscriber,
}

impl Yard {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let (go_on, waits) = watch::channel(false);
        let bin = Bin { go_on: waits, tips: watch::Sender::default() };
        let office = connect(&nats.url(), "office").await;
        let server = Server::new(&office).drain_timeout(Duration::ZERO).serve(bin.clone());
        let worker = server.start().await.unwrap();
        let client = BinClient::new(connect(&nats.url(), SHOP).await);
        let spy = async_nats::connect(nats.url()).await.unwrap();
        let heard = spy.subscribe("rq.ctl.bin.>").await.unwrap();
        spy.flush().await.unwrap();
        Self { nats, bin, worker, client, go_on, spy, heard }
    }
}

#[tokio::test]
async fn whoever_has_ended_what_is_not_stored_is_told_before_the_handler_ends() {
    let mut yard = Yard::open().await;
    let (mut numbers, call) = within(SOON, yard.client.weigh().open()).await.unwrap();
    for number in 1..=3 {
        within(SOON, numbers.send(number)).await.unwrap();
    }
    within(SOON, numbers.finish()).await.unwrap();
    // The word that it has come may have been lost.
    let is_end = |payload: &[u8]| payload.windows(8).any(|it| it == b"finished");
    let end = within(SOON, async {
        loop {
            match yard.heard.next().await.unwrap() {
                message if is_end(&message.payload) => return message,
                _ => {}
            }
        }
    });
    let end = end.await;
    let mut words = yard.spy.subscribe("rq.sig.bin.>").await.unwrap();
    yard.spy.publish(end.subject, end.payload).await.unwrap();
    within(SOON, async { while !words.next().await.unwrap().subject.ends_with(".credit") {} }).await;
    yard.go_on.send_replace(true);
    assert_eq!(within(SOON, call).await.unwrap(), 6);
}

#[tokio::test]
async fn a_handler_that_takes_all_before_it_sends_anything_holds_up_no_end() {
    let yard = Yard::open().await;
    let (mut numbers, mut back, call) = within(SOON, yard.client.empty().open()).await.unwrap();
    for number in 1..=MANY {
        within(SOON, numbers.send(number)).await.unwrap();
    }
    within(SOON, numbers.finish()).await.unwrap();
    for number in 1..=MANY {
        assert_eq!(within(SOON, back.next()).await, Some(Ok(number)));
    }
    assert_eq!(within(SOON, back.next()).await, None);
    assert_eq!(within(SOON, call).await.unwrap(), MANY);
}

/// Nothing that comes by itself would tell it so, and its caller lives.
#[tokio::test]
async fn a_later_attempt_is_told_that_an_earlier_one_has_taken_all() {
    let yard = Yard::open().await;
    let (mut numbers, _back, call) = within(SOON, yard.client.sort().open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    within(SOON, numbers.finish()).await.unwrap();
    assert_eq!(within(SOON * 2, call).await.unwrap(), Some(Err(ItemsError::Lost { item: 1 })));
}

#[tokio::test]
async fn so_is_one_behind_an_attempt_that_wanted_no_more() {
    let yard = Yard::open().await;
    let (mut numbers, call) = within(SOON, yard.client.sift().open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    within(SOON, numbers.flush()).await.unwrap();
    let left = async {
        loop {
            if let Err(error) = numbers.send(2).await {
                break error;
            }
        }
    };
    assert_eq!(within(SOON * 2, left).await, SinkError::Left);
    assert_eq!(within(SOON, numbers.flush()).await, Err(SinkError::Left));
    yard.go_on.send_replace(true);
    assert_eq!(within(SOON * 2, call).await.unwrap(), Some(Err(ItemsError::Lost { item: 1 })));
}

#[tokio::test]
async fn what_is_given_up_and_read_by_nobody_is_sent_no_longer_than_the_idle_limit() {
    let mut yard = Yard::open().await;
    yard.worker.shutdown().await;
    let (mut numbers, call) = within(SOON, yard.client.fill().open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    within(SOON, yard.heard.next()).await.unwrap();
    drop((numbers, call));
    // Who goes on sends every second.
    let quiet =
        async { while tokio::time::timeout(Duration::from_secs(4), yard.heard.next()).await.is_ok() {} };
    within(SOON * 2, quiet).await;
}

/// A caller behind a network of its own.
async fn far_caller(yard: &Yard) -> (Proxy, BinClient) {
    let network = Proxy::start(([127, 0, 0, 1], yard.nats.port()).into()).await.unwrap();
    let client = BinClient::new(connect(&network.url(), SHOP).await);
    (network, client)
}

/// Has what was called end while its caller is away, and its worker stop; another one goes on.
async fn stops_unread(yard: &mut Yard, network: &Proxy) {
    let mut tips = yard.bin.tips.subscribe();
    within(SOON, tips.wait_for(|(begun, _)| *begun == 1)).await.unwrap();
    network.cut().await;
    yard.go_on.send_replace(true);
    within(SOON, tips.wait_for(|(_, ended)| *ended == 1)).await.unwrap();
    let other = serve(&yard.nats.url(), yard.bin.clone()).await;
    within(SOON, std::mem::replace(&mut yard.worker, other).shutdown()).await;
    network.heal().await.unwrap();
}

/// It says why the handler failed, and that nobody read its items says less.
#[tokio::test]
async fn an_error_stands_where_nobody_reads_what_was_sent_before_it() {
    let yard = Yard::open().await;
    let (network, client) = far_caller(&yard).await;
    let mut outcomes = yard.spy.subscribe("rq.put.*.out.bin.>").await.unwrap();
    let mut tips = yard.bin.tips.subscribe();
    let (_litter, call) = within(SOON, client.spill().open()).await.unwrap();
    within(SOON, tips.wait_for(|(begun, _)| *begun == 1)).await.unwrap();
    network.cut().await;
    yard.go_on.send_replace(true);
    let is_outcome = |message: &async_nats::Message| {
        let kind = message.headers.as_ref().and_then(|it| it.get("Rq-Kind"));
        kind.is_some_and(|it| it.as_str() == "outcome")
    };
    within(SOON, async { while !is_outcome(&outcomes.next().await.unwrap()) {} }).await;
    network.heal().await.unwrap();
    match within(SOON, call).await {
        Err(CallError::Failed(error)) => assert_eq!(error, Stuck("spilled".to_owned())),
        other => panic!("{other:?}"),
    }
    assert_eq!(yard.bin.tips.borrow().0, 1);
}

/// An error says itself whether there is another attempt.
#[tokio::test]
async fn a_handler_that_has_failed_is_tried_again_where_its_worker_stops_before_all_is_read() {
    let mut yard = Yard::open().await;
    let (network, client) = far_caller(&yard).await;
    let (_litter, call) = within(SOON, client.slip().open()).await.unwrap();
    stops_unread(&mut yard, &network).await;
    assert_eq!(within(SOON, call).await.unwrap(), 2);
    assert_eq!(yard.bin.tips.borrow().0, 2);
}

/// Nobody keeps its items for it, and what it did is not to be done twice.
#[tokio::test]
async fn a_handler_that_has_ended_does_not_run_again_because_its_worker_stops_before_all_is_read() {
    let mut yard = Yard::open().await;
    let (network, client) = far_caller(&yard).await;
    let (_litter, call) = within(SOON, client.tip().open()).await.unwrap();
    stops_unread(&mut yard, &network).await;
    match within(SOON, call).await {
        Err(CallError::Aborted(aborted)) => assert_eq!(aborted.reason, Reason::Unread),
        other => panic!("{other:?}"),
    }
    assert_eq!(yard.bin.tips.borrow().0, 1);
}

/// The claim numbers the attempts whose frames are told apart.
#[tokio::test]
async fn a_handler_sends_no_frame_before_its_claim_is_stored() {
    let yard = Yard::open().await;
    yard.go_on.send_replace(true);
    // A caller that has not heard the server's time has its first request claimed before it starts.
    let (_litter, first) = within(SOON, yard.client.tip().open()).await.unwrap();
    within(SOON, first).await.unwrap();
    let mut said = yard.spy.subscribe("rq.>").await.unwrap();
    yard.spy.flush().await.unwrap();
    let (mut litter, call) = within(SOON, yard.client.tip().open()).await.unwrap();
    assert_eq!(within(SOON, litter.next()).await, Some(Ok("x".repeat(LARGE))));
    within(SOON, call).await.unwrap();
    let is_frame = |message: &async_nats::Message| message.payload.len() >= LARGE;
    let is_claim = |message: &async_nats::Message| message.subject.contains(".out.bin.");
    let first = async {
        loop {
            let message = said.next().await.unwrap();
            if is_frame(&message) || is_claim(&message) {
                return is_claim(&message);
            }
        }
    };
    assert!(within(SOON, first).await, "a frame came first");
}
