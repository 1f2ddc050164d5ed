//! A worker on a runtime of its own, whose threads handlers may block.

use std::sync::Arc;

use requite::RunningServer;
use tokio::runtime::{Builder, Runtime};

use super::site::Site;

/// A worker with so many threads to block.
pub(super) struct Workshop {
    pub(super) worker: RunningServer,
    /// Nothing waits for its end: its threads may be blocked.
    runtime: Option<Runtime>,
}

impl Workshop {
    pub(super) async fn with_threads(site: &Arc<Site>, threads: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        let site = Arc::clone(site);
        let worker = runtime.spawn(async move { site.worker("workshop").await }).await.unwrap();
        Self { worker, runtime: Some(runtime) }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.runtime.take().expect("only taken here").shutdown_background();
    }
}
