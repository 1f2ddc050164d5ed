//! The server: pull → decode → run → record → ack, for every method of every service, until it is told to stop.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::SetOnce, task::unconstrained};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod barrier;
pub(crate) mod bind;
mod cancels;
pub(crate) mod checkpoint;
pub(crate) mod held;
pub(crate) mod keeper;
pub(crate) mod method;
pub(crate) mod progress;
pub(crate) mod puller;
mod rights;
mod settle;
mod shutdown;
pub(crate) mod stats;
pub(crate) mod streams;
mod unreadable;
mod worker;

pub use stats::Stats;

use crate::{
    broker::{AnyBroker, Broker, api},
    client::{Client, Config},
    error::{ConnectError, ServeError, SetupError},
    name::{Instance, Name},
    service::{Method, Service, ServiceDefinition},
    setup::{self, Plan, Prepared, Setup, StreamLimits, prepare},
    subject::{CANCEL, ServiceSubjects},
    turns,
    wire::jetstream::StreamInfo,
};
use cancels::Cancels;
use keeper::Keeper;
use method::{MethodRuntime, ServiceRuntime};
use puller::Puller;
use stats::Counters;
use unreadable::Inspector;

/// How long running handlers may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// The share of the record stream's bytes above which no new request is pulled.
const FULL_AT_PERCENT: u64 = 90;
/// Between two looks at the size of the record stream.
const LOOK_AT_SIZE: Duration = Duration::from_secs(5);

/// Serves handlers.
///
/// ```no_run
/// # use requite::prelude::*;
/// # struct Greeter;
/// # #[service] impl Greeter { #[handler] async fn greet(&self, name: String) -> String { format!("hello, {name}") } }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// Server::from_env().await?.serve(Greeter).run().await?;     // until SIGTERM or SIGINT, then drains
/// # Ok(()) }
/// ```
#[must_use = "a server does nothing until `run` or `start`"]
pub struct Server {
    broker: AnyBroker,
    config: Arc<Config>,
    services: Vec<ServiceDefinition>,
    setup: Setup,
    limits: StreamLimits,
    replicas: Option<u8>,
    drain: Duration,
}

impl Server {
    /// Connects as `NATS_URL` and the other variables of [`Client::from_env`] say.
    ///
    /// # Errors
    ///
    /// If no server answers, it refuses the credentials, or a variable cannot be used.
    pub async fn from_env() -> Result<Self, ConnectError> {
        Ok(Self::new(&Client::from_env().await?))
    }

    /// Connects to `url`; everything else as [`Self::from_env`].
    ///
    /// # Errors
    ///
    /// If no server answers or it refuses the credentials.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Ok(Self::new(&Client::connect(url).await?))
    }

    /// A server on a client's connection.
    pub fn new(client: &Client) -> Self {
        Self {
            broker: client.broker().clone(),
            config: Arc::clone(client.config()),
            services: Vec::new(),
            setup: Setup::default(),
            limits: StreamLimits::default(),
            replicas: None,
            drain: DRAIN,
        }
    }

    /// Adds a service.
    pub fn serve(mut self, service: impl Service) -> Self {
        self.services.push(service.definition());
        self
    }

    /// Whether missing streams and consumers are created; by default they are.
    pub fn setup(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self
    }

    /// How large the streams may grow, and on how many servers they live.
    pub fn limits(mut self, limits: StreamLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many servers hold each stream; 1 by default, and before what [`limits`](Self::limits) says. With 3, one server
    /// may be lost.
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// How long running handlers may go on after the server was told to stop, 30 s by default; what is left over then
    /// starts on another worker. A handler with a checkpoint goes on there at once; see [`Context::checkpoint`].
    ///
    /// [`Context::checkpoint`]: crate::Context::checkpoint
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain = timeout;
        self
    }

    /// Serves until SIGTERM or SIGINT, then drains: nothing new is pulled, running handlers may finish, what is left
    /// after the drain time, or has a checkpoint, is handed to other workers.
    ///
    /// # Errors
    ///
    /// If a service cannot be set up, the keeper cannot connect, or the connection is lost for good: then leases lapse,
    /// and the process is best started again.
    pub async fn run(self) -> Result<(), ServeError> {
        let running = self.start().await?;
        tokio::select! {
            () = shutdown::signal() => {
                running.shutdown().await;
                Ok(())
            }
            error = running.closed() => Err(error),
        }
    }

    /// Sets up and serves nothing: a deployment's step before the workers, which start with [`Setup::Verify`] then and
    /// need no more than [`Permissions::worker`](crate::Permissions::worker). This needs
    /// [`Permissions::setup`](crate::Permissions::setup).
    ///
    /// # Errors
    ///
    /// If a service cannot be set up.
    pub async fn prepare(self) -> Result<(), SetupError> {
        for definition in &self.services {
            self.prepared(definition).await?;
        }
        Ok(())
    }

    /// The streams and consumers of one service, created or verified.
    async fn prepared(
        &self,
        definition: &ServiceDefinition,
    ) -> Result<(ServiceSubjects, Prepared), SetupError> {
        let service: Name = definition.name.parse()?;
        let subjects = ServiceSubjects::new(&self.config.namespace, &service);
        let methods = definition.methods.iter().map(|(method, _)| *method);
        let options: Vec<Method> = methods.chain([Method::cancels(definition.name)]).collect();
        let about = format!("{} {}. {}", definition.name, definition.version, definition.description);
        let mut limits = self.limits;
        limits.replicas = self.replicas.unwrap_or(limits.replicas);
        let plan = Plan { subjects: &subjects, about, methods: &options, limits, setup: self.setup };
        let prepared = prepare(&self.broker, &plan).await?;
        Ok((subjects, prepared))
    }

    /// Sets up, binds and starts to serve in the background.
    ///
    /// # Errors
    ///
    /// If a service cannot be set up, or the keeper cannot connect.
    pub async fn start(self) -> Result<RunningServer, ServeError> {
        let worker = Instance::random();
        let counters = Arc::new(Counters::default());
        let (mut methods, mut cancels) = (Vec::new(), Vec::new());
        for definition in &self.services {
            let (subjects, prepared) = self.prepared(definition).await?;
            let record_put_prefix = subjects.record_put_prefix(&prepared.secret);
            let checkpoint_put_prefix = subjects.checkpoint_put_prefix(&prepared.secret);
            let progress_put_prefix = subjects.progress_put_prefix(&prepared.secret);
            let item_secret = prepared.item_secret.as_deref();
            let puts = [&*record_put_prefix, &checkpoint_put_prefix, &progress_put_prefix];
            rights::check(&self.broker, &subjects, puts, item_secret).await?;
            let runtime = Arc::new(ServiceRuntime {
                broker: self.broker.clone(),
                request_stream: subjects.request_stream(),
                record_stream: subjects.record_stream(),
                record_put_prefix,
                checkpoint_put_prefix,
                progress_put_prefix,
                subjects,
                item_secret: prepared.item_secret,
                replicas: prepared.replicas,
                full: false.into(),
                worker: worker.clone(),
                counters: Arc::clone(&counters),
                cancels: Cancels::default(),
            });
            let options = Method::cancels(definition.name);
            cancels.push(Arc::new(MethodRuntime::of_cancels(Arc::clone(&runtime), options)));
            for (options, handler) in &definition.methods {
                let (stream, handler) = (&runtime.request_stream, Some(handler.clone()));
                let proof = barrier::choose(&self.broker, stream, options, runtime.replicas).await?;
                methods.push(Arc::new(MethodRuntime::new(Arc::clone(&runtime), *options, handler, proof)));
            }
        }
        let closed = Arc::new(SetOnce::new());
        let keeper =
            Keeper::start(&self.broker, methods.clone(), worker.as_str(), Arc::clone(&closed)).await?;
        let running = RunningServer {
            broker: self.broker,
            methods,
            cancels,
            keeper,
            counters,
            tasks: TaskTracker::new(),
            pullers: TaskTracker::new(),
            draining: CancellationToken::new(),
            closed,
            dropped: CancellationToken::new(),
            stopped: CancellationToken::new(),
            drain: self.drain,
        };
        turns::spawn(running.retirement());
        running.bind_and_pull().await?;
        Ok(running)
    }
}

/// A server at work. Dropping it stops pulling: handlers that run go on to their end, and their leases are kept as long
/// as the runtime lives.
pub struct RunningServer {
    broker: AnyBroker,
    methods: Vec<Arc<MethodRuntime>>,
    /// The consumer of what asks to cancel, for each service.
    cancels: Vec<Arc<MethodRuntime>>,
    keeper: Keeper,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    pullers: TaskTracker,
    draining: CancellationToken,
    closed: Arc<SetOnce<ServeError>>,
    dropped: CancellationToken,
    /// Cancelled when nothing is in hand any more.
    stopped: CancellationToken,
    drain: Duration,
}

impl RunningServer {
    /// Binds every method before any of them is pulled for: a start that fails leaves no handler behind.
    async fn bind_and_pull(&self) -> Result<(), SetupError> {
        let mut pullers = Vec::with_capacity(self.methods.len() + self.cancels.len());
        for of_service in &self.cancels {
            self.hear_cancels(&of_service.service).await?;
        }
        for method in self.cancels.iter().chain(&self.methods) {
            let puller = Puller::new(
                Arc::clone(method),
                self.broker.clone(),
                self.keeper.clone(),
                self.tasks.clone(),
                self.draining.clone(),
                Arc::clone(&self.closed),
            );
            Inspector::at_start(method.options.lease).inspect(&self.broker, method).await;
            method.bind(Some(bind::bind(&self.broker, method).await?));
            pullers.push(puller);
        }
        for puller in pullers {
            self.pullers.spawn(turns::own(unconstrained(puller.run())));
        }
        let (methods, closed) = (self.methods.clone(), Arc::clone(&self.closed));
        let watch = watch_records(self.broker.clone(), methods, self.draining.clone(), closed);
        self.pullers.spawn(turns::own(watch));
        Ok(())
    }

    /// From before the first binding on: what was stored after it may start without a look at its record.
    async fn hear_cancels(&self, service: &Arc<ServiceRuntime>) -> Result<(), SetupError> {
        let subject = service.subjects.requests(CANCEL);
        let messages = self.broker.subscribe(subject.clone()).await;
        let messages =
            messages.map_err(|error| SetupError::Unavailable { what: subject, text: error.to_string() })?;
        let of_service = |method: &&Arc<MethodRuntime>| Arc::ptr_eq(&method.service, service);
        let methods = self.methods.iter().filter(of_service).cloned().collect();
        let hears = cancels::hear(messages, methods, self.keeper.clone(), self.stopped.clone());
        tokio::spawn(turns::own(hears));
        Ok(())
    }

    /// Waits for the end of everything in hand once the server was dropped, and stops the keeper then: a handler that
    /// runs without heartbeats would soon run beside another worker's.
    fn retirement(&self) -> impl Future<Output = ()> + Send + use<> {
        let keeper = StopOnDrop(self.keeper.clone());
        let (broker, methods) = (self.broker.clone(), self.methods.clone());
        let (pullers, tasks, dropped) = (self.pullers.clone(), self.tasks.clone(), self.dropped.clone());
        let stopped = self.stopped.clone().drop_guard();
        async move {
            let _stopped = stopped;
            dropped.cancelled().await;
            pullers.wait().await;
            tasks.wait().await;
            shutdown::leave(&keeper.0, &broker, &methods).await;
        }
    }

    /// Resolves when the server cannot go on, with the reason: nothing is served any more, and the process is best started
    /// again.
    pub async fn closed(&self) -> ServeError {
        self.closed.wait().await.clone()
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// The name of this worker on the wire.
    #[cfg(test)]
    pub(crate) fn instance(&self) -> &str {
        self.methods.first().map_or("", |method| method.service.worker.as_str())
    }

    /// Requests in hand.
    pub fn in_hand(&self) -> usize {
        self.methods.iter().map(|method| method.slots.held()).sum()
    }

    /// Stops in good order: nothing new is pulled, what had not started is handed on at once, and so are handlers that
    /// have a checkpoint, unless they are `once`. Other running handlers may go on for the drain time with their leases
    /// kept, and what is left over then starts on another worker.
    pub async fn shutdown(self) {
        shutdown::drain(&self).await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.draining.cancel();
        self.pullers.close();
        self.tasks.close();
        self.keeper.pulls_no_more();
        self.dropped.cancel();
    }
}

/// Whether a record stream is the one that the service was set up with.
fn is_of(service: &ServiceRuntime, records: &StreamInfo) -> bool {
    let secret = setup::secret(&service.subjects, records);
    secret.is_some_and(|secret| service.subjects.record_put_prefix(&secret) == service.record_put_prefix)
}

/// Stops the keeper at the latest when the runtime ends, and all handlers with it.
struct StopOnDrop(Keeper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Watches each record stream: a claim must never be stored where its outcome would not fit, and what is written to a
/// stream that was replaced is stored nowhere.
async fn watch_records(
    broker: AnyBroker,
    methods: Vec<Arc<MethodRuntime>>,
    draining: CancellationToken,
    closed: Arc<SetOnce<ServeError>>,
) {
    loop {
        for (n, method) in methods.iter().enumerate() {
            let service = &method.service;
            if n > 0 && Arc::ptr_eq(service, &methods[n - 1].service) {
                continue;
            }
            let info = tokio::select! {
                biased;
                info = api::stream_info(&broker, &service.record_stream) => info,
                () = draining.cancelled() => return,
            };
            if let Ok(info) = info {
                if !is_of(service, &info) {
                    let stream = service.record_stream.clone();
                    tracing::error!(stream, "the stream was deleted and made anew: start the worker again");
                    draining.cancel();
                    // Set already if a connection is gone as well.
                    let _ = closed.set(ServeError::Replaced { stream });
                    return;
                }
                let limit = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
                let full = info.state.bytes > limit / 100 * FULL_AT_PERCENT;
                if full != service.full.swap(full, Ordering::Relaxed) {
                    tracing::warn!(stream = service.record_stream, full, "the record stream's fill changed");
                }
            }
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(LOOK_AT_SIZE) => {}
            () = draining.cancelled() => return,
        }
    }
}
