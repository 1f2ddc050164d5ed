//! What it costs to hold leases: 10,000 requests in flight in one worker for five leases.
//!
//! `cargo bench --bench leases -- [--requests N] [--leases N]`. The worker is a process of its own, so that its memory
//! and CPU time are its alone. Under `cargo test --benches` it holds a few requests for a moment.

#![allow(clippy::print_stdout, reason = "the figures are the product")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream::FuturesUnordered};
use requite::prelude::*;
use requite_test::NatsServer;

const LEASE: Duration = Duration::from_secs(6);
/// Calls that are being accepted at once.
const AT_ONCE: usize = 512;

struct Holder;

#[service(name = "holder")]
impl Holder {
    #[handler(lease = "6s", concurrency = 20000)]
    async fn hold(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [worker, url] = &arguments[..]
        && worker == "--worker"
    {
        return runtime.block_on(serve(url));
    }
    let number = |name: &str, default: usize| -> Result<usize> {
        match arguments.iter().position(|it| it == name) {
            Some(at) => Ok(arguments.get(at + 1).context("a number is missing")?.parse()?),
            None => Ok(default),
        }
    };
    let smoke = !arguments.iter().any(|it| it == "--bench");
    let requests = number("--requests", if smoke { 20 } else { 10_000 })?;
    let leases = number("--leases", if smoke { 0 } else { 5 })?;
    let hold = LEASE * u32::try_from(leases)? + Duration::from_millis(500);
    runtime.block_on(measure(requests, hold))
}

/// The worker: says when it is ready, and what it counted whenever a line comes in.
async fn serve(url: &str) -> Result<()> {
    let server = Server::connect(url).await?.serve(Holder).start().await?;
    println!("ready");
    let mut lines = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|n| n > 0)
    });
    while (&mut lines).await?? {
        let stats = server.stats();
        println!(
            "{} {} {} {} {} {}",
            server.in_hand(),
            stats.runs,
            stats.redeliveries,
            stats.heartbeats,
            stats.barriers,
            stats.lost_leases
        );
        lines = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|n| n > 0)
        });
    }
    server.shutdown().await;
    Ok(())
}

/// The worker's process as seen from here.
struct Worker {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What the worker counted.
#[derive(Clone, Copy, Debug)]
struct Counted {
    in_hand: u64,
    runs: u64,
    redeliveries: u64,
    heartbeats: u64,
    barriers: u64,
    lost: u64,
}

impl Worker {
    fn start(url: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--worker", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let asks = child.stdin.take().context("stdin is piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the worker did not start: {line:?}");
        Ok(Self { child, asks, answers })
    }

    fn counted(&mut self) -> Result<Counted> {
        writeln!(self.asks)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [in_hand, runs, redeliveries, heartbeats, barriers, lost] = numbers[..] else {
            anyhow::bail!("the worker said {line:?}");
        };
        Ok(Counted { in_hand, runs, redeliveries, heartbeats, barriers, lost })
    }

    /// Resident bytes, where the system tells.
    fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    /// CPU time of all threads, where the system tells.
    fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        // 100 ticks a second on every Linux that matters here.
        Some(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(requests: usize, hold: Duration) -> Result<()> {
    let nats = NatsServer::start().await?;
    let mut worker = Worker::start(&nats.url())?;
    let client = HolderClient::connect(&nats.url()).await?;
    client.hold(0).await?;
    let memory_before = worker.memory();
    let mut under_way = FuturesUnordered::new();
    let mut held = Vec::with_capacity(requests);
    for _ in 0..requests {
        if under_way.len() == AT_ONCE {
            held.extend(under_way.next().await.transpose()?);
        }
        under_way.push(client.hold(u64::try_from(hold.as_millis())?).start());
    }
    while let Some(accepted) = under_way.next().await {
        held.push(accepted?);
    }
    let all = u64::try_from(requests)? + 1;
    let limit = Instant::now() + Duration::from_secs(30);
    let first = loop {
        let counted = worker.counted()?;
        if counted.runs == all || Instant::now() > limit {
            break counted;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    ensure!(first.runs == all, "not all requests were started: {first:?}");
    let (started, cpu_before) = (Instant::now(), worker.cpu());
    let memory = worker.memory();
    // Away from the end, when the worker stores outcomes instead of holding leases.
    tokio::time::sleep(hold.saturating_sub(Duration::from_secs(3))).await;
    let last = worker.counted()?;
    let (span, cpu) = (started.elapsed().as_secs_f64(), worker.cpu());
    println!("requests held           {:>10}", last.in_hand);
    println!("heartbeats per second   {:>10.0}", (last.heartbeats - first.heartbeats) as f64 / span);
    println!("barriers per second     {:>10.2}", (last.barriers - first.barriers) as f64 / span);
    if let (Some(before), Some(after)) = (memory_before, memory) {
        println!("bytes per held request  {:>10}", after.saturating_sub(before) / u64::try_from(requests)?);
    }
    if let (Some(before), Some(after)) = (cpu_before, cpu) {
        println!("worker's CPU            {:>9.1}%", (after - before).as_secs_f64() / span * 100.0);
    }
    for accepted in held {
        accepted.await?;
    }
    let end = worker.counted()?;
    println!("redeliveries            {:>10}", end.redeliveries);
    println!("leases lost             {:>10}", end.lost);
    ensure!(end.runs == all && end.redeliveries == 0 && end.lost == 0, "a lease was not kept: {end:?}");
    Ok(())
}
