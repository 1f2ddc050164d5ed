//! A service and its handlers as data: what the macros produce and what the server runs.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    codec::{self, ContentType, Limits},
    context::Context,
    subject::CANCEL,
};

/// Options of one method, known at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The service's name on the wire.
    pub service: &'static str,
    /// The method's name on the wire.
    pub name: &'static str,
    /// What it does, for people.
    pub description: &'static str,
    /// How long a worker may be silent before another one gets the request.
    pub lease: Duration,
    /// The longest a handler may run.
    pub max_run: Duration,
    /// How long a handler may go on after it was told that its request is cancelled.
    pub kill_after: Duration,
    /// How many attempts may be used up.
    pub attempts: u32,
    /// How many requests one worker handles at once.
    pub concurrency: usize,
    /// Never start again what may have begun.
    pub once: bool,
    /// Hand a fencing token to the handler.
    pub fenced: bool,
    /// How long an outcome is kept; by default 24 hours for calls with a key and 2 minutes for others.
    pub retention: Option<Duration>,
    /// The handler takes a stream of items.
    pub up: bool,
    /// The handler returns a stream of items, or writes to one.
    pub down: bool,
    /// Its streams are not stored.
    pub volatile: bool,
    /// How long one side of a stream may hear nothing of the other.
    pub idle: Duration,
}

impl Method {
    /// A method with the default options.
    #[doc(hidden)]
    pub const fn new(service: &'static str, name: &'static str) -> Self {
        Self {
            service,
            name,
            description: "",
            lease: Duration::from_secs(30),
            max_run: Duration::from_secs(15 * 60),
            kill_after: Duration::from_secs(30),
            attempts: 5,
            concurrency: 16,
            once: false,
            fenced: false,
            retention: None,
            up: false,
            down: false,
            volatile: false,
            idle: Duration::from_secs(60),
        }
    }

    /// What asks to cancel requests of a service has a consumer and slots of its own.
    pub(crate) const fn cancels(service: &'static str) -> Self {
        Self::new(service, CANCEL)
    }

    /// Whether items are stored, either way.
    pub(crate) const fn stores_items(&self) -> bool {
        !self.volatile && (self.up || self.down)
    }

    /// How long an outcome is kept.
    pub(crate) fn retention(&self, keyed: bool) -> Duration {
        self.retention.unwrap_or(if keyed { KEYED_RETENTION } else { UNKEYED_RETENTION })
    }
}

const KEYED_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
const UNKEYED_RETENTION: Duration = Duration::from_secs(120);

/// Whether, and when, a handler's error may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The error is the outcome.
    Never,
    /// After 1 s, doubling with every attempt up to 60 s, ± 20 %.
    Default,
    /// After this long.
    After(Duration),
}

/// The error type of a handler: what of it is final, and what may be tried again.
///
/// Derive it with `#[derive(CallError)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a handler",
    label = "not an error that a caller can be sent",
    note = "derive it: `#[derive(Debug, thiserror::Error, Serialize, Deserialize, CallError)]`",
    note = "a handler that cannot fail returns its value without `Result`"
)]
pub trait HandlerError: fmt::Display + Serialize + DeserializeOwned + Send + 'static {
    /// Whether this error may be tried again.
    fn retry(&self) -> Retry;
}

/// The error of a handler that cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, serde::Deserialize)]
pub enum NoError {}

impl HandlerError for NoError {
    fn retry(&self) -> Retry {
        match *self {}
    }
}

/// What a handler takes: anything that serde reads and writes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the request of a handler",
    label = "not serializable both ways",
    note = "derive it: `#[derive(Serialize, Deserialize)]`; the request must own its data"
)]
pub trait RequestType: Serialize + DeserializeOwned + Send + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> RequestType for T {}

/// What a handler returns: anything that serde reads and writes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the reply of a handler",
    label = "not serializable both ways",
    note = "derive it: `#[derive(Serialize, Deserialize)]`; the reply must own its data"
)]
pub trait ReplyType: Serialize + DeserializeOwned + Send + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> ReplyType for T {}

/// What travels in a stream: anything that serde reads and writes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an item of a stream",
    label = "not serializable both ways",
    note = "derive it: `#[derive(Serialize, Deserialize)]`; an item must own its data"
)]
pub trait ItemType: Serialize + DeserializeOwned + Send + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> ItemType for T {}

/// Something that can be served: a type with `#[service]` on its `impl`, or the struct of a function with `#[service]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "put `#[service]` on its `impl`; for a service trait, serve `value.into_service()`",
    note = "for a free function, serve the struct that is named after it: `Charge` for `async fn charge`"
)]
pub trait Service {
    /// The service with its handlers.
    fn definition(self) -> ServiceDefinition;
}

/// A service with its handlers, ready to be served.
pub struct ServiceDefinition {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) description: &'static str,
    pub(crate) methods: Vec<(Method, HandlerFn)>,
}

impl ServiceDefinition {
    pub(crate) fn new(name: &'static str, version: &'static str, description: &'static str) -> Self {
        Self { name, version, description, methods: Vec::new() }
    }

    /// Adds a handler.
    #[doc(hidden)]
    #[must_use]
    pub fn method(mut self, method: Method, handler: HandlerFn) -> Self {
        self.methods.push((method, handler));
        self
    }
}

impl fmt::Debug for ServiceDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceDefinition")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("description", &self.description)
            .field("methods", &self.methods.iter().map(|(method, _)| method.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Service for ServiceDefinition {
    fn definition(self) -> ServiceDefinition {
        self
    }
}

/// What a handler made of a request, encoded.
#[derive(Debug)]
pub(crate) enum Produced {
    Value(Bytes),
    Error {
        body: Bytes,
        text: String,
        retry: Retry,
    },
    Undecodable(String),
    /// Nobody reads the items that it sends.
    Unread(String),
    /// It is a stream with an item that no message takes.
    TooLarge(String),
    /// It is a stream, and is not read to its end: its call was cancelled.
    Cancelled,
    /// Its worker stopped before it had ended, or before its items were stored.
    HandedOver,
    /// The value or error could not be encoded: a defect of the handler's types.
    Unencodable(String),
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Produced> + Send>>;

/// A handler with its types erased: bytes in, bytes out.
#[derive(Clone)]
pub struct HandlerFn(Arc<Erased>);

type Erased = dyn Fn(Context, ContentType, &[u8]) -> Running + Send + Sync;

impl HandlerFn {
    /// Decode, run, encode.
    pub(crate) fn run(&self, context: Context, content_type: ContentType, body: &[u8]) -> Running {
        (self.0)(context, content_type, body)
    }
}

impl fmt::Debug for HandlerFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerFn")
    }
}

/// Wraps a handler that returns `Result<T, E>`.
pub fn handler<I, T, E, F, Fut>(run: F) -> HandlerFn
where
    I: RequestType,
    T: ReplyType,
    E: HandlerError,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    HandlerFn(Arc::new(move |context, content_type, body| {
        match codec::decode::<I>(content_type, body, &Limits::default()) {
            Ok(input) => {
                context.count_run();
                // Mapped, not awaited in a block, which would hold the future twice.
                Box::pin(run(context, input).map(move |result| produced(content_type, result)))
            }
            Err(error) => Box::pin(ready(Produced::Undecodable(error.to_string()))),
        }
    }))
}

fn produced<T: ReplyType, E: HandlerError>(content_type: ContentType, result: Result<T, E>) -> Produced {
    let encoded = match &result {
        Ok(value) => codec::encode(content_type, value),
        Err(error) => codec::encode(content_type, error),
    };
    match (encoded, result) {
        (Ok(body), Ok(_)) => Produced::Value(body),
        (Ok(body), Err(error)) => {
            Produced::Error { body, text: codec::sanitise(&error.to_string()), retry: error.retry() }
        }
        (Err(error), _) => Produced::Unencodable(error.to_string()),
    }
}

/// Wraps a handler that cannot fail.
pub fn infallible_handler<I, T, F, Fut>(run: F) -> HandlerFn
where
    I: RequestType,
    T: ReplyType,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    handler(move |context, input| run(context, input).map(Ok::<T, NoError>))
}
