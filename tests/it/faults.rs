//! Faults as many as fit: some rows of the table, other ones every day, and a short soak. `cargo run -p tests --bin faults
//! -- --all` plays all rows, and the binary `soak` goes on for as long as one likes.

use std::{path::Path, time::Duration};

use tests::{
    faults::{Servers, rows, table},
    soak::{self, Settings},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mill-process");

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_today_hold() {
    let rows = table::of_today(rows(), 8, 3);
    let lines = table::play(rows, Path::new(PROGRAM), 4, |line| println!("{}", line.text())).await;
    println!("{}", table::proof(&lines));
    let broken: Vec<_> = lines.iter().filter(|line| !line.holds()).map(table::Line::text).collect();
    assert!(broken.is_empty() && !lines.is_empty(), "\n{}", broken.join("\n"));
}

#[tokio::test]
async fn the_promises_hold_under_random_load_and_faults() {
    let settings =
        Settings { time: Duration::from_secs(15), seed: table::today(), servers: Servers::One, rate: 30 };
    let summary = soak::run(settings, Path::new(PROGRAM)).await.unwrap();
    println!("{summary}\n{}", summary.proof());
    // Fifteen seconds say nothing of memory.
    assert!(summary.keeps_the_promises() && !summary.is_vacuous(), "{summary}");
}
