//! Where a row takes place: servers, a ledger, workers and callers as processes, each behind a proxy that can be trapped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use requite::{Client, async_nats};
use requite_test::{NatsCluster, NatsServer, Proxy};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{Expected, Report, check};
use crate::{
    caller::{Caller, Order, What},
    checker,
    entry::{Answer, Entry, Event, Life, Step},
    ledger::Ledger,
    mill::{Job, Work},
    process::Process,
    role::Role,
    store::{Store, Tap, queued},
};

/// Nothing that a row waits for takes this long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long everything may take to come to its end, with more room than the promise has.
const DRAIN: Duration = Duration::from_secs(75);
/// How long a worker's handlers may go on after SIGTERM.
const LET_GO: Duration = Duration::from_secs(2);
/// How long a call waits for its answer.
const DEADLINE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);
/// How many lines of a process's log an error tells.
const LAST_WORDS: usize = 8;

/// How many servers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// One, and the shortest lease that is allowed.
    One,
    /// Three that replicate, and the shortest lease that is allowed there.
    Three,
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one server",
            Self::Three => "three servers",
        })
    }
}

/// The servers of a stage.
#[derive(Debug)]
pub enum Running {
    /// One.
    One(Box<NatsServer>),
    /// Three.
    Three(NatsCluster),
}

/// Everything that a row needs.
pub struct Stage {
    /// How many servers there are.
    pub kind: Servers,
    /// What runs.
    pub servers: Running,
    /// What was seen.
    pub ledger: Ledger,
    /// A connection for looking behind Requite's back.
    pub nats: async_nats::Client,
    /// Every record that was stored.
    pub tap: Tap,
    /// Workers without a proxy of their own.
    pub crew: BTreeMap<String, Process>,
    /// What callers and crew pass through; kept to the end, like them.
    pub ways: Vec<Proxy>,
    workers: BTreeMap<String, Worker>,
    calls: usize,
    copied: BTreeSet<String>,
    program: PathBuf,
    folder: TempDir,
}

/// What it takes to start more processes.
#[derive(Clone, Debug)]
pub struct Place {
    /// How many servers there are.
    pub kind: Servers,
    /// What was seen.
    pub ledger: Ledger,
    url: String,
    program: PathBuf,
    logs: PathBuf,
}

impl Place {
    /// A caller in a process of its own.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_caller(&self) -> anyhow::Result<Process> {
        let role = Role::Caller {
            url: self.url.clone(),
            namespace: "rq".to_owned(),
            service: self.kind.service().to_owned(),
            name: "shop".to_owned(),
            ledger: self.ledger.path().to_string_lossy().into_owned(),
        };
        self.start("callers", &role)
    }

    fn start_worker(&self, name: &str) -> anyhow::Result<Process> {
        let role = Role::Worker {
            url: self.url.clone(),
            namespace: "rq".to_owned(),
            service: self.kind.service().to_owned(),
            name: name.to_owned(),
            ledger: self.ledger.path().to_string_lossy().into_owned(),
            drain: LET_GO,
        };
        self.start(name, &role)
    }

    fn start(&self, name: &str, role: &Role) -> anyhow::Result<Process> {
        let log = File::options().create(true).append(true).open(self.log(name))?;
        Process::start(&self.program, role, Stdio::from(log))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// What a process last said, for people.
    fn last_words(&self, name: &str) -> String {
        let log = fs::read(self.log(name)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        match &lines[lines.len().saturating_sub(LAST_WORDS)..] {
            [] => format!("{name} has said nothing"),
            last => format!("{name} said last:\n{}", last.join("\n")),
        }
    }
}

/// A worker's process behind its proxy.
pub struct Worker {
    /// The process.
    pub process: Process,
    /// What both of its connections pass through.
    pub proxy: Proxy,
}

impl Stage {
    /// Starts servers; every process of the stage is `program` in another role.
    ///
    /// # Errors
    ///
    /// When they do not start.
    pub async fn open(kind: Servers, program: &Path) -> anyhow::Result<Self> {
        let servers = match kind {
            Servers::One => Running::One(Box::new(NatsServer::start().await?)),
            Servers::Three => Running::Three(NatsCluster::start(3).await?),
        };
        Self::open_at(servers, program).await
    }

    /// A stage on servers that run.
    ///
    /// # Errors
    ///
    /// When they cannot be reached.
    pub async fn open_at(servers: Running, program: &Path) -> anyhow::Result<Self> {
        let kind = match servers {
            Running::One(_) => Servers::One,
            Running::Three(_) => Servers::Three,
        };
        let folder = tempfile::Builder::new().prefix("requite-faults-").tempdir()?;
        let spy = Client::builder().url(servers.urls()).caller("spy").connect().await?;
        let nats = spy.nats().context("a connection to a server")?.clone();
        Ok(Self {
            tap: Tap::open(&nats, kind.service()).await?,
            kind,
            servers,
            ledger: Ledger::at(folder.path().join("ledger")),
            nats,
            crew: BTreeMap::new(),
            ways: Vec::new(),
            workers: BTreeMap::new(),
            calls: 0,
            copied: BTreeSet::new(),
            program: program.to_owned(),
            folder,
        })
    }

    /// A proxy before the first server that reads what passes.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn proxy(&self) -> anyhow::Result<Proxy> {
        let port = match &self.servers {
            Running::One(server) => server.port(),
            Running::Three(cluster) => cluster.node(0).port(),
        };
        Ok(Proxy::start_reading(([127, 0, 0, 1], port).into()).await?)
    }

    /// Starts a worker behind a proxy of its own, and waits until it serves.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn worker(&mut self, name: &str) -> anyhow::Result<&mut Worker> {
        let proxy = self.proxy().await?;
        let process = self.process_at(&proxy.url(), name).await?;
        let worker = Worker { process, proxy };
        Ok(self.workers.entry(name.to_owned()).insert_entry(worker).into_mut())
    }

    /// Starts a worker at these addresses, and waits until it serves.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn process_at(&self, url: &str, name: &str) -> anyhow::Result<Process> {
        let (place, until) = (self.place(url), Instant::now() + PATIENCE);
        let mut process = place.start_worker(name)?;
        let started = Event::Worker { worker: name.to_owned(), life: Life::Started };
        while !self.ledger.entries().iter().any(|it| it.event == started) {
            if let Some(status) = process.has_ended()? {
                bail!("{name} ended with {status} before it served; {}", place.last_words(name));
            }
            if Instant::now() >= until {
                bail!("{name} runs and still does not serve; {}", place.last_words(name));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(process)
    }

    /// Where to start processes that connect to these addresses.
    pub fn place(&self, url: &str) -> Place {
        Place {
            kind: self.kind,
            ledger: self.ledger.clone(),
            url: url.to_owned(),
            program: self.program.clone(),
            logs: self.folder.path().to_owned(),
        }
    }

    /// A worker that was started.
    pub fn worker_called(&mut self, name: &str) -> &mut Worker {
        self.workers.get_mut(name).expect("it was started before")
    }

    /// Takes a worker out, to wait for its end.
    pub fn take_worker(&mut self, name: &str) -> Worker {
        self.workers.remove(name).expect("it was started before")
    }

    /// A caller in this process.
    ///
    /// # Errors
    ///
    /// When it cannot connect.
    pub async fn caller(&self) -> anyhow::Result<Caller> {
        let client = Client::builder().url(self.servers.urls()).caller("shop").connect().await?;
        Ok(Caller::new(client, self.kind.service(), &self.ledger))
    }

    /// A call of the plain method.
    pub fn order(&mut self, what: What) -> Order {
        self.calls += 1;
        let call = format!("call {}", self.calls);
        Order::new(call, self.kind.method(), what, DEADLINE)
    }

    /// The request that the row is about: `bread`, which waits at the gate, under a key, so that it is claimed before it
    /// starts.
    pub fn bread(&mut self) -> Order {
        self.order(What::Run(Job { name: "bread".to_owned(), work: Work::Gate }, Some("bread".to_owned())))
    }

    /// Makes a call beside the row.
    pub fn call(&self, caller: &Caller, order: Order) -> JoinHandle<Answer> {
        let caller = caller.clone();
        tokio::spawn(async move { caller.call(order).await })
    }

    /// Waits until a worker has come to this step of a job.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn reaches(&self, worker: &str, job: &str, step: Step) -> anyhow::Result<()> {
        let reached = eventually(&format!("{worker} comes to {step:?} of {job}"), async || {
            self.ledger.runs().iter().any(|it| it.worker == worker && it.job == job && it.step == step)
        })
        .await;
        reached.with_context(|| self.place("").last_words(worker))
    }

    /// Waits until a caller knows that its call is accepted.
    ///
    /// # Errors
    ///
    /// When it does not come to that.
    pub async fn accepted(&self, name: &str) -> anyhow::Result<()> {
        let is_it = |event: &Event| matches!(event, Event::Accepted { call, .. } if call == name);
        eventually("the call is accepted", async || self.ledger.entries().iter().any(|it| is_it(&it.event)))
            .await
    }

    /// Waits until no request is stored any more.
    ///
    /// # Errors
    ///
    /// When one stays.
    pub async fn settled(&self) -> anyhow::Result<()> {
        eventually("every request is settled", async || {
            queued(&self.nats, self.kind.service()).await.is_ok_and(|queued| queued.is_empty())
        })
        .await
    }

    /// Waits for the end of everything, and holds the promises and the row's own expectation against what happened.
    ///
    /// # Errors
    ///
    /// When the streams cannot be read.
    pub async fn judge(mut self, expected: &Expected) -> anyhow::Result<Report> {
        self.drain().await;
        let store = self.store().await?;
        let entries = self.ledger.entries();
        let mut report = check(&checker::Case::new(&entries, &store, self.kind.lease()));
        let runs = self.ledger.runs();
        let started = runs.iter().filter(|it| it.job == "bread" && it.step == Step::Start).count();
        report.broken.extend(expected.compare(started, last_answer(&entries)));
        if !report.broken.is_empty() {
            report.broken.push(self.keep());
        }
        Ok(report)
    }

    /// What the servers hold.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn store(&mut self) -> anyhow::Result<Store> {
        // After an election of the servers' own it may take a while until every question is answered.
        let until = Instant::now() + PATIENCE;
        let mut store = loop {
            match Store::read(&self.nats, self.kind.service(), &self.tap).await {
                Err(_) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                read => break read?,
            }
        };
        store.copied = std::mem::take(&mut self.copied);
        Ok(store)
    }

    /// Waits until every call is answered and every request settled, and writes that down; gives up in time.
    pub async fn drain(&mut self) {
        let until = Instant::now() + DRAIN;
        while Instant::now() < until {
            let queued = queued(&self.nats, self.kind.service()).await.ok();
            let twice = queued.iter().flatten().filter(|(_, copies)| **copies > 1);
            self.copied.extend(twice.map(|(subject, _)| subject.clone()));
            if queued.is_some_and(|queued| queued.is_empty()) && self.is_answered() {
                self.ledger.write(Event::Drained);
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether every call that its caller waits for has its answer.
    fn is_answered(&self) -> bool {
        let entries = self.ledger.entries();
        let killed: BTreeSet<u32> = entries.iter().filter_map(|it| killed_caller(&it.event)).collect();
        let mut open: BTreeSet<&str> = BTreeSet::new();
        for entry in entries.iter().filter(|it| !killed.contains(&it.pid)) {
            match &entry.event {
                Event::Invoke(invoke) => drop(open.insert(&invoke.call)),
                Event::Result { call, .. } | Event::GivenUp { call } => drop(open.remove(call.as_str())),
                _ => {}
            }
        }
        open.is_empty()
    }

    /// Keeps the ledger and the logs, and says where.
    pub fn keep(mut self) -> String {
        self.folder.disable_cleanup(true);
        format!("see {}", self.folder.path().display())
    }
}

/// The last answer to a call about `bread`, the only one that goes by a key.
fn last_answer(entries: &[Entry]) -> Option<&Answer> {
    let keyed = entries.iter().filter_map(|it| match &it.event {
        Event::Invoke(invoke) if invoke.id.is_some() => Some(&invoke.call),
        _ => None,
    });
    let keyed: BTreeSet<&String> = keyed.collect();
    let mut answers = entries.iter().filter_map(|it| match &it.event {
        Event::Result { call, answer, .. } if keyed.contains(call) => Some(answer),
        _ => None,
    });
    answers.next_back()
}

fn killed_caller(event: &Event) -> Option<u32> {
    match event {
        Event::CallerKilled { pid } => Some(*pid),
        _ => None,
    }
}

impl Running {
    /// All addresses.
    pub fn urls(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Three(cluster) => cluster.urls().join(","),
        }
    }
}

impl Servers {
    /// The service that is called there.
    pub fn service(self) -> &'static str {
        match self {
            Self::One => "mill",
            Self::Three => "silo",
        }
    }

    /// Its plain method.
    pub fn method(self) -> &'static str {
        match self {
            Self::One => "grind",
            Self::Three => "store",
        }
    }

    /// The lease of its methods.
    pub fn lease(self) -> Duration {
        match self {
            Self::One => Duration::from_secs(6),
            Self::Three => Duration::from_secs(20),
        }
    }

    /// A stream of the service: `REQ`, `OUT` or `DEAD`.
    pub fn stream(self, kind: &str) -> String {
        format!("rq_{kind}_{}", self.service())
    }
}

/// Servers that do not drop the connection of a process that stands still: what it has sent arrives when it goes on.
///
/// # Errors
///
/// When they do not start.
pub(super) async fn patient(kind: Servers) -> anyhow::Result<Running> {
    const CONFIG: &str = r#"ping_interval: "10m""#;
    Ok(match kind {
        Servers::One => Running::One(Box::new(NatsServer::builder().config(CONFIG).start().await?)),
        Servers::Three => Running::Three(NatsCluster::builder().config(CONFIG).start(3).await?),
    })
}

/// Waits for a condition that nothing announces.
///
/// # Errors
///
/// When it never holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        if Instant::now() >= deadline {
            bail!("still not: {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
