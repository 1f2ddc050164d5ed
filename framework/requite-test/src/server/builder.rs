//! Starting a server that is not the default one.

use std::time::Duration;

use super::probe::{Ready, Target};
use super::process::Launch;
use super::watchdog::Watchdog;
use super::{NatsServer, blocking, config};
use crate::port::ReservedPort;
use crate::{ServerBinary, ServerError, random};

/// What a [`NatsServer`] is started with.
///
/// ```no_run
/// # async fn example() -> Result<(), requite_test::ServerError> {
/// let server = requite_test::NatsServer::builder()
///     .version("2.12.8")
///     .config(r#"authorization { users: [{ user: "ada", password: "secret", permissions: { publish: "billing.>" } }] }"#)
///     .start()
///     .await?;
/// println!("{}", server.url_as("ada", "secret"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until `start`"]
pub struct ServerBuilder {
    pub(crate) wanted: Wanted,
    pub(crate) config: String,
    pub(crate) credentials: Option<(String, String)>,
    pub(crate) patience: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Any,
    Version(String),
    Binary(ServerBinary),
}

impl Wanted {
    pub(crate) fn find(&self) -> Result<ServerBinary, ServerError> {
        Ok(match self {
            Self::Any => ServerBinary::find()?,
            Self::Version(version) => ServerBinary::version(version)?,
            Self::Binary(binary) => binary.clone(),
        })
    }
}

impl Default for ServerBuilder {
    fn default() -> Self {
        let patience = Duration::from_secs(30);
        Self { wanted: Wanted::Any, config: String::new(), credentials: None, patience }
    }
}

impl ServerBuilder {
    /// Runs exactly this version, see [`ServerBinary::version`].
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.wanted = Wanted::Version(version.into());
        self
    }

    /// Runs this executable.
    pub fn binary(mut self, binary: ServerBinary) -> Self {
        self.wanted = Wanted::Binary(binary);
        self
    }

    /// Adds settings, in the server's configuration language, to those of the project's `nats.conf`; the later one
    /// wins. Users and permissions go here, for example.
    pub fn config(mut self, text: impl AsRef<str>) -> Self {
        self.config.push_str(text.as_ref());
        self.config.push('\n');
        self
    }

    /// Logs in as this user to see whether the server is ready, and for [`NatsServer::ask`]. Needed for neither if the
    /// server lets anyone in; a server that does not is otherwise judged by its monitor alone, and so is one that
    /// requires TLS.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// How long the server may take to get ready, then and at each restart; 30 s unless said. A download is not
    /// counted.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Starts the server, and waits until it answers and JetStream is ready.
    ///
    /// # Errors
    ///
    /// When there is no executable, the server ends, or it does not get ready in time.
    pub async fn start(self) -> Result<NatsServer, ServerError> {
        blocking(move || {
            let binary = self.wanted.find()?;
            let name = format!("requite-test-{}", random::suffix());
            self.launch(binary, name, Ready::JetStream, "")
        })
        .await
    }

    /// Starts a server of this name; `more` is added to the configuration.
    pub(crate) fn launch(
        &self,
        binary: ServerBinary,
        name: String,
        ready: Ready,
        more: &str,
    ) -> Result<NatsServer, ServerError> {
        let reserve = || ReservedPort::reserve().map_err(ServerError::io("reserve a port"));
        let (client, monitor) = (reserve()?, reserve()?);
        let folder = tempfile::Builder::new().prefix("requite-nats-").tempdir();
        let folder = folder.map_err(ServerError::io("make a temporary folder"))?;
        let watchdog =
            Watchdog::start(folder.path()).map_err(ServerError::io("start /bin/sh as a watchdog"))?;
        let launch = Launch {
            binary,
            config: config::write(folder.path(), &name, &self.config, more)?,
            more: more.to_owned(),
            log: folder.path().join("server.log"),
            group: watchdog.group(),
            target: Target {
                name,
                client: client.address(),
                monitor: monitor.address(),
                credentials: self.credentials.clone(),
            },
            ready,
            patience: self.patience,
        };
        let process = Some(launch.start()?);
        Ok(NatsServer { process, launch, watchdog, folder, _ports: [client, monitor] })
    }
}
