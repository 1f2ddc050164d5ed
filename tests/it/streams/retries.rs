//! Handlers that end, are handed over or go on without their caller's items, and the attempts after them.

use std::{sync::Arc, time::Duration};

use requite::{Items, ItemsError, RunningServer, Sink, SinkError, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

use crate::caller::fixture::{SHOP, SOON, connect, serve, within};

#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("{0}")]
// Longer than a caller would go on once its last reader has left.
#[retry(after = "4s")]
struct Dropped(String);

/// How many the first attempt reads.
const READ: u64 = 10;

/// Its first attempt reads some of what comes, and then does something else.
#[derive(Clone)]
struct Scale {
    /// The latest attempt that has read anything, and what it read last.
    read: Arc<watch::Sender<(u32, u64)>>,
    go_on: watch::Receiver<bool>,
}

impl Scale {
    /// Reads on until `last`, or all; returns the last number, or what came instead of it.
    async fn read(&self, cx: &Context, numbers: &mut Items<u64>, last: u64) -> Result<u64, Dropped> {
        let mut read = 0;
        while read < last {
            match numbers.next().await {
                Some(Ok(number)) if number == read + 1 => read = number,
                Some(Err(ItemsError::Abandoned)) => return Err(Dropped("abandoned".into())),
                Some(other) => panic!("{other:?} behind {read}"),
                None => break,
            }
            self.read.send_replace((cx.attempt(), read));
        }
        Ok(read)
    }
}

#[service(name = "scale")]
impl Scale {
    /// Fails at first.
    #[handler]
    async fn fail(&self, cx: &Context, mut numbers: Items<u64>) -> Result<u64, Dropped> {
        if cx.attempt() == 1 {
            self.read(cx, &mut numbers, READ).await?;
            return Err(Dropped("too heavy".into()));
        }
        self.read(cx, &mut numbers, u64::MAX).await
    }

    /// Sends something at first, and then has a value without.
    #[handler]
    async fn give(&self, cx: &Context, mut numbers: Sink<u64>) -> Result<u32, Dropped> {
        self.give_some(cx, &mut numbers).await
    }

    /// Waits behind a checkpoint at first.
    #[handler]
    async fn pause(&self, cx: &Context, mut numbers: Items<u64>) -> Result<u64, Dropped> {
        if cx.attempt() == 1 {
            let read = self.read(cx, &mut numbers, READ).await?;
            cx.checkpoint(&read).await.map_err(|error| Dropped(error.to_string()))?;
            self.read.send_replace((1, READ + 1));
            std::future::pending::<()>().await;
        }
        self.read(cx, &mut numbers, u64::MAX).await
    }

    /// Goes on without the rest at first, and fails then. The next attempt returns what it got before it was told that
    /// there is no more.
    #[handler]
    async fn leave(&self, cx: &Context, mut numbers: Items<u64>) -> Result<u64, Dropped> {
        if cx.attempt() == 1 {
            self.read(cx, &mut numbers, READ).await?;
            drop(numbers);
            let _ = self.go_on.clone().wait_for(|go_on| *go_on).await;
            return Err(Dropped("too heavy".into()));
        }
        match self.read(cx, &mut numbers, u64::MAX).await {
            Err(Dropped(why)) if why == "abandoned" => Ok(self.read.borrow().1),
            other => panic!("{other:?}"),
        }
    }
}

impl Scale {
    /// A number for each of the first attempt, and nothing of a later one.
    async fn give_some(&self, cx: &Context, numbers: &mut Sink<u64>) -> Result<u32, Dropped> {
        if cx.attempt() > 1 {
            return Ok(cx.attempt());
        }
        let failed = |error: SinkError| Dropped(error.to_string());
        for number in 1..=READ {
            numbers.send(number).await.map_err(failed)?;
        }
        numbers.flush().await.map_err(failed)?;
        Err(Dropped("out of weights".into()))
    }
}

struct Bench {
    nats: NatsServer,
    scale: Scale,
    go_on: watch::Sender<bool>,
    client: ScaleClient,
}

impl Bench {
    async fn set_up() -> (Self, RunningServer) {
        let nats = NatsServer::start().await.unwrap();
        let (go_on, waits) = watch::channel(false);
        let scale = Scale { read: Arc::default(), go_on: waits };
        let worker = serve(&nats.url(), scale.clone()).await;
        let client = ScaleClient::new(connect(&nats.url(), SHOP).await);
        (Self { nats, scale, go_on, client }, worker)
    }

    /// Sends numbers behind `last` until the handlers have read so far; returns the last one.
    async fn sends(
        &self,
        numbers: &mut Sink<u64>,
        mut last: u64,
        enough: impl Fn((u32, u64)) -> bool,
    ) -> Result<u64, (u64, SinkError)> {
        let mut read = self.scale.read.subscribe();
        while !enough(*read.borrow_and_update()) {
            within(SOON, numbers.send(last + 1)).await.map_err(|error| (last, error))?;
            last += 1;
            let _ = tokio::time::timeout(Duration::from_millis(20), read.changed()).await;
        }
        Ok(last)
    }
}

#[tokio::test]
async fn the_attempt_after_one_that_failed_reads_all_and_its_caller_goes_on_sending() {
    let (bench, _worker) = Bench::set_up().await;
    let (mut numbers, call) = within(SOON, bench.client.fail().open()).await.unwrap();
    let last = within(SOON, bench.sends(&mut numbers, 0, |(attempt, _)| attempt == 2)).await.unwrap();
    within(SOON, numbers.send(last + 1)).await.unwrap();
    within(SOON, numbers.finish()).await.unwrap();
    assert_eq!(within(SOON, call).await.unwrap(), last + 1);
}

#[tokio::test]
async fn a_handler_that_is_handed_over_reads_all_again_and_its_caller_goes_on_sending() {
    let (bench, worker) = Bench::set_up().await;
    let (mut numbers, call) = within(SOON, bench.client.pause().open()).await.unwrap();
    let last = within(SOON, bench.sends(&mut numbers, 0, |(_, read)| read > READ)).await.unwrap();
    within(SOON, worker.shutdown()).await;
    // Longer than a caller would go on once its last reader has left.
    let nobody = bench.sends(&mut numbers, last, |_| false);
    assert!(tokio::time::timeout(Duration::from_secs(4), nobody).await.is_err());
    let _second = serve(&bench.nats.url(), bench.scale.clone()).await;
    within(SOON, numbers.finish()).await.unwrap();
    assert!(within(SOON, call).await.unwrap() > last);
}

#[tokio::test]
async fn a_handler_that_goes_on_without_the_rest_ends_the_stream_for_later_attempts_too() {
    let (bench, _worker) = Bench::set_up().await;
    let (mut numbers, call) = within(SOON, bench.client.leave().open()).await.unwrap();
    let (last, refused) = within(SOON, bench.sends(&mut numbers, 0, |_| false)).await.unwrap_err();
    assert_eq!(refused, SinkError::Left);
    within(SOON, numbers.finish()).await.unwrap();
    bench.go_on.send_replace(true);
    assert_eq!(within(SOON, call).await.unwrap(), last);
}

#[tokio::test]
async fn what_an_attempt_sent_that_failed_is_not_taken_for_the_next_ones_that_sends_nothing() {
    let (bench, _worker) = Bench::set_up().await;
    let (mut numbers, call) = within(SOON, bench.client.give().open()).await.unwrap();
    for number in 1..=READ {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(number)));
    }
    assert_eq!(within(SOON, numbers.next()).await, Some(Err(ItemsError::Restarted { attempt: 2 })));
    assert_eq!(within(SOON, numbers.next()).await, None);
    assert_eq!(within(SOON, call).await.unwrap(), 2);
}
