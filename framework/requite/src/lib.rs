//! Request/reply over NATS JetStream that runs a request once.
#![allow(dead_code)]

mod broker;
mod error;
mod name;
mod protocol;
mod subject;
mod wire;

pub use async_nats;
pub use error::ConnectError;
pub use name::{InvalidName, InvalidRequestId, Name, RequestId};
pub use wire::record::Reason;
