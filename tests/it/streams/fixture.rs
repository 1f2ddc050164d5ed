//! What the tests of streams share: a service with a stream of every form, and a server of the test's own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{Stream, stream};
use requite::{Items, RunningServer, Sink, SinkError, prelude::*};
use requite_test::NatsServer;

use crate::caller::fixture::{SHOP, connect, serve};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, CallError)]
pub(super) enum Jammed {
    #[error("jammed at {0}")]
    At(u64),
    #[error("the stream came to nothing: {0}")]
    #[retry(after = "50ms")]
    Stream(String),
}

impl From<SinkError> for Jammed {
    fn from(error: SinkError) -> Self {
        Self::Stream(error.to_string())
    }
}

/// Moves numbers about. Clones are the same belt.
#[derive(Clone, Debug, Default)]
pub(super) struct Belt {
    /// How many items handlers have sent, or taken.
    pub(super) moved: Arc<AtomicU64>,
}

impl Belt {
    fn count(&self) {
        self.moved.fetch_add(1, Ordering::SeqCst);
    }
}

#[service(name = "belt")]
impl Belt {
    /// Sends the numbers from 1 on, as a stream that it returns.
    #[handler]
    fn count_to(&self, last: u64) -> impl Stream<Item = u64> {
        let moved = Arc::clone(&self.moved);
        stream::iter((1..=last).inspect(move |_| {
            moved.fetch_add(1, Ordering::SeqCst);
        }))
    }

    /// Sends numbers, and fails where it is told to.
    #[handler]
    fn jam(&self, at: u64) -> impl Stream<Item = Result<u64, Jammed>> {
        stream::iter((1..=at).map(move |n| if n < at { Ok(n) } else { Err(Jammed::At(n)) }))
    }

    /// The same, not stored.
    #[handler(volatile)]
    fn count_to_unstored(&self, last: u64) -> impl Stream<Item = u64> {
        self.count_to(last)
    }

    /// Adds up what comes.
    #[handler]
    async fn sum(&self, numbers: Items<u64>) -> Result<u64, Stuck> {
        self.add_up(numbers).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn sum_unstored(&self, numbers: Items<u64>) -> Result<u64, Stuck> {
        self.add_up(numbers).await
    }

    /// Sends back the double of everything, and returns how many there were.
    #[handler]
    async fn double(&self, numbers: Items<u64>, doubles: Sink<u64>) -> Result<u64, Jammed> {
        self.send_back(numbers, doubles).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn double_unstored(&self, numbers: Items<u64>, doubles: Sink<u64>) -> Result<u64, Jammed> {
        self.send_back(numbers, doubles).await
    }

    /// Sends numbers and returns the first that the caller did not want.
    #[handler]
    async fn until_left(&self, mut numbers: Sink<u64>) -> Result<u64, Jammed> {
        for number in 1.. {
            match numbers.send(number).await {
                Ok(()) => self.count(),
                Err(SinkError::Left) => return Ok(number),
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("nobody reads so many")
    }

    /// Says what it heard of the caller for too long: nothing.
    #[handler(lease = "6s", idle = "3s")]
    async fn wait_for(&self, mut numbers: Items<u64>) -> String {
        loop {
            match numbers.next().await {
                Some(Ok(_)) => self.count(),
                Some(Err(error)) => return error.to_string(),
                None => return "the end".into(),
            }
        }
    }

    /// Sends numbers that nobody may read.
    #[handler(lease = "20s", idle = "10s")]
    fn unread(&self) -> impl Stream<Item = u64> {
        let moved = Arc::clone(&self.moved);
        stream::iter((1..).inspect(move |_| {
            moved.fetch_add(1, Ordering::SeqCst);
        }))
    }

    /// Doubles what comes until its call is cancelled, then says so with a 0, and waits for one more.
    #[handler]
    async fn talk(
        &self,
        cx: &Context,
        mut numbers: Items<u64>,
        mut doubles: Sink<u64>,
    ) -> Result<String, Jammed> {
        loop {
            tokio::select! {
                biased;
                () = cx.cancelled() => break,
                number = numbers.next() => match number {
                    Some(Ok(number)) => doubles.send(number * 2).await?,
                    end => return Ok(format!("{end:?}")),
                },
            }
        }
        doubles.send(0).await?;
        Ok(format!("cancelled, and {:?}", numbers.next().await))
    }

    /// Reads, whatever happens.
    #[handler(kill_after = "500ms")]
    async fn deaf(&self, mut numbers: Items<u64>) -> u64 {
        loop {
            match numbers.next().await {
                Some(Ok(_)) => self.count(),
                _ => std::future::pending().await,
            }
        }
    }

    /// Sends texts of so many bytes each, and returns what came of each.
    #[handler]
    async fn texts(&self, sizes: Vec<usize>, texts: Sink<String>) -> Vec<Option<SinkError_>> {
        self.send_texts(sizes, texts).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn texts_unstored(&self, sizes: Vec<usize>, texts: Sink<String>) -> Vec<Option<SinkError_>> {
        self.send_texts(sizes, texts).await
    }

    /// Texts of so many bytes each, as a stream that it returns.
    #[handler]
    fn shelf(&self, sizes: Vec<usize>) -> impl Stream<Item = String> {
        stream::iter(sizes.into_iter().map(|size| "x".repeat(size)))
    }

    /// The sizes of the texts that came.
    #[handler]
    async fn sizes(&self, texts: Items<String>) -> Vec<usize> {
        self.measure(texts).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn sizes_unstored(&self, texts: Items<String>) -> Vec<usize> {
        self.measure(texts).await
    }
}

impl Belt {
    async fn add_up(&self, mut numbers: Items<u64>) -> Result<u64, Stuck> {
        let mut sum = 0;
        let mut last = 0;
        while let Some(number) = numbers.next().await {
            let number = number.map_err(|error| Stuck(error.to_string()))?;
            if number != last + 1 {
                return Err(Stuck(format!("{number} behind {last}")));
            }
            last = number;
            sum += number;
            self.count();
        }
        Ok(sum)
    }

    async fn send_back(&self, mut numbers: Items<u64>, mut doubles: Sink<u64>) -> Result<u64, Jammed> {
        let mut count = 0;
        while let Some(number) = numbers.next().await {
            doubles.send(number.map_err(|error| Jammed::Stream(error.to_string()))? * 2).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn send_texts(&self, sizes: Vec<usize>, mut texts: Sink<String>) -> Vec<Option<SinkError_>> {
        let mut refused = Vec::new();
        for size in sizes {
            let sent = texts.send("x".repeat(size)).await;
            refused.push(sent.err().map(|error| SinkError_(error.to_string())));
        }
        refused
    }

    async fn measure(&self, mut texts: Items<String>) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(Ok(text)) = texts.next().await {
            sizes.push(text.len());
        }
        sizes
    }
}

/// What a sink said, as it can travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SinkError_(pub(super) String);

/// An error that is a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("{0}")]
pub(super) struct Stuck(pub(super) String);

/// A server, a worker with a belt, and a client.
pub(super) struct Hall {
    pub(super) nats: NatsServer,
    pub(super) belt: Belt,
    pub(super) worker: RunningServer,
    pub(super) client: BeltClient,
}

impl Hall {
    pub(super) async fn open() -> Self {
        Self::open_on(NatsServer::start().await.unwrap()).await
    }

    pub(super) async fn open_on(nats: NatsServer) -> Self {
        let belt = Belt::default();
        let worker = serve(&nats.url(), belt.clone()).await;
        let client = BeltClient::new(connect(&nats.url(), SHOP).await);
        Self { nats, belt, worker, client }
    }
}
