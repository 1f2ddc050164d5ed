//! The load: closed loops of concurrent callers, a warm-up, and a measured window.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;

use crate::path::{Echo, Path};
use crate::server::NatsServer;
use crate::usage::CpuTime;

/// What a window may take longer than planned before it counts as hung.
const GRACE: Duration = Duration::from_secs(60);

/// How long callers run before anything is counted: connections, heaps and the server's caches settle.
fn warm_up(window: Duration) -> Duration {
    (window / 4).clamp(Duration::from_millis(200), Duration::from_secs(2))
}

/// What one window showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    /// Calls that finished inside the window, per second.
    pub(crate) rps: f64,
    /// Median latency of those calls, in microseconds.
    pub(crate) p50: f64,
    /// 99th percentile, in microseconds.
    pub(crate) p99: f64,
    /// CPU time of this process (caller and worker) per call, in microseconds.
    pub(crate) client_cpu: Option<f64>,
    /// CPU time of the server per call, in microseconds.
    pub(crate) server_cpu: Option<f64>,
}

/// Measures `P` on a server and a runtime of its own, so that no path inherits anything from the one before.
pub(crate) fn measure<P: Path>(callers: usize, window: Duration) -> Result<Measurement> {
    runtime()?.block_on(async {
        let server = NatsServer::start().await?;
        let path = Arc::new(P::set_up(&server).await?);
        let limit = warm_up(window) + window + GRACE;
        let measured = tokio::time::timeout(limit, measure_window(&path, callers, window, &server));
        let measurement =
            measured.await.with_context(|| format!("calls hang: nothing after {limit:?}"))??;
        path.check().await?;
        Ok(measurement)
    })
}

/// Makes exactly `calls` calls: the subject of an instruction count.
pub(crate) fn make_calls<P: Path>(callers: usize, calls: u64) -> Result<()> {
    runtime()?.block_on(async {
        let server = NatsServer::start().await?;
        let path = Arc::new(P::set_up(&server).await?);
        let left = Arc::new(AtomicU64::new(calls));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            tasks.spawn(counted_loop(Arc::clone(&path), Arc::clone(&left)));
        }
        let joined = tokio::time::timeout(GRACE, join(tasks)).await;
        joined.with_context(|| format!("calls hang: no end after {GRACE:?}"))??;
        path.check().await
    })
}

/// Two threads: what the smallest real machine gives, and the server needs the rest.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn measure_window<P: Path>(
    path: &Arc<P>,
    callers: usize,
    window: Duration,
    server: &NatsServer,
) -> Result<Measurement> {
    let begin = Instant::now() + warm_up(window);
    let end = begin + window;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(closed_loop(Arc::clone(path), begin, end));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = [CpuTime::of_this_process(), server.pid().and_then(CpuTime::of_process)];
    tokio::time::sleep_until(end.into()).await;
    let after = [CpuTime::of_this_process(), server.pid().and_then(CpuTime::of_process)];

    let mut latencies = join(tasks).await?.concat();
    latencies.sort_unstable();
    let per_call = |end: usize| {
        let used = after[end]?.since(before[end]?);
        Some(used.as_secs_f64() * 1e6 / latencies.len() as f64)
    };
    Ok(Measurement {
        rps: latencies.len() as f64 / window.as_secs_f64(),
        p50: percentile(&latencies, 0.50)?,
        p99: percentile(&latencies, 0.99)?,
        client_cpu: per_call(0),
        server_cpu: per_call(1),
    })
}

/// One caller: the next call starts when the last one is answered. Returns the latencies of the calls that
/// finished inside the window.
async fn closed_loop<P: Path>(path: Arc<P>, begin: Instant, end: Instant) -> Result<Vec<Duration>> {
    let echo = Echo::sample();
    let mut latencies = Vec::new();
    let mut started = Instant::now();
    while started < end {
        call_once(&*path, &echo).await?;
        let finished = Instant::now();
        if (begin..end).contains(&finished) {
            latencies.push(finished - started);
        }
        started = finished;
    }
    Ok(latencies)
}

/// One caller of many who make a counted number of calls together.
async fn counted_loop<P: Path>(path: Arc<P>, left: Arc<AtomicU64>) -> Result<()> {
    let echo = Echo::sample();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        call_once(&*path, &echo).await?;
    }
    Ok(())
}

/// What every task returned, or the first mistake.
async fn join<T: 'static>(mut tasks: JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(task) = tasks.join_next().await {
        results.push(task??);
    }
    Ok(results)
}

async fn call_once<P: Path>(path: &P, echo: &Echo) -> Result<()> {
    let answer = path.call(echo.clone()).await?;
    ensure!(answer == *echo, "the answer is not the echo of the request: {answer:?}");
    Ok(())
}

/// A percentile of sorted latencies, in microseconds.
fn percentile(sorted: &[Duration], part: f64) -> Result<f64> {
    if sorted.is_empty() {
        bail!("no call finished inside the window");
    }
    let at = (sorted.len() - 1) as f64 * part;
    Ok(sorted[at.round() as usize].as_secs_f64() * 1e6)
}
