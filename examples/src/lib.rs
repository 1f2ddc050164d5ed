//! What the examples share: a NATS server to talk to, processes to kill, and a contract that both sides know.

#![allow(clippy::print_stdout, reason = "what an example prints is what it shows")]

pub mod contract;

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use requite_test::NatsServer;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::lookup_host,
    process::{Child, ChildStdout, Command},
};

/// The server that an example talks to: the one that `NATS_URL` names, else one of its own, removed with this value.
pub struct Nats {
    url: String,
    _own: Option<NatsServer>,
}

impl Nats {
    /// Finds or starts the server.
    ///
    /// # Errors
    ///
    /// If `NATS_URL` is not set and no nats-server can be found, downloaded or started.
    pub async fn from_env() -> anyhow::Result<Self> {
        // Logs go to stderr; `RUST_LOG=requite=debug` shows more of them.
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
        if let Some(url) = std::env::var("NATS_URL").ok().filter(|url| !url.is_empty()) {
            println!("nats-server at {url}, as NATS_URL says");
            return Ok(Self { url, _own: None });
        }
        let own = NatsServer::start().await?;
        println!("nats-server {} ({}), started for this run", own.binary().release(), own.binary().source());
        Ok(Self { url: own.url(), _own: Some(own) })
    }

    /// Where to connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same for a proxy in front of it.
    ///
    /// # Errors
    ///
    /// If the URL is more than host and port, or the host has no address.
    pub async fn address(&self) -> anyhow::Result<SocketAddr> {
        let host = self.url.trim_start_matches("nats://");
        let mut found =
            lookup_host(host).await.with_context(|| format!("no proxy can stand before {host}"))?;
        found.next().with_context(|| format!("{host} has no address"))
    }
}

/// This program once more, in a process of its own and with another part to play.
pub struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program with `part` as its argument and the server in `NATS_URL`; dropping the value kills it.
    ///
    /// # Errors
    ///
    /// If the operating system starts no process.
    pub fn start(part: &str, nats: &Nats) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(part)
            .env("NATS_URL", nats.url())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        Ok(Self { child, output: BufReader::new(stdout).lines() })
    }

    /// Passes on what the process prints, up to a line that contains `text`, which comes back.
    ///
    /// # Errors
    ///
    /// If the process ends before.
    pub async fn prints(&mut self, text: &str) -> anyhow::Result<String> {
        loop {
            let line = self.output.next_line().await?.with_context(|| format!("ended before {text:?}"))?;
            println!("  {line}");
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// SIGKILL: no goodbye to anybody.
    ///
    /// # Errors
    ///
    /// If the process is gone already.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The part that this process was started with; none for the first one.
pub fn part() -> Option<String> {
    std::env::args().nth(1)
}

/// A key that no earlier run used: outcomes are kept for a day, also on a server that outlives the example.
pub fn fresh_key(what: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{what}-{}", since.as_micros())
}

/// Prints lines with the time since the start before them.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Prints a line.
    pub fn print(self, line: impl std::fmt::Display) {
        println!("{:5.1} s  {line}", self.0.elapsed().as_secs_f32());
    }
}
