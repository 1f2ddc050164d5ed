//! Random load under random faults, for as long as one likes.

#![allow(clippy::print_stdout)]

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use tests::{
    faults::Servers,
    role::Role,
    soak::{self, Settings},
};

const HELP: &str =
    "cargo run --release -p tests --bin soak -- [--minutes N] [--seed S] [--servers 1|3] [--rate N]

--minutes N  how long faults go on; 1 if nobody says otherwise
--seed S     what decides load and faults; 1 if nobody says otherwise
--servers N  1 or 3; 1 if nobody says otherwise
--rate N     requests a second; 30 if nobody says otherwise";

fn main() -> anyhow::Result<ExitCode> {
    if let Some(role) = Role::of_this_process()? {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(role.play())?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(settings) = asked(std::env::args().skip(1))? else {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let program = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(soak::run(settings, &program))?;
    println!("{summary}\n{}", summary.proof());
    Ok(if summary.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the arguments ask for; nothing where they ask for help.
fn asked(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Settings>> {
    let mut settings = Settings { time: Duration::from_secs(60), seed: 1, servers: Servers::One, rate: 30 };
    while let Some(argument) = arguments.next() {
        let mut number = || -> anyhow::Result<u64> {
            let value = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            value.parse().with_context(|| format!("{value} is no number"))
        };
        match argument.as_str() {
            "--minutes" => settings.time = Duration::from_secs(60 * number()?),
            "--seed" => settings.seed = number()?,
            "--rate" => settings.rate = number()?.max(1),
            "--servers" => {
                settings.servers = match number()? {
                    1 => Servers::One,
                    3 => Servers::Three,
                    other => bail!("{other} servers: only 1 or 3"),
                }
            }
            "--help" => return Ok(None),
            other => bail!("{other} is not known\n{HELP}"),
        }
    }
    Ok(Some(settings))
}
