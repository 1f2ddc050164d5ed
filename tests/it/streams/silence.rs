//! A side that is not heard for longer than the idle limit: the other one is told, not before and soon after, and the stream
//! goes on once both are back, or says that it was not all.

use std::{
    fmt::Display,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use requite::{
    Accepted, CallError, CallEvent, Items, ItemsError, Reason, RunningServer, Sink, SinkError, prelude::*,
};
use requite_test::{NatsServer, Proxy};
use tokio::sync::{mpsc, watch};

use super::fixture::Stuck;
use crate::caller::fixture::{SHOP, SOON, connect, serve, until, within};

/// What may be sent and not read.
const CREDIT: u64 = 16 * 1024;
const LAST: u64 = 3 * CREDIT;
const IDLE: Duration = Duration::from_secs(3);
/// When somebody has to be told of a silence, since the last sign of life.
const IN_TIME: RangeInclusive<Duration> = IDLE..=Duration::from_secs(IDLE.as_secs() + SOON.as_secs());
/// How often somebody may be told until there is a connection again, on a machine that is busy.
const SILENCES: usize = 10;
/// Before the other side vanishes.
const FIRST: u64 = 10;

/// What a handler was told.
#[derive(Debug)]
struct Told {
    text: String,
    /// Since when it had waited, and until when.
    since: Instant,
    at: Instant,
}

/// Tells of every silence that it meets, and goes on. Clones are the same pump.
#[derive(Clone, Debug)]
struct Pump {
    told: mpsc::UnboundedSender<Told>,
    /// The last number that was read.
    read: watch::Sender<u64>,
}

impl Pump {
    fn tell(&self, error: &impl Display, since: Instant) {
        self.told
            .send(Told { text: error.to_string(), since, at: Instant::now() })
            .expect("the test listens");
    }

    async fn sends(&self, mut numbers: Sink<u64>) -> Result<(), Stuck> {
        for number in 1..=LAST {
            loop {
                let since = Instant::now();
                match numbers.send(number).await {
                    Ok(()) => break,
                    Err(error @ SinkError::Silent { .. }) => self.tell(&error, since),
                    Err(error) => return Err(Stuck(error.to_string())),
                }
            }
        }
        Ok(())
    }

    async fn reads(&self, mut numbers: Items<u64>) -> Result<u64, Stuck> {
        let mut last = 0;
        loop {
            let since = Instant::now();
            match numbers.next().await {
                Some(Ok(number)) if number == last + 1 => last = number,
                Some(Err(error @ ItemsError::Silent { .. })) => self.tell(&error, since),
                None => return Ok(last),
                other => return Err(Stuck(format!("{other:?} behind {last}"))),
            }
            self.read.send_replace(last);
        }
    }
}

#[service(name = "pump")]
impl Pump {
    /// Sends numbers; what was not taken it offers again.
    #[handler(lease = "6s", idle = "3s")]
    async fn pour(&self, numbers: Sink<u64>) -> Result<(), Stuck> {
        self.sends(numbers).await
    }

    /// The same, not stored.
    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn pour_unstored(&self, numbers: Sink<u64>) -> Result<(), Stuck> {
        self.sends(numbers).await
    }

    /// Reads all numbers, and returns the last.
    #[handler(lease = "6s", idle = "3s")]
    async fn drain(&self, numbers: Items<u64>) -> Result<u64, Stuck> {
        self.reads(numbers).await
    }

    /// The same, not stored.
    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn drain_unstored(&self, numbers: Items<u64>) -> Result<u64, Stuck> {
        self.reads(numbers).await
    }

    /// Reads numbers until there are no more, and sends none.
    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn listen(&self, numbers: Items<u64>, _doubles: Sink<u64>) -> Result<u64, Stuck> {
        self.reads(numbers).await
    }

    /// Sends numbers until it is told of a silence, and leaves its sink to somebody else.
    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn lend(&self, mut numbers: Sink<u64>) {
        let since = Instant::now();
        let error = loop {
            if let Err(error) = numbers.send(0).await {
                break error;
            }
        };
        self.tell(&error, since);
        let pump = self.clone();
        tokio::spawn(async move {
            let since = Instant::now();
            pump.tell(&numbers.send(0).await.unwrap_err(), since);
        });
    }

    /// Sends numbers, not stored, as a stream that it returns.
    #[handler(lease = "6s", idle = "3s", volatile)]
    fn spill(&self) -> impl Stream<Item = u64> {
        stream::iter(1..=LAST)
    }

    /// Reads numbers that are not stored until it is told of a silence, and returns the last.
    #[handler(lease = "6s", idle = "3s", volatile)]
    async fn sip(&self, mut numbers: Items<u64>) -> u64 {
        let mut last = 0;
        while let Some(Ok(number)) = numbers.next().await {
            last = number;
            self.read.send_replace(last);
        }
        last
    }
}

/// A worker with a pump, and a client that can be cut off.
struct Well {
    told: mpsc::UnboundedReceiver<Told>,
    read: watch::Receiver<u64>,
    network: Proxy,
    client: PumpClient,
    worker: RunningServer,
    _nats: NatsServer,
}

impl Well {
    async fn dig() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let network = Proxy::start(([127, 0, 0, 1], nats.port()).into()).await.unwrap();
        let ((tell, told), (has_read, read)) = (mpsc::unbounded_channel(), watch::channel(0));
        let worker = serve(&nats.url(), Pump { told: tell, read: has_read }).await;
        let client = PumpClient::new(connect(&network.url(), SHOP).await);
        Self { told, read, network, client, worker, _nats: nats }
    }

    /// What the handler was told first, which has to be this.
    async fn is_told(&mut self, error: &impl Display) -> Told {
        let told = within(*IN_TIME.end(), self.told.recv()).await.expect("the pump holds the sender");
        assert_eq!(told.text, error.to_string());
        told
    }

    async fn has_read(&mut self, number: u64) {
        within(SOON, self.read.wait_for(|read| *read >= number)).await.unwrap();
    }

    async fn reader_is_away(mut self, (mut numbers, call): (Items<u64>, Accepted<(), Stuck>)) {
        let heard = Instant::now();
        for wanted in 1..=FIRST {
            assert_eq!(within(SOON, numbers.next()).await, Some(Ok(wanted)));
        }
        self.network.cut().await;
        let (last, told) = reads_on(&mut numbers, FIRST).await;
        assert_eq!(told, Some(Err(ItemsError::Silent { idle: IDLE })));
        assert!(IN_TIME.contains(&heard.elapsed()), "{:?}", heard.elapsed());
        let told = self.is_told(&SinkError::Silent { idle: IDLE }).await;
        assert!(IN_TIME.contains(&told.at.duration_since(told.since)), "{told:?}");
        self.network.heal().await.unwrap();
        let end = goes_on(&mut numbers, last).await;
        assert_eq!(end, (LAST, None));
        within(SOON, call).await.unwrap();
    }

    async fn writer_is_away(mut self, (mut numbers, mut call): (Sink<u64>, Accepted<u64, Stuck>)) {
        // Before it has heard of the handler, a caller waits for it to start.
        let mut events = call.events();
        while !matches!(
            within(SOON, events.next()).await,
            Some(CallEvent::Started { .. } | CallEvent::Alive { .. })
        ) {}
        let heard = Instant::now();
        let mut last = sends_on(&mut numbers, 0, FIRST).await;
        self.has_read(last).await;
        // It may have had to wait for the first.
        while self.told.try_recv().is_ok() {}
        self.network.cut().await;
        let told = self.is_told(&ItemsError::Silent { idle: IDLE }).await;
        assert!(IN_TIME.contains(&told.at.duration_since(heard)), "{told:?}");
        let (mut since, mut told) = (Instant::now(), Ok(()));
        while told.is_ok() {
            since = Instant::now();
            told = within(*IN_TIME.end(), numbers.send(last + 1)).await;
            last += u64::from(told.is_ok());
        }
        assert_eq!(told, Err(SinkError::Silent { idle: IDLE }));
        assert!(IN_TIME.contains(&since.elapsed()), "{:?}", since.elapsed());
        self.network.heal().await.unwrap();
        sends_on(&mut numbers, last, LAST).await;
        within(SOON * 2, numbers.finish()).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), LAST);
    }
}

/// Reads behind this number as long as the next one comes; returns the last, and what came then.
async fn reads_on(numbers: &mut Items<u64>, mut last: u64) -> (u64, Option<Result<u64, ItemsError>>) {
    loop {
        match within(*IN_TIME.end(), numbers.next()).await {
            Some(Ok(number)) if number == last + 1 => last = number,
            other => return (last, other),
        }
    }
}

/// The same, whatever silence it is told of meanwhile.
async fn goes_on(numbers: &mut Items<u64>, mut last: u64) -> (u64, Option<Result<u64, ItemsError>>) {
    let mut next = None;
    for _ in 0..SILENCES {
        (last, next) = reads_on(numbers, last).await;
        if next != Some(Err(ItemsError::Silent { idle: IDLE })) {
            break;
        }
    }
    (last, next)
}

/// Sends the numbers behind one, up to another; what is not taken because of silence, again.
async fn sends_on(numbers: &mut Sink<u64>, mut last: u64, to: u64) -> u64 {
    let mut silences = 0;
    while last < to {
        match within(*IN_TIME.end(), numbers.send(last + 1)).await {
            Err(SinkError::Silent { .. }) if silences < SILENCES => silences += 1,
            sent => {
                sent.unwrap();
                last += 1;
            }
        }
    }
    last
}

#[tokio::test]
async fn a_reader_that_is_away_for_longer_than_the_idle_limit_misses_nothing() {
    let well = Well::dig().await;
    let opened = within(SOON, well.client.pour().open()).await.unwrap();
    well.reader_is_away(opened).await;
}

#[tokio::test]
async fn a_reader_that_is_away_for_longer_than_the_idle_limit_misses_nothing_that_is_not_stored() {
    let well = Well::dig().await;
    let opened = within(SOON, well.client.pour_unstored().open()).await.unwrap();
    well.reader_is_away(opened).await;
}

#[tokio::test]
async fn a_writer_that_is_away_for_longer_than_the_idle_limit_goes_on_behind_its_last_item() {
    let well = Well::dig().await;
    let opened = within(SOON, well.client.drain().open()).await.unwrap();
    well.writer_is_away(opened).await;
}

#[tokio::test]
async fn a_writer_that_stores_nothing_goes_on_behind_its_last_item_after_longer_than_the_idle_limit() {
    let well = Well::dig().await;
    let opened = within(SOON, well.client.drain_unstored().open()).await.unwrap();
    well.writer_is_away(opened).await;
}

/// Heartbeats, and what a caller says of itself, are signs of life.
#[tokio::test]
async fn who_is_there_and_says_nothing_is_not_silent() {
    let mut well = Well::dig().await;
    // One caller that reads as well, and one that says nothing but that it is there.
    let (mut numbers, mut doubles, call) = within(SOON, well.client.listen().open()).await.unwrap();
    let (mut others, other) = within(SOON, well.client.drain_unstored().open()).await.unwrap();
    let last = sends_on(&mut numbers, 0, FIRST).await;
    assert_eq!(sends_on(&mut others, 0, FIRST).await, last);
    well.has_read(last).await;
    // They may have had to wait for the first.
    while well.told.try_recv().is_ok() {}
    let next = tokio::time::timeout(IDLE * 3, doubles.next()).await;
    assert!(next.is_err(), "{next:?}");
    let told = well.told.try_recv();
    assert!(told.is_err(), "{told:?}");
    for (numbers, call) in [(numbers, call), (others, other)] {
        within(SOON, numbers.finish()).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), last);
    }
}

/// While its worker still waits for the reader to have what there is, nothing more comes to it.
#[tokio::test]
async fn a_sink_takes_nothing_once_its_handler_has_ended() {
    let mut well = Well::dig().await;
    let (_numbers, _call) = within(SOON, well.client.lend().open()).await.unwrap();
    well.network.cut().await;
    well.is_told(&SinkError::Silent { idle: IDLE }).await;
    well.is_told(&SinkError::Stopped).await;
}

/// Nobody keeps for it what the handler had to give up.
#[tokio::test]
async fn a_returned_stream_that_is_not_stored_and_whose_reader_was_away_too_long_is_no_whole_one() {
    let well = Well::dig().await;
    let (mut numbers, call) = within(SOON, well.client.spill().open()).await.unwrap();
    for wanted in 1..=FIRST {
        assert_eq!(within(SOON, numbers.next()).await, Some(Ok(wanted)));
    }
    well.network.cut().await;
    until("the handler has given up", async || well.worker.in_hand() == 0).await;
    well.network.heal().await.unwrap();
    let (last, next) = goes_on(&mut numbers, FIRST).await;
    assert_eq!(next, Some(Err(ItemsError::Failed)), "behind {last}");
    assert_eq!(within(SOON, numbers.next()).await, None);
    match within(SOON, call).await {
        Err(CallError::Aborted(aborted)) => assert_eq!(aborted.reason, Reason::Unread),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_writer_that_stores_nothing_and_was_away_too_long_is_told_that_the_call_has_ended() {
    let mut well = Well::dig().await;
    let (mut numbers, call) = within(SOON, well.client.sip().open()).await.unwrap();
    sends_on(&mut numbers, 0, FIRST).await;
    well.has_read(FIRST).await;
    well.network.cut().await;
    // Taken, and never read.
    sends_on(&mut numbers, FIRST, FIRST * 2).await;
    until("the handler has given up", async || well.worker.in_hand() == 0).await;
    well.network.heal().await.unwrap();
    assert_eq!(within(SOON, numbers.flush()).await, Err(SinkError::Ended));
    assert_eq!(within(SOON, numbers.send(1)).await, Err(SinkError::Ended));
    assert_eq!(within(SOON, call).await.unwrap(), FIRST);
}
