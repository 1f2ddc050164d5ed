//! Request/reply over NATS JetStream that runs a request once.

mod broker;
mod client;
mod codec;
mod context;
mod error;
mod name;
mod protocol;
mod server;
mod service;
mod setup;
#[cfg(test)]
mod simulation;
mod subject;
mod wire;

pub use async_nats;
pub use client::{Accepted, Attach, Call, CallEvent, Client, ClientBuilder};
pub use context::Context;
pub use error::{
    Aborted, CallError, ConnectError, Rejected, ServeError, SetupError, Unavailable, Unknown, Why,
};
pub use name::{InvalidName, InvalidRequestId, Name, RequestId};
pub use requite_macros::{CallError, handler, service};
pub use server::{RunningServer, Server, Stats};
pub use service::{HandlerError, NoError, Retry, Service, ServiceDefinition};
pub use setup::{Setup, StreamLimits};
pub use wire::record::Reason;

/// What a file with a service in it needs.
pub mod prelude {
    pub use crate::{CallError, Client, Context, Server, handler, service};
    pub use serde::{Deserialize, Serialize};
}

/// What expanded macros name; nothing else may use it.
#[doc(hidden)]
pub mod __private {
    pub use crate::client::call::{attach, call};
    pub use crate::service::{Method, ReplyType, RequestType, handler, infallible_handler};

    /// A service without handlers yet.
    pub fn definition(
        name: &'static str,
        version: &'static str,
        description: &'static str,
    ) -> crate::ServiceDefinition {
        crate::ServiceDefinition::new(name, version, description)
    }
}
