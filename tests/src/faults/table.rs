//! The table as it is run: some rows at a time, a line for each, a line for all.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{Report, Row, Servers};

/// A row that was played.
#[derive(Debug)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub report: anyhow::Result<Report>,
}

impl Line {
    /// Whether the row holds.
    pub fn holds(&self) -> bool {
        self.report.as_ref().is_ok_and(|report| report.broken.is_empty())
    }

    /// The row as text: what was seen, or what is wrong.
    pub fn text(&self) -> String {
        let (verdict, rest) = match &self.report {
            Ok(report) if report.broken.is_empty() => ("holds ", report.counts.to_string()),
            Ok(report) => ("BROKEN", format!("{}\n    {}", report.counts, report.broken.join("\n    "))),
            Err(error) => ("BROKEN", format!("{error:#}")),
        };
        format!("{verdict} | {} | {:.0} s | {rest}", self.name, self.took.as_secs_f64())
    }
}

/// Plays rows, so many at a time; each is told when it is over.
pub async fn play(rows: Vec<Row>, program: &Path, at_once: usize, told: impl Fn(&Line)) -> Vec<Line> {
    let places = Arc::new(Semaphore::new(at_once));
    let mut playing: JoinSet<Line> = JoinSet::new();
    for row in rows {
        let (places, program) = (Arc::clone(&places), program.to_owned());
        playing.spawn(async move {
            let _place = places.acquire_owned().await.expect("nobody closes it");
            line(row, program).await
        });
    }
    let mut lines = Vec::new();
    while let Some(played) = playing.join_next().await {
        let line = played.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        told(&line);
        lines.push(line);
    }
    lines
}

async fn line(row: Row, program: PathBuf) -> Line {
    let (began, name) = (Instant::now(), row.to_string());
    // On a runtime of its own: rows that run side by side do not wait for each other's turns.
    let played = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(row.play(&program))
    });
    let report = played.await.unwrap_or_else(|panic| Err(anyhow::anyhow!("the row panicked: {panic}")));
    Line { name, took: began.elapsed(), report }
}

/// The line for all, in the form that everything which proves something prints.
pub fn proof(lines: &[Line]) -> String {
    let sum = |of: fn(&Report) -> u64| -> u64 {
        lines.iter().filter_map(|it| it.report.as_ref().ok()).map(of).sum()
    };
    format!(
        "proof | single faults | {} rows | {} broken, {} second runs, {} redeliveries, {} re-attached",
        lines.len(),
        lines.iter().filter(|line| !line.holds()).count(),
        sum(|it| it.counts.second_runs),
        sum(|it| it.counts.redeliveries),
        sum(|it| it.counts.reattached),
    )
}

/// The rows of today: other ones every day, so many on one server and so many on three.
pub fn of_today(mut rows: Vec<Row>, one: usize, three: usize) -> Vec<Row> {
    let day = today();
    rows.sort_by_cached_key(|row| {
        let mut hasher = DefaultHasher::new();
        (day, row.to_string()).hash(&mut hasher);
        hasher.finish()
    });
    let on = |servers, count| rows.iter().filter(move |row| row.servers == servers).take(count).cloned();
    // The long ones first.
    on(Servers::Three, three).chain(on(Servers::One, one)).collect()
}

/// The days since 1970.
pub fn today() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is over");
    now.as_secs() / (24 * 60 * 60)
}
