//! A real nats-server for the comparison.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use crate::broker::jetstream::{Connection, Settings};

/// A server of this test's own; killed on drop.
pub(super) struct Server {
    process: tokio::process::Child,
    program: String,
    directory: PathBuf,
    port: u16,
}

impl Server {
    /// Starts the server that `REQUITE_NATS_SERVER` names; without it there is nothing to compare with.
    pub(super) fn start() -> Option<Self> {
        let Ok(program) = std::env::var("REQUITE_NATS_SERVER") else {
            eprintln!("not compared with a real server: REQUITE_NATS_SERVER is not set");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("requite-differential-{port}"));
        let process = spawn(&program, port, &directory);
        Some(Self { process, program, directory, port })
    }

    /// Stops the server in good order and starts it again on the same port.
    pub(super) async fn restart(&mut self) {
        let process = self.process.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        rustix::process::kill_process(process.unwrap(), rustix::process::Signal::TERM).unwrap();
        self.process.wait().await.unwrap();
        self.process = spawn(&self.program, self.port, &self.directory);
    }

    pub(super) async fn connect(&self) -> Connection {
        let mut settings = Settings { inbox_owner: "player".into(), ..Settings::default() };
        settings.addresses(&format!("127.0.0.1:{}", self.port)).unwrap();
        let settings = Arc::new(settings);
        for _ in 0..200 {
            if let Ok(connection) = Connection::connect(Arc::clone(&settings), "player").await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server does not answer");
    }
}

fn spawn(program: &str, port: u16, directory: &Path) -> tokio::process::Child {
    tokio::process::Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; what is left of its directory is in the way of nobody.
        let _ = self.process.start_kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
