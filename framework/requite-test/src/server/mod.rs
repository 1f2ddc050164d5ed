//! A nats-server of a test's own: its life, its faults, its figures.

mod builder;
mod config;
mod figures;
mod probe;
mod process;
mod watchdog;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

pub use builder::ServerBuilder;
pub(crate) use builder::Wanted;
pub use figures::memory_bytes;
pub(crate) use probe::{Ready, Target};
use process::{Launch, Process};
use watchdog::Watchdog;

use crate::port::ReservedPort;
use crate::{ServerBinary, ServerError};

/// How long a server may take to stop by itself.
const STOP: Duration = Duration::from_secs(10);

/// A nats-server with JetStream, running for this value's sake: dropping it kills the process and removes the store.
///
/// It keeps its port and its store from one run to the next, so clients that reconnect find both again.
///
/// A future of [`terminate`](Self::terminate), [`restart`](Self::restart), [`reload`](Self::reload) or
/// [`wait_ready`](Self::wait_ready) that is dropped before its end (by a timeout around it, say) leaves the server killed; `restart` brings it back.
#[derive(Debug)]
pub struct NatsServer {
    // Dropped in this order: the process is gone before its watchdog, its folder and its ports are given up.
    process: Option<Process>,
    launch: Launch,
    watchdog: Watchdog,
    folder: TempDir,
    _ports: [ReservedPort; 2],
}

impl NatsServer {
    /// Starts the server that [`ServerBinary::find`] finds, with the settings of the project's `nats.conf`, and waits
    /// until JetStream is ready.
    ///
    /// # Errors
    ///
    /// When there is no executable, the server ends, or it does not get ready in time.
    pub async fn start() -> Result<Self, ServerError> {
        Self::builder().start().await
    }

    /// A server with another version or other settings.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where clients connect: `nats://127.0.0.1:PORT`. The same for the life of this value.
    pub fn url(&self) -> String {
        format!("nats://{}", self.launch.target.client)
    }

    /// [`url`](Self::url) with a user and a password, which must need no escaping in a URL.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@{}", self.launch.target.client)
    }

    /// The port that clients connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.launch.target.client.port()
    }

    /// Where the server's HTTP monitor is: `http://127.0.0.1:PORT`, with `/varz`, `/connz`, `/jsz`, `/healthz`.
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.launch.target.monitor)
    }

    /// The server's name, which no other server has.
    pub fn name(&self) -> &str {
        &self.launch.target.name
    }

    /// The executable that runs.
    pub fn binary(&self) -> &ServerBinary {
        &self.launch.binary
    }

    /// The process id, unless the server was killed or stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where the server keeps its streams. It is removed with this value.
    pub fn store_dir(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What the server logged so far, in all its runs.
    pub fn log(&self) -> String {
        self.launch.log_text()
    }

    /// Kills the server (SIGKILL), as a crash would, also when it is paused. What it had not yet handed to the
    /// kernel is lost; clients see their connections close. Nothing happens if it is not running.
    pub async fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            blocking(move || drop(process)).await;
        }
    }

    /// Stops the server (SIGTERM) and waits for its end; a paused one is resumed for that. Nothing happens if it is
    /// not running.
    ///
    /// # Errors
    ///
    /// When the server still runs after 10 s.
    pub async fn terminate(&mut self) -> Result<(), ServerError> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let (process, stopped) = blocking(move || {
            let stopped = process.stop(STOP);
            (process, stopped)
        })
        .await;
        match stopped {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.process = Some(process);
                Err(ServerError::StillRunning {
                    name: self.name().to_owned(),
                    after: STOP,
                    log: self.launch.log_tail(),
                })
            }
            Err(source) => {
                self.process = Some(process);
                Err(ServerError::Io { doing: "signal the server".to_owned(), source })
            }
        }
    }

    /// Stops the process where it is (SIGSTOP): connections stay open and nobody answers, as on a host that hangs.
    /// When this returns, the server stands still.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub fn pause(&mut self) -> Result<(), ServerError> {
        self.signal(Process::pause)
    }

    /// Lets a paused server go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        self.signal(|process| process.signal(Signal::CONT))
    }

    fn signal(&mut self, send: impl FnOnce(&mut Process) -> io::Result<bool>) -> Result<(), ServerError> {
        match self.process.as_mut().map_or(Ok(false), send) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ServerError::NotRunning { name: self.name().to_owned() }),
            Err(source) => Err(ServerError::Io { doing: "signal the server".to_owned(), source }),
        }
    }

    /// Starts the server again, on the same port and store; one that runs is [stopped](Self::terminate) first. Returns
    /// when it is ready; a node of a cluster when it answers, because more depends on the other nodes.
    ///
    /// # Errors
    ///
    /// When the server does not stop, ends again, or does not get ready in time. It is not running then.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.terminate().await?;
        let launch = self.launch.clone();
        self.process = Some(blocking(move || launch.start()).await?);
        Ok(())
    }

    /// [Restarts](Self::restart) with another version of the executable, as an upgrade does. Whether an older
    /// version reads the store of a newer one is up to the server.
    ///
    /// # Errors
    ///
    /// As [`restart`](Self::restart), or when there is no such version.
    pub async fn restart_with(&mut self, version: &str) -> Result<(), ServerError> {
        let version = version.to_owned();
        self.launch.binary = blocking(move || ServerBinary::version(&version)).await?;
        self.restart().await
    }

    /// Puts these settings in the place of those that [`ServerBuilder::config`] added, and lets the server that runs read
    /// them (SIGHUP), as an operator does. When this returns it goes by them: a user who is not in them any more has no
    /// connection any more.
    ///
    /// # Errors
    ///
    /// When the server is not running, or cannot change a setting without a restart.
    pub async fn reload(&mut self, config: impl AsRef<str>) -> Result<(), ServerError> {
        let name = self.name().to_owned();
        config::write(self.folder.path(), &name, config.as_ref(), &self.launch.more)?;
        let Some(mut process) = self.process.take() else { return Err(ServerError::NotRunning { name }) };
        let launch = self.launch.clone();
        let (process, outcome) = blocking(move || {
            let outcome = launch.reload(&mut process);
            (process, outcome)
        })
        .await;
        self.process = Some(process);
        outcome
    }

    /// Waits until the server is ready, for instance after [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// When the server is not running, or not ready in time.
    pub async fn wait_ready(&mut self) -> Result<(), ServerError> {
        let name = self.name().to_owned();
        let Some(mut process) = self.process.take() else { return Err(ServerError::NotRunning { name }) };
        let launch = self.launch.clone();
        let (process, outcome) = blocking(move || {
            let outcome = launch.wait_ready(&mut process, Instant::now() + launch.patience);
            (process, outcome)
        })
        .await;
        self.process = Some(process);
        outcome
    }

    /// Sends one request and returns the answer's payload, over a connection of its own: for tests that look at the
    /// server without the library that they test.
    ///
    /// ```no_run
    /// # async fn example(server: requite_test::NatsServer) -> Result<(), requite_test::ServerError> {
    /// let account = server.ask("$JS.API.INFO", "").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When nobody answers within 2 s, or the server refuses the request.
    pub async fn ask(&self, subject: &str, payload: impl Into<Vec<u8>>) -> Result<Vec<u8>, ServerError> {
        let (target, asked, payload) = (self.launch.target.clone(), subject.to_owned(), payload.into());
        let answer = blocking(move || target.ask(&asked, &payload)).await;
        answer.map_err(|why| ServerError::NoAnswer {
            name: self.name().to_owned(),
            subject: subject.to_owned(),
            why,
        })
    }

    /// Memory that the server occupies (resident set), in bytes. `None` when it is not running, or the system has no
    /// `/proc`.
    pub fn memory_bytes(&self) -> Option<u64> {
        figures::memory_bytes(self.pid()?)
    }

    /// CPU time that the present run of the server has used, user and system. `None` as for
    /// [`memory_bytes`](Self::memory_bytes).
    pub fn cpu_time(&self) -> Option<Duration> {
        figures::cpu_time(self.pid()?)
    }

    pub(crate) fn target(&self) -> &Target {
        &self.launch.target
    }

    pub(crate) fn log_tail(&self) -> String {
        self.launch.log_tail()
    }

    /// Only tests need to know it: it outlives this value if they are wrong.
    #[doc(hidden)]
    pub fn watchdog_pid(&self) -> i32 {
        self.watchdog.group()
    }
}

/// Runs what blocks where that is allowed. Tests with a paused clock see no time pass meanwhile, so a slow start does
/// not run into their timeouts.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
