//! How much Requite costs: round trips of a 128-byte echo over core NATS, over the protocol written by hand on
//! async-nats, and over Requite, and what Requite refuses because it has expired, side by side in one run.
//!
//! `cargo bench --bench roundtrip -- --help` lists the options. Each measurement has a nats-server, a runtime and
//! connections of its own; the paths take turns (A B C, A B C, A B C), so that a change of the machine's mood hits
//! all of them.

#![allow(clippy::print_stdout, reason = "the table is the product")]

mod by_hand;
mod core_nats;
mod expired;
mod instructions;
mod load;
mod options;
mod path;
mod report;
mod requite;
mod server;
mod usage;
mod variant;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::options::{Options, USAGE};
use crate::report::Row;

/// Callers of a run with `--calls`, unless `--concurrency` names one number.
const CALLERS: usize = 64;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    if let Some(calls) = options.calls {
        let callers = if let [callers] = options.concurrency[..] { callers } else { CALLERS };
        return options.variants.iter().try_for_each(|variant| variant.make_calls(callers, calls));
    }
    if !options.benchmark {
        return smoke(&options);
    }
    if options.instructions {
        return instructions::print(&options.variants);
    }
    let rows = measure(&options)?;
    report::print(&rows);
    options.json.map_or(Ok(()), |path| report::write_json(&rows, options.seconds, &path))
}

/// `cargo test --benches`: every path works.
fn smoke(options: &Options) -> Result<()> {
    for variant in &options.variants {
        variant.make_calls(8, 100).with_context(|| variant.name())?;
        println!("{}: 100 calls", variant.name());
    }
    Ok(())
}

fn measure(options: &Options) -> Result<Vec<Row>> {
    let window = Duration::from_secs_f64(options.seconds);
    let mut rows = Vec::new();
    for &concurrency in &options.concurrency {
        let row = |&variant| Row { variant, concurrency, rounds: Vec::new() };
        let mut paths: Vec<Row> = options.variants.iter().map(row).collect();
        for _ in 0..options.rounds {
            for path in &mut paths {
                let measured = path.variant.measure(concurrency, window);
                path.rounds
                    .push(measured.with_context(|| format!("{} x {concurrency}", path.variant.name()))?);
            }
        }
        rows.append(&mut paths);
    }
    Ok(rows)
}
