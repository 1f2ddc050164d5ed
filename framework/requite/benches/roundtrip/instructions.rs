//! Instructions per call, which no noise blurs: the difference of two counted runs.
//!
//! Counted is the process of caller and worker; the server is another one. Start and set-up are in both runs and
//! fall out.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::variant::Variant;

/// The calls of the shorter and of the longer run.
const CALLS: [u64; 2] = [200, 1_200];

/// How long one counted run may take. It takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Prints the instructions per call of each path.
pub(crate) fn print(variants: &[Variant]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for &variant in variants {
        let mut counts = [0; 2];
        for (count, calls) in counts.iter_mut().zip(CALLS) {
            *count = runtime.block_on(count_instructions(variant, calls))?;
        }
        let per_call = (counts[1] - counts[0]) as f64 / (CALLS[1] - CALLS[0]) as f64;
        println!("{:<9} {per_call:>9.0} instructions per call", variant.name());
    }
    Ok(())
}

/// Runs this program again under callgrind and reads the sum from what valgrind says at the end.
async fn count_instructions(variant: Variant, calls: u64) -> Result<i64> {
    let program = std::env::current_exe()?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--only", variant.name(), "--calls", &calls.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(LIMIT, run).await.with_context(|| format!("no end after {LIMIT:?}"))?;
    let output = run.context("cannot run valgrind, which counts the instructions: is it installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("the counted run failed: {said}");
    }
    let sum =
        said.lines().find_map(|line| line.split_once("Collected :")).context("valgrind names no sum")?;
    Ok(sum.1.trim().parse()?)
}
