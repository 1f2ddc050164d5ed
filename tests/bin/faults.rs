//! One fault in one step, on real processes, row by row.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use tests::{
    faults::{self, Row, table},
    role::Role,
};

const HELP: &str =
    "cargo run -p tests --bin faults -- [--list] [--all] [--part 1/4] [--row TEXT]… [--at-once 4]

--list       prints the names of the rows and plays none
--all        plays all of them
--part K/N   plays every N-th, from the K-th on
--row TEXT   plays the rows whose names contain this
--at-once N  so many at a time; 4 if nobody says otherwise";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    if let Some(role) = Role::of_this_process()? {
        role.play().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let (rows, at_once) = match asked(std::env::args().skip(1))? {
        Asked::Play { rows, at_once } => (rows, at_once),
        Asked::Tell(text) => {
            println!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let program = std::env::current_exe()?;
    let lines = table::play(rows, &program, at_once, |line| println!("{}", line.text())).await;
    println!("{}", table::proof(&lines));
    Ok(if lines.iter().all(table::Line::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the arguments ask for.
enum Asked {
    Play { rows: Vec<Row>, at_once: usize },
    Tell(String),
}

fn asked(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Asked> {
    let all = faults::rows();
    let (mut wanted, mut at_once, mut list): (Vec<Row>, usize, bool) = (Vec::new(), 4, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--list" => list = true,
            "--all" => wanted.extend(all.iter().cloned()),
            "--part" => {
                let value = value()?;
                let (part, parts) = value.split_once('/').context("a part is, for instance, 1/4")?;
                let (part, parts): (usize, usize) = (part.parse()?, parts.parse()?);
                ensure!((1..=parts).contains(&part), "there is no part {part} of {parts}");
                wanted.extend(all.iter().skip(part - 1).step_by(parts).cloned());
            }
            "--row" => {
                let text = value()?;
                let found = all.iter().filter(|row| row.to_string().contains(&text));
                let before = wanted.len();
                wanted.extend(found.cloned());
                ensure!(wanted.len() > before, "no row is called {text}; --list prints their names");
            }
            "--at-once" => at_once = value()?.parse()?,
            "--help" => return Ok(Asked::Tell(HELP.to_owned())),
            other => bail!("{other} is not known\n{HELP}"),
        }
    }
    if list {
        let listed = if wanted.is_empty() { &all } else { &wanted };
        let names: Vec<_> = listed.iter().map(ToString::to_string).collect();
        return Ok(Asked::Tell(names.join("\n")));
    }
    if wanted.is_empty() {
        return Ok(Asked::Tell(HELP.to_owned()));
    }
    Ok(Asked::Play { rows: wanted, at_once })
}
