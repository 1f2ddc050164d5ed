//! Requite itself: the same echo through the crate's public API.

use ::requite::{Client, RunningServer, prelude::*};
use anyhow::Result;

use crate::path::{Echo, Path};
use crate::server::NatsServer;

struct Service;

#[service(name = "bench")]
impl Service {
    #[handler(concurrency = 1000)]
    async fn echo(&self, echo: Echo) -> Echo {
        echo
    }
}

pub(crate) async fn serve(server: &NatsServer) -> Result<RunningServer> {
    Ok(Server::connect(&server.url()).await?.serve(Service).start().await?)
}

/// A client and a server on connections of their own.
pub(crate) struct Requite {
    client: ServiceClient,
    _server: RunningServer,
}

impl Path for Requite {
    async fn set_up(server: &NatsServer) -> Result<Requite> {
        let running = serve(server).await?;
        // The caller's name is in every subject: as long as the one of the path by hand.
        let client = Client::builder().url(server.url()).caller("caller").connect().await?;
        Ok(Requite { client: ServiceClient::new(client), _server: running })
    }

    async fn call(&self, echo: Echo) -> Result<Echo> {
        Ok(self.client.echo(echo).await?)
    }
}
