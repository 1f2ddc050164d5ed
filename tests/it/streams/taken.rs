//! Streams of a call whose key is taken by a request with another payload, or with the same.

use std::{sync::Arc, time::Duration};

use requite::{CallError, CallEvent, Items, Rejected, Sink, SinkError, prelude::*};
use requite_test::NatsServer;
use tokio::sync::Semaphore;

use crate::caller::fixture::{SHOP, SOON, connect, serve, within};

/// What takes a few round trips is done in this time, if it is done at all.
const LONG_ENOUGH: Duration = Duration::from_secs(1);
/// More than a frame that is not stored.
const LARGE: usize = 20 << 10;

/// Fills trays, and empties them.
#[derive(Clone)]
struct Kitchen {
    gate: Arc<Semaphore>,
}

#[service(name = "kitchen")]
impl Kitchen {
    /// What it was called with, and what came.
    #[handler]
    async fn fill(&self, tray: u64, mut items: Items<u64>) -> Vec<u64> {
        let mut all = vec![tray];
        while let Some(Ok(item)) = items.next().await {
            all.push(item);
        }
        all
    }

    /// The same for what is not stored: how large what came is.
    #[handler(volatile)]
    async fn pour(&self, tray: u64, mut items: Items<String>) -> Vec<u64> {
        let mut all = vec![tray];
        while let Some(Ok(item)) = items.next().await {
            all.push(item.len() as u64);
        }
        all
    }

    /// Three items, and when the test lets it a fourth; whether all went out.
    #[handler]
    async fn empty(&self, tray: u64, mut items: Sink<u64>) -> bool {
        for item in 1..=3 {
            if items.send(tray + item).await.is_err() {
                return false;
            }
        }
        self.gate.acquire().await.expect("nobody closes it").forget();
        items.send(tray + 4).await.is_ok()
    }
}

struct Hall {
    nats: NatsServer,
    kitchen: Kitchen,
}

impl Hall {
    /// A server that is set up, and nobody who serves.
    async fn closed() -> Self {
        let (nats, kitchen) =
            (NatsServer::start().await.unwrap(), Kitchen { gate: Arc::new(Semaphore::new(0)) });
        serve(&nats.url(), kitchen.clone()).await.shutdown().await;
        Self { nats, kitchen }
    }

    /// Nobody can say whose a request is, as while it waits for its turn.
    async fn forget_records(&self) {
        self.nats.ask("$JS.API.STREAM.PURGE.rq_OUT_kitchen", "").await.unwrap();
    }

    /// A caller with a connection of its own.
    async fn caller(&self) -> KitchenClient {
        KitchenClient::new(connect(&self.nats.url(), SHOP).await)
    }
}

fn is_refused<T>(answer: &Result<T, CallError<impl std::error::Error>>) -> bool {
    matches!(answer, Err(CallError::Rejected(Rejected::IdReused)))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_another_payload_adds_nothing_to_the_stream_of_the_call_that_has_the_key() {
    let hall = Hall::closed().await;
    let (one, two) = (hall.caller().await, hall.caller().await);
    let (mut own, call) = within(SOON, one.fill(1).key("tray").open()).await.unwrap();
    within(SOON, own.send(1)).await.unwrap();
    within(SOON, own.flush()).await.unwrap();
    let (mut others, refused) = within(SOON, two.fill(2).key("tray").open()).await.unwrap();
    let writes = async {
        others.send(101).await?;
        others.flush().await
    };
    let written = tokio::time::timeout(LONG_ENOUGH, writes).await;
    assert!(written.is_err(), "{written:?}");
    for item in 2..=50 {
        within(SOON, own.send(item)).await.unwrap();
    }
    within(SOON, own.finish()).await.unwrap();

    let _worker = serve(&hall.nats.url(), hall.kitchen.clone()).await;
    let whole: Vec<_> = [1].into_iter().chain(1..=50).collect();
    assert_eq!(within(SOON, call).await.unwrap(), whole);
    assert_eq!(within(SOON, others.send(102)).await, Err(SinkError::Ended));
    let refused = within(SOON, refused).await;
    assert!(is_refused(&refused), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_another_payload_sends_nothing_to_the_handler_of_the_call_that_has_the_key() {
    let hall = Hall::closed().await;
    let _worker = serve(&hall.nats.url(), hall.kitchen.clone()).await;
    let (mut own, mut call) = within(SOON, hall.caller().await.pour(1).key("tray").open()).await.unwrap();
    let mut events = call.events();
    while !matches!(within(SOON, events.next()).await, Some(CallEvent::Started { .. })) {}
    hall.forget_records().await;
    let (mut others, refused) = within(SOON, hall.caller().await.pour(2).key("tray").open()).await.unwrap();
    let sends = async {
        others.send("x".repeat(LARGE)).await?;
        others.flush().await
    };
    let sent = tokio::time::timeout(LONG_ENOUGH, sends).await;
    assert!(sent.is_err(), "{sent:?}");
    for bytes in [1, LARGE] {
        within(SOON, own.send("x".repeat(bytes))).await.unwrap();
    }
    within(SOON, own.finish()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), [1, 1, LARGE as u64]);
    let refused = within(SOON, refused).await;
    assert!(is_refused(&refused), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_another_payload_reads_nothing_of_the_call_that_has_the_key() {
    let hall = Hall::closed().await;
    let _worker = serve(&hall.nats.url(), hall.kitchen.clone()).await;
    let (mut own, call) = within(SOON, hall.caller().await.empty(10).key("tray").open()).await.unwrap();
    for item in 11..=13 {
        assert_eq!(within(SOON, own.next()).await, Some(Ok(item)));
    }
    hall.forget_records().await;
    let (mut items, refused) = within(SOON, hall.caller().await.empty(20).key("tray").open()).await.unwrap();
    let read = tokio::time::timeout(LONG_ENOUGH, items.next()).await;
    assert!(read.is_err(), "{read:?}");
    hall.kitchen.gate.add_permits(1);
    assert_eq!(within(SOON, own.next()).await, Some(Ok(14)));
    assert_eq!(within(SOON, own.next()).await, None);
    assert!(within(SOON, call).await.unwrap());
    let read = within(SOON, items.next()).await;
    assert!(matches!(read, Some(Err(_))), "{read:?}");
    let refused = within(SOON, refused).await;
    assert!(is_refused(&refused), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_same_payload_goes_on_with_the_stream_once_a_worker_has_the_call() {
    let hall = Hall::closed().await;
    let (mut own, call) = within(SOON, hall.caller().await.fill(1).key("tray").open()).await.unwrap();
    for item in 1..=3 {
        within(SOON, own.send(item)).await.unwrap();
    }
    within(SOON, own.flush()).await.unwrap();
    let (mut next, same) = within(SOON, hall.caller().await.fill(1).key("tray").open()).await.unwrap();
    let _worker = serve(&hall.nats.url(), hall.kitchen.clone()).await;
    assert_eq!(within(SOON, next.items_stored()).await, Ok(3));
    within(SOON, next.send(4)).await.unwrap();
    within(SOON, next.finish()).await.unwrap();
    let whole = vec![1, 1, 2, 3, 4];
    assert_eq!(
        (within(SOON, same).await.unwrap(), within(SOON, call).await.unwrap()),
        (whole.clone(), whole)
    );
}
