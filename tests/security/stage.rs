//! A server with a user for every role, in one account or in two, and the service that they are about.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use requite::{
    Client, Crossing, Items, ItemsError, Name, Permissions, RunningServer, Setup, Sink, SinkError, prelude::*,
};
use requite_test::NatsServer;
use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

use crate::actor::Actor;

/// What nothing that is waited for exceeds, unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The password of every user.
pub(crate) const PASSWORD: &str = "x";

/// Who is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Everybody in one account.
    OneAccount,
    /// Callers in an account of their own.
    TwoAccounts,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneAccount => "one account",
            Self::TwoAccounts => "two accounts",
        })
    }
}

/// What the service was asked to do, which is all that the tests look at. Clones are the same vault.
#[derive(Clone)]
pub(crate) struct Vault {
    runs: Arc<Mutex<BTreeMap<String, u32>>>,
    gate: watch::Sender<bool>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, CallError)]
pub(crate) enum VaultError {
    #[error("the lock is stuck")]
    #[retry(after = "100ms")]
    Stuck,
    #[error("the stream came to nothing: {0}")]
    Torn(String),
}

impl From<ItemsError> for VaultError {
    fn from(error: ItemsError) -> Self {
        Self::Torn(error.to_string())
    }
}

impl From<SinkError> for VaultError {
    fn from(error: SinkError) -> Self {
        Self::Torn(error.to_string())
    }
}

impl Vault {
    pub(crate) fn new() -> Self {
        Self { runs: Arc::default(), gate: watch::Sender::new(false) }
    }

    /// How often a handler was started with this text.
    pub(crate) fn runs(&self, text: &str) -> u32 {
        self.runs.lock().unwrap().get(text).copied().unwrap_or(0)
    }

    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    pub(crate) fn close_gate(&self) {
        self.gate.send_replace(false);
    }

    fn begin(&self, text: &str) {
        *self.runs.lock().unwrap().entry(text.to_owned()).or_default() += 1;
    }
}

#[service(name = "vault")]
impl Vault {
    /// Answers at once.
    #[handler(lease = "6s")]
    async fn stamp(&self, text: String) -> String {
        self.begin(&text);
        text
    }

    /// Answers when the test lets it.
    #[handler(lease = "6s", concurrency = 100)]
    async fn hold(&self, text: String) -> String {
        self.begin(&text);
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("the vault holds the sender");
        text
    }

    /// As `hold`, one at a time.
    #[handler(lease = "6s", concurrency = 1)]
    async fn queue(&self, text: String) -> String {
        self.hold(text).await
    }

    /// Answers after so many seconds.
    #[handler(lease = "6s")]
    async fn wait(&self, seconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        seconds
    }

    /// Fails once.
    #[handler(lease = "6s")]
    async fn stick(&self, cx: &Context, text: String) -> Result<String, VaultError> {
        self.begin(&text);
        if cx.attempt() == 1 { Err(VaultError::Stuck) } else { Ok(text) }
    }

    /// Fails for good.
    #[handler(lease = "6s")]
    async fn burst(&self, text: String) -> String {
        panic!("{text}")
    }

    /// Sends the numbers from 1 on.
    #[handler(lease = "6s")]
    fn count(&self, last: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=last)
    }

    /// Returns what came, in its order.
    #[handler(lease = "6s", concurrency = 100)]
    async fn pack(&self, mut parts: Items<String>) -> Result<Vec<String>, VaultError> {
        let mut packed = Vec::new();
        while let Some(part) = parts.next().await {
            packed.push(part?);
        }
        Ok(packed)
    }

    /// Sends back what comes. Fails once if the word "stuck" was among it.
    #[handler(lease = "6s", concurrency = 100)]
    async fn echo(&self, cx: &Context, words: Items<String>, back: Sink<String>) -> Result<(), VaultError> {
        self.send_back(cx, words, back).await
    }

    /// The same, and nothing of it is stored.
    #[handler(lease = "6s", concurrency = 100, volatile)]
    async fn talk(&self, cx: &Context, words: Items<String>, back: Sink<String>) -> Result<(), VaultError> {
        self.send_back(cx, words, back).await
    }
}

impl Vault {
    async fn send_back(
        &self,
        cx: &Context,
        mut words: Items<String>,
        mut back: Sink<String>,
    ) -> Result<(), VaultError> {
        let mut is_stuck = false;
        while let Some(word) = words.next().await {
            let word = word?;
            is_stuck |= word == "stuck";
            back.send(word).await?;
        }
        if is_stuck && cx.attempt() == 1 { Err(VaultError::Stuck) } else { Ok(()) }
    }
}

/// A service of the same name for three replicas, which need a longer lease.
pub(crate) struct Depot;

#[service(name = "vault")]
impl Depot {
    /// Answers after so many seconds.
    #[handler(lease = "20s")]
    async fn keep(&self, seconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        seconds
    }

    /// Sends the numbers from 1 on.
    #[handler(lease = "20s")]
    fn pour(&self, last: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=last)
    }
}

/// Another service of the same namespace.
pub(crate) struct Mint;

#[service(name = "mint")]
impl Mint {
    /// Answers at once.
    #[handler]
    async fn coin(&self, text: String) -> String {
        text
    }
}

/// A server and its users: `root` may do everything; `setup`, `keeper` and `auditor` set up, serve and watch the vault;
/// `minter` serves the mint; `shop` calls the vault, `mallory` both.
pub(crate) struct Stage {
    pub(crate) nats: NatsServer,
    pub(crate) layout: Layout,
    pub(crate) vault: Vault,
    pub(crate) root: Actor,
}

impl Stage {
    /// With the streams of both services, made by `setup`.
    pub(crate) async fn new(version: &str, layout: Layout) -> Self {
        // The newer form of ack subjects, where it can be had.
        let acks = if layout == Layout::TwoAccounts && version != "2.12.8" {
            "feature_flags { js_ack_fc_v2: true }\n"
        } else {
            ""
        };
        let config = format!("{acks}{}", users(layout));
        let builder = NatsServer::builder().version(version).config(config);
        let nats = builder.credentials("root", PASSWORD).start().await.unwrap();
        let root = Actor::connect(&nats.url(), "root").await;
        let vault = Vault::new();
        let setup = connect(&nats.url(), "setup").await;
        Server::new(&setup).serve(vault.clone()).serve(Mint).prepare().await.unwrap();
        Self { nats, layout, vault, root }
    }

    /// A worker that may create nothing.
    pub(crate) async fn keeper(&self, drain: Duration) -> RunningServer {
        self.server().await.drain_timeout(drain).start().await.unwrap()
    }

    /// The same, on a runtime with which it dies.
    pub(crate) async fn mortal(&self) -> (RunningServer, Runtime) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let running = runtime.spawn(self.server().await.start()).await.unwrap().unwrap();
        (running, runtime)
    }

    async fn server(&self) -> Server {
        let client = connect(&self.nats.url(), "keeper").await;
        Server::new(&client).serve(self.vault.clone()).setup(Setup::Verify)
    }

    pub(crate) async fn caller(&self, user: &str) -> VaultClient {
        VaultClient::new(connect(&self.nats.url(), user).await)
    }

    /// The secret in the subject of the vault's records, or of its items.
    pub(crate) async fn secret(&self, stream: &str) -> String {
        let info = self.root.ask(&format!("$JS.API.STREAM.INFO.{stream}"), "").await;
        let source = info["config"]["subject_transform"]["src"].as_str().unwrap();
        source.split('.').nth(2).unwrap().to_owned()
    }

    /// What the ack subject of a request in hand ends in, as whoever has not seen it can make it up.
    pub(crate) async fn ack_numbers(&self, method: &str, request: &Value) -> String {
        let consumer = self.root.ask(&format!("$JS.API.CONSUMER.INFO.rq_REQ_vault.{method}"), "").await;
        format!("{}.{}.0.0", request["seq"], consumer["delivered"]["consumer_seq"])
    }

    /// What the server has denied to anybody, from its log.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.nats.log().lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
    }
}

pub(crate) async fn connect(url: &str, user: &str) -> Client {
    Client::builder().url(url).user(user, PASSWORD).caller(user).connect().await.unwrap()
}

/// Waits for a condition that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The users of a server's configuration.
pub(crate) fn users(layout: Layout) -> String {
    let [rq, vault, mint] = ["rq", "vault", "mint"].map(name);
    let worker = |service, user| match layout {
        Layout::OneAccount => Permissions::worker(&rq, service, user),
        Layout::TwoAccounts => Permissions::worker(&rq, service, user).answering_other_accounts(),
    };
    let both = |of: fn(&Name, &Name, &Name) -> Permissions, user: Name| {
        of(&rq, &vault, &user).and(of(&rq, &mint, &user))
    };
    let user = |user: &str, permissions: Permissions| {
        let permissions: Value = serde_json::from_str(&permissions.to_string()).unwrap();
        json!({ "user": user, "password": PASSWORD, "permissions": permissions })
    };
    let services = json!([
        { "user": "root", "password": PASSWORD },
        user("setup", both(Permissions::setup, name("setup"))),
        user("keeper", worker(&vault, &name("keeper"))),
        user("minter", worker(&mint, &name("minter"))),
        user("auditor", Permissions::observer(&rq, &vault, &name("auditor"))),
    ]);
    let callers = json!([
        user("shop", Permissions::caller(&rq, &vault, &name("shop"))),
        user("mallory", both(Permissions::caller, name("mallory"))),
    ]);
    if layout == Layout::OneAccount {
        let all = [services, callers].map(|users| users.as_array().unwrap().clone()).concat();
        return format!("authorization {{ users: {} }}", Value::from(all));
    }
    let (inside, outside) = (name("SERVICES"), name("CALLERS"));
    let list = |text: String| serde_json::from_str::<Vec<Value>>(&text).unwrap();
    let crossings = [Crossing::new(&rq, &vault), Crossing::new(&rq, &mint)];
    let exports: Vec<_> = crossings.iter().flat_map(|it| list(it.exports(&outside))).collect();
    let imports: Vec<_> = crossings.iter().flat_map(|it| list(it.imports(&inside))).collect();
    let accounts = json!({
        "SERVICES": { "jetstream": "enabled", "users": services, "exports": exports },
        "CALLERS": { "users": callers, "imports": imports },
    });
    format!("accounts: {accounts}")
}
