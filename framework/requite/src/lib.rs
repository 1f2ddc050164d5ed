//! Request/reply over NATS JetStream that runs a request once.
//!
//! A request is stored before it runs, and its outcome before it is sent. So a caller that timed out calls again with the
//! same key and gets the run that is under way, or its outcome, and not a second run. A worker keeps a slow handler's
//! lease by heartbeats from a thread of their own.
//!
//! # A service and its client
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use requite::{CallEvent, Unavailable, prelude::*};
//!
//! #[derive(Serialize, Deserialize, Debug, thiserror::Error, CallError)]
//! enum ChargeError {
//!     #[error("card declined: {why}")]
//!     Declined { why: String }, // final: this is the outcome
//!     #[error("bank unreachable")]
//!     #[retry(after = "5s")]
//!     BankDown, // another attempt, up to `attempts`
//! }
//!
//! struct Billing;
//!
//! #[service(version = "1.2.0")]
//! impl Billing {
//!     /// Charges a card.
//!     #[handler(lease = "30s", max_run = "2h", attempts = 3)]
//!     async fn charge(&self, cx: &Context, cents: u64) -> Result<String, ChargeError> {
//!         // The bank drops a second charge under the same key, whichever attempt sends it.
//!         Ok(format!("{cents} cents, charged under {}", cx.idempotency_key()))
//!     }
//! }
//!
//! async fn serve() -> Result<(), requite::ServeError> {
//!     Server::from_env().await?.serve(Billing).run().await // until SIGTERM, then drains
//! }
//!
//! async fn call() -> anyhow::Result<String> {
//!     let billing = BillingClient::connect("nats://localhost:4222").await?;
//!     let call = billing.charge(4200).key("order-17").deadline(Duration::from_secs(3600));
//!     match call.on_event(|event: &CallEvent| println!("{event:?}")).await {
//!         Ok(receipt) => Ok(receipt),
//!         Err(CallError::Failed(ChargeError::Declined { why })) => anyhow::bail!("no money: {why}"),
//!         Err(CallError::Unavailable(Unavailable::QueueFull { .. })) => anyhow::bail!("try again later"),
//!         // It may still run: the key finds it, from this process or another one.
//!         Err(error) if error.may_still_run() => Ok(billing.attach_charge("order-17").await?),
//!         Err(error) => Err(error.into()),
//!     }
//! }
//! ```
//!
//! # Where things are
//!
//! | to | see |
//! |---|---|
//! | write a service | [`macro@service`], [`macro@handler`], [`derive@CallError`], [`Context`], [`Progress`] |
//! | stream items | [`Items`], [`Position`], [`Sink`], [`Call::open`], [`ItemsError`], [`SinkError`] |
//! | serve it | [`Server`], [`RunningServer`], [`Setup`], [`StreamLimits`], [`Stats`] |
//! | call it | [`Client`], [`ClientBuilder`], [`Call`], [`CallEvent`], [`CallEvents`], [`Accepted`], [`Attach`] |
//! | say who may do what | [`Permissions`], [`Crossing`], [`Server::prepare`] |
//! | know what went wrong | [`enum@CallError`] and what it holds; [`ConnectError`], [`SetupError`], [`ServeError`], [`CancelError`], [`CheckpointError`], [`ProgressError`] |
//! | test it | the crate `requite-test` |
//!
//! What the handler does may happen more than once: after a lost lease or a dead worker it may run again. It is told the
//! [attempt](Context::attempt) and an [idempotency key](Context::idempotency_key) that is the same in every attempt. What
//! is once is the outcome, for as long as it is retained. The README says what is promised and what is not, `ARCHITECTURE.md`
//! and `PROTOCOL.md` beside this crate how it is done.
//!
//! There are no cargo features.

// In reading order. Decisions, and the forms of what crosses NATS.
mod protocol;
mod wire;

mod name;
mod numbered;
mod subject;
mod turns;

// The way to the server.
mod broker;
mod codec;
mod items;

// The two sides of a call.
mod client;
mod server;

// What users write, and what they get when it fails.
mod context;
mod nested;
mod progress;
mod service;
mod setup;

mod error;
mod permissions;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod model;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod simulation;

pub use async_nats;
pub use client::{Accepted, Attach, Call, CallEvent, CallEvents, CancelAnswer, Client, ClientBuilder};
pub use context::Context;
pub use error::{
    Aborted, CallError, CancelError, Cancelled, CheckpointError, ConnectError, ItemsError, ProgressError,
    Rejected, ServeError, SetupError, SinkError, Unavailable, Unknown, Why,
};
pub use items::{Bidirectional, ClientStream, Items, ServerStream, Sink};
pub use name::{InvalidName, InvalidRequestId, Name, RequestId};
pub use permissions::{Crossing, Permissions};
pub use progress::Progress;
pub use server::{RunningServer, Server, Stats};
pub use service::{HandlerError, NoError, Retry, Service, ServiceDefinition};
pub use setup::{Setup, StreamLimits};
pub use wire::position::Position;
pub use wire::record::Reason;

/// Makes a service of an `impl`, of a `trait` or of a free `async fn`, and a client for it.
///
/// ```
/// use requite::prelude::*;
///
/// struct Greeter;
///
/// /// Greets.
/// #[service(name = "greeter", version = "1.0.0")]
/// impl Greeter {
///     #[handler]
///     async fn greet(&self, name: String) -> String {
///         format!("hello, {name}")
///     }
/// }
/// ```
///
/// On a trait it makes a contract that both sides share: the server serves `value.into_service()` of a type that
/// implements it, the client needs the trait only.
///
/// A free function is a service with one handler. It stays what it is, to be called and tested as plain Rust. What is
/// served is a struct that is named after it, and the client is that struct's:
///
/// ```no_run
/// use requite::prelude::*;
///
/// /// Charges a card.
/// #[service(name = "billing")]
/// #[handler(lease = "30s", attempts = 3)] // may be left out, as its options
/// async fn charge(cx: &Context, cents: u64) -> String {
///     format!("{cents} cents, charged under {}", cx.idempotency_key())
/// }
///
/// # async fn main_of_the_worker(url: &str) -> anyhow::Result<()> {
/// Server::connect(url).await?.serve(Charge).run().await?;
/// # Ok(()) }
///
/// # async fn elsewhere(url: &str) -> anyhow::Result<()> {
/// let receipt = ChargeClient::connect(url).await?.charge(4200).key("order-17").await?;
/// # Ok(()) }
/// ```
///
/// | option | default | limits |
/// |---|---|---|
/// | `name = "…"` | the type's, trait's or function's name in kebab-case: `UserAccounts`, `user_accounts` → `user-accounts` | 1 to 64 of `A-Z a-z 0-9 _ -`, not starting with `-` |
/// | `version = "…"` | the version of the crate | Semantic Versioning |
///
/// What is generated, and nothing else lands in the scope of the item:
///
/// | for | name |
/// |---|---|
/// | `Greeter` | `GreeterClient`, with `connect(url)`, `new(client)` and `client()` |
/// | each handler `greet` | `GreeterClient::greet(…)`, a [`Call`], and `GreeterClient::attach_greet(key)`, an [`Attach`] |
/// | an `impl` | `impl Service for Greeter` |
/// | a `trait` | its method `into_service(self)` |
/// | an `async fn greet` | `struct Greet;`, as visible as the function, and `impl Service for Greet` |
///
/// Doc comments of item and handlers become descriptions.
pub use requite_macros::service;

/// Marks an `async fn` inside a [`macro@service`] as a handler, and takes its options; on a free function it stands below
/// `#[service]`.
///
/// `async fn name(&self, cx: &Context, request: T) -> Result<R, E>`, without `&self` if it is free: [`Context`] and request
/// may be left out; a handler that cannot fail returns `R`. Behind the request it may take [`Items<U>`](Items), which its caller
/// sends, and [`Sink<D>`](Sink), which its caller reads. A plain `fn` may return `impl Stream<Item = Result<D, E>>` instead, or
/// `impl Stream<Item = D>`. Requests, items and replies are owned types that serde reads and writes, `E` derives
/// [`derive@CallError`].
///
/// | option | default | limits | meaning |
/// |---|---|---|---|
/// | `name = "…"` | the function's | as a service's | the method's name on the wire |
/// | `lease = "30s"` | 30 s | at least 6 s; on several replicas 20 s | how long a worker may be silent before another one gets the request; heartbeats renew it, so a long run needs no long lease |
/// | `max_run = "2h"` | 15 min | at least 1 s | the longest one attempt may take |
/// | `kill_after = "10s"` | 30 s | any | how long a handler may go on once its request is cancelled |
/// | `attempts = 3` | 5 | at least 1 | how many attempts may be used up by retryable errors and dead workers |
/// | `concurrency = 8` | 16 | 1 to 1,000,000 | how many requests one worker handles at once |
/// | `retention = "7d"` | 24 h with a key, 2 min without | at least 60 s | how long an outcome is kept, and its stream's items |
/// | `idle = "60s"` | 60 s | at least half the `lease`, or 15 s if that is less; only with a stream | how long one side of a stream may hear nothing of the other before it is told |
/// | `volatile` | off | only with a stream | its streams are not stored: another process cannot go on with them, nor a later attempt get what its caller has sent |
/// | `once` | off | not with `attempts` | never start again what may have begun: an attempt without an outcome becomes `Aborted` with [`Reason::Interrupted`] |
/// | `fenced` | off | | claim before every start, so that [`Context::fencing_token`] is always there |
///
/// Durations are numbers with units (ms, s, m, h, d): `"30s"`, `"1h 30m"`.
///
/// ```
/// # use requite::prelude::*;
/// # struct Mill;
/// #[service]
/// impl Mill {
///     #[handler(lease = "10s", max_run = "1h 30m", concurrency = 4, once)]
///     async fn grind(&self, cx: &Context, sacks: u32) -> u32 {
///         sacks * cx.attempt()
///     }
/// }
/// ```
pub use requite_macros::handler;

/// Makes the error type of a handler: says of every variant whether it is final or worth another attempt.
///
/// The caller gets its own enum back, in [`CallError::Failed`]. The type also needs `Display` and serde's
/// `Serialize` and `Deserialize`.
///
/// | on a variant, or on a struct | meaning |
/// |---|---|
/// | nothing | final: the error is the outcome |
/// | `#[retry]` | another attempt after 1 s, doubling to 60 s, ± 20 % |
/// | `#[retry(after = "5s")]` | another attempt after 5 s; more than nothing, at most 24 h |
///
/// When the handler's `attempts` are used up the error is the outcome, and the request a dead letter.
///
/// ```
/// # use requite::prelude::*;
/// #[derive(Serialize, Deserialize, Debug, thiserror::Error, CallError)]
/// enum ChargeError {
///     #[error("card declined")]
///     Declined,
///     #[error("bank unreachable")]
///     #[retry(after = "5s")]
///     BankDown,
/// }
/// ```
pub use requite_macros::CallError;

/// The README's service, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// What a file with a service in it needs.
pub mod prelude {
    pub use crate::{CallError, CallEvent, Client, Context, Items, Progress, Server, Sink, handler, service};
    pub use serde::{Deserialize, Serialize};
}

/// What expanded macros name; nothing else may use it.
#[doc(hidden)]
pub mod __private {
    pub use crate::client::call::{attach, call, cancel};
    pub use crate::context::{infallible_stream, items, sink, stream};
    pub use crate::service::{ItemType, Method, ReplyType, RequestType, handler, infallible_handler};

    /// A service without handlers yet.
    pub fn definition(
        name: &'static str,
        version: &'static str,
        description: &'static str,
    ) -> crate::ServiceDefinition {
        crate::ServiceDefinition::new(name, version, description)
    }
}
