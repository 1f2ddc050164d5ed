//! Ends servers whose test process is gone.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A shell that waits for the end of its input. We hold the other end and never write, so the input ends when this
/// process does, however it does. Then the shell kills its process group, which the server was started into.
///
/// Killing the group and not a process id is what makes this safe: the shell is the group's leader, so the number
/// means this group for as long as the shell lives, while the server's id may be someone else's by then.
///
/// HUP is ignored because the kernel sends it to a group that loses its parent while a member is stopped, and
/// [`pause`](crate::NatsServer::pause) stops servers. The folder is removed first, because the last command
/// also ends the shell.
const SCRIPT: &str = r#"trap "" HUP INT TERM; read -r _; rm -rf -- "$1"; kill -9 0"#;

#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Starts to watch. `folder` is removed if this process dies.
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "requite-test-watchdog"])
            .arg(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// The process group to start servers into.
    pub(super) fn group(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a process id is a positive pid_t")
    }
}

impl Drop for Watchdog {
    /// The servers are gone by now. The shell is killed before its input ends, so it does not act.
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}
