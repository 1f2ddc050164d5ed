//! What the keeper keeps: deliveries in the order of their arrival, and the ones that stay.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use crate::{protocol::time::Moment, server::held::Held};

/// Handlers that end sooner are never looked at again: no signal, no heartbeat.
pub(crate) const SHORT: Duration = Duration::from_millis(250);

/// The deliveries of one method.
#[derive(Default)]
pub(crate) struct Table {
    /// Younger than [`SHORT`], oldest first.
    young: VecDeque<Arc<Held>>,
    /// Everything older that is not over.
    pub(crate) long: Vec<Arc<Held>>,
    /// When the next round of heartbeats is due.
    pub(crate) next_beat: Moment,
    /// No lease of those that are not young ends before this. A handler whose lease is lost runs no longer than that:
    /// what is left of the lease at the server is the margin, and not the time to the next heartbeats.
    next_end: Option<Moment>,
    /// The last round of heartbeats on its way out.
    pub(crate) beats: Option<JoinHandle<()>>,
}

impl Table {
    pub(crate) fn add(&mut self, held: Arc<Held>) {
        self.young.push_back(held);
    }

    /// Moves what is not young any more to the others and returns those that have just become long and run.
    pub(crate) fn age(&mut self, now: Moment) -> Vec<Arc<Held>> {
        let mut running = Vec::new();
        while self.young.front().is_some_and(|held| held.is_over() || now.since(held.arrived) >= SHORT) {
            let held = self.young.pop_front().expect("there is a front");
            if held.is_over() {
                continue;
            }
            if held.started().is_some() {
                running.push(Arc::clone(&held));
            }
            let end = held.lease().end();
            self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
            self.long.push(held);
        }
        running
    }

    /// Those whose lease has ended.
    pub(crate) fn lost(&mut self, now: Moment) -> Vec<Arc<Held>> {
        let mut lost = Vec::new();
        if self.next_end.is_none_or(|end| now < end) {
            return lost;
        }
        // Heartbeats have moved the ends since.
        self.next_end = None;
        for held in self.long.iter().filter(|held| !held.is_over()) {
            let end = held.lease().end();
            if end <= now {
                lost.push(Arc::clone(held));
            } else {
                self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
            }
        }
        lost
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&mut self) {
        self.long.retain(|held| !held.is_over());
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Held>> {
        self.young.iter().chain(&self.long).filter(|held| !held.is_over())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.long.is_empty()
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Option<Moment> {
        let ageing = self.young.front().map(|held| held.arrived + SHORT);
        let beating = (!self.long.is_empty()).then_some(self.next_beat);
        [ageing, beating, self.next_end].into_iter().flatten().min()
    }
}
