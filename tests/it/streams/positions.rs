//! Readers that go on where another one was, as a process does that comes after one that is gone.

use requite::{Items, ItemsError, Position, RunningServer, Sink, SinkError, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

use super::fixture::{BeltClient, Hall};
use crate::caller::fixture::{SHOP, SOON, connect, serve, within};

/// More than two windows.
const LAST: u64 = 40_000;

/// As it comes back from wherever a reader keeps it.
fn kept(position: Position) -> Position {
    serde_json::from_str(&serde_json::to_string(&position).unwrap()).unwrap()
}

#[tokio::test]
async fn another_process_goes_on_with_the_item_behind_the_last_that_was_read() {
    let hall = Hall::open().await;
    let (mut numbers, _call) = within(SOON, hall.client.count_to(LAST).key("one").open()).await.unwrap();
    assert_eq!(numbers.position(), Position::default());
    for number in 1..=5_000 {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(number)));
    }
    assert_eq!((numbers.position().attempt(), numbers.position().item()), (1, 5_000));

    // The first reader is there, and reads no more: the handler goes on for the second one.
    let other = BeltClient::new(connect(&hall.nats.url(), SHOP).await);
    let behind = |position| other.attach_count_to("one").behind(kept(position)).open();
    let (mut rest, call) = within(SOON, behind(numbers.position())).await.unwrap();
    let mut positions = vec![(0, Position::default()), (5_000, rest.position())];
    for number in 5_001..=LAST {
        assert_eq!(within(SOON, rest.next()).await, Some(Ok(number)));
        if [5_001, 12_345, 30_000, LAST - 1, LAST].contains(&number) {
            positions.push((number, rest.position()));
        }
    }
    assert_eq!(within(SOON, rest.next()).await, None);
    within(SOON, call).await.unwrap();

    for (read, position) in positions {
        let (mut rest, call) = within(SOON, behind(position)).await.unwrap();
        assert_eq!(rest.position(), position);
        for number in read + 1..=LAST {
            assert_eq!(within(SOON, rest.next()).await, Some(Ok(number)), "behind {read}");
        }
        assert_eq!(within(SOON, rest.next()).await, None);
        within(SOON, call).await.unwrap();
    }
}

#[tokio::test]
async fn a_position_that_is_not_in_the_stream_is_refused() {
    let hall = Hall::open().await;
    let (_numbers, call) = within(SOON, hall.client.count_to(3).key("one").open()).await.unwrap();
    within(SOON, call).await.unwrap();
    for item in [4, u64::MAX] {
        let mut position = serde_json::to_value(Position::default()).unwrap();
        for (field, value) in [("attempt", 1), ("item", item), ("slot", 1)] {
            position[field] = value.into();
        }
        let position: Position = serde_json::from_value(position).unwrap();
        let attach = hall.client.attach_count_to("one").behind(position);
        let (mut numbers, _call) = within(SOON, attach.open()).await.unwrap();
        is_not_there(within(SOON, numbers.next()).await);
    }
}

fn is_not_there<T: std::fmt::Debug>(next: Option<Result<T, ItemsError>>) {
    let is_refused = matches!(next, Some(Err(ItemsError::Broken { .. } | ItemsError::Lost { .. })));
    assert!(is_refused, "{next:?}");
}

/// Where the time of a call is over, its key may stand for another one.
#[tokio::test]
async fn a_position_in_the_stream_of_an_earlier_call_is_refused_and_disturbs_nobody() {
    let hall = Hall::open().await;
    let (mut numbers, call) = within(SOON, hall.client.count_to(LAST).key("one").open()).await.unwrap();
    let mut earlier = Vec::new();
    for number in 1..=LAST {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(number)));
        if [5, LAST].contains(&number) {
            earlier.push(kept(numbers.position()));
        }
    }
    within(SOON, call).await.unwrap();
    drop(numbers);
    for stream in ["REQ", "OUT", "ITM"] {
        hall.nats.ask(&format!("$JS.API.STREAM.PURGE.rq_{stream}_belt"), "").await.unwrap();
    }

    // More than may be unread, and less than there was.
    let last = LAST / 2;
    let (mut numbers, call) = within(SOON, hall.client.count_to(last).key("one").open()).await.unwrap();
    assert_eq!(within(SOON, numbers.next()).await, Some(Ok(1)));
    let behind = |position| hall.client.attach_count_to("one").behind(position).open();
    for position in &earlier {
        let (mut rest, _call) = within(SOON, behind(*position)).await.unwrap();
        is_not_there(within(SOON, rest.next()).await);
        assert_eq!(within(SOON, rest.next()).await, None);
    }
    for number in 2..=last {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(number)));
    }
    assert_eq!(within(SOON, numbers.next()).await, None);
    within(SOON, call).await.unwrap();
    for position in earlier {
        let (mut rest, _call) = within(SOON, behind(position)).await.unwrap();
        is_not_there(within(SOON, rest.next()).await);
    }
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("{0}")]
#[retry(after = "50ms")]
struct Torn(String);

impl From<SinkError> for Torn {
    fn from(error: SinkError) -> Self {
        Self(error.to_string())
    }
}

/// How many entries an attempt has: so many, and so many more for each before it.
const PAGE: u64 = 10;

#[derive(Clone)]
struct Ledger {
    tears: watch::Receiver<bool>,
}

#[service(name = "ledger")]
impl Ledger {
    /// Its first attempt fails once it may, and the second begins anew.
    #[handler]
    async fn page(&self, cx: &Context, mut entries: Sink<(u32, u64)>) -> Result<u32, Torn> {
        let attempt = cx.attempt();
        for number in 1..=PAGE * u64::from(attempt) {
            entries.send((attempt, number)).await?;
        }
        entries.flush().await?;
        if attempt == 1 {
            let _ = self.tears.clone().wait_for(|tears| *tears).await;
            return Err(Torn("the first page is torn".into()));
        }
        Ok(attempt)
    }

    /// Its first attempt fails once it may, and the second has nothing to say.
    #[handler]
    async fn blot(&self, cx: &Context, mut entries: Sink<(u32, u64)>) -> Result<(), Torn> {
        if cx.attempt() > 1 {
            return Ok(());
        }
        for number in 1..=PAGE {
            entries.send((1, number)).await?;
        }
        entries.flush().await?;
        let _ = self.tears.clone().wait_for(|tears| *tears).await;
        Err(Torn("the page is torn".into()))
    }
}

/// Somebody who keeps a ledger, and who reads it.
struct Study {
    tears: watch::Sender<bool>,
    client: LedgerClient,
    _worker: RunningServer,
    _nats: NatsServer,
}

impl Study {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let (tears, waits) = watch::channel(false);
        let worker = serve(&nats.url(), Ledger { tears: waits }).await;
        let client = LedgerClient::new(connect(&nats.url(), SHOP).await);
        Self { tears, client, _worker: worker, _nats: nats }
    }
}

/// Reads what is left of the first attempt behind this entry, until it is told of the second.
async fn read_until_torn(entries: &mut Items<(u32, u64)>, mut last: u64) {
    loop {
        match within(SOON, entries.next()).await.unwrap() {
            Ok(entry) => assert_eq!(entry, (1, last + 1)),
            Err(error) => return assert_eq!(error, ItemsError::Restarted { attempt: 2 }),
        }
        last += 1;
    }
}

async fn read(entries: &mut Items<(u32, u64)>, attempt: u32, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        assert_eq!(within(SOON, entries.next()).await, Some(Ok((attempt, number))));
    }
}

#[tokio::test]
async fn who_goes_on_in_a_stream_that_was_begun_anew_is_told_if_the_one_before_was_not() {
    let Study { tears, client, .. } = &Study::open().await;
    let (mut entries, call) = within(SOON, client.page().key("one").open()).await.unwrap();
    read(&mut entries, 1, 1..=4).await;
    let first = entries.position();
    tears.send_replace(true);
    read_until_torn(&mut entries, 4).await;
    let told = entries.position();
    assert_eq!(told.attempt(), 1);
    read(&mut entries, 2, 1..=7).await;
    let second = entries.position();
    assert_eq!((second.attempt(), second.item()), (2, 7));
    read(&mut entries, 2, 8..=2 * PAGE).await;
    assert_eq!(within(SOON, entries.next()).await, None);
    assert_eq!(within(SOON, call).await.unwrap(), 2);

    for (position, read_before) in [(first, None), (told, None), (second, Some(7))] {
        let attach = client.attach_page("one").behind(kept(position));
        let (mut entries, call) = within(SOON, attach.open()).await.unwrap();
        if read_before.is_none() {
            read_until_torn(&mut entries, position.item()).await;
        }
        read(&mut entries, 2, read_before.unwrap_or(0) + 1..=2 * PAGE).await;
        assert_eq!(within(SOON, entries.next()).await, None);
        assert_eq!(within(SOON, call).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn who_goes_on_in_a_stream_of_which_nothing_is_left_is_told() {
    let Study { tears, client, .. } = &Study::open().await;
    let (mut entries, call) = within(SOON, client.blot().key("one").open()).await.unwrap();
    read(&mut entries, 1, 1..=4).await;
    let position = entries.position();
    tears.send_replace(true);
    within(SOON, call).await.unwrap();
    let attach = client.attach_blot("one").behind(kept(position));
    let (mut entries, call) = within(SOON, attach.open()).await.unwrap();
    read_until_torn(&mut entries, 4).await;
    assert_eq!(within(SOON, entries.next()).await, None);
    within(SOON, call).await.unwrap();
}
