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

    /// Adds up what comes.
    #[handler(idle = "5s")]
    async fn sum(&self, mut numbers: Items<u64>) -> Result<u64, String_> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number.map_err(|error| String_(error.to_string()))?;
            self.count();
        }
        Ok(sum)
    }

    /// Sends back the double of everything, and returns how many there were.
    #[handler]
    async fn double(&self, mut numbers: Items<u64>, mut doubles: Sink<u64>) -> Result<u64, Jammed> {
        let mut count = 0;
        while let Some(number) = numbers.next().await {
            doubles.send(number.map_err(|error| Jammed::Stream(error.to_string()))? * 2).await?;
            count += 1;
        }
        Ok(count)
    }
}

/// An error that is a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("{0}")]
pub(super) struct String_(pub(super) String);

/// A server, a worker with a belt, and a client.
pub(super) struct Hall {
    pub(super) nats: NatsServer,
    pub(super) belt: Belt,
    pub(super) _worker: RunningServer,
    pub(super) client: BeltClient,
}

impl Hall {
    pub(super) async fn open() -> Self {
        let (nats, belt) = (NatsServer::start().await.unwrap(), Belt::default());
        let worker = serve(&nats.url(), belt.clone()).await;
        let client = BeltClient::new(connect(&nats.url(), SHOP).await);
        Self { nats, belt, _worker: worker, client }
    }
}
