//! What a handler's own task passes on to the calls that it makes.

use std::{sync::Arc, time::Duration};

use crate::server::held::Held;

tokio::task_local! {
    static REQUEST: Arc<Held>;
}

/// Runs a handler, on behalf of its request.
pub(crate) fn run<F: Future>(request: Arc<Held>, handler: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(request, handler)
}

/// The request on whose behalf this task runs.
pub(crate) fn request() -> Option<Arc<Held>> {
    REQUEST.try_with(Arc::clone).ok()
}

/// How long the request has left on whose behalf this task runs; nothing if it runs on nobody's.
pub(crate) fn left() -> Option<Duration> {
    REQUEST.try_with(|request| request.left()).ok().flatten()
}

#[cfg(test)]
mod tests;
