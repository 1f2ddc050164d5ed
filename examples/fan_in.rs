//! Run with `cargo run --bin fan_in`: many files are sent at once, each as a stream that ends in its checksum.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::{env, fs, path::Path};

use examples::{Nats, fresh_key};
use futures_util::future::try_join_all;
use requite::{Accepted, Items, Sink, prelude::*};
use ring::digest::{self, SHA256, digest};
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

const CHUNK: usize = 16 << 10;
/// Has a permit for each handler that reads its stream.
static READING: Semaphore = Semaphore::const_new(0);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    bytes: usize,
    sha256: ByteBuf,
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error, CallError)]
#[error("not all of the file has come: {0}")]
struct Torn(String);

/// Takes a file in, and says what it was. A chunk is a `ByteBuf`: of a `Vec<u8>` serde makes a list of numbers.
#[service(name = "fan-in")]
#[handler(concurrency = 100)]
async fn upload(mut chunks: Items<ByteBuf>) -> Result<Receipt, Torn> {
    READING.add_permits(1);
    let (mut bytes, mut sha256) = (0, digest::Context::new(&SHA256));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Torn(error.to_string()))?;
        bytes += chunk.len();
        sha256.update(&chunk);
    }
    Ok(Receipt { bytes, sha256: ByteBuf::from(sha256.finish().as_ref()) })
}

type Opened = (Sink<ByteBuf>, Accepted<Receipt, Torn>);

/// Sends a file, and returns how large it is once the receipt says the same as its own checksum.
async fn send(path: &Path, (mut chunks, call): Opened) -> anyhow::Result<usize> {
    let file = fs::read(path)?;
    for chunk in file.chunks(CHUNK) {
        chunks.send(ByteBuf::from(chunk)).await?;
    }
    chunks.finish().await?;
    let (receipt, own) = (call.await?, digest(&SHA256, &file));
    let is_same = receipt.bytes == file.len() && receipt.sha256 == own.as_ref();
    anyhow::ensure!(is_same, "{} was sent, and {receipt:?} came back", path.display());
    println!("{own:?} {:7} bytes  {}", receipt.bytes, path.display());
    Ok(receipt.bytes)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    let server = Server::connect(nats.url()).await?.serve(Upload).start().await?;
    let client = UploadClient::connect(nats.url()).await?;
    let large = env::temp_dir().join(fresh_key("large"));
    fs::write(&large, (0..8_u32 << 20).map(|n| (n.wrapping_mul(n) >> 13) as u8).collect::<Vec<_>>())?;
    let mut files = vec![large.clone()];
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.is_file());

    let opened = try_join_all(files.iter().map(|_| client.upload().open())).await?;
    drop(READING.acquire_many(u32::try_from(opened.len())?).await?);
    println!("{} handlers read, each a stream of its own", opened.len());
    let sent = try_join_all(files.iter().zip(opened).map(|(path, opened)| send(path, opened))).await?;
    println!("runs={} files={} bytes={}", server.stats().runs, sent.len(), sent.iter().sum::<usize>());
    Ok(fs::remove_file(large)?)
}
