//! Runs every checker at its full size, part by part, and prints what they have shown as one table.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use anyhow::{Context, bail};
use tests::proof::{
    parts::{PARTS, Part},
    play::{self, Outcome},
};

const HELP: &str = "cargo run -p tests --bin prove -- [--list] [--part NAME]… [--again] [--table]

Runs all parts that have not held for this very source yet, one after the other; each takes at most 40 minutes on two
idle cores. What has held is remembered in the target folder, so that the rest can follow later.

--list       prints the parts, runs none
--part NAME  runs this part
--again      runs parts that have held already, too
--table      runs nothing, prints the table of what is known";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut wanted: Vec<Part> = Vec::new();
    let (mut again, mut only_table) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => {
                PARTS.iter().for_each(|part| println!("{:13} {}", part.name, part.what));
                return Ok(ExitCode::SUCCESS);
            }
            "--part" => {
                let name = arguments.next().context("--part needs a name")?;
                let part = PARTS.iter().find(|part| part.name == name);
                wanted.push(*part.with_context(|| format!("there is no part {name}; --list names them"))?);
            }
            "--again" => again = true,
            "--table" => only_table = true,
            "--help" => {
                println!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other => bail!("{other} is not known\n{HELP}"),
        }
    }
    let source = play::source().await?;
    let asked = if wanted.is_empty() { PARTS } else { &wanted };
    for part in asked {
        let held = play::known(part).is_some_and(|it| it.holds && it.source == source);
        if only_table || (held && !again) {
            continue;
        }
        println!("\n== {}: {}", part.name, part.what);
        play::run(part, &source, |line| println!("{line}")).await?;
    }
    let known: Vec<_> = asked.iter().map(|part| (part, play::known(part))).collect();
    println!("\n{}", table(&known, &source));
    let all_hold = known.iter().all(|(_, it)| it.as_ref().is_some_and(|it| it.holds && it.source == source));
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A row for every line of proof, and one for every part that has none.
fn table(known: &[(&Part, Option<Outcome>)], source: &str) -> String {
    let mut text = "| checker | runs | faults | result |\n|---|---|---|---|\n".to_owned();
    for (part, outcome) in known {
        let Some(outcome) = outcome else {
            text += &format!("| {} | none | | not run |\n", part.name);
            continue;
        };
        let result = match (outcome.holds, outcome.source == source) {
            (true, true) => format!("holds, {} s", outcome.took),
            (true, false) => format!("held at {}", outcome.source),
            (false, _) => format!("BROKEN at {}", outcome.source),
        };
        if outcome.lines.is_empty() {
            text += &format!("| {} | | | {result} |\n", part.name);
        }
        for [checker, runs, faults] in &outcome.lines {
            text += &format!("| {checker} | {runs} | {faults} | {result} |\n");
        }
    }
    text + &format!("\nsource: {source}")
}
