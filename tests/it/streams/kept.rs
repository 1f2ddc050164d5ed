//! What is kept of a stream: all that was taken, also where nobody wants more; and what each side is told where it was removed
//! while they still need it.

use std::{sync::Arc, time::Duration};

use requite::{Items, ItemsError, RunningServer, Sink, SinkError, prelude::*};
use requite_test::NatsServer;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::errors::asked;
use crate::caller::fixture::{SHOP, SOON, connect, info, serve, within};

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("not filed yet")]
#[retry(after = "50ms")]
struct NotYet;

/// What came of an item that was sent, behind so many others.
type Sent = (u64, Result<(), SinkError>);

/// Tells what its handlers are told. Clones are the same archive.
#[derive(Clone, Debug)]
struct Archive {
    sent: mpsc::UnboundedSender<Sent>,
    read: mpsc::UnboundedSender<Option<Result<u64, ItemsError>>>,
    go_on: Arc<Notify>,
}

#[service(name = "archive")]
impl Archive {
    /// Sends a number that is stored, and later others, until no more are wanted; returns how many were taken.
    #[handler]
    async fn fill(&self, mut numbers: Sink<u64>) -> u64 {
        numbers.send(1).await.unwrap();
        numbers.flush().await.unwrap();
        self.go_on.notified().await;
        let mut taken = 1;
        let refused = loop {
            match numbers.send(taken + 1).await {
                Ok(()) => taken += 1,
                refused => break refused,
            }
        };
        self.sent.send((taken, refused)).unwrap();
        taken
    }

    /// Its first attempt sends three numbers, and its second one goes on.
    #[handler]
    async fn go_on(&self, cx: &Context, mut numbers: Sink<u64>) -> Result<(), NotYet> {
        if cx.attempt() == 1 {
            for number in 1..=3 {
                numbers.send(number).await.unwrap();
            }
            numbers.flush().await.unwrap();
            self.go_on.notified().await;
            return Err(NotYet);
        }
        let stored = cx.items_stored().await.unwrap();
        self.sent.send((stored, numbers.send(stored + 1).await)).unwrap();
        Ok(())
    }

    /// Tells all that it reads, up to an error.
    #[handler]
    async fn read(&self, mut numbers: Items<u64>) {
        loop {
            let next = numbers.next().await;
            let goes_on = matches!(next, Some(Ok(_)));
            self.read.send(next).unwrap();
            if !goes_on {
                break;
            }
        }
        self.go_on.notified().await;
    }
}

/// A server, a worker with an archive, and a client.
struct House {
    nats: NatsServer,
    client: ArchiveClient,
    sent: mpsc::UnboundedReceiver<Sent>,
    read: mpsc::UnboundedReceiver<Option<Result<u64, ItemsError>>>,
    go_on: Arc<Notify>,
    _worker: RunningServer,
}

impl House {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let ((tell, sent), (show, read)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let go_on = Arc::<Notify>::default();
        let worker = serve(&nats.url(), Archive { sent: tell, read: show, go_on: Arc::clone(&go_on) }).await;
        let client = ArchiveClient::new(connect(&nats.url(), SHOP).await);
        Self { nats, client, sent, read, go_on, _worker: worker }
    }

    /// As if the time of all items were over.
    async fn forget(&self) {
        asked(&self.nats, "$JS.API.STREAM.PURGE.rq_ITM_archive", json!({})).await;
    }

    /// The largest message that is stored as an item; -1 for any.
    async fn store_up_to(&self, bytes: i64) {
        let mut config = info(&self.nats, "rq_ITM_archive").await["config"].take();
        config["max_msg_size"] = bytes.into();
        let updated =
            self.nats.ask("$JS.API.STREAM.UPDATE.rq_ITM_archive", config.to_string()).await.unwrap();
        let updated: serde_json::Value = serde_json::from_slice(&updated).unwrap();
        assert!(updated["error"].is_null(), "{updated}");
    }
}

/// Whether it says that what lay there was removed.
fn is_refused(sent: &Result<(), SinkError>) -> bool {
    matches!(sent, Err(SinkError::Refused { text }) if text.contains("removed"))
}

#[tokio::test]
async fn what_was_taken_before_the_reader_was_known_to_have_left_is_stored() {
    let mut house = House::open().await;
    let (mut numbers, call) = within(SOON, house.client.fill().key("left").open()).await.unwrap();
    assert_eq!(within(SOON, numbers.next()).await, Some(Ok(1)));
    // Nothing is stored for a while.
    house.store_up_to(1).await;
    house.go_on.notify_one();
    drop(numbers);
    let (taken, refused) = within(SOON, house.sent.recv()).await.unwrap();
    assert_eq!(refused, Err(SinkError::Left));
    assert!(taken > 1);
    house.store_up_to(-1).await;
    assert_eq!(within(SOON, call).await.unwrap(), taken);
    let (mut numbers, _same) = within(SOON, house.client.attach_fill("left").open()).await.unwrap();
    for number in 1..=taken {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(number)));
    }
    assert_eq!(within(SOON, numbers.next()).await, None);
}

#[tokio::test]
async fn a_later_attempt_that_finds_nothing_of_what_was_read_is_told_and_so_is_the_reader() {
    let mut house = House::open().await;
    let (mut numbers, call) = within(SOON, house.client.go_on().open()).await.unwrap();
    for number in 1..=3 {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(number)));
    }
    house.forget().await;
    house.go_on.notify_one();
    let (stored, sent) = within(SOON, house.sent.recv()).await.unwrap();
    assert!(stored == 0 && is_refused(&sent), "{stored} {sent:?}");
    assert_eq!(within(SOON, numbers.next()).await, Some(Err(ItemsError::Lost { item: 4 })));
    assert_eq!(within(SOON, numbers.next()).await, None);
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn another_process_that_finds_nothing_of_what_was_read_is_told_and_so_is_the_handler() {
    let mut house = House::open().await;
    let (mut numbers, call) = within(SOON, house.client.read().key("again").open()).await.unwrap();
    for number in 1..=3 {
        within(SOON, numbers.send(number)).await.unwrap();
        assert_eq!(within(SOON, house.read.recv()).await, Some(Some(Ok(number))));
    }
    house.forget().await;
    let other = ArchiveClient::new(connect(&house.nats.url(), SHOP).await);
    let (mut rest, same) = within(SOON, other.attach_read("again").open()).await.unwrap();
    assert_eq!(within(SOON, rest.items_stored()).await, Ok(0));
    let refused = within(SOON, async {
        loop {
            if let Err(error) = rest.send(4).await {
                break Err(error);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let refused = refused.await;
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(within(SOON, house.read.recv()).await, Some(Some(Err(ItemsError::Lost { item: 4 }))));
    house.go_on.notify_one();
    within(SOON, same).await.unwrap();
    within(SOON, call).await.unwrap();
}
