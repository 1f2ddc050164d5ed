//! Requests whose deadline has passed when a worker gets them: Requite's worker, which must not run them, under calls
//! written by hand, because Requite's own client does not send what has no time left.

use ::requite::RunningServer;
use anyhow::Result;

use crate::by_hand::Stranger;
use crate::path::{Echo, Path};
use crate::requite;
use crate::server::NatsServer;

pub(crate) struct Expired {
    caller: Stranger,
    _server: RunningServer,
}

impl Path for Expired {
    async fn set_up(server: &NatsServer) -> Result<Expired> {
        let running = requite::serve(server).await?;
        Ok(Expired { caller: Stranger::start(server).await?, _server: running })
    }

    async fn call(&self, echo: Echo) -> Result<Echo> {
        self.caller.is_refused(&echo).await?;
        Ok(echo)
    }

    async fn check(&self) -> Result<()> {
        self.caller.check().await
    }
}
