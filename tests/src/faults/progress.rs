//! A handler that says how far it is while something fails: whoever watches from the beginning goes on with what comes
//! later, and whoever begins to watch then sees the last, also while nobody is there to tell it.

use std::{fmt, time::Instant};

use anyhow::Context;
use data_encoding::BASE64;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    Expected, Servers, Stage,
    cluster::Of,
    network::{cut, mend, through, ways},
    stage::eventually,
};
use crate::{
    caller::{Order, What},
    entry::{Answer, Event, Life, Saw, Step},
    mill::{Job, Work},
    store::ask,
};

/// What happens while the handler reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Another one comes when somebody has begun to watch.
    WorkerKilled,
    /// SIGSTOP until another worker reports, then SIGCONT.
    WorkerFrozen,
    /// All the ways that are in use are cut.
    WorkerCut,
    /// The same.
    CallerCut,
    /// SIGKILL, and it comes back: the only one, or the one of three that leads the stream of records.
    ServerKilled,
}

pub(super) const CASES: [Case; 5] =
    [Case::WorkerKilled, Case::WorkerFrozen, Case::WorkerCut, Case::CallerCut, Case::ServerKilled];

/// Attempt and number.
type Report = (u32, u64);

/// Who watches.
struct Watcher {
    call: String,
    answer: JoinHandle<Answer>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerFrozen => "worker frozen past its lease",
            Self::WorkerCut => "worker's connection cut",
            Self::CallerCut => "caller's connection cut",
            Self::ServerKilled => "server of the records killed",
        };
        write!(f, "{fault} under progress")
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let watcher = self.reports(stage).await?;
        let (expected, late) = match self {
            Self::WorkerKilled => kill_a_worker(stage, &watcher).await?,
            Self::WorkerFrozen => freeze_a_worker(stage, &watcher).await?,
            Self::WorkerCut => self.cut_off_a_worker(stage, &watcher).await?,
            Self::CallerCut => self.cut_off_a_caller(stage, &watcher).await?,
            Self::ServerKilled => self.kill_a_server(stage, &watcher).await?,
        };
        stage.ledger.open_gate();
        for watcher in [watcher, late] {
            watcher.answer.await?;
        }
        Ok(expected)
    }

    /// Starts a worker and a call, and waits until some of its progress was told and stored.
    async fn reports(self, stage: &mut Stage) -> anyhow::Result<Watcher> {
        let urls = stage.servers.urls();
        stage.ways = ways(stage).await?;
        let ways = through(&stage.ways);
        stage.join("first", if self == Self::WorkerCut { &ways } else { &urls }).await?;
        let job = Job { name: "bread".to_owned(), work: Work::Report };
        let what = What::Run(job, Some("bread".to_owned()));
        let watcher = watch(stage, if self == Self::CallerCut { &ways } else { &urls }, what).await?;
        sees(stage, &watcher, (1, 1)).await?;
        eventually("progress is stored", async || stored(stage).await.is_ok()).await?;
        Ok(watcher)
    }

    async fn cut_off_a_worker(
        self,
        stage: &mut Stage,
        watcher: &Watcher,
    ) -> anyhow::Result<(Expected, Watcher)> {
        // Of three servers there is another one.
        let (name, costs) = (self.to_string(), stage.kind == Servers::One);
        stage.breaks(&name, if costs { &["first"] } else { &[] });
        let struck = cut(&stage.ways).await?;
        let late = attach(stage).await?;
        let last = if costs {
            is_told_what_is_stored(stage, &late).await?;
            let urls = stage.servers.urls();
            stage.join("second", &urls).await?;
            (2, 1)
        } else {
            newest(stage)?
        };
        for watcher in [watcher, &late] {
            sees(stage, watcher, last).await?;
        }
        if costs {
            stage.did_not_overlap("first", "second")?;
        }
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        let (attempt, _) = last;
        Ok((Expected::value(usize::try_from(attempt)?, attempt), late))
    }

    async fn cut_off_a_caller(
        self,
        stage: &mut Stage,
        watcher: &Watcher,
    ) -> anyhow::Result<(Expected, Watcher)> {
        let name = self.to_string();
        stage.breaks(&name, &[]);
        let struck = cut(&stage.ways).await?;
        let missed = newest(stage)?;
        if stage.kind == Servers::One {
            stage.outlast_a_lease().await;
            let last = told(stage, watcher).last().copied().unwrap_or_default();
            anyhow::ensure!(last <= missed, "told of {last:?} without a connection");
            mend(&stage.ways, &struck).await?;
        }
        let now = newest(stage)?;
        // Of three servers there is another one, and nothing has to be mended for that.
        sees(stage, watcher, now).await?;
        let late = attach(stage).await?;
        sees(stage, &late, now).await?;
        mend(&stage.ways, &struck).await?;
        stage.mended(&name);
        Ok((Expected::value(1, 1), late))
    }

    async fn kill_a_server(
        self,
        stage: &mut Stage,
        watcher: &Watcher,
    ) -> anyhow::Result<(Expected, Watcher)> {
        let (name, began, before) = (self.to_string(), Instant::now(), stored(stage).await?);
        stage.breaks(&name, &[]);
        let node = stage.kill_server_of(Of::Records).await?;
        stage.restart_server_of(Of::Records, node).await?;
        let most = stage.mended_in_time(&name, began, &["first"]);
        let kept = async || stored(stage).await.is_ok_and(|report| report >= before);
        eventually("what was stored is there", kept).await?;
        let (now, late) = (newest(stage)?, attach(stage).await?);
        for watcher in [watcher, &late] {
            sees(stage, watcher, now).await?;
        }
        Ok((stage.lasts(most).await?, late))
    }
}

async fn kill_a_worker(stage: &mut Stage, watcher: &Watcher) -> anyhow::Result<(Expected, Watcher)> {
    stage.ledger.worker("first", Life::Killed);
    stage.crew.remove("first").context("it was started before")?.kill().await?;
    let late = attach(stage).await?;
    is_told_what_is_stored(stage, &late).await?;
    let urls = stage.servers.urls();
    stage.join("second", &urls).await?;
    for watcher in [watcher, &late] {
        sees(stage, watcher, (2, 1)).await?;
    }
    Ok((Expected::value(2, 2), late))
}

async fn freeze_a_worker(stage: &mut Stage, watcher: &Watcher) -> anyhow::Result<(Expected, Watcher)> {
    stage.ledger.worker("first", Life::Frozen);
    stage.hand("first")?.signal(Signal::STOP);
    let urls = stage.servers.urls();
    stage.join("second", &urls).await?;
    sees(stage, watcher, (2, 1)).await?;
    let is_second = async || stored(stage).await.is_ok_and(|(attempt, _)| attempt == 2);
    eventually("progress of the second attempt is stored", is_second).await?;
    stage.ledger.worker("first", Life::Continued);
    stage.hand("first")?.signal(Signal::CONT);
    stage.reaches("first", "bread", Step::Drop).await?;
    let (now, late) = (newest(stage)?, attach(stage).await?);
    for watcher in [watcher, &late] {
        sees(stage, watcher, now).await?;
    }
    let (first, _) = told(stage, &late)[0];
    anyhow::ensure!(first == 2, "whoever came late was told of attempt {first} first");
    Ok((Expected::value(2, 2), late))
}

/// Calls, or attaches, and watches.
async fn watch(stage: &mut Stage, urls: &str, what: What) -> anyhow::Result<Watcher> {
    let order = Order { watches: true, ..stage.order(what) };
    let call = order.call.clone();
    let answer = stage.call(&stage.caller_at(urls).await?, order);
    Ok(Watcher { call, answer })
}

/// Somebody begins to watch now.
async fn attach(stage: &mut Stage) -> anyhow::Result<Watcher> {
    let urls = stage.servers.urls();
    watch(stage, &urls, What::AttachKey("bread".to_owned())).await
}

/// The reports of which a watcher was told so far.
fn told(stage: &Stage, watcher: &Watcher) -> Vec<Report> {
    let entries = stage.ledger.entries().into_iter();
    let reports = entries.filter_map(|it| match it.event {
        Event::Watched { call, saw: Saw::Report { attempt, number } } if call == watcher.call => {
            Some((attempt, number))
        }
        _ => None,
    });
    reports.collect()
}

/// Waits until a watcher was told this, or something later.
async fn sees(stage: &Stage, watcher: &Watcher, report: Report) -> anyhow::Result<()> {
    let sees = async || told(stage, watcher).iter().any(|it| *it >= report);
    eventually(&format!("{} is told of {report:?}", watcher.call), sees).await
}

/// The last that a handler has reported.
fn newest(stage: &Stage) -> anyhow::Result<Report> {
    let entries = stage.ledger.entries().into_iter();
    let reports = entries.filter_map(|it| match it.event {
        Event::Reported(report) => Some((report.attempt, report.number)),
        _ => None,
    });
    reports.max().context("something was reported")
}

/// Nobody is there to tell it: what a watcher sees first is what is stored.
async fn is_told_what_is_stored(stage: &Stage, watcher: &Watcher) -> anyhow::Result<()> {
    sees(stage, watcher, (1, 1)).await?;
    let (told, stored) = (told(stage, watcher), stored(stage).await?);
    anyhow::ensure!(told == [stored], "{told:?} was told, and {stored:?} is stored");
    Ok(())
}

/// The progress that is stored.
async fn stored(stage: &Stage) -> anyhow::Result<Report> {
    #[derive(Deserialize)]
    struct Stored {
        attempt: u32,
        report: Number,
    }
    #[derive(Deserialize)]
    struct Number {
        number: u64,
    }
    let subject = format!("$JS.API.STREAM.MSG.GET.{}", stage.kind.stream("OUT"));
    let last = json!({ "last_by_subj": format!("rq.pgr.{}.*.*.*", stage.kind.service()) });
    let answer = ask(&stage.nats, &subject, last).await?;
    let body = answer["message"]["data"].as_str().unwrap_or_default();
    let stored: Stored = rmp_serde::from_slice(&BASE64.decode(body.as_bytes())?)?;
    Ok((stored.attempt, stored.report.number))
}
