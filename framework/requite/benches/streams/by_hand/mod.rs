//! The same items moved by hand: what somebody writes on async-nats who knows NATS well, one message an item.

mod stored;
mod volatile;
mod window;

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, Subscriber};
use requite_test::NatsServer;

pub(crate) use stored::Stored;
pub(crate) use volatile::Volatile;

/// Bytes for which the receiver of items that are not stored makes room, and its items: Requite's window.
const WINDOW_BYTES: u64 = 4 << 20;
const WINDOW_ITEMS: u64 = 16 * 1024;

async fn connect(server: &NatsServer, name: &str) -> Result<Client> {
    let options = ConnectOptions::new()
        .name(name)
        // Subjects are built from constants here.
        .skip_subject_validation(true)
        // More than can ever be in flight: a full subscription drops messages.
        .subscription_capacity(65_536)
        .ping_interval(Duration::from_secs(5));
    options.connect(server.url()).await.with_context(|| format!("cannot connect {name}"))
}

/// A subscription that the server knows of when this returns: it has answered a message through it.
async fn subscribe(client: &Client, subject: &'static str) -> Result<Subscriber> {
    let subscriber = client.subscribe(subject).await?;
    // A flush only writes to the socket. What has gone round behind the subscription says that it is there.
    let inbox = client.new_inbox();
    let mut round = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, "".into()).await?;
    futures_util::StreamExt::next(&mut round).await.context("closed")?;
    Ok(subscriber)
}
