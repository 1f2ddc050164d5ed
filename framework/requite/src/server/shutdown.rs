//! Stopping: what ends a server, and how it lets go.

use std::time::Duration;

use super::RunningServer;

/// Between two looks at what is still in hand.
const LOOK: Duration = Duration::from_millis(20);
/// How long letting go may take, after the drain time: one write and one NAK for each request.
const LET_GO: Duration = Duration::from_secs(5);

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
}

async fn wait(server: &RunningServer, at_most: Duration) {
    let all_settled = async {
        while server.in_hand() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(at_most, all_settled).await;
}
