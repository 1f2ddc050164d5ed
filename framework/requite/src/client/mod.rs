//! The client: one connection, one identity, any number of calls to any number of services.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

mod accepted;
mod answers;
mod ask;
pub(crate) mod call;
mod cancel;
mod config;
mod drive;
mod events;
mod listen;
mod mailbox;
mod observers;
mod open;
mod route;
mod watch;

pub use accepted::Accepted;
pub use call::{Attach, Call};
pub use cancel::CancelAnswer;
pub use config::ClientBuilder;
pub(crate) use config::Config;
pub use events::{CallEvent, CallEvents};

use crate::{
    broker::{AnyBroker, SendError, jetstream},
    error::{CancelError, ConnectError},
    name::{Instance, Name, RequestId},
    subject::{CallerSubjects, ServiceSubjects},
};
use mailbox::Pending;
use route::Routes;
use tokio::{runtime::Handle, sync::OnceCell, task::AbortHandle};

/// Calls services. Cloning is cheap; clones share connection and identity.
///
/// A generated client (`BillingClient`) wraps one and adds the methods.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    broker: AnyBroker,
    config: Arc<Config>,
    subjects: CallerSubjects,
    /// New for every client, so that ids without a key never repeat.
    instance: Instance,
    next_id: AtomicU64,
    pending: Arc<Pending>,
    routes: Routes,
    /// Tasks that watch the connection; they end with the client.
    watchers: [AbortHandle; 2],
    /// Tasks that hear the inboxes and signals of this client's own ids. Not before its first call: a worker makes none,
    /// and needs no permission for it.
    listeners: OnceCell<[AbortHandle; 2]>,
    /// Where those tasks live.
    runtime: Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in self.watchers.iter().chain(self.listeners.get().into_iter().flatten()) {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("namespace", &self.inner.config.namespace)
            .field("caller", &self.inner.config.caller)
            .field("instance", &self.inner.instance)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to `url`, a comma-separated list of addresses; everything else as [`Self::from_env`].
    ///
    /// # Errors
    ///
    /// If no server answers within 5 s, it refuses the credentials, or a setting cannot be used.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder().url(url).connect().await
    }

    /// Connects as the environment says; see [`ClientBuilder`] for the variables.
    ///
    /// # Errors
    ///
    /// If no server answers within 5 s, it refuses the credentials, or a variable cannot be used.
    pub async fn from_env() -> Result<Self, ConnectError> {
        Self::builder().connect().await
    }

    /// Sets up a connection by hand.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn over(broker: AnyBroker, config: Arc<Config>) -> Self {
        let subjects = CallerSubjects::new(&config.namespace, &config.caller);
        let instance = Instance::random();
        let pending = Arc::new(Pending::new(instance.clone()));
        let watchers = listen::start(&broker, &subjects, &pending);
        Self {
            inner: Arc::new(Inner {
                broker,
                config,
                subjects,
                instance,
                next_id: AtomicU64::new(0),
                pending,
                routes: Routes::default(),
                watchers,
                listeners: OnceCell::new(),
                runtime: Handle::current(),
            }),
        }
    }

    pub(crate) fn broker(&self) -> &AnyBroker {
        &self.inner.broker
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    /// Cancels a call of this caller by its id, whatever its method is.
    pub(crate) async fn cancel(&self, service: &str, id: &RequestId) -> Result<CancelAnswer, CancelError> {
        let subjects = ServiceSubjects::new(&self.inner.config.namespace, &service.parse()?);
        cancel::Cancel { client: Arc::clone(&self.inner), subjects, id: id.clone() }.run().await
    }

    /// The name under which this client calls; ids belong to it.
    pub fn caller(&self) -> &Name {
        &self.inner.config.caller
    }

    /// The connection underneath, to use NATS beside Requite; nothing in a simulation.
    pub fn nats(&self) -> Option<&jetstream::NatsClient> {
        match &self.inner.broker {
            AnyBroker::JetStream(connection) => Some(connection.client()),
            AnyBroker::Simulated(_) => None,
        }
    }
}

impl Inner {
    fn broker(&self) -> &AnyBroker {
        &self.broker
    }

    fn config(&self) -> &Config {
        &self.config
    }

    /// Whether what concerns this client's own ids is heard.
    fn hears_own(&self) -> bool {
        self.listeners.initialized()
    }

    async fn hear_own(&self) -> Result<(), SendError> {
        let Self { broker, subjects, instance, pending, runtime, .. } = self;
        let start = || listen::start_own(broker, subjects, instance, pending, runtime);
        self.listeners.get_or_try_init(start).await.map(|_| ())
    }

    fn new_id(&self) -> RequestId {
        RequestId::numbered(&self.instance, self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn keyed_id(&self, service: &Name, method: &Name, key: &str) -> RequestId {
        RequestId::keyed(self.config.key_secret.as_deref(), service, method, key)
    }
}

/// Connects a broker as `config` says.
async fn connect(config: Config) -> Result<Client, ConnectError> {
    let config = Arc::new(config);
    let name = format!("requite {}", config.caller);
    let connection = jetstream::Connection::connect(Arc::new(config.settings.clone()), &name).await?;
    Ok(Client::over(AnyBroker::JetStream(connection), config))
}
