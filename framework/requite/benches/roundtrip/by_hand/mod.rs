//! The hand-written path: the steps of Requite's protocol on async-nats, without a framework, as fast as they go.
//!
//! Request → work queue (one message per subject) → pull consumer → a task per message → outcome by compare-and-set
//! → republished on the caller's inbox, and the ack last. What only matters when something fails (claims, leases,
//! re-sends, reconnects) is left out: whatever is not the happy path ends the benchmark.

mod caller;
mod outbox;
mod pending;
mod streams;
mod wire;
mod worker;

use anyhow::Result;
use data_encoding::BASE32_NOPAD;
use ring::rand::{SecureRandom, SystemRandom};

use self::caller::Caller;
use self::worker::Worker;
use crate::path::{Echo, Path, connect};
use crate::server::NatsServer;

/// One caller; the worker runs in tasks of its own.
pub(crate) struct ByHand {
    caller: Caller,
}

impl Path for ByHand {
    async fn set_up(server: &NatsServer) -> Result<Self> {
        let secret = token();
        let worker = connect(server, "worker").await?;
        let created = streams::create(&worker, &secret).await?;
        Worker::start(worker, &secret, created.last_sequence).await?;
        let caller = Caller::start(connect(server, "caller").await?, &created.time).await?;
        Ok(ByHand { caller })
    }

    async fn call(&self, echo: Echo) -> Result<Echo> {
        self.caller.call(&echo).await
    }

    async fn check(&self) -> Result<()> {
        self.caller.check().await
    }
}

/// A caller of whatever worker serves the echo.
pub(crate) struct Stranger {
    caller: Caller,
}

impl Stranger {
    /// Connects, once there are streams.
    pub(crate) async fn start(server: &NatsServer) -> Result<Self> {
        let client = connect(server, "caller").await?;
        let time = streams::created(&client).await?;
        Ok(Stranger { caller: Caller::start(client, &time).await? })
    }

    /// Makes a call that has no time left, and fails unless it is refused for that.
    pub(crate) async fn is_refused(&self, echo: &Echo) -> Result<()> {
        self.caller.call_without_time(echo).await
    }

    pub(crate) async fn check(&self) -> Result<()> {
        self.caller.check().await
    }
}

/// 128 random bits as a token of a subject.
fn token() -> String {
    let mut bits = [0; 16];
    SystemRandom::new().fill(&mut bits).expect("the system gives random bytes");
    BASE32_NOPAD.encode(&bits).to_lowercase()
}
