//! An operator who takes something away that nobody may touch: streams, a consumer, its settings, a user. Here the
//! promises rest on nothing; what is left is that everybody says what is wrong, that nothing is made again behind the
//! operator's back, and that all goes on once he has it set up again.

use std::{fmt, time::Duration};

use anyhow::{bail, ensure};
use requite::{Client, ConnectError};
use requite_test::{NatsCluster, NatsServer};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    Expected, Servers, Stage,
    stage::{Running, eventually},
};
use crate::{
    caller::{Caller, Order, What},
    entry::{Answer, Class, Step as RunStep},
    mill::{Job, Work},
    store::{ask, queued},
};

/// Everybody who says nothing is `keep`.
const BOTH: &str = r#"
no_auth_user: keep
authorization { users: [{ user: "keep", password: "x" }, { user: "baker", password: "x" }] }
"#;
/// Without the baker.
const ONE: &str = r#"
no_auth_user: keep
authorization { users: [{ user: "keep", password: "x" }] }
"#;
/// How long a call waits that is not answered.
const IN_VAIN: Duration = Duration::from_secs(40);
/// Shorter than any lease.
const LOWERED: Duration = Duration::from_secs(1);

/// What is taken away while a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Requests,
    Records,
    DeadLetters,
    Consumer,
    /// The consumer's `ack_wait` is lowered.
    AckWait,
    /// The user of a worker.
    Worker,
    /// The user of a caller.
    Caller,
}

pub(super) fn cases() -> impl Iterator<Item = Case> {
    use Case::{AckWait, Caller, Consumer, DeadLetters, Records, Requests, Worker};
    [Requests, Records, DeadLetters, Consumer, AckWait, Worker, Caller].into_iter()
}

/// Servers with a user who can be taken away.
pub(super) async fn servers(kind: Servers) -> anyhow::Result<Running> {
    Ok(match kind {
        Servers::One => Running::One(Box::new(NatsServer::builder().config(BOTH).start().await?)),
        Servers::Three => Running::Three(NatsCluster::builder().config(BOTH).start(3).await?),
    })
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "stream of the requests deleted while one runs",
            Self::Records => "stream of the records deleted while a request runs",
            Self::DeadLetters => "stream of the dead letters deleted before a handler panics",
            Self::Consumer => "consumer deleted while a request runs",
            Self::AckWait => "consumer's ack_wait lowered while a request runs",
            Self::Worker => "worker's user revoked while a request runs",
            Self::Caller => "caller's user revoked while its request runs",
        })
    }
}

impl Case {
    pub(super) async fn play(self, stage: &mut Stage) -> anyhow::Result<Expected> {
        match self {
            Self::Requests => requests(stage, self).await,
            Self::Records => records(stage, self).await,
            Self::DeadLetters => dead_letters(stage, self).await,
            Self::Consumer => consumer(stage, self).await,
            Self::AckWait => ack_wait(stage, self).await,
            Self::Worker => worker(stage, self).await,
            Self::Caller => caller(stage, self).await,
        }
    }
}

async fn requests(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    let (caller, mut order) = (stage.caller().await?, stage.bread());
    order.deadline = IN_VAIN;
    let answer = runs_at(stage, &urls, &caller, order).await?;

    stage.breaks(&case.to_string(), &["first"]);
    let stream = stage.kind.stream("REQ");
    delete(stage, &format!("STREAM.DELETE.{stream}")).await?;
    let refused = stage.in_vain(&caller, &[Class::Unavailable]).await?;
    ensure!(refused.reason.contains("no stream"), "{refused:?}");
    stage.reaches("first", "bread", RunStep::Drop).await?;
    let answer = answer.await?;
    ensure!(answer.class == Class::Unknown, "its request is gone, and it was answered {answer:?}");
    stays_away(stage, &format!("STREAM.INFO.{stream}")).await?;
    stage.still_lives("first")?;

    stage.join("second", &urls).await?;
    stage.mended(&case.to_string());
    stage.ledger.open_gate();
    let order = stage.bread();
    stage.call(&caller, order).await?;
    stage.serves_again(&caller, "first").await?;
    Ok(Expected::value(2, 2))
}

async fn records(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    let (caller, order) = (stage.caller().await?, stage.bread());
    let answer = runs_at(stage, &urls, &caller, order).await?;

    stage.breaks(&case.to_string(), &["first"]);
    let stream = stage.kind.stream("OUT");
    delete(stage, &format!("STREAM.DELETE.{stream}")).await?;
    stage.ledger.open_gate();
    stage.reaches("first", "bread", RunStep::End).await?;
    // It runs, and nobody can say how it ends.
    stage.in_vain(&caller, &[Class::Unknown]).await?;
    stays_away(stage, &format!("STREAM.INFO.{stream}")).await?;
    stage.still_lives("first")?;

    // Records are written under a secret of the stream's: whoever knows the old one has to be started again.
    stage.join("second", &urls).await?;
    stage.gives_up("first").await?;
    // Fencing tokens are sequences of the stream, and begin anew with it: what is stored first takes the old ones.
    stage.serves_again(&caller, "second").await?;
    stage.mended(&case.to_string());
    answer.await?;
    Ok(Expected { attempt: (2, 3), ..Expected::value(2, 2) })
}

async fn dead_letters(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    stage.join("first", &urls).await?;
    let caller = stage.caller().await?;
    stage.breaks(&case.to_string(), &[]);
    let stream = stage.kind.stream("DEAD");
    delete(stage, &format!("STREAM.DELETE.{stream}")).await?;
    let job = Job { name: "bread".to_owned(), work: Work::Panic };
    let order = stage.order(What::Run(job, Some("bread".to_owned())));
    let answer = stage.call(&caller, order);
    stage.reaches("first", "bread", RunStep::Drop).await?;
    // It waits for its grave, and nobody waits for it.
    stage.outlast_a_lease().await;
    stage.serves_again(&caller, "first").await?;
    eventually("nothing else is left", async || {
        queued(&stage.nats, stage.kind.service()).await.is_ok_and(|left| left.len() == 1)
    })
    .await?;
    ensure!(!answer.is_finished(), "it is not buried yet");
    stays_away(stage, &format!("STREAM.INFO.{stream}")).await?;

    stage.join("second", &urls).await?;
    stage.mended(&case.to_string());
    answer.await?;
    Ok(Expected { class: Class::Aborted, ..Expected::value(1, 1) })
}

async fn consumer(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    let (caller, order) = (stage.caller().await?, stage.bread());
    let answer = runs_at(stage, &urls, &caller, order).await?;

    stage.breaks(&case.to_string(), &["first"]);
    let consumer = consumer_of(stage);
    delete(stage, &format!("CONSUMER.DELETE.{consumer}")).await?;
    stage.reaches("first", "bread", RunStep::Drop).await?;
    // Accepted, and given to nobody.
    stage.in_vain(&caller, &[Class::Unknown]).await?;
    stays_away(stage, &format!("CONSUMER.INFO.{consumer}")).await?;
    stage.still_lives("first")?;

    stage.join("second", &urls).await?;
    stage.mended(&case.to_string());
    stage.ledger.open_gate();
    answer.await?;
    stage.serves_again(&caller, "first").await?;
    Ok(Expected::value(2, 2))
}

async fn ack_wait(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let urls = stage.servers.urls();
    let (caller, order) = (stage.caller().await?, stage.bread());
    let answer = runs_at(stage, &urls, &caller, order).await?;
    stage.join("second", &urls).await?;

    stage.breaks(&case.to_string(), &[]);
    let consumer = consumer_of(stage);
    let info = ask(&stage.nats, &format!("$JS.API.CONSUMER.INFO.{consumer}"), Value::Null).await?;
    let mut config = info["config"].clone();
    config["ack_wait"] = json!(u64::try_from(LOWERED.as_nanos())?);
    let change = format!(
        "$JS.API.CONSUMER.CREATE.{consumer}.{}",
        config["filter_subject"].as_str().unwrap_or_default()
    );
    let change = ask(
        &stage.nats,
        &change,
        json!({ "stream_name": stage.kind.stream("REQ"), "config": config, "action": "update" }),
    );
    change.await?;
    // It goes back and forth between workers, and its owner is asked each time.
    stage.outlast_a_lease().await;
    let crumb = stage.crumb();
    ensure!(caller.call(crumb).await.class == Class::Ok, "the others are served as before");

    stage.join("third", &urls).await?;
    let info = ask(&stage.nats, &format!("$JS.API.CONSUMER.INFO.{consumer}"), Value::Null).await?;
    let lease = u64::try_from(stage.kind.lease().as_nanos())?;
    ensure!(info["config"]["ack_wait"] == lease, "set-up has not raised it again: {info}");
    stage.mended(&case.to_string());
    stage.outlast_a_lease().await;
    stage.ledger.open_gate();
    answer.await?;
    Ok(Expected::value(1, 1))
}

async fn worker(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let (urls, bakers) = (stage.servers.urls(), as_baker(stage));
    let (caller, order) = (stage.caller().await?, stage.bread());
    let answer = runs_at(stage, &bakers, &caller, order).await?;
    stage.join("second", &urls).await?;

    stage.breaks(&case.to_string(), &["first"]);
    reload(stage, ONE).await?;
    stage.reaches("second", "bread", RunStep::Start).await?;
    stage.did_not_overlap("first", "second")?;
    stage.still_lives("first")?;
    nobody_connects(&bakers).await?;
    stage.ledger.open_gate();
    answer.await?;
    reload(stage, BOTH).await?;
    stage.mended(&case.to_string());
    stage.leave("second").await?;
    stage.serves_again(&caller, "first").await?;
    Ok(Expected::value(2, 2))
}

async fn caller(stage: &mut Stage, case: Case) -> anyhow::Result<Expected> {
    let (urls, bakers) = (stage.servers.urls(), as_baker(stage));
    let (caller, order) = (stage.caller_at(&bakers).await?, stage.bread());
    let answer = runs_at(stage, &urls, &caller, order).await?;

    stage.breaks(&case.to_string(), &[]);
    reload(stage, ONE).await?;
    let refused = stage.in_vain(&caller, &[Class::Unavailable, Class::Unknown]).await?;
    ensure!(refused.reason.contains("credentials"), "{refused:?}");
    nobody_connects(&bakers).await?;
    stage.ledger.open_gate();
    stage.reaches("first", "bread", RunStep::End).await?;
    reload(stage, BOTH).await?;
    stage.mended(&case.to_string());
    answer.await?;
    Ok(Expected::value(1, 1))
}

/// Starts the first worker at these addresses, and makes a call of `bread` that it runs.
async fn runs_at(
    stage: &mut Stage,
    urls: &str,
    caller: &Caller,
    order: Order,
) -> anyhow::Result<JoinHandle<Answer>> {
    stage.join("first", urls).await?;
    let answer = stage.call(caller, order);
    stage.reaches("first", "bread", RunStep::Start).await?;
    Ok(answer)
}

/// The consumer of the plain method, as the API names it.
fn consumer_of(stage: &Stage) -> String {
    format!("{}.{}", stage.kind.stream("REQ"), stage.kind.method())
}

async fn delete(stage: &Stage, what: &str) -> anyhow::Result<()> {
    ask(&stage.nats, &format!("$JS.API.{what}"), Value::Null).await.map(drop)
}

/// What was deleted is not there, and was not made again by anybody who misses it.
async fn stays_away(stage: &Stage, info: &str) -> anyhow::Result<()> {
    match ask(&stage.nats, &format!("$JS.API.{info}"), Value::Null).await {
        Err(error) if error.to_string().contains("not found") => Ok(()),
        Err(error) => Err(error),
        Ok(found) => bail!("somebody made it again: {found}"),
    }
}

fn as_baker(stage: &Stage) -> String {
    stage.servers.urls().replace("nats://", "nats://baker:x@")
}

async fn reload(stage: &mut Stage, users: &str) -> anyhow::Result<()> {
    match &mut stage.servers {
        Running::One(server) => server.reload(users).await?,
        Running::Three(cluster) => {
            for node in 0..3 {
                cluster.node_mut(node).reload(users).await?;
            }
        }
    }
    Ok(())
}

/// Whoever comes with these credentials is told what is wrong.
async fn nobody_connects(urls: &str) -> anyhow::Result<()> {
    match Client::builder().url(urls).connect().await {
        Err(ConnectError::Unauthorized { .. }) => Ok(()),
        Err(other) => bail!("{other:?}"),
        Ok(_) => bail!("the user is not known any more, and is let in"),
    }
}
