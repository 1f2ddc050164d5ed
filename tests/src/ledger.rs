//! What happened, in a file beside the test's server: one line for everything that a caller, a worker or a handler saw,
//! written by whatever process saw it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use requite::Context;

use crate::{
    entry::{Effect, Entry, Event, Life, Moment, Run, Step},
    hash,
    mill::Job,
};

/// Between two looks at a file that another process writes.
const LOOK: Duration = Duration::from_millis(20);

/// Where everything is written down.
#[derive(Clone, Debug)]
pub struct Ledger {
    file: PathBuf,
}

/// A line about a run.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Moment,
    run: Run,
}

impl Deref for Seen {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl Ledger {
    /// The ledger in this file.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// All lines, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        // A line without its end is still being written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).expect("only `write` writes")).collect()
    }

    /// The lines about runs, oldest first.
    pub fn runs(&self) -> Vec<Seen> {
        let runs = self.entries().into_iter().filter_map(|entry| match entry.event {
            Event::Run(run) => Some(Seen { at: entry.at, run }),
            _ => None,
        });
        runs.collect()
    }

    /// Writes a line.
    pub fn write(&self, event: Event) {
        let entry = Entry { at: Moment::now(), pid: std::process::id(), event };
        let mut line = serde_json::to_vec(&entry).expect("plain structs have a JSON form");
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.file);
        // One write, so that lines of several processes do not mix.
        // A handler may outlive its test, which takes the folder with it.
        let _ = file.and_then(|mut file| file.write_all(&line));
    }

    /// Writes down what happened to a worker.
    pub fn worker(&self, worker: &str, life: Life) {
        self.write(Event::Worker { worker: worker.to_owned(), life });
    }

    fn gate_file(&self) -> PathBuf {
        self.file.with_extension("gate")
    }

    /// Lets every handler that waits at the gate go on, now and later.
    pub fn open_gate(&self) {
        fs::write(self.gate_file(), "").expect("the test's folder can be written to");
    }

    /// Lets whoever comes to the gate wait there again.
    pub fn close_gate(&self) {
        fs::remove_file(self.gate_file()).expect("it was opened before");
    }

    /// Whether the gate is open.
    pub fn is_open(&self) -> bool {
        self.gate_file().exists()
    }

    /// Waits until the gate is open.
    pub async fn gate(&self) {
        while !self.is_open() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the gate is open, and lets nobody else have the thread.
    pub fn block_at_gate(&self) {
        while !self.is_open() {
            std::thread::sleep(LOOK);
        }
    }

    /// Does something to a resource that takes everything and, where there is a fencing token, to one that refuses a
    /// smaller token than it has seen.
    pub fn effect(&self, run: &Run) {
        let effect = |fence, accepted| Effect {
            caller: run.caller.clone(),
            id: run.id.clone(),
            attempt: run.attempt,
            fence,
            accepted,
        };
        self.write(Event::Effect(effect(None, true)));
        if let Some(fence) = run.fence {
            // A handler may outlive its test, which takes the folder with it.
            let _ = self.fenced(&run.id, fence, |accepted| {
                self.write(Event::Effect(effect(Some(fence), accepted)));
            });
        }
    }

    /// Looks at the newest token under a lock that is held until the line is written: in the ledger the lines stand in
    /// the order in which the resource decided.
    fn fenced(&self, id: &str, fence: u64, decided: impl FnOnce(bool)) -> io::Result<()> {
        let folder = self.file.with_extension("fenced");
        fs::create_dir_all(&folder)?;
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(folder.join(id))?;
        file.lock()?;
        let mut newest = String::new();
        file.read_to_string(&mut newest)?;
        let accepted = newest.parse().is_ok_and(|newest: u64| fence >= newest) || newest.is_empty();
        if accepted {
            file.rewind()?;
            file.write_all(fence.to_string().as_bytes())?;
        }
        decided(accepted);
        Ok(())
    }
}

/// A run of a handler, from its start to its end.
pub struct Running {
    ledger: Ledger,
    run: Run,
    ended: bool,
}

impl Running {
    /// Writes the start down.
    pub fn begin(ledger: &Ledger, worker: &str, method: &str, cx: &Context, job: &Job) -> Self {
        let run = Run {
            step: Step::Start,
            worker: worker.to_owned(),
            method: method.to_owned(),
            job: job.name.clone(),
            payload: hash::payload(job),
            caller: cx.caller().to_owned(),
            id: cx.id().to_owned(),
            attempt: cx.attempt(),
            key: cx.idempotency_key(),
            fence: cx.fencing_token(),
        };
        ledger.write(Event::Run(run.clone()));
        ledger.effect(&run);
        Self { ledger: ledger.clone(), run, ended: false }
    }

    /// Has its effects a last time, and writes the end down.
    pub fn end(mut self, step: Step) {
        self.ledger.effect(&self.run);
        self.ended = true;
        self.write(step);
    }

    fn write(&mut self, step: Step) {
        self.run.step = step;
        self.ledger.write(Event::Run(self.run.clone()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.write(Step::Drop);
        }
    }
}
