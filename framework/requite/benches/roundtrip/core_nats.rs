//! The floor of the transport: core NATS request/reply. Nothing is stored, nothing is acknowledged.

use anyhow::{Context, Result};
use async_nats::{Client, Request};
use futures_util::StreamExt;

use crate::path::{Echo, Path, connect};
use crate::server::NatsServer;

const SUBJECT: &str = "core.echo";

/// A subscription that answers, and the connection that asks.
pub(crate) struct CoreNats {
    caller: Client,
}

impl Path for CoreNats {
    async fn set_up(server: &NatsServer) -> Result<Self> {
        let caller = connect(server, "caller").await?;
        let worker = connect(server, "worker").await?;
        let mut requests = worker.subscribe(SUBJECT).await?;
        let responder = worker.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let Some(reply) = request.reply else { continue };
                let echo = Echo::decode(&request.payload).expect("only this file publishes here");
                let answer = echo.encode().expect("a string always encodes");
                if responder.publish(reply, answer.into()).await.is_err() {
                    return;
                }
            }
        });
        // A flush only writes to the socket. This answer, on the same connection, means that the server knows of
        // the subscription, and so the caller meets it.
        worker.request(SUBJECT, Echo::sample().encode()?.into()).await?;
        Ok(CoreNats { caller })
    }

    async fn call(&self, echo: Echo) -> Result<Echo> {
        // No timer per call: the window has one for all of them, here and in the other paths.
        let request = Request::new().payload(echo.encode()?.into()).timeout(None);
        let answer = self.caller.send_request(SUBJECT, request).await.context("core request")?;
        Echo::decode(&answer.payload)
    }
}
