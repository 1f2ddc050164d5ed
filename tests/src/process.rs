//! Processes that a test starts, harms and ends.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::role::Role;

/// A process with a role; dropping it kills it.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts `program`, which has to play the role that its arguments give it. What it logs goes to `log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(program: &Path, role: &Role, log: Stdio) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(role.arguments()).stdin(Stdio::piped()).stderr(log).kill_on_drop(true);
        command.spawn().map(Self).with_context(|| format!("{} cannot be started", program.display()))
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.id().expect("it was not waited for")
    }

    /// Whether it still runs.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn is_alive(&mut self) -> anyhow::Result<bool> {
        Ok(self.has_ended()?.is_none())
    }

    /// How it ended by itself, if it did.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub async fn tell(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let input = self.0.stdin.as_mut().context("its standard input was closed")?;
        input.write_all(&line).await?;
        Ok(input.flush().await?)
    }

    /// SIGKILL, and its end.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.0.kill().await?)
    }

    /// Its end by itself.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub async fn ended(mut self) -> anyhow::Result<ExitStatus> {
        // `wait` closes standard input, with which the process ends.
        let _input = self.0.stdin.take();
        Ok(self.0.wait().await?)
    }
}
