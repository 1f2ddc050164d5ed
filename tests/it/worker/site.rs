//! Where a test takes place: a server or a proxy before it, a namespace, a ledger, and a connection that knows nothing
//! of Requite.

use std::{
    future::IntoFuture,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use requite::{Client, RunningServer, Server, Service, StreamLimits, async_nats};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use tests::{
    entry::Step,
    ledger::{Ledger, Seen},
    mill::{Flour, Job, Mill, MillClient, MillError, Silo, Work},
    process::Process,
    role::Role,
};

/// Nothing that a test waits for takes this long, unless it never comes.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How long an answer of the server may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What a call of a mill comes to.
pub(super) type Answer = Result<Flour, requite::CallError<MillError>>;

/// A test's own namespace on a server.
pub(super) struct Site {
    pub(super) url: String,
    namespace: String,
    pub(super) ledger: Ledger,
    /// A connection for looking behind Requite's back.
    pub(super) nats: async_nats::Client,
    _folder: TempDir,
}

impl Site {
    /// A site on the server at `url`, where no other has this namespace.
    pub(super) async fn new(url: &str, namespace: &str) -> Self {
        let spy = Client::builder().url(url).caller("spy").connect().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            url: url.to_owned(),
            namespace: namespace.to_owned(),
            ledger: Ledger::at(folder.path().join("ledger")),
            nats: spy.nats().unwrap().clone(),
            _folder: folder,
        }
    }

    pub(super) async fn client(&self, url: &str) -> Client {
        let builder = Client::builder().url(url).namespace(&self.namespace);
        builder.caller("shop").connect().await.unwrap()
    }

    pub(super) async fn caller(&self) -> MillClient {
        MillClient::new(self.client(&self.url).await)
    }

    pub(super) fn mill(&self, worker: &str) -> Mill {
        Mill { worker: worker.to_owned(), ledger: self.ledger.clone() }
    }

    pub(super) fn silo(&self, worker: &str) -> Silo {
        Silo { worker: worker.to_owned(), ledger: self.ledger.clone() }
    }

    /// A server with a connection of its own.
    pub(super) async fn server(&self, url: &str, service: impl Service) -> Server {
        // What streams may take is reserved when they are made, and some tests make many.
        let mut limits = StreamLimits::default();
        (limits.queued_bytes, limits.record_bytes, limits.dead_letter_bytes) = (64 << 20, 64 << 20, 8 << 20);
        Server::new(&self.client(url).await).serve(service).limits(limits)
    }

    /// A worker in this process.
    pub(super) async fn worker(&self, name: &str) -> RunningServer {
        self.server(&self.url, self.mill(name)).await.start().await.unwrap()
    }

    /// A worker in a process of its own, when the streams are there that it makes.
    pub(super) async fn process(&self, name: &str, drain: Duration) -> Process {
        let process = self.process_of("mill", name, drain);
        eventually("somebody pulls", async || {
            self.consumer("patient").await["num_waiting"].as_u64() > Some(0)
        })
        .await;
        process
    }

    /// A worker of another service, in a process that has just been started.
    pub(super) fn process_of(&self, service: &str, name: &str, drain: Duration) -> Process {
        let role = Role::Worker {
            url: self.url.clone(),
            namespace: self.namespace.clone(),
            service: service.to_owned(),
            name: name.to_owned(),
            ledger: self.ledger.path().to_string_lossy().into_owned(),
            drain,
        };
        Process::start(Path::new(env!("CARGO_BIN_EXE_mill-process")), &role, Stdio::inherit()).unwrap()
    }

    /// What the server says to a request of its API, errors included. Servers that elect a leader say nothing, and this
    /// connection waits for ever: so it is asked again.
    pub(super) async fn ask(&self, subject: &str, body: impl ToString) -> Value {
        let (body, deadline) = (Bytes::from(body.to_string()), Instant::now() + PATIENCE);
        loop {
            let asked = self.nats.request(subject.to_owned(), body.clone());
            match tokio::time::timeout(ANSWER, asked).await {
                Ok(answer) => return serde_json::from_slice(&answer.unwrap().payload).unwrap(),
                Err(_) => assert!(Instant::now() < deadline, "no answer: {subject}"),
            }
        }
    }

    /// What a subscription of this connection has heard by now, and did not tell before.
    pub(super) async fn heard(&self, messages: &mut async_nats::Subscriber) -> Vec<async_nats::Message> {
        // What the server sent before this answer is here when the answer is.
        self.ask("$JS.API.INFO", "").await;
        std::iter::from_fn(|| messages.next().now_or_never().flatten()).collect()
    }

    /// The name of one of a service's streams: `REQ`, `OUT` or `DEAD`.
    pub(super) fn stream_name(&self, kind: &str, service: &str) -> String {
        format!("{}_{kind}_{service}", self.namespace)
    }

    pub(super) async fn stream(&self, kind: &str) -> Value {
        self.ask(&format!("$JS.API.STREAM.INFO.{}", self.stream_name(kind, "mill")), "").await
    }

    /// How many checkpoints of a service are stored.
    pub(super) async fn checkpoints(&self, service: &str) -> usize {
        let filter = serde_json::json!({ "subjects_filter": format!("{}.chk.>", self.namespace) });
        let stream = self.stream_name("OUT", service);
        let info = self.ask(&format!("$JS.API.STREAM.INFO.{stream}"), filter).await;
        info["state"]["subjects"].as_object().map_or(0, serde_json::Map::len)
    }

    pub(super) async fn consumer(&self, method: &str) -> Value {
        let stream = self.stream_name("REQ", "mill");
        self.ask(&format!("$JS.API.CONSUMER.INFO.{stream}.{method}"), "").await
    }

    /// Changes a method's lease at the server, as an operator might.
    pub(super) async fn set_ack_wait(&self, method: &str, ack_wait: Duration) {
        let mut config = self.consumer(method).await["config"].take();
        config["ack_wait"] = u64::try_from(ack_wait.as_nanos()).unwrap().into();
        let stream = self.stream_name("REQ", "mill");
        let body = serde_json::json!({ "stream_name": stream, "config": config, "action": "update" });
        let answer = self.ask(&format!("$JS.API.CONSUMER.CREATE.{stream}.{method}"), body).await;
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Asserts that the server gave out so many requests of a method, each once.
    pub(super) async fn assert_delivered_once(&self, method: &str, count: usize) {
        let consumer = self.consumer(method).await;
        assert_eq!(consumer["num_redelivered"], 0, "{consumer}");
        // Every delivery counts, also of requests that are settled by now.
        assert_eq!(consumer["delivered"]["consumer_seq"], count, "{consumer}");
    }

    /// Waits until every request is settled: acked and gone.
    pub(super) async fn settled(&self) {
        eventually("every request is settled", async || self.stream("REQ").await["state"]["messages"] == 0)
            .await;
    }

    /// Dead letters that are stored.
    pub(super) async fn dead_letters(&self) -> u64 {
        self.stream("DEAD").await["state"]["messages"].as_u64().unwrap()
    }

    /// What the ledger says of a job, as `worker step attempt`.
    pub(super) fn story(&self, job: &str) -> Vec<String> {
        let tell = |it: &Seen| format!("{} {:?} {}", it.worker, it.step, it.attempt);
        self.ledger.runs().iter().filter(|it| it.job == job).map(tell).collect()
    }

    pub(super) fn count(&self, step: Step) -> usize {
        self.ledger.runs().iter().filter(|it| it.step == step).count()
    }

    /// Waits until a worker has come to this step of a job, and returns the line.
    pub(super) async fn reaches(&self, worker: &str, job: &str, step: Step) -> Seen {
        let find = || {
            let mut runs = self.ledger.runs().into_iter();
            runs.find(|it| it.worker == worker && it.job == job && it.step == step)
        };
        eventually(&format!("{worker} comes to {step:?} of {job}"), async || find().is_some()).await;
        find().unwrap()
    }
}

/// A job.
pub(super) fn job(name: impl ToString, work: Work) -> Job {
    Job { name: name.to_string(), work }
}

/// Makes a call beside the test.
pub(super) fn call<T, E>(
    call: requite::Call<T, E>,
) -> tokio::task::JoinHandle<Result<T, requite::CallError<E>>>
where
    requite::Call<T, E>: IntoFuture<Output = Result<T, requite::CallError<E>>, IntoFuture: Send + 'static>,
    T: Send + 'static,
    E: Send + 'static,
{
    tokio::spawn(call.into_future())
}

/// Makes so many calls at once.
pub(super) fn calls(
    count: usize,
    make: impl Fn(usize) -> requite::Call<Flour, MillError>,
) -> JoinSet<Answer> {
    (0..count).map(|n| make(n).deadline(PATIENCE).into_future()).collect()
}

/// Waits for a condition that nothing announces.
pub(super) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many barriers were answered to each.
pub(super) fn barriers_of<const N: usize>(workers: [&RunningServer; N]) -> [u64; N] {
    workers.map(|it| it.stats().barriers)
}

/// Waits until the leases of every worker that runs something were renewed so often.
pub(super) async fn renewed<const N: usize>(workers: [&RunningServer; N], before: [u64; N], times: u64) {
    let is_renewed = |(worker, before): (&RunningServer, u64)| {
        let stats = worker.stats();
        stats.runs == stats.outcomes || stats.barriers >= before + times
    };
    eventually("the leases are renewed", async || workers.into_iter().zip(before).all(is_renewed)).await;
}
