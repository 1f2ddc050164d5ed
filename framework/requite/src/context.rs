//! What a handler is told about its request.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    protocol::lease::LeaseState,
    server::held::{Held, Stop},
};

/// What a handler may know of the request it runs: who asked, which attempt it is, whether it should stop.
///
/// ```
/// # use requite::prelude::*;
/// # struct Shop;
/// #[service]
/// impl Shop {
///     #[handler]
///     async fn charge(&self, cx: &Context, cents: u64) -> String {
///         // The bank drops a second charge with the same key, whichever attempt sends it.
///         format!("{cents} cents under {}, attempt {}", cx.idempotency_key(), cx.attempt())
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    held: Arc<Held>,
}

impl Context {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held }
    }

    /// Tells the statistics that the handler has what it takes, and runs.
    pub(crate) fn count_run(&self) {
        self.held.count_run();
    }

    /// 1 for the first attempt. Above 1, an earlier attempt may have begun and may have had effects.
    pub fn attempt(&self) -> u32 {
        self.held.look(super::protocol::attempt::Attempt::number)
    }

    /// The same in every attempt of one request, and different for every other request: hand it to systems that can
    /// drop repetitions.
    pub fn idempotency_key(&self) -> String {
        let origin = self.held.origin();
        format!("{}.{}.{}", self.held.method.options.service, origin.caller, origin.id)
    }

    /// The request's id.
    pub fn id(&self) -> &str {
        self.held.origin().id
    }

    /// The name of the caller, as its credentials allow it to be used.
    pub fn caller(&self) -> &str {
        self.held.origin().caller
    }

    /// A number that grows with every attempt of the request, for systems that refuse older ones. Always there in a
    /// handler declared `fenced` or `once`; elsewhere only once the request had to be claimed.
    pub fn fencing_token(&self) -> Option<u64> {
        self.held.look(super::protocol::attempt::Attempt::fence)
    }

    /// Whether the lease was confirmed lately. When not, another worker may be given the request soon: a careful
    /// handler starts nothing that it cannot repeat.
    pub fn lease_ok(&self) -> bool {
        self.held.stopping() == Stop::No && self.held.lease().state(self.held.now()) == LeaseState::Held
    }

    /// Resolves when the handler has to stop: its lease is lost, or the worker shuts down and its time is over. The
    /// handler's future is dropped at its next `await`, so only work on other tasks or threads needs this.
    pub async fn stopped(&self) {
        self.held.stopped().await;
    }

    /// Whether [`Context::stopped`] has resolved; for code that blocks.
    pub fn is_stopped(&self) -> bool {
        self.held.stopping() != Stop::No
    }

    /// How long until the caller's deadline, by the server's clock; nothing if the request carries none.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.held.envelope.left?;
        let now = self.held.method.server_now(self.held.now())?;
        let waited = Duration::from_nanos(now.saturating_sub(self.held.stored));
        Some(left.saturating_sub(waited))
    }

    /// The caller's W3C trace context, where it sent one.
    pub fn trace_parent(&self) -> Option<&str> {
        self.held.envelope.trace_parent.as_deref()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.held.method.options.name)
            .field("caller", &self.caller())
            .field("id", &self.id())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
