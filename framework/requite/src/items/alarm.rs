//! A timer for a loop that waits until another time in every turn.

use std::pin::Pin;

use tokio::time::{Instant, Sleep};

use crate::protocol::time::Moment;

/// Rings no later than when it was last asked to. Whoever hears it looks again, so that a time that moves on, as most do,
/// leaves the runtime's timer where it is.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it rings; never, if far.
    at: Moment,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(Instant::now())), at: Moment::FAR }
    }

    /// Resolves at that time, or before it.
    pub(super) async fn rings(&mut self, at: Moment, now: Moment) {
        if at < self.at {
            self.at = at;
            self.sleep.as_mut().reset(Instant::now() + at.since(now));
        }
        if self.at == Moment::FAR {
            std::future::pending().await
        }
        self.sleep.as_mut().await;
        self.at = Moment::FAR;
    }
}
