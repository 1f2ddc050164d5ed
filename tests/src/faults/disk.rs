//! A server that cannot write any more: its process may make no file longer. nats-server takes that as it takes a full
//! disk (measured on 2.15.1 with a small tmpfs as well): what it is to store is not answered, the stream it was for
//! takes nothing any more, and once there is room again only a restart helps. It needs no rights, unlike a mount.

use std::fmt;

use anyhow::Context;
use requite_test::NatsServer;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use super::{Expected, Servers, Stage, stage::Running};
use crate::{
    entry::{Class, Step as RunStep},
    store::ask,
};

/// When the disk of the server that leads the records is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    BeforeTheCall,
    WhileItRuns,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    [Case::BeforeTheCall, Case::WhileItRuns].into_iter()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeTheCall => "disk full before the call",
            Self::WhileItRuns => "disk full while a request runs",
        })
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        let urls = stage.servers.urls();
        stage.join("first", &urls).await?;
        let caller = stage.caller().await?;
        let order = stage.bread();
        let runs = self == Self::WhileItRuns;
        let mut answer = None;
        if runs {
            answer = Some(stage.call(&caller, order.clone()));
            stage.reaches("first", "bread", RunStep::Start).await?;
        }
        let leader = leader(stage).await?;
        let name = self.to_string();
        stage.breaks(&name, &["first"]);
        let nothing = Rlimit { current: Some(0), maximum: None };
        limit(server(stage, leader), nothing)?;
        let classes: &[Class] = match stage.kind {
            Servers::One => &[Class::Unavailable, Class::Unknown],
            // The others are enough.
            Servers::Three => &[Class::Ok],
        };
        stage.in_vain(&caller, classes).await?;
        stage.ledger.open_gate();
        if runs {
            stage.reaches("first", "bread", RunStep::End).await?;
        }
        limit(server(stage, leader), Rlimit { current: None, maximum: None })?;
        server(stage, leader).restart().await?;
        stage.mended(&name);
        let answer = answer.unwrap_or_else(|| stage.call(&caller, order));
        answer.await?;
        // The outcome is kept for as long as the lease lasts.
        let most = if runs { 2 } else { 1 };
        Ok(Expected { runs: (1, most), attempt: (1, u32::try_from(most)?), ..Expected::value(1, 1) })
    }
}

/// Which server writes the records first.
async fn leader(stage: &Stage) -> anyhow::Result<usize> {
    let Running::Three(cluster) = &stage.servers else { return Ok(0) };
    let info = ask(&stage.nats, "$JS.API.STREAM.INFO.rq_OUT_silo", Value::Null).await?;
    let leads = |node: &NatsServer| info["cluster"]["leader"] == node.name();
    cluster.nodes().iter().position(leads).context("nobody leads the records")
}

fn server(stage: &mut Stage, at: usize) -> &mut NatsServer {
    match &mut stage.servers {
        Running::One(server) => server,
        Running::Three(cluster) => cluster.node_mut(at),
    }
}

/// How long the server's process may make a file.
fn limit(server: &NatsServer, bytes: Rlimit) -> anyhow::Result<()> {
    let pid = server.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    prlimit(Some(pid.context("the server runs")?), Resource::Fsize, bytes)?;
    Ok(())
}
