//! What it costs to hold leases: 100,000 requests in flight in one worker for five leases, none of which may be lost.
//!
//! `cargo bench --bench leases -- [--requests N] [--leases N]`. The worker is a process of its own, and so is the
//! server: memory and CPU time are theirs alone. Under `cargo test --benches` it holds a few requests for a moment.

#![allow(clippy::print_stdout, reason = "the figures are the product")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream::FuturesUnordered};
use requite::{Accepted, NoError, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

/// The usual one.
const LEASE: Duration = Duration::from_secs(30);
/// Calls that are being accepted at once.
const AT_ONCE: usize = 512;
/// How long it may take until everything is in hand.
const START_WITHIN: Duration = Duration::from_secs(120);

struct Holder {
    released: watch::Receiver<bool>,
}

#[service(name = "holder")]
impl Holder {
    /// Ends with the bench.
    #[handler(lease = "30s", concurrency = 200_000)]
    async fn hold(&self) {
        // It fails only once the process ends.
        let _ = self.released.clone().wait_for(|released| *released).await;
    }

    /// What a first call sets up is not counted.
    #[handler]
    async fn warm_up(&self) {}
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
    let requests = number("--requests", if smoke { 20 } else { 100_000 })?;
    let leases = number("--leases", if smoke { 0 } else { 5 })?;
    runtime.block_on(measure(requests, LEASE * u32::try_from(leases)?))
}

/// The next line, or nothing at the end.
async fn line() -> Result<Option<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|n| (n > 0).then_some(line))
    });
    Ok(read.await??)
}

/// The worker: says when it is ready, and what it counted whenever a line comes in; `release` ends its handlers.
async fn serve(url: &str) -> Result<()> {
    let (release, released) = watch::channel(false);
    let server = Server::connect(url).await?.serve(Holder { released }).start().await?;
    println!("ready");
    while let Some(line) = line().await? {
        if line.trim() == "release" {
            release.send_replace(true);
        }
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
        self.ask("count")
    }

    fn ask(&mut self, what: &str) -> Result<Counted> {
        writeln!(self.asks, "{what}")?;
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

/// Calls until this many requests are accepted.
async fn call(client: &HolderClient, requests: usize) -> Result<Vec<Accepted<(), NoError>>> {
    let mut under_way = FuturesUnordered::new();
    let mut held = Vec::with_capacity(requests);
    for _ in 0..requests {
        if under_way.len() == AT_ONCE {
            held.extend(under_way.next().await.transpose()?);
        }
        under_way.push(client.hold().start());
    }
    while let Some(accepted) = under_way.next().await {
        held.push(accepted?);
    }
    Ok(held)
}

async fn measure(requests: usize, span: Duration) -> Result<()> {
    let nats = NatsServer::start().await?;
    let mut worker = Worker::start(&nats.url())?;
    let client = HolderClient::connect(&nats.url()).await?;
    client.warm_up().await?;
    let memory_before = worker.memory();
    let held = call(&client, requests).await?;
    let all = u64::try_from(requests)? + 1;
    let limit = Instant::now() + START_WITHIN;
    let first = loop {
        let counted = worker.counted()?;
        if counted.runs == all || Instant::now() > limit {
            break counted;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    ensure!(first.runs == all, "not all requests were started: {first:?}");
    let (started, cpu_before, server_before) = (Instant::now(), worker.cpu(), nats.cpu_time());
    let memory = worker.memory();
    tokio::time::sleep(span + Duration::from_millis(500)).await;
    let (memory_in_the_end, last) = (worker.memory(), worker.counted()?);
    let (span, cpu, server) = (started.elapsed().as_secs_f64(), worker.cpu(), nats.cpu_time());
    let beats = (last.heartbeats - first.heartbeats) as f64 / span;
    println!("requests held              {:>10}", last.in_hand);
    println!("heartbeats per second      {beats:>10.0}");
    println!("barriers per second        {:>10.2}", (last.barriers - first.barriers) as f64 / span);
    for (when, after) in [("at first", memory), ("in the end", memory_in_the_end)] {
        if let (Some(before), Some(after)) = (memory_before, after) {
            println!("bytes each, {when:<14} {:>10}", after.saturating_sub(before) / (all - 1));
        }
    }
    for (whose, before, after) in [("worker's", cpu_before, cpu), ("server's", server_before, server)] {
        if let (Some(before), Some(after)) = (before, after) {
            let share = after.saturating_sub(before).as_secs_f64() / span * 100.0;
            println!("{whose} CPU               {share:>9.1}%");
        }
    }
    // Looked at before what is lost is waited for.
    ensure!(last.redeliveries == 0 && last.lost == 0, "a lease was not kept: {last:?}");
    worker.ask("release")?;
    for accepted in held {
        accepted.await?;
    }
    let end = worker.counted()?;
    ensure!(end.runs == all && end.redeliveries == 0 && end.lost == 0, "a lease was not kept: {end:?}");
    println!(
        "proof | leases | {requests} requests | {} redeliveries, {} leases lost, {beats:.0} heartbeats a second",
        end.redeliveries, end.lost
    );
    Ok(())
}
