//! What a report of progress costs a handler: a million of them in a row, of which ten a second are passed on.
//!
//! `cargo bench --bench progress`. Under `cargo test --benches` it makes a few.

#![allow(clippy::print_stdout, reason = "the figures are the product")]

use std::time::Instant;

use anyhow::Result;
use requite::{Progress, prelude::*};
use requite_test::NatsServer;

/// How often each is measured; the median counts.
const ROUNDS: usize = 5;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum What {
    /// `done` and `total`.
    Numbers,
    /// The same, and a text of 20 characters.
    Text,
}

struct Reporter;

#[service(name = "reporter")]
impl Reporter {
    /// The nanoseconds that one of so many reports takes.
    #[handler]
    async fn report(&self, cx: &Context, (what, reports): (What, u32)) -> f64 {
        let begun = Instant::now();
        for done in 0..reports {
            let progress = Progress::of(done, reports);
            cx.progress(match what {
                What::Numbers => progress,
                What::Text => progress.message("twenty letters of it"),
            });
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(reports)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let reports = if std::env::args().any(|it| it == "--bench") { 1_000_000 } else { 1_000 };
    let nats = NatsServer::start().await?;
    let _server = Server::connect(&nats.url()).await?.serve(Reporter).start().await?;
    let reporter = ReporterClient::connect(&nats.url()).await?;
    for what in [What::Numbers, What::Text] {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            rounds.push(reporter.report((what, reports)).await?);
        }
        rounds.sort_by(f64::total_cmp);
        println!("{what:?}: {:.0} ns a report, median of {ROUNDS} rounds of {reports}", rounds[ROUNDS / 2]);
    }
    Ok(())
}
