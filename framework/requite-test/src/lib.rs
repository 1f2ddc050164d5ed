//! What users of `requite` test with, and we too: a NATS server for every test, clusters, and faults.
//!
//! ```no_run
//! # async fn example() -> Result<(), requite_test::ServerError> {
//! let mut server = requite_test::NatsServer::start().await?;
//! println!("connect to {}", server.url());
//!
//! server.kill9().await; // clients lose their connection…
//! server.restart().await?; // …and find the same port and the same streams again
//! # Ok(())
//! # }
//! ```
//!
//! | to have | use |
//! |---|---|
//! | a server with JetStream | [`NatsServer`] |
//! | three of them that replicate | [`NatsCluster`] |
//! | a network that fails | [`Proxy`] |
//! | a fault in exactly one step | [`Proxy::trap`] |
//! | what a process costs | [`memory_bytes`] |
//! | the `nats-server` executable, of a given version | [`ServerBinary`], [`Finder`] |
//!
//! Servers run as processes of their own, from a store in a temporary folder, on ports of 127.0.0.1 that nobody else
//! has. They end with the value that stands for them, with a panic, and with the test process itself, even when that
//! is killed. Test runs side by side never meet.
//!
//! Linux and macOS; on Windows use WSL.

#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("requite-test stops and pauses nats-server by Unix signals: on Windows use WSL");

mod binary;
mod cluster;
mod error;
mod port;
mod proxy;
mod random;
mod server;

pub use binary::{BinaryError, Finder, ServerBinary, Source, Tried, Version};
pub use cluster::{ClusterBuilder, NatsCluster};
pub use error::ServerError;
pub use proxy::{Direction, Hold, Proxy, Trap};
pub use server::{NatsServer, ServerBuilder, memory_bytes};
