//! A nats-server for one measurement: file storage in a directory of its own, on a free port of 127.0.0.1.
//!
//! Its own process for every measurement, so that no path inherits another's heap, files or expiring records.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Names the nats-server binary; without it, the first one on `PATH` is taken.
const BINARY: &str = "REQUITE_NATS_SERVER";

/// How long a server may take to listen. It takes about 50 ms on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running nats-server. Dropping it stops the process and deletes its files.
pub(crate) struct NatsServer {
    process: Child,
    directory: PathBuf,
    url: String,
}

impl NatsServer {
    /// Starts a server and returns when it listens.
    pub(crate) async fn start() -> Result<NatsServer> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("requite-bench-{}-{count}", std::process::id()));
        fs::create_dir_all(&directory).context("cannot create the server's directory")?;
        let binary = std::env::var_os(BINARY).unwrap_or_else(|| "nats-server".into());
        let process = Command::new(&binary)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
            .arg(directory.join("store"))
            .arg("--ports_file_dir")
            .arg(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .inspect_err(|_| _ = fs::remove_dir_all(&directory))
            .with_context(|| format!("cannot start {}; set {BINARY}", binary.display()))?;
        let mut server = NatsServer { process, directory, url: String::new() };
        server.url = server.wait_for_url().await?;
        Ok(server)
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The server's process id, for its CPU time.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    /// The server writes the port it chose into a file; reading that is free of races, unlike choosing one for it.
    async fn wait_for_url(&mut self) -> Result<String> {
        let started = Instant::now();
        loop {
            if let Some(url) = read_ports_file(&self.directory) {
                return Ok(url);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("nats-server ended at once: {status}");
            }
            if started.elapsed() > START_LIMIT {
                bail!("nats-server does not listen after {START_LIMIT:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Both fail only if the process is gone already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The file is named after the binary and its process id, and it is the only one of its kind in `directory`.
fn read_ports_file(directory: &Path) -> Option<String> {
    let mut files = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let text = fs::read(files.find(|file| file.extension().is_some_and(|end| end == "ports"))?).ok()?;
    let ports: serde_json::Value = serde_json::from_slice(&text).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}
