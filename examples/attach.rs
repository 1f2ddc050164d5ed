//! Run with `cargo run --bin attach`: the caller is killed while it waits; a new process gets the answer to its call.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::time::Duration;

use examples::{Nats, Process, part};
use requite::{CallEvent, prelude::*};

struct Reports;

#[service(name = "attach")]
impl Reports {
    /// Builds a report, in five seconds.
    #[handler(lease = "6s")]
    async fn build(&self, cx: &Context, year: u32) -> String {
        tokio::time::sleep(Duration::from_secs(5)).await;
        format!("report of {year}, built in attempt {}", cx.attempt())
    }
}

/// Every process of this program is the same caller, so a key means the same call in all of them.
async fn client() -> anyhow::Result<ReportsClient> {
    Ok(ReportsClient::new(Client::builder().caller("reader").connect().await?))
}

/// The caller that will be killed: it calls, and never hears the answer.
async fn call(key: &str) -> anyhow::Result<()> {
    let accepted = client().await?.build(2026).key(key).start().await?;
    println!("caller {} is accepted and waits", std::process::id());
    let watched = accepted.on_event(|event| {
        if let CallEvent::Started { attempt, .. } = event {
            println!("caller {} sees attempt {attempt} start", std::process::id());
        }
    });
    println!("caller {} has the answer: {}", std::process::id(), watched.await?);
    Ok(())
}

/// The same caller, restarted: it knows the key and sends nothing.
async fn attach(key: &str) -> anyhow::Result<()> {
    let report = client().await?.attach_build(key).await?;
    println!("caller {} has the answer: {report}", std::process::id());
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A part is `call:<key>` or `attach:<key>`.
    if let Some(part) = part() {
        return match part.split_once(':') {
            Some(("call", key)) => call(key).await,
            Some((_, key)) => attach(key).await,
            None => anyhow::bail!("no such part: {part}"),
        };
    }
    let nats = Nats::from_env().await?;
    let server = Server::connect(nats.url()).await?.serve(Reports).start().await?;
    let key = examples::fresh_key("report");

    let mut first = Process::start(&format!("call:{key}"), &nats)?;
    first.prints("start").await?;
    first.kill().await?;
    println!("killed it");

    let mut second = Process::start(&format!("attach:{key}"), &nats)?;
    second.prints("has the answer").await?;
    println!("runs={}", server.stats().runs);
    Ok(())
}
