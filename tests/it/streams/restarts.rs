//! Workers that die in the middle of a stream: the next attempt goes on behind what is stored, or the reader is told that it
//! begins anew; two attempts are never mixed.

use std::{sync::Arc, time::Duration};

use requite::{CallError, Items, ItemsError, RunningServer, Sink, SinkError, prelude::*};
use requite_test::{NatsServer, Proxy};
use tokio::sync::watch;

use crate::caller::fixture::{SHOP, SOON, connect, until, within};

/// Numbers of one attempt: which, and its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    attempt: u32,
    number: u64,
}

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("{0}")]
#[retry(after = "50ms")]
struct Halted(String);

impl From<SinkError> for Halted {
    fn from(error: SinkError) -> Self {
        Self(error.to_string())
    }
}

impl From<ItemsError> for Halted {
    fn from(error: ItemsError) -> Self {
        Self(error.to_string())
    }
}

const LAST: u64 = 2_000;
/// Where the first attempt halts.
const HALT: u64 = 1_000;

/// Its first attempt halts in the middle, until the test lets it go on.
#[derive(Clone)]
struct Press {
    halted: Arc<watch::Sender<u64>>,
    go_on: watch::Receiver<bool>,
}

impl Press {
    async fn rows(&self, cx: &Context, from: u64, rows: &mut Sink<Row>) -> Result<u64, Halted> {
        for number in from..=LAST {
            if cx.attempt() == 1 && number > HALT {
                rows.flush().await?;
                self.halted.send_replace(number);
                let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
            }
            rows.send(Row { attempt: cx.attempt(), number }).await?;
        }
        Ok(from)
    }
}

#[service(name = "press")]
impl Press {
    /// Goes on where the last attempt was.
    #[handler(lease = "6s", idle = "60s")]
    async fn resume(&self, cx: &Context, mut rows: Sink<Row>) -> Result<u64, Halted> {
        let stored = cx.items_stored().await?;
        self.rows(cx, stored + 1, &mut rows).await
    }

    /// Begins anew.
    #[handler(lease = "6s")]
    async fn restart(&self, cx: &Context, mut rows: Sink<Row>) -> Result<u64, Halted> {
        self.rows(cx, 1, &mut rows).await
    }

    /// The same, not stored.
    #[handler(lease = "6s", volatile)]
    async fn restart_unstored(&self, cx: &Context, mut rows: Sink<Row>) -> Result<u64, Halted> {
        self.rows(cx, 1, &mut rows).await
    }

    /// Reads all of it, in every attempt.
    #[handler(lease = "6s")]
    async fn add_up(&self, cx: &Context, mut numbers: Items<u64>) -> Result<u64, Halted> {
        let (mut sum, mut last) = (0, 0);
        while let Some(number) = numbers.next().await {
            let number = number?;
            if number != last + 1 {
                return Err(Halted(format!("{number} behind {last}")));
            }
            (sum, last) = (sum + number, number);
            if cx.attempt() == 1 && number == HALT {
                self.halted.send_replace(number);
                let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
            }
        }
        Ok(sum)
    }
}

/// Two workers, of which the one that has the request can be cut off.
struct Shift {
    _nats: NatsServer,
    network: Proxy,
    halted: Arc<watch::Sender<u64>>,
    go_on: watch::Sender<bool>,
    first: RunningServer,
    press: Press,
    url: String,
    client: PressClient,
}

impl Shift {
    async fn begin() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let network = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
        let (go_on, waits) = watch::channel(false);
        let halted = Arc::new(watch::Sender::new(0));
        let press = Press { halted: Arc::clone(&halted), go_on: waits };
        let office = connect(&network.url(), "office").await;
        let first = Server::new(&office).serve(press.clone()).start().await.unwrap();
        let (url, client) = (nats.url(), PressClient::new(connect(&nats.url(), SHOP).await));
        Self { _nats: nats, network, halted, go_on, first, press, url, client }
    }

    /// The first worker is cut off in the middle, its request goes to a second one, and then the first one, whose lease is
    /// lost, goes on as if nothing had been.
    async fn changes(&self) -> RunningServer {
        let mut halted = self.halted.subscribe();
        within(SOON, halted.wait_for(|at| *at > 0)).await.unwrap();
        self.network.cut().await;
        let office = connect(&self.url, "office").await;
        let second = Server::new(&office).serve(self.press.clone()).start().await.unwrap();
        until("the second worker has the request", async || second.in_hand() == 1).await;
        self.network.heal().await.unwrap();
        self.go_on.send_replace(true);
        second
    }
}

#[tokio::test]
async fn a_later_attempt_goes_on_behind_what_is_stored() {
    let shift = Shift::begin().await;
    let (mut rows, call) = within(SOON, shift.client.resume().open()).await.unwrap();
    let _second = shift.changes().await;
    for number in 1..=LAST {
        let row = within(SOON * 3, rows.next()).await.unwrap().unwrap();
        assert_eq!(row, Row { attempt: if number <= HALT { 1 } else { 2 }, number });
    }
    assert_eq!(within(SOON, rows.next()).await, None);
    assert_eq!(within(SOON, call).await.unwrap(), HALT + 1);
    assert_eq!(shift.first.in_hand(), 0);
}

async fn begins_anew(shift: &Shift, mut rows: Items<Row>) {
    let half = HALT / 2;
    for number in 1..=half {
        assert_eq!(within(SOON, rows.next()).await, Some(Ok(Row { attempt: 1, number })));
    }
    let _second = shift.changes().await;
    // What is unread of the first attempt may still be read, until the second one's first item is there.
    let mut last = half;
    loop {
        match within(SOON * 3, rows.next()).await.unwrap() {
            Ok(row) => {
                last += 1;
                assert_eq!(row, Row { attempt: 1, number: last });
            }
            Err(error) => {
                assert_eq!(error, ItemsError::Restarted { attempt: 2 });
                break;
            }
        }
    }
    for number in 1..=LAST {
        assert_eq!(within(SOON, rows.next()).await, Some(Ok(Row { attempt: 2, number })));
    }
    assert_eq!(within(SOON, rows.next()).await, None);
}

#[tokio::test]
async fn a_later_attempt_that_begins_anew_says_so() {
    let shift = Shift::begin().await;
    let (rows, call) = within(SOON, shift.client.restart().open()).await.unwrap();
    begins_anew(&shift, rows).await;
    assert_eq!(within(SOON, call).await.unwrap(), 1);
}

#[tokio::test]
async fn a_later_attempt_of_a_stream_that_is_not_stored_says_so() {
    let shift = Shift::begin().await;
    let (rows, call) = within(SOON, shift.client.restart_unstored().open()).await.unwrap();
    begins_anew(&shift, rows).await;
    assert_eq!(within(SOON, call).await.unwrap(), 1);
}

#[tokio::test]
async fn a_later_attempt_reads_its_callers_stream_from_the_first_item() {
    let shift = Shift::begin().await;
    let (mut numbers, call) = within(SOON, shift.client.add_up().open()).await.unwrap();
    let sending = tokio::spawn(async move {
        for number in 1..=LAST {
            numbers.send(number).await.unwrap();
            // Some of it comes before the change, some after.
            if number.is_multiple_of(20) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        numbers.finish().await.unwrap();
    });
    let _second = shift.changes().await;
    match within(SOON * 4, call).await {
        Ok(sum) => assert_eq!(sum, LAST * (LAST + 1) / 2),
        Err(CallError::Failed(error)) => panic!("{error}"),
        Err(error) => panic!("{error}"),
    }
    within(SOON, sending).await.unwrap();
}

#[tokio::test]
async fn another_process_reads_from_the_first_item_and_goes_on_writing_behind_the_last() {
    let shift = Shift::begin().await;
    shift.go_on.send_replace(true);
    let (mut rows, call) = within(SOON, shift.client.resume().key("one").open()).await.unwrap();
    within(SOON, rows.next()).await.unwrap().unwrap();
    let other = PressClient::new(connect(&shift.url, SHOP).await);
    let (mut again, same) = within(SOON, other.attach_resume("one").open()).await.unwrap();
    for number in 1..=LAST {
        assert_eq!(within(SOON, again.next()).await.unwrap().unwrap().number, number);
    }
    assert_eq!(within(SOON, again.next()).await, None);
    assert_eq!(within(SOON, same).await.unwrap(), 1);
    drop((rows, call));

    let (mut numbers, call) = within(SOON, shift.client.add_up().key("two").open()).await.unwrap();
    for number in 1..=10 {
        within(SOON, numbers.send(number)).await.unwrap();
    }
    within(SOON, numbers.flush()).await.unwrap();
    let (mut rest, same) = within(SOON, other.attach_add_up("two").open()).await.unwrap();
    assert_eq!(within(SOON, rest.items_stored()).await, Ok(10));
    // From here on, whoever wrote before adds nothing more.
    let refused = within(SOON, async {
        loop {
            if let Err(error) = numbers.send(11).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(refused.await, SinkError::Replaced);
    within(SOON, rest.send(11)).await.unwrap();
    within(SOON, rest.finish()).await.unwrap();
    assert_eq!(within(SOON, same).await.unwrap(), 66);
    assert_eq!(within(SOON, call).await.unwrap(), 66);
}
