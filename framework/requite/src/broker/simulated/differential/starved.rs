//! When a server had to wait for a processor: then it was late in ways that no answer shows, for instance because the
//! thread that serves pulls stood still while another one answered.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};

const INTERVAL: Duration = Duration::from_millis(10);
/// How long one thread may wait in one interval. A step leaves the server about twice as long to finish.
const MOST: Duration = Duration::from_millis(2);

/// When a thread of the server had waited for longer than it may.
pub(super) type Waits = Vec<Instant>;

/// Watches one server, also through restarts. Sees nothing but on Linux.
pub(super) struct Watch {
    server: Arc<AtomicU32>,
    waits: Arc<Mutex<Waits>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn new(server: Option<u32>) -> Self {
        let server = Arc::new(AtomicU32::new(server.unwrap_or(0)));
        let waits = Arc::<Mutex<Waits>>::default();
        let (watched, noted) = (Arc::clone(&server), Arc::clone(&waits));
        let task = tokio::spawn(async move {
            let mut before = HashMap::new();
            loop {
                let now = waited(watched.load(Ordering::Relaxed));
                let longer = |(thread, waited): (&String, &Duration)| {
                    before.get(thread).is_some_and(|before: &Duration| *waited > *before + MOST)
                };
                if now.iter().any(longer) {
                    noted.lock().unwrap().push(Instant::now());
                }
                before = now;
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { server, waits, task }
    }

    pub(super) fn restarted(&self, server: Option<u32>) {
        self.server.store(server.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn waits(self) -> Waits {
        std::mem::take(&mut *self.waits.lock().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// For how long each thread of a process has waited for a processor, by the file that says so.
fn waited(process: u32) -> HashMap<String, Duration> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return HashMap::new() };
    let thread = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), Duration::from_nanos(nanos)))
    };
    threads.flatten().filter_map(thread).collect()
}
