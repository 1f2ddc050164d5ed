//! What streams cost: items per second from one end of a call to the other, stored and not, beside the same moved by
//! hand with async-nats, side by side in one run.
//!
//! `cargo bench --bench streams -- --help` lists the options. Each measurement has a nats-server, a runtime and
//! connections of its own; the two take turns, so that a change of the machine's mood hits both.

#![allow(clippy::print_stdout, reason = "the table is the product")]

mod by_hand;
mod load;
mod options;
mod path;
mod report;
mod requite;
#[path = "../roundtrip/usage.rs"]
mod usage;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    load::{Load, Measurement},
    options::{Options, USAGE},
    path::Path,
    report::Row,
};

/// Items of each path under `cargo test --benches`: more than one frame, and than one window of acks.
const SMOKE_ITEMS: u64 = 300;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    if !options.benchmark {
        return smoke(&options);
    }
    keep_what_is_freed();
    if let Some(items) = options.items {
        return count(&options, items);
    }
    measure(&options)
}

/// Has glibc keep memory that is freed. Otherwise it returns what is above 128 KiB to the kernel and fetches it again, until
/// something larger was freed: it is then luck whether a run has 40,000 page faults or 600,000, and which path has them.
fn keep_what_is_freed() {
    drop(std::hint::black_box(vec![0_u8; 16 << 20]));
}

/// `cargo test --benches`: every path works.
fn smoke(options: &Options) -> Result<()> {
    for &way in &options.ways {
        for path in Path::ALL {
            for size in [way.sizes()[0], way.sizes()[way.sizes().len() - 1]] {
                let load = Load::Count(SMOKE_ITEMS);
                load::measure(path, way, size, load)
                    .with_context(|| format!("{} {} x {size}", way.name(), path.name()))?;
            }
        }
        println!("{}: {SMOKE_ITEMS} items", way.name());
    }
    Ok(())
}

/// A counted number of items, once: the subject of a profile.
fn count(options: &Options, items: u64) -> Result<()> {
    for &way in &options.ways {
        for &path in &options.paths {
            for &size in options.sizes.as_deref().unwrap_or(way.sizes()) {
                let measured = load::measure(path, way, size, Load::Count(items))?;
                println!("{} {} {size}: {:.0} items/s", way.name(), path.name(), measured.rate);
            }
        }
    }
    Ok(())
}

fn measure(options: &Options) -> Result<()> {
    let span = Duration::from_secs_f64(options.seconds);
    report::print_head();
    for &way in &options.ways {
        for &size in options.sizes.as_deref().unwrap_or(way.sizes()) {
            let paths = options.paths.iter().filter(|path| path.has(way, size));
            let mut rounds = paths.map(|&path| (path, Vec::new())).collect::<Vec<_>>();
            for _ in 0..options.rounds {
                for (path, measured) in &mut rounds {
                    // As many as the first round found right, so that rounds can be compared.
                    let first: Option<&Measurement> = measured.first();
                    let load = first.map_or(Load::Span(span), |it| Load::Count(it.items));
                    let round = load::measure(*path, way, size, load);
                    measured.push(round.with_context(|| format!("{} {} x {size}", way.name(), path.name()))?);
                }
            }
            let rows = rounds.into_iter().map(|(path, rounds)| Row { way, path, size, rounds });
            report::print(&rows.collect::<Vec<_>>());
        }
    }
    report::print_foot();
    Ok(())
}
