//! What happened to the handlers, in a file beside the test's server: one line for every start, end and drop, written
//! by whatever process ran the handler.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use requite::Context;
use serde::{Deserialize, Serialize};

/// Between two looks at a file that another process writes.
const LOOK: Duration = Duration::from_millis(20);

/// Where runs are written down.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What happened.
    pub(crate) step: Step,
    /// Where.
    pub(crate) worker: String,
    /// To which job.
    pub(crate) job: String,
    /// What the handler was told.
    pub(crate) attempt: u32,
    /// What the handler was told.
    pub(crate) key: String,
    /// What the handler was told.
    pub(crate) fence: Option<u64>,
    /// Since 1970, by the clock of this machine.
    pub(crate) at: Duration,
}

/// What happened to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// It started.
    Start,
    /// It came to its end.
    End,
    /// Its future was dropped before.
    Drop,
}

impl Ledger {
    /// The ledger in this file.
    pub(crate) fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// All lines, oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        // A line without its end is still being written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).expect("only `append` writes")).collect()
    }

    fn append(&self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).expect("plain structs have a JSON form");
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.file);
        // One write, so that lines of several processes do not mix.
        // A handler may outlive its test, which takes the folder with it.
        let _ = file.and_then(|mut file| file.write_all(&line));
    }

    fn gate_file(&self) -> PathBuf {
        self.file.with_extension("gate")
    }

    /// Lets every handler that waits at the gate go on, now and later.
    pub(crate) fn open_gate(&self) {
        fs::write(self.gate_file(), "").expect("the test's folder can be written to");
    }

    /// Waits until the gate is open.
    pub(crate) async fn gate(&self) {
        while !self.gate_file().exists() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the gate is open, and lets nobody else have the thread.
    pub(crate) fn block_at_gate(&self) {
        while !self.gate_file().exists() {
            std::thread::sleep(LOOK);
        }
    }
}

/// A run of a handler, from its start to its end.
pub(crate) struct Run {
    ledger: Ledger,
    entry: Entry,
    ended: bool,
}

impl Run {
    /// Writes the start down.
    pub(crate) fn begin(ledger: &Ledger, worker: &str, cx: &Context, job: &str) -> Self {
        let entry = Entry {
            step: Step::Start,
            worker: worker.to_owned(),
            job: job.to_owned(),
            attempt: cx.attempt(),
            key: cx.idempotency_key(),
            fence: cx.fencing_token(),
            at: now(),
        };
        ledger.append(&entry);
        Self { ledger: ledger.clone(), entry, ended: false }
    }

    /// Writes the end down.
    pub(crate) fn end(mut self) {
        self.ended = true;
        self.write(Step::End);
    }

    fn write(&mut self, step: Step) {
        self.entry.step = step;
        self.entry.at = now();
        self.ledger.append(&self.entry);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.write(Step::Drop);
        }
    }
}

/// Since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is over")
}
