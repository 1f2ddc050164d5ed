//! What must have happened somewhere in many runs, so that "nothing went wrong" means something.

use std::{cell::RefCell, collections::BTreeMap};

/// Something that a run went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    Redelivery,
    /// A delivery that a killed server did not know to be one more.
    Forgotten,
    /// An ack, heartbeat or NAK for an older delivery than the newest.
    StaleAck,
    /// A request was published again under its id.
    DuplicatePublish,
    /// A call that came after the outcome got it.
    Reattach,
    /// A claim replaced another attempt's claim.
    TakeOver,
    /// A run found the checkpoint of an earlier one.
    Resumed,
    /// A call was told how far its handler is.
    Progress,
    ProgressStored,
    /// A caller read an item of a handler's stream.
    ItemRead,
    /// A caller was told that a stream was begun anew.
    StreamBegunAnew,
    /// A later attempt took all items of its caller.
    TakenAgain,
    /// A writer waited for its reader.
    CreditSpent,
    /// A caller dropped the stream that it read.
    ReaderLeft,
    /// A caller dropped the stream that it wrote, before its end.
    GivenUp,
    /// A handler took what another process of its caller sent behind the first one.
    StreamJoined,
    /// A request was let go by a worker that drained.
    HandOver,
    /// It was not yet: its handler had ended, and what that had sent was on its way to be stored.
    SeenOff,
    /// It had a checkpoint, and was let go at once.
    HandOverAtCheckpoint,
    /// A handler was dropped because its lease was lost.
    LostLease,
    /// A call was cancelled, and its handler never ran.
    CancelledBeforeStart,
    /// A call was cancelled that had its outcome.
    CancelledTooLate,
    /// A call was cancelled, and whoever has it was told.
    CancelSignalled,
    /// A handler was dropped because it went on after it was told.
    Killed,
    /// A call ended as unknown, and the request was stored.
    UnknownWasStored,
    /// A call ended as unknown, and nothing was stored.
    UnknownWasNot,
    /// A call ended because nothing was heard of its handler.
    Silent,
    Unavailable,
    IdReused,
    /// A handler died with its process.
    Death,
    DeadLetter,
    /// A cluster was without a leader.
    Election,
    /// A leader was cut off from its followers.
    Split,
    /// A write that nobody had answered turned out to be stored.
    DoubtWasStored,
    /// A write that nobody had answered turned out not to be.
    DoubtWasNot,
}

impl Mark {
    /// What happens only where there are streams.
    pub(super) const OF_STREAMS: [Self; 8] = [
        Self::SeenOff,
        Self::ItemRead,
        Self::StreamBegunAnew,
        Self::TakenAgain,
        Self::CreditSpent,
        Self::ReaderLeft,
        Self::GivenUp,
        Self::StreamJoined,
    ];
    /// All others.
    pub(super) const ALL: [Self; 27] = [
        Self::Redelivery,
        Self::Forgotten,
        Self::StaleAck,
        Self::DuplicatePublish,
        Self::Reattach,
        Self::TakeOver,
        Self::Resumed,
        Self::Progress,
        Self::ProgressStored,
        Self::HandOver,
        Self::HandOverAtCheckpoint,
        Self::LostLease,
        Self::CancelledBeforeStart,
        Self::CancelledTooLate,
        Self::CancelSignalled,
        Self::Killed,
        Self::UnknownWasStored,
        Self::UnknownWasNot,
        Self::Silent,
        Self::Unavailable,
        Self::IdReused,
        Self::Death,
        Self::DeadLetter,
        Self::Election,
        Self::Split,
        Self::DoubtWasStored,
        Self::DoubtWasNot,
    ];
}

/// How often each happened.
pub(super) type Marks = BTreeMap<Mark, u64>;

thread_local! {
    /// A run stays on its thread, so what was marked there is the run's.
    static MARKED: RefCell<Marks> = const { RefCell::new(Marks::new()) };
}

/// Notes that something happened; the core does so where nothing shows it from outside.
pub(crate) fn mark(mark: Mark) {
    mark_many(mark, 1);
}

pub(super) fn mark_many(mark: Mark, count: u64) {
    if count > 0 {
        MARKED.with_borrow_mut(|marked| *marked.entry(mark).or_default() += count);
    }
}

/// What was marked on this thread since the last time.
pub(super) fn take() -> Marks {
    MARKED.take()
}
