//! The table.

use crate::{
    load::Measurement,
    path::{Path, Way},
};

/// All rounds of one path, one way, with items of one size.
pub(crate) struct Row {
    pub(crate) way: Way,
    pub(crate) path: Path,
    pub(crate) size: usize,
    pub(crate) rounds: Vec<Measurement>,
}

/// The medians of one row, each by itself.
struct Medians {
    rate: f64,
    ends_cpu: Option<f64>,
    server_cpu: Option<f64>,
}

impl Row {
    fn medians(&self) -> Medians {
        let of_known = |figure: fn(&Measurement) -> Option<f64>| {
            self.rounds.iter().map(figure).collect::<Option<Vec<f64>>>().map(median)
        };
        Medians {
            rate: median(self.rounds.iter().map(|it| it.rate).collect()),
            ends_cpu: of_known(|it| it.ends_cpu),
            server_cpu: of_known(|it| it.server_cpu),
        }
    }
}

pub(crate) fn print_head() {
    println!(
        "{:<12} {:>8} {:<8} {:>10} {:>8} {:>9} {:>9} | {:>6} {:>6} {:>6}",
        "way", "bytes", "path", "items/s", "MB/s", "ends µs", "server µs", "ratio", "ends", "server"
    );
}

/// Prints the medians of what took turns, Requite's beside its ratios to what was written by hand.
pub(crate) fn print(rows: &[Row]) {
    let reference = rows.iter().find(|row| row.path == Path::ByHand).map(Row::medians);
    for row in rows {
        let m = row.medians();
        print!("{:<12} {:>8} {:<8}", row.way.name(), row.size, row.path.name());
        print!(" {:>10.0} {:>8.1}", m.rate, m.rate * row.size as f64 / 1e6);
        print!(" {} {} |", cell(m.ends_cpu, 9), cell(m.server_cpu, 9));
        match &reference {
            Some(by) if row.path != Path::ByHand => println!(
                " {:>6.2} {} {}",
                m.rate / by.rate,
                cell(ratio(m.ends_cpu, by.ends_cpu), 6),
                cell(ratio(m.server_cpu, by.server_cpu), 6),
            ),
            _ => println!(),
        }
    }
}

pub(crate) fn print_foot() {
    println!("ends µs, server µs: CPU time per item, of both ends together and of nats-server.");
    println!("Behind the bar: the ratio to {}; medians of interleaved rounds.", Path::ByHand.name());
}

fn ratio(figure: Option<f64>, by: Option<f64>) -> Option<f64> {
    Some(figure? / by?)
}

fn cell(figure: Option<f64>, width: usize) -> String {
    figure.map_or_else(|| format!("{:>width$}", "-"), |figure| format!("{figure:>width$.2}"))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
