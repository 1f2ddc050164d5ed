//! Run with `cargo run --bin server_stream`: a slow reader slows the producer down; a second one attaches and reads all.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::{
    process::id,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use examples::{Nats, Process, fresh_key, part};
use futures_util::{Stream, stream};
use requite::{Accepted, Items, ItemsError, prelude::*};

const ENTRIES: u64 = 5_000;
/// How many entries this process has produced.
static PRODUCED: AtomicU64 = AtomicU64::new(0);

#[derive(Serialize, Deserialize)]
struct Entry {
    number: u64,
    /// Makes an entry 4 KB large: two thousand of them are the 8 MiB that may be unread.
    letter: String,
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error, CallError)]
#[error("the books end with entry {0}")]
struct BooksEnd(u64);

/// All that was booked on an account, as far as there are books.
#[service(name = "server-stream")]
fn statement(account: u64) -> impl Stream<Item = Result<Entry, BooksEnd>> {
    let entries = (1..=ENTRIES).map(move |number| {
        PRODUCED.fetch_add(1, Relaxed);
        Ok(Entry { number, letter: format!("{account:4000}") })
    });
    stream::iter(entries.chain([Err(BooksEnd(ENTRIES))]))
}

type Opened = (Items<Entry>, Accepted<(), BooksEnd>);

/// Reads to the end, with a pause after every 500 entries; how many there were, and how far the producer was ahead.
async fn read((mut entries, call): Opened, pause: Duration) -> anyhow::Result<(u64, u64)> {
    let (mut read, mut most_ahead) = (0, 0);
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(Entry { number, .. }) => anyhow::ensure!(number == read + 1, "{number} came behind {read}"),
            Err(ItemsError::Failed) => break, // the call says why
            Err(error) => return Err(error.into()),
        }
        read += 1;
        most_ahead = most_ahead.max(PRODUCED.load(Relaxed).saturating_sub(read));
        if read % 500 == 0 {
            println!("reader {} has read {read} entries", id());
            tokio::time::sleep(pause).await;
        }
    }
    let Err(CallError::Failed(end)) = call.await else { anyhow::bail!("the bank's own error has to arrive") };
    println!("reader {} awaits the call: {end}", id());
    Ok((read, most_ahead))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    // Every process is the same caller, so a key means the same call in all of them.
    let bank = StatementClient::new(Client::builder().url(nats.url()).caller("reader").connect().await?);
    if let Some(key) = part() {
        read(bank.attach_statement(key).open().await?, Duration::ZERO).await?;
        return Ok(());
    }
    let server = Server::connect(nats.url()).await?.serve(Statement).start().await?;
    let key = fresh_key("statement");
    let (read, most_ahead) =
        read(bank.statement(17).key(&key).open().await?, Duration::from_millis(100)).await?;
    Process::start(&key, &nats)?.prints("awaits the call").await?;
    println!("runs={} read={read} most_ahead={most_ahead}", server.stats().runs);
    Ok(())
}
