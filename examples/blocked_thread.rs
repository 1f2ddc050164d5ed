//! Run with `cargo run --bin blocked_thread`: a handler blocks the only thread of its runtime for four leases and keeps
//! its request, although a second worker stands by to take it.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::{thread, time::Duration};

use examples::{Clock, Nats, fresh_key};
use requite::{CallEvent, RunningServer, Stats, prelude::*};
use tokio::sync::oneshot;

struct Archive;

#[service(name = "blocked-thread")]
impl Archive {
    /// Packs without a single `await`: nothing else runs on this thread meanwhile.
    #[handler(lease = "6s")]
    async fn pack(&self, cx: &Context, boxes: u32) -> String {
        thread::sleep(Duration::from_secs(24));
        format!("{boxes} boxes packed in attempt {}, lease kept: {}", cx.attempt(), cx.lease_ok())
    }
}

/// A worker whose runtime has one thread.
async fn worker(url: &str) -> anyhow::Result<RunningServer> {
    let (started, running) = oneshot::channel();
    let url = url.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let server = Server::connect(&url).await.map(|server| server.serve(Archive));
            let running = match server {
                Ok(server) => server.start().await,
                Err(error) => Err(error.into()),
            };
            let _ = started.send(running);
            std::future::pending::<()>().await;
        });
    });
    Ok(running.await??)
}

fn sum(workers: [Stats; 2], count: impl Fn(&Stats) -> u64) -> u64 {
    workers.iter().map(count).sum()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nats = Nats::from_env().await?;
    let workers = [worker(nats.url()).await?, worker(nats.url()).await?];
    let archive = ArchiveClient::connect(nats.url()).await?;
    let clock = Clock::start();
    let call = archive.pack(12).key(fresh_key("pallet")).on_event(move |event| match event {
        CallEvent::Started { attempt, .. } => clock.print(format!("started, attempt {attempt}")),
        CallEvent::Alive { heard, .. } => clock.print(format!("heartbeat {heard}")),
        _ => {}
    });
    clock.print(call.await?);
    let stats = workers.each_ref().map(RunningServer::stats);
    println!(
        "runs={} heartbeats={} redeliveries={} blocked={}",
        sum(stats, |it| it.runs),
        sum(stats, |it| it.heartbeats),
        sum(stats, |it| it.redeliveries),
        sum(stats, |it| it.blocked),
    );
    Ok(())
}
