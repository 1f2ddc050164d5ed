//! What can go wrong with a server that a test runs.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::BinaryError;

/// Why a server did not start, stop or answer. The messages carry the end of the server's log, because by the time a
/// test's output is read the log itself is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no `nats-server` to run.
    #[error(transparent)]
    Binary(#[from] BinaryError),

    /// A file, a process or a port could not be had.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted, in the imperative.
        doing: String,
        /// What the system said.
        source: io::Error,
    },

    /// The server ended while it was starting; usually its configuration is wrong.
    #[error("server {name} ended with {status} while it was starting; its log ends:\n{log}")]
    Exited {
        /// The server's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },

    /// The server, or the cluster, runs but did not get ready in time.
    #[error("{name} was not ready within {within:?}: {why}; the log ends:\n{log}")]
    NotReady {
        /// The server's name, or the cluster's.
        name: String,
        /// How long was waited.
        within: Duration,
        /// What was still missing at the last look.
        why: String,
        /// The last lines of the log.
        log: String,
    },

    /// The server is not running, so it cannot be signalled or asked.
    #[error("server {name} is not running")]
    NotRunning {
        /// The server's name.
        name: String,
    },

    /// The server was asked to stop and did not. It is still running.
    #[error("server {name} still runs {after:?} after SIGTERM; its log ends:\n{log}")]
    StillRunning {
        /// The server's name.
        name: String,
        /// How long was waited.
        after: Duration,
        /// The last lines of its log.
        log: String,
    },

    /// The server did not answer a request.
    #[error("server {name} did not answer {subject:?}: {why}")]
    NoAnswer {
        /// The server's name.
        name: String,
        /// The subject that was asked.
        subject: String,
        /// What came instead.
        why: String,
    },
}

impl ServerError {
    /// For `map_err`: names what was attempted.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
