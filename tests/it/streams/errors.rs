//! What is told where an item cannot be had, or cannot be sent: each error on a real server, and whether others follow.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use requite::{CallError, Items, ItemsError, Reason, RunningServer, Sink, SinkError, prelude::*};
use requite_test::NatsServer;
use serde::Serializer;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::fixture::{Hall, Stuck};
use crate::caller::fixture::{SHOP, SOON, connect, info, serve, within};

/// How long a log that takes nothing is put up with.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many of a caller's items the first attempt reads.
const READ: u64 = 10;

/// What another release of the mint knows: numbers, and what is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Coin {
    Number(u64),
    Text(String),
}

fn coins() -> [Coin; 3] {
    [Coin::Number(1), Coin::Text("two".into()), Coin::Number(3)]
}

/// A number that has no encoded form if it is odd.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Blank(u64);

impl Serialize for Blank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            return serializer.serialize_newtype_struct("Blank", &self.0);
        }
        Err(serde::ser::Error::custom("odd"))
    }
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("not struck yet")]
#[retry(after = "50ms")]
struct NotYet;

/// What came of the items and the sink of a handler that had ended.
type Left = (Option<Result<u64, ItemsError>>, Result<(), SinkError>);

/// Tells what its handlers are told. Clones are the same mint.
#[derive(Clone, Debug)]
struct Mint {
    refused: mpsc::UnboundedSender<(Result<(), SinkError>, Duration)>,
    left: mpsc::UnboundedSender<Left>,
    go_on: Arc<Notify>,
}

#[service(name = "mint")]
impl Mint {
    /// What came of every item.
    #[handler]
    async fn weigh(&self, mut coins: Items<u64>) -> Vec<Result<u64, ItemsError>> {
        let mut weighed = Vec::new();
        while let Some(coin) = coins.next().await {
            weighed.push(coin);
        }
        weighed
    }

    /// Sends numbers, and what is none.
    #[handler]
    async fn strike(&self, mut struck: Sink<Coin>) -> Result<(), Stuck> {
        for coin in coins() {
            struck.send(coin).await.map_err(|error| Stuck(error.to_string()))?;
        }
        Ok(())
    }

    /// Sends numbers of which every other one has no encoded form, and what came of each.
    #[handler]
    async fn press(&self, last: u64, mut blanks: Sink<Blank>) -> Vec<Result<(), SinkError>> {
        let mut sent = Vec::new();
        for number in 0..=last {
            sent.push(blanks.send(Blank(number)).await);
        }
        sent
    }

    /// The same, as a stream that it returns.
    #[handler]
    fn roll(&self, last: u64) -> impl Stream<Item = Blank> {
        stream::iter((0..=last).map(Blank))
    }

    /// Adds up what comes.
    #[handler]
    async fn melt(&self, mut blanks: Items<Blank>) -> u64 {
        let mut sum = 0;
        while let Some(Ok(blank)) = blanks.next().await {
            sum += blank.0;
        }
        sum
    }

    /// Ends, and leaves somebody behind who still has both streams.
    #[handler]
    async fn leave(&self, mut numbers: Items<u64>, mut doubles: Sink<u64>) {
        doubles.send(0).await.unwrap();
        let mint = self.clone();
        tokio::spawn(async move {
            mint.go_on.notified().await;
            mint.left.send((numbers.next().await, doubles.send(1).await)).unwrap();
        });
    }

    /// Sends a number that is stored, and one later that is not; tells what came of that, and fails.
    #[handler]
    async fn store(&self, mut numbers: Sink<u64>) -> Result<(), Stuck> {
        numbers.send(1).await.unwrap();
        numbers.flush().await.unwrap();
        self.go_on.notified().await;
        let since = Instant::now();
        numbers.send(2).await.unwrap();
        let flushed = numbers.flush().await;
        self.refused.send((flushed.clone(), since.elapsed())).unwrap();
        flushed.map_err(|error| Stuck(error.to_string()))
    }

    /// Its first attempt reads some of what comes, and its second one tells what comes first.
    #[handler(volatile)]
    async fn again(
        &self,
        cx: &Context,
        mut numbers: Items<u64>,
    ) -> Result<Option<Result<u64, ItemsError>>, NotYet> {
        if cx.attempt() == 2 {
            return Ok(numbers.next().await);
        }
        for number in 1..=READ {
            assert_eq!(numbers.next().await, Some(Ok(number)));
        }
        Err(NotYet)
    }
}

/// The same service, in another release.
#[service(name = "mint")]
#[allow(dead_code)] // only its client is used
trait OtherMint {
    #[handler]
    async fn weigh(&self, coins: Items<Coin>) -> Vec<Result<u64, ItemsError>>;
    #[handler]
    async fn strike(&self, struck: Sink<u64>) -> Result<(), Stuck>;
}

/// A server, a worker with a mint, and a client.
struct Vault {
    nats: NatsServer,
    client: MintClient,
    refused: mpsc::UnboundedReceiver<(Result<(), SinkError>, Duration)>,
    left: mpsc::UnboundedReceiver<Left>,
    go_on: Arc<Notify>,
    _worker: RunningServer,
}

impl Vault {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let ((tell, refused), (said, left)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let go_on = Arc::<Notify>::default();
        let mint = Mint { refused: tell, left: said, go_on: Arc::clone(&go_on) };
        let worker = serve(&nats.url(), mint).await;
        let client = MintClient::new(connect(&nats.url(), SHOP).await);
        Self { nats, client, refused, left, go_on, _worker: worker }
    }

    async fn other(&self) -> OtherMintClient {
        OtherMintClient::new(connect(&self.nats.url(), SHOP).await)
    }
}

/// Whether it is the second one that cannot be decoded, and nothing else.
fn is_second(result: &Result<u64, ItemsError>) -> bool {
    matches!(result, Err(ItemsError::Undecodable { item: 2, .. }))
}

#[tokio::test]
async fn an_item_of_another_type_is_told_and_others_follow() {
    let vault = Vault::open().await;
    let other = vault.other().await;
    // Up.
    let (mut numbers, call) = within(SOON, other.weigh().open()).await.unwrap();
    for coin in coins() {
        within(SOON, numbers.send(coin)).await.unwrap();
    }
    within(SOON, numbers.finish()).await.unwrap();
    let weighed = within(SOON, call).await.unwrap();
    assert!(weighed[0] == Ok(1) && is_second(&weighed[1]) && weighed[2..] == [Ok(3)], "{weighed:?}");
    // Down.
    let (mut numbers, call) = within(SOON, other.strike().open()).await.unwrap();
    assert_eq!(within(SOON, numbers.next()).await, Some(Ok(1)));
    let second = within(SOON, numbers.next()).await.unwrap();
    assert!(is_second(&second), "{second:?}");
    assert_eq!(within(SOON, numbers.next()).await, Some(Ok(3)));
    assert_eq!(within(SOON, numbers.next()).await, None);
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn an_item_without_an_encoded_form_is_refused_and_the_stream_goes_on() {
    let vault = Vault::open().await;
    let is_refused = |result: &Result<(), SinkError>| match result {
        Err(SinkError::Unencodable { text }) => text.contains("odd"),
        _ => false,
    };
    // Up.
    let (mut blanks, call) = within(SOON, vault.client.melt().open()).await.unwrap();
    for number in 0..=10 {
        let sent = within(SOON, blanks.send(Blank(number))).await;
        assert!(if number % 2 == 0 { sent.is_ok() } else { is_refused(&sent) }, "{number}: {sent:?}");
    }
    within(SOON, blanks.finish()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), 30);
    // Down.
    let (mut blanks, call) = within(SOON, vault.client.press(10).open()).await.unwrap();
    for number in [0, 2, 4, 6, 8, 10] {
        assert_eq!(within(SOON, blanks.next()).await, Some(Ok(Blank(number))));
    }
    assert_eq!(within(SOON, blanks.next()).await, None);
    let sent = within(SOON, call).await.unwrap();
    for (number, sent) in sent.iter().enumerate() {
        assert!(if number % 2 == 0 { sent.is_ok() } else { is_refused(sent) }, "{number}: {sent:?}");
    }
    // Of a stream that is returned nobody could go on.
    let (mut blanks, call) = within(SOON, vault.client.roll(10).open()).await.unwrap();
    assert_eq!(within(SOON, blanks.next()).await, Some(Ok(Blank(0))));
    assert_eq!(within(SOON, blanks.next()).await, Some(Err(ItemsError::Failed)));
    match within(SOON, call).await {
        Err(CallError::Aborted(aborted)) => {
            assert!(aborted.reason == Reason::Panicked && aborted.text.contains("odd"), "{aborted:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_streams_of_a_handler_end_with_it() {
    let mut vault = Vault::open().await;
    let (_numbers, mut doubles, call) = within(SOON, vault.client.leave().open()).await.unwrap();
    assert_eq!(within(SOON, doubles.next()).await, Some(Ok(0)));
    assert_eq!(within(SOON, doubles.next()).await, None);
    within(SOON, call).await.unwrap();
    vault.go_on.notify_one();
    let (item, sent) = within(SOON, vault.left.recv()).await.unwrap();
    assert_eq!(item, Some(Err(ItemsError::Closed)));
    assert_eq!(sent, Err(SinkError::Stopped));
}

#[tokio::test]
async fn the_streams_of_a_call_that_nobody_waits_for_any_more_are_closed() {
    let hall = Hall::open().await;
    // Nobody takes the request.
    hall.worker.shutdown().await;
    let start_within = Duration::from_millis(500);
    let (mut numbers, mut doubles, call) =
        within(SOON, hall.client.double().start_within(start_within).open()).await.unwrap();
    assert_eq!(within(SOON, doubles.next()).await, Some(Err(ItemsError::Closed)));
    assert_eq!(within(SOON, doubles.next()).await, None);
    assert_eq!(within(SOON, numbers.send(1)).await, Err(SinkError::Ended));
    assert!(matches!(within(SOON, call).await, Err(CallError::Unknown(_))));
}

#[tokio::test]
async fn the_streams_on_a_connection_that_was_closed_are_closed() {
    let hall = Hall::open().await;
    let (mut numbers, mut doubles, _call) = within(SOON, hall.client.double().open()).await.unwrap();
    within(SOON, numbers.send(1)).await.unwrap();
    assert_eq!(within(SOON, doubles.next()).await, Some(Ok(2)));
    hall.client.client().nats().unwrap().drain().await.unwrap();
    assert_eq!(within(SOON, doubles.next()).await, Some(Err(ItemsError::Closed)));
    assert_eq!(within(SOON, doubles.next()).await, None);
    let refused = within(SOON, async {
        loop {
            if let Err(error) = numbers.send(2).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(refused.await, SinkError::Closed);
}

#[tokio::test]
async fn a_handler_whose_items_are_stored_nowhere_is_told_after_a_while_and_its_error_stands() {
    let mut vault = Vault::open().await;
    let (mut numbers, call) = within(SOON, vault.client.store().open()).await.unwrap();
    assert_eq!(within(SOON, numbers.next()).await, Some(Ok(1)));
    asked(&vault.nats, "$JS.API.STREAM.DELETE.rq_ITM_mint", json!({})).await;
    vault.go_on.notify_one();
    let (refused, after) = within(PATIENCE + SOON, vault.refused.recv()).await.unwrap();
    assert!(matches!(refused, Err(SinkError::Refused { .. })), "{refused:?}");
    assert!(after >= PATIENCE, "{after:?}");
    match within(SOON, call).await {
        Err(CallError::Failed(error)) => assert_eq!(error, Stuck(refused.unwrap_err().to_string())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_caller_whose_items_are_stored_nowhere_is_told_after_a_while() {
    let vault = Vault::open().await;
    let (mut numbers, _call) = within(SOON, vault.client.melt().open()).await.unwrap();
    within(SOON, numbers.send(Blank(0))).await.unwrap();
    within(SOON, numbers.flush()).await.unwrap();
    asked(&vault.nats, "$JS.API.STREAM.DELETE.rq_ITM_mint", json!({})).await;
    let since = Instant::now();
    within(SOON, numbers.send(Blank(2))).await.unwrap();
    let refused = within(PATIENCE + SOON, numbers.flush()).await;
    assert!(matches!(refused, Err(SinkError::Refused { .. })), "{refused:?}");
    assert!(since.elapsed() >= PATIENCE, "{:?}", since.elapsed());
    assert_eq!(within(SOON, numbers.send(Blank(4))).await, refused);
}

#[tokio::test]
async fn who_goes_on_where_no_items_are_stored_any_more_is_told_after_a_while() {
    let vault = Vault::open().await;
    let (mut numbers, _call) = within(SOON, vault.client.melt().key("gone").open()).await.unwrap();
    within(SOON, numbers.send(Blank(0))).await.unwrap();
    within(SOON, numbers.flush()).await.unwrap();
    asked(&vault.nats, "$JS.API.STREAM.DELETE.rq_ITM_mint", json!({})).await;
    let (mut rest, _same) = within(SOON, vault.client.attach_melt("gone").open()).await.unwrap();
    let since = Instant::now();
    let refused = within(PATIENCE + SOON, rest.items_stored()).await.map(drop);
    assert!(matches!(refused, Err(SinkError::Refused { .. })), "{refused:?}");
    assert!(since.elapsed() >= PATIENCE, "{:?}", since.elapsed());
    assert_eq!(within(SOON, rest.send(Blank(2))).await, refused);
}

pub(super) async fn asked(nats: &NatsServer, subject: &str, question: Value) {
    let answer: Value =
        serde_json::from_slice(&nats.ask(subject, question.to_string()).await.unwrap()).unwrap();
    assert_eq!(answer["success"], true, "{answer}");
}

#[tokio::test]
async fn items_that_were_removed_before_they_were_read_are_lost_and_nothing_follows() {
    let hall = Hall::open().await;
    let (mut items, call) = within(SOON, hall.client.count_to(100_000).key("removed").open()).await.unwrap();
    while let Some(item) = within(SOON, items.next()).await {
        item.unwrap();
    }
    within(SOON, call).await.unwrap();
    let frames = info(&hall.nats, "rq_ITM_belt").await["state"]["subjects"].clone();
    let third = frames.as_object().unwrap().keys().find(|frame| frame.ends_with(".3")).unwrap();
    asked(&hall.nats, "$JS.API.STREAM.PURGE.rq_ITM_belt", json!({ "filter": third })).await;
    let (mut items, call) = within(SOON, hall.client.attach_count_to("removed").open()).await.unwrap();
    let mut last = 0;
    let lost = loop {
        match within(SOON * 2, items.next()).await {
            Some(Ok(number)) if number == last + 1 => last = number,
            other => break other,
        }
    };
    assert!(last > 1);
    assert_eq!(lost, Some(Err(ItemsError::Lost { item: last + 1 })));
    assert_eq!(within(SOON, items.next()).await, None);
    within(SOON, call).await.unwrap();
}

#[tokio::test]
async fn what_was_read_of_a_callers_stream_that_is_not_stored_is_lost_for_a_later_attempt() {
    let vault = Vault::open().await;
    let (mut numbers, call) = within(SOON, vault.client.again().open()).await.unwrap();
    for number in 1..=READ {
        within(SOON, numbers.send(number)).await.unwrap();
    }
    within(SOON, numbers.flush()).await.unwrap();
    // By this one it sees that there were others.
    within(SOON, numbers.send(READ + 1)).await.unwrap();
    assert_eq!(within(SOON * 2, call).await.unwrap(), Some(Err(ItemsError::Lost { item: 1 })));
}
