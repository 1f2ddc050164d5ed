//! Run with `cargo run --bin resume`: the worker of an import is killed twice; each next one goes on at the checkpoint.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    process::id,
    time::Duration,
};

use examples::{Clock, Nats, Process, fresh_key, part};
use requite::prelude::*;

const ROWS: u32 = 10_000;

#[derive(Debug, Serialize, Deserialize, thiserror::Error, CallError)]
#[error("{0}")]
#[retry]
struct Failed(String);

struct Importer;

#[service(name = "resume")]
impl Importer {
    /// Writes the rows into a file.
    #[handler(lease = "6s")]
    async fn import(&self, cx: &Context, file: String) -> Result<u32, Failed> {
        import(cx, &file).await.map_err(|error| Failed(error.to_string()))
    }
}

async fn import(cx: &Context, file: &str) -> anyhow::Result<u32> {
    // How many rows there are, in how many bytes. What was written behind that is cut off: it is written again.
    let (mut rows, bytes): (u32, u64) = cx.last_checkpoint()?.unwrap_or_default();
    println!("worker {} begins attempt {} behind row {rows}", id(), cx.attempt());
    let mut file = File::options().create(true).write(true).truncate(false).open(file)?;
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    while rows < ROWS {
        for row in rows + 1..=rows + 50 {
            writeln!(file, "row {row}")?;
        }
        rows += 50;
        tokio::time::sleep(Duration::from_millis(10)).await;
        cx.checkpoint(&(rows, file.stream_position()?)).await?;
        if rows.is_multiple_of(1_000) {
            println!("worker {} has stored row {rows} as its checkpoint", id());
        }
    }
    Ok(cx.attempt())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if part().is_some() {
        let running = Server::from_env().await?.serve(Importer).start().await?;
        println!("worker {} serves", id());
        return Err(running.closed().await.into());
    }
    let nats = Nats::from_env().await?;
    let (clock, key) = (Clock::start(), fresh_key("import"));
    let path = std::env::temp_dir().join(&key);
    let mut worker = Process::start("worker", &nats)?;
    worker.prints("serves").await?;
    let importer = ImporterClient::connect(nats.url()).await?;
    let answer = importer.import(path.display().to_string()).key(key).start().await?;
    for row in ["row 3000", "row 6000"] {
        worker.prints(row).await?;
        worker.kill().await?;
        clock.print("killed the worker; its lease of 6 s runs out");
        worker = Process::start("worker", &nats)?;
    }
    worker.prints("row 10000").await?;
    clock.print(format!("the import was ended by attempt {}", answer.await?));
    let (written, wanted) = (fs::read_to_string(&path)?, (1..=ROWS).map(|row| format!("row {row}")));
    clock.print(format!("every row is there once, in its order: {}", written.lines().eq(wanted)));
    Ok(fs::remove_file(path)?)
}
