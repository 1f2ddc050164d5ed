//! What a consumer has written to disk: the state that survives a restart, which is not the state it works with.
//!
//! It is written lazily (about every 100 ms under load), so a killed server finds an older one, and its time stamps
//! are cut to whole seconds.

use std::collections::{BTreeMap, VecDeque};

/// How far back a killed server's state can be taken.
const KEPT: u64 = 2_000_000_000;

/// A sequence of the consumer's own, and the stream sequence that goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) delivery: u64,
    pub(super) stream: u64,
}

/// A delivery that is not settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// The consumer sequence of the first delivery.
    pub(super) delivery: u64,
    /// What the lease is counted from, in nanoseconds since 1970.
    pub(super) since: u64,
}

/// The state on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) delivered: Position,
    pub(super) floor: Position,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// By stream sequence: how often it was delivered, less one.
    pub(super) redelivered: BTreeMap<u64, u64>,
}

/// One change of the state.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    Delivered {
        at: Position,
        count: u64,
        since: u64,
    },
    /// Consumer sequence 0 only forgets the delivery count.
    Settled(Position),
}

impl Snapshot {
    fn starting_at(stream: u64) -> Self {
        let start = Position { delivery: 0, stream };
        Self { delivered: start, floor: start, ..Self::default() }
    }

    fn apply(&mut self, update: Update) {
        match update {
            Update::Delivered { at, count, since } => self.deliver(at, count, since),
            Update::Settled(at) => self.settle(at),
        }
    }

    /// `consumerFileStore.UpdateDelivered`.
    fn deliver(&mut self, at: Position, count: u64, since: u64) {
        if at.delivery <= self.floor.delivery {
            return;
        }
        if at.stream > self.delivered.stream {
            self.pending.insert(at.stream, Pending { delivery: at.delivery, since });
        } else if let Some(pending) = self.pending.get_mut(&at.stream) {
            pending.since = since;
        }
        self.delivered.delivery = self.delivered.delivery.max(at.delivery);
        self.delivered.stream = self.delivered.stream.max(at.stream);
        if count > 1 {
            let known = self.redelivered.entry(at.stream).or_default();
            *known = (*known).max(count - 1);
        }
    }

    /// `consumerFileStore.UpdateAcks`.
    fn settle(&mut self, at: Position) {
        self.redelivered.remove(&at.stream);
        if at.delivery <= self.floor.delivery {
            return;
        }
        let Some(pending) = self.pending.remove(&at.stream) else { return };
        let delivery = at.delivery.min(pending.delivery);
        if self.pending.is_empty() {
            self.floor = self.delivered;
        } else if delivery == self.floor.delivery + 1 {
            self.floor = Position { delivery, stream: at.stream };
            if let Some((stream, next)) = self.pending.range(at.stream + 1..).next()
                && next.delivery > 0
            {
                self.floor = Position { delivery: next.delivery - 1, stream: stream - 1 };
            }
        }
    }
}

/// The state now, and as it was a moment ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    now: Snapshot,
    earlier: Snapshot,
    /// What leads from `earlier` to `now`.
    recent: VecDeque<(u64, Update)>,
}

impl Ledger {
    pub(super) fn starting_at(stream: u64) -> Self {
        let start = Snapshot::starting_at(stream);
        Self { now: start.clone(), earlier: start, recent: VecDeque::new() }
    }

    pub(super) fn write(&mut self, now: u64, update: Update) {
        self.now.apply(update);
        self.recent.push_back((now, update));
        while let Some((at, update)) = self.recent.front().copied()
            && at + KEPT < now
        {
            self.earlier.apply(update);
            self.recent.pop_front();
        }
    }

    /// The clock was stepped: what was written a moment ago still was.
    pub(super) fn shift(&mut self, by: i64) {
        for (at, _) in &mut self.recent {
            *at = at.saturating_add_signed(by);
        }
    }

    pub(super) fn floor(&self) -> Position {
        self.now.floor
    }

    pub(super) fn delivered(&self) -> Position {
        self.now.delivered
    }

    /// What all servers of a cluster know.
    pub(super) fn replicated(&self) -> Snapshot {
        self.now.clone()
    }

    /// Forgets what was written after `since`, as a killed server does, and reads the rest as a starting one does.
    pub(super) fn reload(&mut self, since: u64) -> Snapshot {
        let mut state = std::mem::take(&mut self.earlier);
        for (_, update) in self.recent.drain(..).take_while(|(at, _)| *at <= since) {
            state.apply(update);
        }
        for pending in state.pending.values_mut() {
            pending.since -= pending.since % 1_000_000_000;
        }
        self.now = state.clone();
        self.earlier = state.clone();
        state
    }
}
