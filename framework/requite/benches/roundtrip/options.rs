//! The benchmark's arguments.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::variant::Variant;

pub(crate) const USAGE: &str = "\
cargo bench --bench roundtrip -- [options]
  --seconds N          length of each measured window (5)
  --rounds N           interleaved rounds, whose median is shown (3)
  --concurrency A,B    callers at once (1,64,512)
  --only NAME          one path: core, by-hand, requite, expired
  --json PATH          also write all rounds as JSON
  --instructions       instead: instructions per call, counted by valgrind's callgrind
  --calls N            instead: exactly N calls of the path named by --only, then the end";

/// What to do; the defaults are the full table.
#[derive(Debug)]
pub(crate) struct Options {
    /// Cargo adds `--bench` when it benchmarks; `cargo test --benches` does not.
    pub(crate) benchmark: bool,
    pub(crate) help: bool,
    pub(crate) instructions: bool,
    pub(crate) calls: Option<u64>,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) concurrency: Vec<usize>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            benchmark: false,
            help: false,
            instructions: false,
            calls: None,
            seconds: 5.0,
            rounds: 3,
            concurrency: vec![1, 64, 512],
            variants: Variant::ALL.to_vec(),
            json: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.benchmark = true,
                "--help" | "-h" => options.help = true,
                "--instructions" => options.instructions = true,
                "--calls" => options.calls = Some(number(&value()?)?),
                "--seconds" => options.seconds = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--concurrency" => {
                    options.concurrency = value()?.split(',').map(number).collect::<Result<_>>()?
                }
                "--only" => options.variants = vec![variant(&value()?)?],
                "--json" => options.json = Some(value()?.into()),
                // Whatever cargo's own test options are: they are not for us.
                _ if !options.benchmark && options.calls.is_none() => {}
                other => bail!("unknown option {other}\n{USAGE}"),
            }
        }
        let positive = options.seconds > 0.0 && options.rounds > 0 && !options.concurrency.contains(&0);
        ensure!(positive, "--seconds, --rounds and --concurrency must be above 0");
        Ok(options)
    }
}

fn number<N: FromStr>(text: &str) -> Result<N> {
    text.parse().ok().with_context(|| format!("{text} is not a number that fits here"))
}

fn variant(name: &str) -> Result<Variant> {
    let known = Variant::ALL.into_iter().find(|variant| variant.name() == name);
    known.with_context(|| format!("there is no path {name}\n{USAGE}"))
}
