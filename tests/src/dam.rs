//! A service whose streams are large, for a process of its own: what is measured there is its memory and nobody else's.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use requite::{Items, Sink, SinkError, StreamLimits, prelude::*};
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

/// One item. It is no divisor of what a frame or a window takes.
pub const BLOCK: usize = 70_000;
/// What it takes in a stream: MessagePack puts five bytes before it.
pub const ITEM: u64 = BLOCK as u64 + 5;

/// One item.
pub fn block() -> ByteBuf {
    ByteBuf::from(vec![7; BLOCK])
}

/// Why a stream was not sent.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("the dam is dry: {0}")]
pub struct Dry(String);

impl From<SinkError> for Dry {
    fn from(error: SinkError) -> Self {
        Self(error.to_string())
    }
}

/// Sends as fast as it may, and takes no faster than it is let.
#[derive(Debug)]
pub struct Dam {
    /// How many items handlers have sent, or taken.
    moved: AtomicU64,
    may_take: Arc<Semaphore>,
}

impl Default for Dam {
    fn default() -> Self {
        Self { moved: AtomicU64::default(), may_take: Arc::new(Semaphore::new(0)) }
    }
}

#[service(name = "dam")]
impl Dam {
    /// Sends so many items.
    #[handler]
    async fn drain(&self, items: u64, blocks: Sink<ByteBuf>) -> Result<(), Dry> {
        self.send(items, blocks).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn drain_unstored(&self, items: u64, blocks: Sink<ByteBuf>) -> Result<(), Dry> {
        self.send(items, blocks).await
    }

    /// Takes what comes, each item when it is let; says how many there were.
    #[handler]
    async fn fill(&self, blocks: Items<ByteBuf>) -> u64 {
        self.take(blocks).await
    }

    /// The same, not stored.
    #[handler(volatile)]
    async fn fill_unstored(&self, blocks: Items<ByteBuf>) -> u64 {
        self.take(blocks).await
    }

    /// How many items handlers have sent, or taken.
    #[handler]
    async fn moved(&self) -> u64 {
        self.moved.load(Ordering::SeqCst)
    }

    /// Lets so many more items be taken.
    #[handler]
    async fn let_in(&self, items: u32) {
        self.may_take.add_permits(items as usize);
    }
}

impl Dam {
    /// More than may be unread, and less than what flows: the oldest give way, and the disk is not filled.
    pub fn limits() -> StreamLimits {
        let mut limits = StreamLimits::default();
        limits.item_bytes = 64 << 20;
        limits
    }

    async fn send(&self, items: u64, mut blocks: Sink<ByteBuf>) -> Result<(), Dry> {
        for _ in 0..items {
            blocks.send(block()).await?;
            self.moved.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn take(&self, mut blocks: Items<ByteBuf>) -> u64 {
        let mut taken = 0;
        loop {
            self.may_take.acquire().await.expect("nobody closes it").forget();
            let Some(Ok(_)) = blocks.next().await else {
                return taken;
            };
            taken += 1;
            self.moved.fetch_add(1, Ordering::SeqCst);
        }
    }
}
