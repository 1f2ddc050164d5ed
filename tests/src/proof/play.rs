//! A part, run to its end: what it says is shown, and what it proves is kept, so that it need not be run again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::parts::Part;

/// What a checker's line begins with.
const PROOF: &str = "proof | ";
/// A part takes no longer than this on two idle cores.
const AT_MOST: Duration = Duration::from_secs(40 * 60);

/// What came of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The source that was tried.
    pub source: String,
    /// Whether everything held.
    pub holds: bool,
    /// In seconds.
    pub took: u64,
    /// Checker, runs, and faults, of every line of proof.
    pub lines: Vec<[String; 3]>,
}

/// The source as it is: the commit, and whether it was changed since.
///
/// # Errors
///
/// There is no git, or no repository.
pub async fn source() -> Result<String> {
    let git = async |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).output().await.context("git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).await?;
    let changed = !git(&["status", "--porcelain"]).await?.is_empty();
    Ok(if changed { commit + ", changed" } else { commit })
}

fn file(part: &Part) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("prove").join(part.name).with_extension("json")
}

/// What came of a part when it was last run.
pub fn known(part: &Part) -> Option<Outcome> {
    serde_json::from_slice(&fs::read(file(part)).ok()?).ok()
}

/// Runs a part, tells what it says, and keeps what came of it.
///
/// # Errors
///
/// It cannot be started, or its outcome cannot be written down.
pub async fn run(part: &Part, source: &str, told: impl Fn(&str)) -> Result<Outcome> {
    let began = Instant::now();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut words = part.words();
    let mut command = Command::new(words.next().context("a part is a command")?);
    command.args(words).envs(part.environment.iter().copied()).current_dir(root);
    // A group of its own, so that whatever it starts ends with it.
    command.stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().context("it cannot be started")?;
    let output = child.stdout.take().context("its output was asked for")?;
    let mut output = BufReader::new(output).lines();
    let mut lines = Vec::new();
    let reading = async {
        while let Ok(Some(line)) = output.next_line().await {
            told(&line);
            lines.extend(proof(&line));
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(AT_MOST, reading).await;
    if ended.is_err() {
        end(child.id());
        told(&format!("{}: not at its end after {AT_MOST:?}", part.name));
    }
    let holds = ended.is_ok_and(|status| status.is_ok_and(|status| status.success())) && !lines.is_empty();
    let outcome = Outcome { source: source.to_owned(), holds, took: began.elapsed().as_secs(), lines };
    let file = file(part);
    fs::create_dir_all(file.parent().context("a folder in the target folder")?)?;
    fs::write(&file, serde_json::to_vec_pretty(&outcome)?)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(outcome)
}

/// Ends a part with everything that it has started.
fn end(group: Option<u32>) {
    let group = group.and_then(|it| i32::try_from(it).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself in this moment.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Checker, runs and faults in a line of a part's output.
fn proof(line: &str) -> Option<[String; 3]> {
    // The test harness may have begun the line.
    let (_, rest) = line.split_once(PROOF)?;
    let mut cells = rest.splitn(3, " | ").map(|cell| cell.trim().to_owned());
    Some([cells.next()?, cells.next().unwrap_or_default(), cells.next().unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proof_is_found_wherever_it_begins() {
        let cells = |line| proof(line).map(|cells| cells.join("/"));
        assert_eq!(cells("proof | model | 5 states | none").as_deref(), Some("model/5 states/none"));
        assert_eq!(cells("test a ... proof | a | 1 | b | c").as_deref(), Some("a/1/b | c"));
        assert_eq!(cells("proof | alone").as_deref(), Some("alone//"));
        assert_eq!(cells("no proof"), None);
    }
}
