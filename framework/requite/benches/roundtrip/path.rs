//! What every measured path is to the benchmark: something that echoes one payload, set up on a server of its own.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions};
use serde::{Deserialize, Serialize};

use crate::server::NatsServer;

/// Bytes of text in one [`Echo`].
const PAYLOAD: usize = 128;

/// The payload of every call and of its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Echo {
    pub(crate) text: String,
}

impl Echo {
    /// 128 bytes that no encoding can shorten to nothing.
    pub(crate) fn sample() -> Echo {
        Echo { text: ('a'..='z').cycle().take(PAYLOAD).collect() }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        encode(self, 2 * PAYLOAD)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Echo> {
        Ok(rmp_serde::from_slice(body)?)
    }
}

/// MessagePack with field names, into a buffer of a size that need not grow.
pub(crate) fn encode(value: &impl Serialize, size: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(size);
    rmp_serde::encode::write_named(&mut buffer, value)?;
    Ok(buffer)
}

/// A connection as every path uses it.
pub(crate) async fn connect(server: &NatsServer, name: &str) -> Result<Client> {
    let options = ConnectOptions::new()
        .name(name)
        // Subjects are built from constants here.
        .skip_subject_validation(true)
        // More than can ever be in flight: a full subscription drops messages.
        .subscription_capacity(65_536)
        .ping_interval(Duration::from_secs(5));
    options.connect(server.url()).await.with_context(|| format!("cannot connect {name}"))
}

/// One way from a caller to a handler and back.
///
/// Caller and handler live in this process, each with a NATS connection of its own, so that every path pays for
/// the same sockets and the same two runtime threads.
pub(crate) trait Path: Sized + Send + Sync + 'static {
    /// Connects both ends and creates on the server whatever the path needs.
    fn set_up(server: &NatsServer) -> impl Future<Output = Result<Self>> + Send;

    /// One complete call: returns when the caller holds the decoded answer.
    fn call(&self, echo: Echo) -> impl Future<Output = Result<Echo>> + Send;

    /// Fails if something that a call does not wait for went wrong after all.
    fn check(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
