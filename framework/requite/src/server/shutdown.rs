//! Stopping: what ends a server, and how it lets go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{RunningServer, keeper::Keeper, method::MethodRuntime};
use crate::{
    broker::{AnyBroker, Broker, Outgoing},
    name::Instance,
};

/// Between two looks at what is still in hand.
const LOOK: Duration = Duration::from_millis(20);
/// How long letting go may take, after the drain time: what ended handlers have sent, one write and one NAK for each request.
const LET_GO: Duration = Duration::from_secs(5);
/// How long the last messages may take on their way out.
const SEE_OFF: Duration = Duration::from_secs(1);

/// Resolves on SIGTERM or SIGINT.
pub(super) async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            // Without signal handlers the default action ends the process.
            _ => std::future::pending().await,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}

pub(super) async fn drain(server: &RunningServer) {
    tracing::info!(in_hand = server.in_hand(), "stops pulling");
    server.draining.cancel();
    server.pullers.close();
    server.keeper.pulls_no_more();
    server.keeper.drain();
    wait(server, server.drain).await;
    if server.in_hand() > 0 {
        tracing::info!(in_hand = server.in_hand(), "the drain time is over: lets go");
        server.keeper.hand_over().await;
        wait(server, LET_GO).await;
    }
    server.pullers.wait().await;
    server.tasks.close();
    // A handler that blocks its thread cannot be waited for.
    let _ = tokio::time::timeout(LET_GO, server.tasks.wait()).await;
    leave(&server.keeper, &server.broker, &server.methods).await;
}

/// Waits until everything that was sent is on the server. The connections, or the process, may end after this: an ack or
/// a NAK that is still on its way here would leave its request lying until the lease ends.
pub(super) async fn leave(keeper: &Keeper, broker: &AnyBroker, methods: &[Arc<MethodRuntime>]) {
    let sent = async { tokio::join!(keeper.see_off(), see_off(broker, methods)) };
    let _ = tokio::time::timeout(LET_GO, sent).await;
}

/// Waits until everything that was published on this connection is on the server.
pub(super) async fn see_off(broker: &AnyBroker, methods: &[Arc<MethodRuntime>]) {
    if let Some(method) = methods.first()
        && broker.is_connected()
    {
        // Nobody has this name, so the server says at once that nobody answers.
        let nobody = method.service.subjects.mine(Instance::random().as_str());
        let _ = broker.request(Outgoing::new(nobody, Bytes::new()), SEE_OFF).await;
    }
}

async fn wait(server: &RunningServer, at_most: Duration) {
    let all_settled = async {
        while server.in_hand() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(at_most, all_settled).await;
}
