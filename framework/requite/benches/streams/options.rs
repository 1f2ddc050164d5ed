//! The benchmark's arguments.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::path::{Path, Way};

pub(crate) const USAGE: &str = "\
cargo bench --bench streams -- [options]
  --seconds N       about how long each measurement takes (1)
  --rounds N        interleaved rounds, whose median is shown (5)
  --only NAME       one way: stored, volatile, stored-up, volatile-up
  --path NAME       one path: by-hand, narrow (by hand with 4 MiB on their way), requite
  --size A,B        bytes of an item (16,128,1024,16384,131072; upwards 128,16384)
  --items N         instead: so many items, once";

/// What to do; the defaults are the full table.
#[derive(Debug)]
pub(crate) struct Options {
    /// Cargo adds `--bench` when it benchmarks; `cargo test --benches` does not.
    pub(crate) benchmark: bool,
    pub(crate) help: bool,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) ways: Vec<Way>,
    pub(crate) paths: Vec<Path>,
    pub(crate) sizes: Option<Vec<usize>>,
    pub(crate) items: Option<u64>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            benchmark: false,
            help: false,
            seconds: 1.0,
            rounds: 5,
            ways: Way::ALL.to_vec(),
            paths: Path::ALL.to_vec(),
            sizes: None,
            items: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.benchmark = true,
                "--help" | "-h" => options.help = true,
                "--seconds" => options.seconds = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--only" => options.ways = vec![named(&Way::ALL, Way::name, &value()?)?],
                "--path" => options.paths = vec![named(&Path::ALL, Path::name, &value()?)?],
                "--size" => options.sizes = Some(value()?.split(',').map(number).collect::<Result<_>>()?),
                "--items" => options.items = Some(number(&value()?)?),
                // Whatever cargo's own test options are: they are not for us.
                _ if !options.benchmark => {}
                other => bail!("unknown option {other}\n{USAGE}"),
            }
        }
        ensure!(options.seconds > 0.0 && options.rounds > 0, "--seconds and --rounds must be above 0");
        ensure!(options.items != Some(0), "--items must be above 0");
        // The number that an item begins with.
        let small = options.sizes.as_ref().is_some_and(|sizes| sizes.iter().any(|&size| size < 8));
        ensure!(!small, "an item has at least 8 bytes");
        Ok(options)
    }
}

fn number<N: FromStr>(text: &str) -> Result<N> {
    text.parse().ok().with_context(|| format!("{text} is not a number that fits here"))
}

fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, wanted: &str) -> Result<T> {
    let known = all.iter().copied().find(|&it| name(it) == wanted);
    known.with_context(|| format!("there is no {wanted}\n{USAGE}"))
}
