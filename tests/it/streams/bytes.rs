//! Large items: of what is made and not read there are never more bytes than the credit allows, whoever reads slowly.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{Stream, stream};
use requite::{Accepted, HandlerError, Items, NoError, RunningServer, Sink, prelude::*};
use requite_test::NatsServer;
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use super::fixture::Stuck;
use crate::caller::fixture::{SHOP, SOON, connect, serve, until, within};

const COUNT: u64 = 200;
const BYTES: usize = 100_000;
/// With what MessagePack puts before so many bytes.
const ITEM: u64 = BYTES as u64 + 5;
/// What may be sent and not read, and one item.
const STORED: u64 = 8 << 20;
const UNSTORED: u64 = 4 << 20;

/// How many blocks are ahead at least where credit is used up: it comes a quarter of the window at a time, so where three
/// quarters are unread, nothing more may be on its way.
fn used_up(window: u64, read: u64) -> u64 {
    (window / 4 * 3 / ITEM).min(COUNT - read)
}

fn block() -> ByteBuf {
    ByteBuf::from(vec![7; BYTES])
}

/// Moves blocks about, and reads no faster than it is let. Clones are the same quarry.
#[derive(Clone, Debug)]
struct Quarry {
    /// How many blocks handlers have made, or read.
    moved: Arc<AtomicU64>,
    may_read: Arc<Semaphore>,
}

impl Quarry {
    fn moved(&self) -> u64 {
        self.moved.load(Ordering::SeqCst)
    }

    async fn cut(&self, mut blocks: Sink<ByteBuf>) -> Result<(), Stuck> {
        for _ in 0..COUNT {
            blocks.send(block()).await.map_err(|error| Stuck(error.to_string()))?;
            self.moved.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn pile(&self, mut blocks: Items<ByteBuf>) -> u64 {
        let mut piled = 0;
        loop {
            self.may_read.acquire().await.expect("nobody closes it").forget();
            let Some(Ok(_)) = blocks.next().await else {
                return piled;
            };
            piled += 1;
            self.moved.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[service(name = "quarry")]
impl Quarry {
    /// Blocks, as a stream that it returns.
    #[handler]
    fn blocks(&self) -> impl Stream<Item = ByteBuf> {
        let moved = Arc::clone(&self.moved);
        stream::iter((0..COUNT).map(move |_| {
            moved.fetch_add(1, Ordering::SeqCst);
            block()
        }))
    }

    /// The same, not stored.
    #[handler(volatile)]
    fn blocks_unstored(&self) -> impl Stream<Item = ByteBuf> {
        self.blocks()
    }

    /// Sends blocks.
    #[handler]
    async fn cut_blocks(&self, blocks: Sink<ByteBuf>) -> Result<(), Stuck> {
        self.cut(blocks).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn cut_blocks_unstored(&self, blocks: Sink<ByteBuf>) -> Result<(), Stuck> {
        self.cut(blocks).await
    }

    /// Takes blocks.
    #[handler]
    async fn pile_up(&self, blocks: Items<ByteBuf>) -> u64 {
        self.pile(blocks).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn pile_up_unstored(&self, blocks: Items<ByteBuf>) -> u64 {
        self.pile(blocks).await
    }
}

/// A server, a worker with a quarry, and a client.
struct Pit {
    quarry: Quarry,
    client: QuarryClient,
    _worker: RunningServer,
    _nats: NatsServer,
}

impl Pit {
    async fn open() -> Self {
        let nats = NatsServer::start().await.unwrap();
        let quarry = Quarry { moved: Arc::default(), may_read: Arc::new(Semaphore::new(0)) };
        let worker = serve(&nats.url(), quarry.clone()).await;
        let client = QuarryClient::new(connect(&nats.url(), SHOP).await);
        Self { quarry, client, _worker: worker, _nats: nats }
    }

    /// Reads one block after the other, each only when the credit for it is used up, beside which the handler may have some
    /// in hand.
    async fn reads_slowly<E: HandlerError + std::fmt::Debug>(
        &self,
        (mut blocks, call): (Items<ByteBuf>, Accepted<(), E>),
        (window, in_hand): (u64, u64),
    ) {
        let ahead_of = |read: u64| {
            let ahead = self.quarry.moved() - read;
            assert!(ahead * ITEM <= window + (1 + in_hand) * ITEM, "{ahead} ahead of {read}");
            ahead
        };
        for read in 0..COUNT {
            until("credit is used up", async || ahead_of(read) >= used_up(window, read)).await;
            assert_eq!(within(SOON, blocks.next()).await.unwrap().unwrap().len(), BYTES);
            ahead_of(read + 1);
        }
        assert_eq!(within(SOON, blocks.next()).await, None);
        within(SOON, call).await.unwrap();
    }

    /// Sends blocks to a handler that reads one after the other, each only when the credit for it is used up.
    async fn sends(&self, (mut blocks, call): (Sink<ByteBuf>, Accepted<u64, NoError>), window: u64) {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let sending = tokio::spawn(async move {
            for _ in 0..COUNT {
                blocks.send(block()).await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
            }
            blocks.finish().await.unwrap();
        });
        let ahead_of = |read: u64| {
            let ahead = sent.load(Ordering::SeqCst) - read;
            assert!(ahead * ITEM <= window + ITEM, "{ahead} ahead of {read}");
            ahead
        };
        for read in 0..COUNT {
            until("credit is used up", async || ahead_of(read) >= used_up(window, read)).await;
            self.quarry.may_read.add_permits(1);
            until("it is read", async || self.quarry.moved() == read + 1).await;
            ahead_of(read + 1);
        }
        self.quarry.may_read.add_permits(1);
        within(SOON, sending).await.unwrap();
        assert_eq!(within(SOON, call).await.unwrap(), COUNT);
    }
}

#[tokio::test]
async fn a_returned_stream_is_no_more_bytes_ahead_than_its_credit() {
    let pit = Pit::open().await;
    // One is made before there is room for it.
    pit.reads_slowly(within(SOON, pit.client.blocks().open()).await.unwrap(), (STORED, 1)).await;
}

#[tokio::test]
async fn a_returned_stream_that_is_not_stored_is_no_more_bytes_ahead_than_its_credit() {
    let pit = Pit::open().await;
    pit.reads_slowly(within(SOON, pit.client.blocks_unstored().open()).await.unwrap(), (UNSTORED, 1)).await;
}

#[tokio::test]
async fn a_sink_takes_no_more_bytes_than_its_credit() {
    let pit = Pit::open().await;
    pit.reads_slowly(within(SOON, pit.client.cut_blocks().open()).await.unwrap(), (STORED, 0)).await;
}

#[tokio::test]
async fn a_sink_that_stores_nothing_takes_no_more_bytes_than_its_credit() {
    let pit = Pit::open().await;
    pit.reads_slowly(within(SOON, pit.client.cut_blocks_unstored().open()).await.unwrap(), (UNSTORED, 0))
        .await;
}

#[tokio::test]
async fn a_caller_is_no_more_bytes_ahead_of_a_handler_than_its_credit() {
    let pit = Pit::open().await;
    pit.sends(within(SOON, pit.client.pile_up().open()).await.unwrap(), STORED).await;
}

#[tokio::test]
async fn a_caller_that_stores_nothing_is_no_more_bytes_ahead_of_a_handler_than_its_credit() {
    let pit = Pit::open().await;
    pit.sends(within(SOON, pit.client.pile_up_unstored().open()).await.unwrap(), UNSTORED).await;
}
