//! Request/reply over NATS JetStream that runs a request once.
#![allow(dead_code)]

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
mod subject;
mod wire;

pub use async_nats;
pub use error::ConnectError;
pub use name::{InvalidName, InvalidRequestId, Name, RequestId};
pub use wire::record::Reason;
