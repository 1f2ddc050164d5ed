//! One measurement: a server and a runtime of its own, a warm-up, and items until enough time has passed.

use std::time::Duration;

use anyhow::{Context, Result};
use requite_test::NatsServer;

use crate::{
    path::{Mover, Path, Way},
    usage::CpuTime,
};

/// How long a measurement may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(120);
/// What a first try moves.
const TRY_BYTES: u64 = 8 << 20;
const TRY_ITEMS: u64 = 20_000;
/// What one measurement may move: it is stored on the disk.
const MOST_BYTES: u64 = 900 << 20;

/// How much to move.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// So many items, behind a tenth of it that is not counted.
    Count(u64),
    /// As many as will take so long, as far as a shorter run tells.
    Span(Duration),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) items: u64,
    /// Items per second.
    pub(crate) rate: f64,
    /// CPU time of this process, which is both ends, per item, in microseconds.
    pub(crate) ends_cpu: Option<f64>,
    /// CPU time of the server per item, in microseconds.
    pub(crate) server_cpu: Option<f64>,
}

/// Measures on a server and a runtime of its own, so that nothing is inherited from the one before.
pub(crate) fn measure(path: Path, way: Way, size: usize, load: Load) -> Result<Measurement> {
    // Two threads: what the smallest real machine gives, and the server needs the rest.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // A task, as handlers are: to wake the thread that blocks on the runtime takes a system call.
    let measured = runtime.spawn(async move {
        let server = NatsServer::start().await?;
        let mut mover = path.set_up(way, &server).await?;
        let measured = tokio::time::timeout(LIMIT, measure_on(&server, &mut mover, size, load));
        measured.await.with_context(|| format!("items hang: no end after {LIMIT:?}"))?
    });
    runtime.block_on(measured)?
}

async fn measure_on(server: &NatsServer, mover: &mut Mover, size: usize, load: Load) -> Result<Measurement> {
    let items = match load {
        Load::Count(items) => {
            mover.run((items / 10).max(1), size).await?;
            items
        }
        Load::Span(span) => enough(mover, size, span).await?,
    };
    let cpu = || [CpuTime::of_this_process(), server.pid().and_then(CpuTime::of_process)];
    let before = cpu();
    let took = mover.run(items, size).await?;
    let after = cpu();
    let per_item = |end: usize| Some(after[end]?.since(before[end]?).as_secs_f64() * 1e6 / items as f64);
    let rate = items as f64 / took.as_secs_f64();
    Ok(Measurement { items, rate, ends_cpu: per_item(0), server_cpu: per_item(1) })
}

/// How many items take so long.
async fn enough(mover: &mut Mover, size: usize, span: Duration) -> Result<u64> {
    let most = (MOST_BYTES / size as u64).max(1);
    let mut items = TRY_ITEMS.min(TRY_BYTES / size as u64).max(1);
    loop {
        let took = mover.run(items, size).await?.as_secs_f64();
        let wanted = (items as f64 * span.as_secs_f64() / took) as u64;
        // What was moved in a quarter of the time tells enough of the whole.
        if took * 4.0 >= span.as_secs_f64() || items >= most / 4 {
            return Ok(wanted.clamp(1, most));
        }
        items = (wanted / 3).clamp(items * 2, items * 16).min(most / 4);
    }
}
