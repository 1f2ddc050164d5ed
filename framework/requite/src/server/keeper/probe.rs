//! Notices when every thread of the user's runtime is blocked: the heartbeats go on, but nothing else does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use crate::{
    protocol::time::Moment,
    server::{method::MethodRuntime, stats::count},
};

/// A runtime that does not run a task for this long is reported.
const BLOCKED: Duration = Duration::from_secs(1);

/// A task that is sent to the runtime and looked for.
pub(super) struct Probe {
    runtime: Handle,
    sent: Moment,
    ran: Arc<AtomicBool>,
    reported: bool,
}

impl Probe {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, sent: Moment(0), ran: Arc::new(AtomicBool::new(true)), reported: false }
    }

    pub(super) fn round(&mut self, now: Moment, methods: &[Arc<MethodRuntime>]) {
        let waited = now.since(self.sent);
        if waited < BLOCKED {
            return;
        }
        if self.ran.load(Ordering::Acquire) {
            if self.reported {
                tracing::info!("the runtime runs tasks again");
            }
            self.reported = false;
            self.sent = now;
            self.ran = Arc::new(AtomicBool::new(false));
            let ran = Arc::clone(&self.ran);
            self.runtime.spawn(async move { ran.store(true, Ordering::Release) });
        } else if !self.reported {
            self.reported = true;
            if let Some(method) = methods.first() {
                count(&method.service.counters.blocked);
            }
            tracing::warn!(
                blocked_for = ?waited,
                "every thread of the runtime is blocked: use `spawn_blocking` in handlers; leases are kept"
            );
        }
    }
}
