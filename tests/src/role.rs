//! What a process of this package is when it is started by another one: a worker or a caller. Both do what they are told
//! on standard input, write into a ledger, and end with the process that started them.

use std::{
    hint::black_box,
    io::BufRead,
    sync::{Arc, Barrier},
    time::Duration,
};

use anyhow::Context;
use requite::{Client, ConnectError, RunningServer, ServeError, Server, SetupError};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, signal::unix, sync::mpsc};

use crate::{
    caller::{Caller, Order},
    dam::Dam,
    entry::{Event, Fault, Life},
    ledger::Ledger,
    mill::{Mill, Silo},
};

/// The word before a role among a program's arguments.
const ROLE: &str = "as";

/// Between two attempts of a caller to connect, and of a worker to start.
const RECONNECT: Duration = Duration::from_millis(100);

/// What a process is; its only argument but one, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    /// It serves.
    Worker {
        /// The server's address.
        url: String,
        /// Its namespace there.
        namespace: String,
        /// `mill`, `silo` or `dam`; the second lives on three servers.
        service: String,
        /// The name under which the ledger knows it.
        name: String,
        /// The ledger's file.
        ledger: String,
        /// How long its handlers may go on after SIGTERM.
        drain: Duration,
    },
    /// It calls.
    Caller {
        /// The server's address.
        url: String,
        /// Its namespace there.
        namespace: String,
        /// Whom it calls.
        service: String,
        /// The name to which its ids belong.
        name: String,
        /// The ledger's file.
        ledger: String,
    },
}

/// What a worker may be told to do to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Harm {
    /// To abort.
    Abort,
    /// To overflow its stack.
    Overflow,
    /// To block every thread of its runtime for this long.
    Block(Duration),
}

impl Role {
    /// The arguments that give a program this role.
    pub fn arguments(&self) -> [String; 2] {
        [ROLE.to_owned(), serde_json::to_string(self).expect("plain enums have a JSON form")]
    }

    /// The role that this process was given, if any.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn of_this_process() -> anyhow::Result<Option<Self>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.as_slice() {
            [word, role] if word == ROLE => Ok(Some(serde_json::from_str(role)?)),
            _ => Ok(None),
        }
    }

    /// Plays it, to the end of the process.
    ///
    /// # Errors
    ///
    /// When there is no connection, or it is lost for good.
    pub async fn play(self) -> anyhow::Result<()> {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        match self {
            Self::Worker { url, namespace, service, name, ledger, drain } => {
                let client = Client::builder().url(url).namespace(namespace).caller("mill");
                // As whoever supervises it would: a server that is busy may answer the next time.
                let client = loop {
                    match client.clone().connect().await {
                        Err(error @ ConnectError::Unreachable { .. }) => again(&error).await,
                        connected => break connected?,
                    }
                };
                work(&client, &service, name, Ledger::at(ledger), drain).await
            }
            Self::Caller { url, namespace, service, name, ledger } => {
                let client = Client::builder().url(url).namespace(namespace).caller(name);
                // It may be started while a server is away.
                let client = loop {
                    if let Ok(client) = client.clone().connect().await {
                        break client;
                    }
                    tokio::time::sleep(RECONNECT).await;
                };
                call(Caller::new(client, &service, &Ledger::at(ledger))).await
            }
        }
    }
}

async fn work(
    client: &Client,
    service: &str,
    name: String,
    ledger: Ledger,
    drain: Duration,
) -> anyhow::Result<()> {
    let harmed = Harmed { name: name.clone(), runtime: Handle::current(), ledger: ledger.clone() };
    follow(move |line| {
        harmed.harm(serde_json::from_str(line)?);
        Ok(())
    });
    // Before anybody can think that it is ready, and terminates it.
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let running = loop {
        match start(client, service, &name, &ledger, drain).await {
            // No other: what was refused is refused the next time, too.
            Err(error @ ServeError::Setup(SetupError::Unavailable { .. })) => again(&error).await,
            started => break started?,
        }
    };
    ledger.worker(&name, Life::Started);
    tokio::select! {
        _ = terminate.recv() => running.shutdown().await,
        error = running.closed() => return Err(error.into()),
    }
    Ok(())
}

async fn start(
    client: &Client,
    service: &str,
    name: &str,
    ledger: &Ledger,
    drain: Duration,
) -> Result<RunningServer, ServeError> {
    let (worker, ledger) = (name.to_owned(), ledger.clone());
    let server = Server::new(client).drain_timeout(drain);
    let server = match service {
        "silo" => server.serve(Silo { worker, ledger }).replicas(3),
        "dam" => server.serve(Dam::default()).limits(Dam::limits()),
        _ => server.serve(Mill { worker, ledger }),
    };
    server.start().await
}

/// Says on standard error why this process begins again, a moment later.
async fn again(error: &(impl std::error::Error + Sync)) {
    tracing::error!("the worker does not start, and tries again: {error}");
    tokio::time::sleep(RECONNECT).await;
}

async fn call(caller: Caller) -> anyhow::Result<()> {
    let (tell, mut orders) = mpsc::unbounded_channel::<Order>();
    follow(move |line| Ok(tell.send(serde_json::from_str(line)?)?));
    while let Some(order) = orders.recv().await {
        let caller = caller.clone();
        tokio::spawn(async move { caller.obey(order).await });
    }
    Ok(())
}

/// Does what the lines of standard input say. With their end the process ends, as its parent has.
fn follow(obey: impl Fn(&str) -> anyhow::Result<()> + Send + 'static) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let line = line.context("standard input cannot be read").and_then(|line| obey(&line));
            line.expect("only other processes of this package write there");
        }
        std::process::abort();
    });
}

/// A worker that may be told to harm itself.
#[derive(Clone)]
struct Harmed {
    name: String,
    runtime: Handle,
    ledger: Ledger,
}

impl Harmed {
    fn harm(&self, harm: Harm) {
        match harm {
            Harm::Abort => std::process::abort(),
            Harm::Overflow => {
                black_box(deeper(0));
            }
            Harm::Block(time) => {
                let threads = self.runtime.metrics().num_workers();
                // Everybody waits for everybody, so no thread can take two.
                let all = Arc::new(Barrier::new(threads));
                for _ in 0..threads {
                    let (all, harmed) = (Arc::clone(&all), self.clone());
                    self.runtime.spawn(async move { harmed.block(&all, time) });
                }
            }
        }
    }

    /// Blocks a thread; one of them writes down when all are.
    fn block(&self, all: &Barrier, time: Duration) {
        let writes = all.wait().is_leader();
        let name = format!("runtime of {} blocked", self.name);
        if writes {
            // It costs nobody a lease.
            self.ledger.write(Event::FaultBegins(Fault { name: name.clone(), costs: Vec::new() }));
        }
        std::thread::sleep(time);
        if writes {
            self.ledger.write(Event::FaultEnds { name });
        }
    }
}

#[allow(unconditional_recursion)] // that is what it is for
fn deeper(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    deeper(here[63] + 1) + here[0]
}
