//! Whether processes grow without end.

use std::{
    convert::Infallible,
    fmt,
    time::{Duration, Instant},
};

use requite_test::memory_bytes;

const EVERY: Duration = Duration::from_secs(2);

/// The memory of some processes over time.
#[derive(Debug)]
pub(super) struct Memory {
    began: Instant,
    processes: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    name: &'static str,
    pid: u32,
    /// Seconds since the beginning, and bytes.
    samples: Vec<(f64, f64)>,
}

/// How fast a process grows.
#[derive(Debug)]
pub(super) struct Slope {
    name: &'static str,
    /// At the end.
    bytes: f64,
    pub(super) bytes_a_minute: f64,
}

impl Memory {
    pub(super) fn of(processes: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        let watched = |(name, pid)| Watched { name, pid, samples: Vec::new() };
        Self { began: Instant::now(), processes: processes.into_iter().map(watched).collect() }
    }

    /// Looks again and again.
    pub(super) async fn watch(&mut self) -> Infallible {
        loop {
            let now = self.began.elapsed().as_secs_f64();
            for process in &mut self.processes {
                process.samples.extend(memory_bytes(process.pid).map(|bytes| (now, bytes as f64)));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The slopes by least squares, without the first third, in which caches and pools fill.
    pub(super) fn slopes(&self) -> Vec<Slope> {
        let slope = |process: &Watched| {
            let settled = &process.samples[process.samples.len() / 3..];
            let bytes = settled.last().map_or(0.0, |(_, bytes)| *bytes);
            Slope { name: process.name, bytes, bytes_a_minute: least_squares(settled) * 60.0 }
        };
        self.processes.iter().map(slope).collect()
    }
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mib, kib) = (self.bytes / 1024.0 / 1024.0, self.bytes_a_minute / 1024.0);
        write!(f, "{}: {mib:.1} MiB at the end, {kib:+.1} KiB a minute", self.name)
    }
}

/// The slope of the line that fits best; 0 where there is none.
fn least_squares(samples: &[(f64, f64)]) -> f64 {
    let count = samples.iter().fold(0.0, |count, _| count + 1.0);
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|it| it.0), mean(|it| it.1));
    let above: f64 = samples.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = samples.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::least_squares;

    #[test]
    fn the_slope_is_that_of_the_line() {
        let noise = [0.5, -0.5, -0.5, 0.5];
        let samples: Vec<_> =
            (0..4).map(f64::from).zip(noise).map(|(x, off)| (x, 7.0 + 3.0 * x + off)).collect();
        assert!((least_squares(&samples) - 3.0).abs() < 1e-9);
        assert_eq!(least_squares(&samples[..1]).to_bits(), 0.0_f64.to_bits());
    }
}
