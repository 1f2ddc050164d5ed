//! Some rows of the table of single faults: other ones every day. `cargo run -p tests --bin faults -- --all` plays all.

use std::path::Path;

use tests::faults::{rows, table};

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_today_hold() {
    let program = Path::new(env!("CARGO_BIN_EXE_mill-process"));
    let lines =
        table::play(table::of_today(rows(), 6, 2), program, 4, |line| println!("{}", line.text())).await;
    println!("{}", table::proof(&lines));
    let broken: Vec<_> = lines.iter().filter(|line| !line.holds()).map(table::Line::text).collect();
    assert!(broken.is_empty() && !lines.is_empty(), "\n{}", broken.join("\n"));
}
