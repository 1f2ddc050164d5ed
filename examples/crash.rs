//! Run with `cargo run --bin crash`: a worker is killed in mid-handler; another one finishes the request as attempt 2.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

use std::time::Duration;

use examples::{Clock, Nats, Process, fresh_key, part};
use requite::{CallEvent, prelude::*};

struct Mill;

#[service(name = "crash")]
impl Mill {
    /// Grinds for three seconds. Effects are at least once: whatever takes part hears the same key in every attempt.
    #[handler(lease = "6s")]
    async fn grind(&self, cx: &Context, sacks: u32) -> String {
        let worker = std::process::id();
        println!("worker {worker} begins attempt {} of {}", cx.attempt(), cx.idempotency_key());
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!("worker {worker} ends attempt {}", cx.attempt());
        format!("{sacks} sacks ground by worker {worker} in attempt {}", cx.attempt())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if part().is_some() {
        let running = Server::from_env().await?.serve(Mill).start().await?;
        println!("worker {} serves", std::process::id());
        std::future::pending::<()>().await;
        running.shutdown().await;
        return Ok(());
    }
    let nats = Nats::from_env().await?;
    let clock = Clock::start();
    let mut first = Process::start("worker", &nats)?;
    first.prints("serves").await?;

    let mill = MillClient::connect(nats.url()).await?;
    let accepted = mill.grind(7).key(fresh_key("delivery")).start().await?;
    first.prints("begins").await?;
    first.kill().await?;
    clock.print("killed the worker in mid-handler; its lease of 6 s runs out");

    let mut second = Process::start("worker", &nats)?;
    second.prints("serves").await?;
    let answer = accepted.on_event(move |event| {
        if let CallEvent::Started { attempt, .. } | CallEvent::Restarted { attempt, .. } = event {
            clock.print(format!("the caller sees attempt {attempt} start"));
        }
    });
    let (answer, line) = tokio::join!(async { answer.await }, second.prints("ends"));
    line?;
    clock.print(answer?);
    Ok(())
}
