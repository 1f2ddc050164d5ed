//! Requite itself: streams of a call through the crate's public API.

use std::time::{Duration, Instant};

use ::requite::{Client, Items, RunningServer, Sink, SinkError, prelude::*};
use anyhow::{Context as _, Result, ensure};
use requite_test::NatsServer;
use serde_bytes::ByteBuf;

use crate::path::{Way, check, item};

/// An error that is a text.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize, CallError)]
#[error("{0}")]
struct Stuck(String);

struct Service;

#[service(name = "bench")]
impl Service {
    #[handler]
    async fn give(&self, (items, size): (u64, usize), sink: Sink<ByteBuf>) -> Result<(), Stuck> {
        send(items, size, sink).await.map_err(|error| Stuck(error.to_string()))
    }

    #[handler(volatile)]
    async fn give_unstored(&self, (items, size): (u64, usize), sink: Sink<ByteBuf>) -> Result<(), Stuck> {
        send(items, size, sink).await.map_err(|error| Stuck(error.to_string()))
    }

    #[handler]
    async fn take(&self, size: usize, items: Items<ByteBuf>) -> Result<u64, Stuck> {
        read(size, items).await.map_err(|error| Stuck(error.to_string()))
    }

    #[handler(volatile)]
    async fn take_unstored(&self, size: usize, items: Items<ByteBuf>) -> Result<u64, Stuck> {
        read(size, items).await.map_err(|error| Stuck(error.to_string()))
    }
}

/// Sends all, and waits for that.
async fn send(items: u64, size: usize, mut sink: Sink<ByteBuf>) -> Result<(), SinkError> {
    for number in 1..=items {
        sink.send(item(number, size)).await?;
    }
    sink.finish().await
}

/// Reads to the end, and says how many there were.
async fn read(size: usize, mut items: Items<ByteBuf>) -> Result<u64> {
    let mut last = 0;
    while let Some(next) = items.next().await {
        last += 1;
        check(&next?, last, size)?;
    }
    Ok(last)
}

/// A client and a server on connections of their own.
pub(crate) struct Requite {
    way: Way,
    client: ServiceClient,
    _server: RunningServer,
}

impl Requite {
    pub(crate) async fn set_up(way: Way, server: &NatsServer) -> Result<Self> {
        let running = Server::connect(&server.url()).await?.serve(Service).start().await?;
        let client = Client::builder().url(server.url()).caller("caller").connect().await?;
        Ok(Self { way, client: ServiceClient::new(client), _server: running })
    }

    /// The opening and the outcome of the call are in the time: a stream has both.
    pub(crate) async fn run(&mut self, items: u64, size: usize) -> Result<Duration> {
        let began = Instant::now();
        let read = match self.way {
            Way::Stored => {
                let (stream, call) = self.client.give((items, size)).open().await?;
                let read = read(size, stream).await?;
                call.await?;
                read
            }
            Way::Volatile => {
                let (stream, call) = self.client.give_unstored((items, size)).open().await?;
                let read = read(size, stream).await?;
                call.await?;
                read
            }
            Way::StoredUp => {
                let (sink, call) = self.client.take(size).open().await?;
                send(items, size, sink).await.context("up")?;
                call.await?
            }
            Way::VolatileUp => {
                let (sink, call) = self.client.take_unstored(size).open().await?;
                send(items, size, sink).await.context("up")?;
                call.await?
            }
        };
        let took = began.elapsed();
        ensure!(read == items, "{read} of {items} items came");
        Ok(took)
    }
}
