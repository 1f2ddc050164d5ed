//! What is kept of a stream: all that was taken, also where nobody wants more.

use std::sync::Arc;

use requite::{RunningServer, Sink, SinkError, prelude::*};
use requite_test::NatsServer;
use tokio::sync::{Notify, mpsc};

use crate::caller::fixture::{SHOP, SOON, connect, info, serve, within};

/// What came of an item that was sent, behind so many others.
type Sent = (u64, Result<(), SinkError>);

/// Tells what its handlers are told. Clones are the same archive.
#[derive(Clone, Debug)]
struct Archive {
    sent: mpsc::UnboundedSender<Sent>,
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
}

/// A server, a worker with an archive, and a client.
struct House {
    nats: NatsServer,
    client: ArchiveClient,
    sent: mpsc::UnboundedReceiver<Sent>,
    go_on: Arc<Notify>,
    _worker: RunningServer,
}

impl House {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let (tell, sent) = mpsc::unbounded_channel();
        let go_on = Arc::<Notify>::default();
        let worker = serve(&nats.url(), Archive { sent: tell, go_on: Arc::clone(&go_on) }).await;
        let client = ArchiveClient::new(connect(&nats.url(), SHOP).await);
        Self { nats, client, sent, go_on, _worker: worker }
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
