//! One run of a server: from its start until it answers, and its end. Everything here blocks.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::probe::{Ready, Target};
use crate::{ServerBinary, ServerError};

/// How often conditions are looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// Everything that one run of a server has in common with the next one.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(super) binary: ServerBinary,
    pub(super) config: PathBuf,
    /// What a cluster adds to the settings.
    pub(super) more: String,
    pub(super) log: PathBuf,
    /// The process group of the watchdog.
    pub(super) group: i32,
    pub(super) target: Target,
    pub(super) ready: Ready,
    pub(super) patience: Duration,
}

impl Launch {
    /// Starts the server and waits until it is ready.
    ///
    /// A port that someone else listens on is waited for: where ports cannot be held while the server is down
    /// (see [`ReservedPort`](crate::port::ReservedPort)), another test may have it for a moment.
    pub(super) fn start(&self) -> Result<Process, ServerError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let earlier_runs = self.log_text().len();
            let mut process = self.spawn()?;
            match self.wait_ready(&mut process, deadline) {
                Err(ServerError::Exited { .. })
                    if self.port_was_taken(earlier_runs) && Instant::now() < deadline =>
                {
                    thread::sleep(GLANCE);
                }
                outcome => return outcome.map(|()| process),
            }
        }
    }

    fn spawn(&self) -> Result<Process, ServerError> {
        let log = || File::options().create(true).append(true).open(&self.log);
        let spawned = log().and_then(|stdout| {
            Command::new(self.binary.path())
                .arg("--config")
                .arg(&self.config)
                .args(["--addr", "127.0.0.1"])
                .args(["--port", &self.target.client.port().to_string()])
                .args(["--http_port", &self.target.monitor.port().to_string()])
                .process_group(self.group)
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(log()?)
                .spawn()
        });
        spawned.map(Process).map_err(ServerError::io(format!("start {}", self.binary.path().display())))
    }

    /// Waits until the server is ready, or ended, or the deadline is past.
    pub(super) fn wait_ready(&self, process: &mut Process, deadline: Instant) -> Result<(), ServerError> {
        let name = || self.target.name.clone();
        loop {
            let waited_for = match self.target.probe(self.ready) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if let Some(status) = process.ended() {
                return Err(ServerError::Exited { name: name(), status, log: self.log_tail() });
            }
            if Instant::now() >= deadline {
                return Err(ServerError::NotReady {
                    name: name(),
                    within: self.patience,
                    why: waited_for,
                    log: self.log_tail(),
                });
            }
            thread::sleep(GLANCE);
        }
    }

    /// Lets the server read its configuration again, and waits until it says that it has.
    pub(super) fn reload(&self, process: &mut Process) -> Result<(), ServerError> {
        let (deadline, earlier) = (Instant::now() + self.patience, self.log_text().len());
        let name = || self.target.name.clone();
        if !process.signal(Signal::HUP).map_err(ServerError::io("signal the server"))? {
            return Err(ServerError::NotRunning { name: name() });
        }
        loop {
            let log = self.log_text();
            let news = log.get(earlier..).unwrap_or_default();
            if news.contains("Reloaded server configuration") {
                return Ok(());
            }
            let refused = news.contains("Failed to reload server configuration");
            if refused || Instant::now() >= deadline {
                return Err(ServerError::NotReady {
                    name: name(),
                    within: self.patience,
                    why: "the configuration was not reloaded".to_owned(),
                    log: self.log_tail(),
                });
            }
            thread::sleep(GLANCE);
        }
    }

    fn port_was_taken(&self, earlier_runs: usize) -> bool {
        self.log_text().get(earlier_runs..).is_some_and(|log| log.contains("address already in use"))
    }

    pub(super) fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub(super) fn log_tail(&self) -> String {
        let text = self.log_text();
        let mut last: Vec<&str> = text.lines().rev().take(20).collect();
        last.reverse();
        last.join("\n")
    }
}

/// A server process. It is ours to reap, so its id means no other process until [`ended`](Self::ended) saw its end.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child that nobody else reaps can be waited for")
    }

    /// Sends a signal; `false` if the process has ended.
    pub(super) fn signal(&mut self, signal: Signal) -> io::Result<bool> {
        if self.ended().is_some() {
            return Ok(false);
        }
        kill_process(Pid::from_child(&self.0), signal)?;
        Ok(true)
    }

    /// Stops the process where it is; `false` if it has ended. The signal alone returns before the process stands still,
    /// and a thread that runs on another CPU may still answer a request then.
    pub(super) fn pause(&mut self) -> io::Result<bool> {
        while self.signal(Signal::STOP)? {
            // Without EXITED, the end of the process stays for `ended` to see.
            let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(Pid::from_child(&self.0)), stopped)?.is_some() {
                return Ok(true);
            }
            thread::sleep(Duration::from_micros(100));
        }
        Ok(false)
    }

    /// Asks the process to end, paused or not; `false` if it did not within `patience`.
    pub(super) fn stop(&mut self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(GLANCE);
        }
        Ok(true)
    }
}

impl Drop for Process {
    /// SIGKILL also ends a stopped process; the wait is for the kernel alone.
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}
