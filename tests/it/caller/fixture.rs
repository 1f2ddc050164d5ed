//! What the tests here share: a nats-server of the test's own, a worker whose handlers the test watches and holds
//! back, and callers of any name.

use std::{
    future::IntoFuture,
    panic::Location,
    time::{Duration, Instant},
};

use requite::{RunningServer, prelude::*};
use requite_test::NatsServer;
use tokio::sync::watch;

/// Who calls, unless a test says otherwise.
pub(crate) const SHOP: &str = "shop";
/// What a call that nothing holds up may take on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// The shortest lease that is allowed.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// What a handler made of a text. The number of its run is in it: equal answers are answers of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) run: u32,
    pub(super) text: String,
}

/// A service that the test watches and holds back. Clones are the same clerk.
#[derive(Clone, Debug)]
pub(super) struct Clerk {
    runs: watch::Sender<u32>,
    gate: watch::Sender<bool>,
}

impl Clerk {
    pub(super) fn new() -> Self {
        Self { runs: watch::Sender::new(0), gate: watch::Sender::new(false) }
    }

    /// How many handlers were started.
    pub(super) fn runs(&self) -> u32 {
        *self.runs.borrow()
    }

    /// Waits until this many handlers were started.
    pub(super) async fn has_begun(&self, runs: u32) {
        let mut begun = self.runs.subscribe();
        within(SOON, begun.wait_for(|now| *now >= runs)).await.expect("the clerk holds the sender");
    }

    /// Lets the handlers that wait go on, and those that come later.
    pub(super) fn let_go(&self) {
        self.gate.send_replace(true);
    }

    /// Makes handlers wait again.
    pub(super) fn hold_back(&self) {
        self.gate.send_replace(false);
    }

    fn begin(&self, text: String) -> Stamped {
        let mut run = 0;
        self.runs.send_modify(|runs| {
            *runs += 1;
            run = *runs;
        });
        Stamped { run, text }
    }
}

/// Stamps texts.
#[service(name = "clerk")]
impl Clerk {
    /// Answers at once.
    #[handler(lease = "6s")]
    async fn stamp(&self, text: String) -> Stamped {
        self.begin(text)
    }

    /// Answers when the test lets it.
    #[handler(lease = "6s")]
    async fn hold(&self, text: String) -> Stamped {
        let stamped = self.begin(text);
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("the clerk holds the sender");
        stamped
    }

    /// As `hold`, one at a time.
    #[handler(lease = "6s", concurrency = 1)]
    async fn queue(&self, text: String) -> Stamped {
        self.hold(text).await
    }
}

/// A nats-server with a worker on it.
pub(super) struct Office {
    pub(super) nats: NatsServer,
    pub(super) clerk: Clerk,
    pub(super) worker: RunningServer,
}

impl Office {
    pub(super) async fn open() -> Self {
        Self::open_on(NatsServer::start().await.unwrap()).await
    }

    pub(super) async fn open_on(nats: NatsServer) -> Self {
        let clerk = Clerk::new();
        let worker = serve(&nats.url(), clerk.clone()).await;
        Self { nats, clerk, worker }
    }

    /// A client of its own connection, as another process would have.
    pub(super) async fn client(&self) -> ClerkClient {
        self.client_of(SHOP).await
    }

    pub(super) async fn client_of(&self, caller: &str) -> ClerkClient {
        ClerkClient::new(connect(&self.nats.url(), caller).await)
    }

    /// A connection without Requite.
    pub(super) async fn stranger(&self) -> requite::async_nats::Client {
        requite::async_nats::connect(self.nats.url()).await.unwrap()
    }

    /// Stops the worker: what it set up stays.
    pub(super) async fn close(self) -> (NatsServer, Clerk) {
        self.worker.shutdown().await;
        (self.nats, self.clerk)
    }
}

pub(crate) async fn connect(url: &str, caller: &str) -> Client {
    Client::builder().url(url).caller(caller).connect().await.unwrap()
}

/// Starts a worker.
pub(crate) async fn serve(url: &str, service: impl requite::Service) -> RunningServer {
    Server::new(&connect(url, "office").await).serve(service).start().await.unwrap()
}

/// The result of `work`, or a failed test after `limit`: nothing may hang.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, work: impl IntoFuture<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    let ended = tokio::time::timeout(limit, work.into_future());
    async move { ended.await.unwrap_or_else(|_| panic!("no result within {limit:?}, at {caller}")) }
}

/// Waits for a condition that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many messages a stream holds.
pub(super) async fn stored(nats: &NatsServer, stream: &str) -> u64 {
    info(nats, stream).await["state"]["messages"].as_u64().unwrap()
}

/// What the server says of a stream, with the number of messages of every subject.
pub(crate) async fn info(nats: &NatsServer, stream: &str) -> serde_json::Value {
    let asked = nats.ask(&format!("$JS.API.STREAM.INFO.{stream}"), r#"{"subjects_filter":">"}"#).await;
    serde_json::from_slice(&asked.unwrap()).unwrap()
}
