//! Core NATS: published on one connection, subscribed to on another. Whoever reads says how far it is, every quarter of
//! the window, and whoever writes keeps within the window: without that, the server drops a receiver that is slower.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::Client;
use futures_util::StreamExt;
use requite_test::NatsServer;

use super::{WINDOW_BYTES, WINDOW_ITEMS, connect, subscribe, window::Window};
use crate::path::{check, decode, encode, item};

const ITEMS: &str = "hand.items";
const READ: &str = "hand.read";

pub(crate) struct Volatile {
    writer: Client,
    reader: Client,
}

impl Volatile {
    pub(crate) async fn set_up(server: &NatsServer) -> Result<Self> {
        Ok(Self { writer: connect(server, "writer").await?, reader: connect(server, "reader").await? })
    }

    pub(crate) async fn run(&mut self, items: u64, size: usize) -> Result<Duration> {
        let (reader, writer) = (self.reader.clone(), self.writer.clone());
        let window = WINDOW_ITEMS.min(WINDOW_BYTES / size as u64).max(4);
        let mut arriving = subscribe(&reader, ITEMS).await?;
        let mut said = subscribe(&writer, READ).await?;
        let began = Instant::now();
        let reading = tokio::spawn(async move {
            for number in 1..=items {
                let message = arriving.next().await.context("closed")?;
                check(&decode(&message.payload)?, number, size)?;
                if number % (window / 4) == 0 || number == items {
                    reader.publish(READ, number.to_be_bytes().to_vec().into()).await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        });
        let mut window = Window::new(window);
        for number in 1..=items {
            while !window.has_room(number) {
                window.move_to(read_to(&said.next().await.context("closed")?)?);
            }
            writer.publish(ITEMS, encode(&item(number, size))?).await?;
        }
        while window.last() < items {
            window.move_to(read_to(&said.next().await.context("closed")?)?);
        }
        reading.await??;
        Ok(began.elapsed())
    }
}

/// What a reader said.
fn read_to(message: &async_nats::Message) -> Result<u64> {
    Ok(u64::from_be_bytes(message.payload[..].try_into()?))
}
