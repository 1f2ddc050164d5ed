//! The table, and the same as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::load::Measurement;
use crate::variant::Variant;

/// All rounds of one path at one concurrency.
pub(crate) struct Row {
    pub(crate) variant: Variant,
    pub(crate) concurrency: usize,
    pub(crate) rounds: Vec<Measurement>,
}

impl Row {
    /// The median of each figure by itself.
    fn median(&self) -> Measurement {
        let of = |figure: fn(&Measurement) -> f64| median(self.rounds.iter().map(figure).collect());
        let of_known = |figure: fn(&Measurement) -> Option<f64>| {
            self.rounds.iter().map(figure).collect::<Option<Vec<f64>>>().map(median)
        };
        Measurement {
            rps: of(|m| m.rps),
            p50: of(|m| m.p50),
            p99: of(|m| m.p99),
            client_cpu: of_known(|m| m.client_cpu),
            server_cpu: of_known(|m| m.server_cpu),
        }
    }
}

/// Prints the medians, each path beside its ratios to the hand-written one at the same concurrency.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:>11} {:<9} {:>8} {:>9} {:>9} {:>10} {:>10} | {:>5} {:>5} {:>5} {:>6} {:>6}",
        "concurrency",
        "path",
        "rps",
        "p50 µs",
        "p99 µs",
        "client µs",
        "server µs",
        "rps",
        "p50",
        "p99",
        "client",
        "server"
    );
    for row in rows {
        let m = row.median();
        print!(
            "{:>11} {:<9} {:>8.0} {:>9.0} {:>9.0}",
            row.concurrency,
            row.variant.name(),
            m.rps,
            m.p50,
            m.p99
        );
        print!(" {} {} |", cell(m.client_cpu, 10, 1), cell(m.server_cpu, 10, 1));
        match reference(rows, row) {
            Some(by) => println!(
                " {:>5.2} {:>5.2} {:>5.2} {} {}",
                m.rps / by.rps,
                m.p50 / by.p50,
                m.p99 / by.p99,
                cell(ratio(m.client_cpu, by.client_cpu), 6, 2),
                cell(ratio(m.server_cpu, by.server_cpu), 6, 2),
            ),
            None => println!(),
        }
    }
    println!("client µs, server µs: CPU time per call, of caller and worker together and of nats-server.");
    println!("Behind the bar: the ratio to {}; medians of interleaved rounds.", Variant::REFERENCE.name());
}

/// Writes every round of every row, and the medians.
pub(crate) fn write_json(rows: &[Row], seconds: f64, path: &Path) -> Result<()> {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let median = row.median();
            let by = reference(rows, row);
            json!({
                "path": row.variant.name(),
                "concurrency": row.concurrency,
                "median": figures(&median),
                "rps_ratio": by.map(|by| median.rps / by.rps),
                "p50_ratio": by.map(|by| median.p50 / by.p50),
                "p99_ratio": by.map(|by| median.p99 / by.p99),
                "rounds": row.rounds.iter().map(figures).collect::<Vec<_>>(),
            })
        })
        .collect();
    let report = json!({ "reference": Variant::REFERENCE.name(), "seconds": seconds, "rows": rows });
    let text = serde_json::to_string_pretty(&report)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn figures(m: &Measurement) -> Value {
    json!({
        "rps": m.rps,
        "p50_us": m.p50,
        "p99_us": m.p99,
        "client_cpu_us": m.client_cpu,
        "server_cpu_us": m.server_cpu,
    })
}

/// The hand-written path at the same concurrency, if it was measured.
fn reference(rows: &[Row], row: &Row) -> Option<Measurement> {
    let same = |other: &&Row| other.variant == Variant::REFERENCE && other.concurrency == row.concurrency;
    rows.iter().find(same).map(Row::median)
}

fn ratio(figure: Option<f64>, by: Option<f64>) -> Option<f64> {
    Some(figure? / by?)
}

fn cell(figure: Option<f64>, width: usize, digits: usize) -> String {
    figure.map_or_else(|| format!("{:>width$}", "-"), |figure| format!("{figure:>width$.digits$}"))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
