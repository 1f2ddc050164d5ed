//! A worker that stops while what a handler has sent is on its way, or while a handler reads.

use std::{sync::Arc, time::Duration};

use requite::{Client, Items, ItemsError, RunningServer, Sink, SinkError, prelude::*};
use requite_test::{NatsServer, Proxy};
use serde_bytes::ByteBuf;
use tokio::sync::watch;

use crate::caller::fixture::{SHOP, SOON, connect, within};

/// So many of these are more than goes to the log before the first is stored, and no more than a sink takes in meanwhile.
const STONES: u64 = 6;
const LARGE: usize = 128 << 10;

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("the crate fell: {0}")]
struct Fell(String);

impl From<SinkError> for Fell {
    fn from(error: SinkError) -> Self {
        Self(error.to_string())
    }
}

/// Clones are the same quay.
#[derive(Clone, Debug)]
struct Quay {
    go_on: watch::Receiver<bool>,
    /// How many handlers have begun, and how many have ended.
    runs: watch::Sender<(u32, u32)>,
}

#[service(name = "quay")]
impl Quay {
    /// Sends all when the test lets it; says which attempt did.
    #[handler(lease = "6s")]
    async fn unload(&self, cx: &Context, mut stones: Sink<ByteBuf>) -> Result<u32, Fell> {
        self.runs.send_modify(|(begun, _)| *begun += 1);
        let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
        for number in 0..STONES {
            stones.send(ByteBuf::from(vec![number as u8; LARGE])).await?;
        }
        self.runs.send_modify(|(_, ended)| *ended += 1);
        Ok(cx.attempt())
    }

    /// Counts what comes, however that ends; or panics if it does not end well.
    #[handler(lease = "6s", concurrency = 64)]
    async fn load(&self, is_careful: bool, mut stones: Items<u64>) -> u64 {
        self.runs.send_modify(|(begun, _)| *begun += 1);
        let mut count = 0;
        while let Some(next) = stones.next().await {
            match next {
                Ok(_) => count += 1,
                Err(error) if is_careful => panic!("{error}"),
                Err(_) => break,
            }
        }
        count
    }

    /// The first attempt sends until that fails, and fails with it.
    #[handler(lease = "6s", concurrency = 64)]
    async fn spill(&self, cx: &Context, mut stones: Sink<u64>) -> Result<u32, Fell> {
        self.runs.send_modify(|(begun, _)| *begun += 1);
        for number in 0.. {
            if cx.attempt() > 1 {
                break;
            }
            stones.send(number).await?;
        }
        Ok(cx.attempt())
    }
}

/// A worker behind a network of its own, which gives its handlers no time when it is stopped; another one, and a client.
struct Harbour {
    _nats: NatsServer,
    network: Arc<Proxy>,
    runs: watch::Sender<(u32, u32)>,
    go_on: watch::Sender<bool>,
    worker: RunningServer,
    second: Client,
    quay: Quay,
    client: QuayClient,
}

impl Harbour {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let network = Arc::new(Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap());
        let (go_on, waits) = watch::channel(false);
        let runs = watch::Sender::default();
        let quay = Quay { go_on: waits, runs: runs.clone() };
        let far = connect(&network.url(), "office").await;
        let worker =
            Server::new(&far).drain_timeout(Duration::ZERO).serve(quay.clone()).start().await.unwrap();
        let second = connect(&nats.url(), "office").await;
        let client = QuayClient::new(connect(&nats.url(), SHOP).await);
        Self { _nats: nats, network, runs, go_on, worker, second, quay, client }
    }

    async fn begun(&self, count: u32) {
        within(SOON, self.runs.subscribe().wait_for(|(begun, _)| *begun == count)).await.unwrap();
    }

    async fn ended(&self, count: u32) {
        within(SOON, self.runs.subscribe().wait_for(|(_, ended)| *ended == count)).await.unwrap();
    }

    /// Stops the worker, and lets another one go on.
    async fn goes_on_elsewhere(&mut self) {
        let other = Server::new(&self.second).serve(self.quay.clone()).start().await.unwrap();
        within(SOON, std::mem::replace(&mut self.worker, other).shutdown()).await;
    }

    /// Has the handler send all over a line where 16 KiB take so long, and its worker stop then.
    async fn stops_behind_the_end(&mut self, delay: Duration) {
        self.begun(1).await;
        self.network.slow(delay);
        self.go_on.send_replace(true);
        self.ended(1).await;
        self.goes_on_elsewhere().await;
    }
}

/// Takes all that comes, and what is said between.
async fn all(stones: &mut Items<ByteBuf>) -> (u64, Vec<ItemsError>) {
    let (mut count, mut said) = (0, Vec::new());
    while let Some(next) = within(2 * SOON, stones.next()).await {
        match next {
            Ok(stone) => {
                assert_eq!((stone[0], stone.len()), (count as u8, LARGE));
                count += 1;
            }
            Err(restarted @ ItemsError::Restarted { .. }) => (count, said) = (0, vec![restarted]),
            Err(other) => panic!("{other:?} behind {count}"),
        }
    }
    (count, said)
}

#[tokio::test]
async fn what_an_ended_handler_has_sent_is_stored_before_its_worker_lets_go() {
    let mut harbour = Harbour::open().await;
    let (mut stones, call) = within(SOON, harbour.client.unload().open()).await.unwrap();
    harbour.begun(1).await;
    harbour.network.freeze();
    harbour.go_on.send_replace(true);
    harbour.ended(1).await;
    let network = Arc::clone(&harbour.network);
    let thaws = async {
        // Nothing tells when it lets go; long before, this would test nothing.
        tokio::time::sleep(Duration::from_millis(300)).await;
        network.thaw();
    };
    tokio::join!(harbour.goes_on_elsewhere(), thaws);
    assert_eq!(all(&mut stones).await, (STONES, vec![]));
    assert_eq!(within(SOON, call).await.unwrap(), 1);
    assert_eq!(harbour.runs.borrow().0, 1);
}

#[tokio::test]
async fn what_cannot_be_stored_in_time_is_sent_anew_elsewhere() {
    let mut harbour = Harbour::open().await;
    let (mut stones, call) = within(SOON, harbour.client.unload().open()).await.unwrap();
    harbour.stops_behind_the_end(Duration::from_millis(100)).await;
    let (count, _) = all(&mut stones).await;
    assert_eq!(count, STONES);
    assert_eq!(within(SOON, call).await.unwrap(), 2);
    assert_eq!(harbour.runs.borrow().0, 2);
}

/// Several at once: in each it is a matter of luck whether the handler is dropped before it sees the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_takes_the_end_of_its_time_for_the_end_of_its_stream_runs_again_elsewhere() {
    const CALLS: u32 = 60;
    let mut harbour = Harbour::open().await;
    let mut opened = Vec::new();
    for number in 0..CALLS {
        let call = harbour.client.load(number.is_multiple_of(2)).open();
        let (mut sink, call) = within(SOON, call).await.unwrap();
        for number in 0..STONES {
            within(SOON, sink.send(number)).await.unwrap();
        }
        opened.push((sink, call));
    }
    harbour.begun(CALLS).await;
    harbour.goes_on_elsewhere().await;
    for (sink, call) in opened {
        within(SOON, sink.finish()).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), STONES);
    }
    assert_eq!(harbour.runs.borrow().0, 2 * CALLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_because_its_time_is_over_runs_again_elsewhere() {
    const CALLS: u32 = 50;
    let mut harbour = Harbour::open().await;
    let mut opened = Vec::new();
    for _ in 0..CALLS {
        opened.push(within(SOON, harbour.client.spill().open()).await.unwrap());
    }
    harbour.begun(CALLS).await;
    harbour.goes_on_elsewhere().await;
    for (_stones, call) in opened {
        assert_eq!(within(SOON, call).await.unwrap(), 2);
    }
    assert_eq!(harbour.runs.borrow().0, 2 * CALLS);
}
