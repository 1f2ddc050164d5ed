//! What has to have happened in some state of some setting, so that "nothing was broken" means something.

use stateright::Property;

use super::Protocol;

/// What happens in some runs of a model, and its notes of it.
macro_rules! marks {
    (of $model:ty; $($(#[doc = $doc:literal])* $mark:ident),+ $(,)?) => {
        /// Something that happens in some runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Mark {
            $($(#[doc = $doc])* $mark),+
        }

        impl Mark {
            pub(super) const NAMES: &[&str] = &[$(stringify!($mark)),+];
        }

        impl $model {
            pub(super) fn mark(&self, mark: Mark) {
                if !self.is_marked(mark) {
                    self.marks.fetch_or(1 << mark as u64, std::sync::atomic::Ordering::Relaxed);
                }
            }

            fn is_marked(&self, mark: Mark) -> bool {
                self.marks.load(std::sync::atomic::Ordering::Relaxed) & 1 << mark as u64 != 0
            }
        }

        /// Each mark as something that is sometimes reached.
        pub(super) fn reached() -> Vec<Property<$model>> {
            vec![$(Property::sometimes(stringify!($mark), |model: &$model, _| model.is_marked(Mark::$mark))),+]
        }
    };
}
pub(super) use marks;

marks! {
    of Protocol;

    Redelivery,
    /// A server that was killed gave away again, as new, what a worker has in hand.
    Forgotten,
    /// An ack or NAK arrived for what had been given to somebody else since.
    StaleAck,
    StaleNak,
    /// A write that nobody had waited for any more was stored after all.
    LateWrite,
    /// The same of a checkpoint.
    LateCheckpoint,
    /// An attempt began with the checkpoint of an earlier one.
    Resumed,
    /// A write was refused, because another record was there.
    WriteRefused,
    /// A claim replaced another attempt's claim.
    TakeOver,
    /// A newcomer asked the owner of a claim, which has it still.
    OwnerAnswered,
    /// A worker lost its lease.
    LostLease,
    /// A result was dropped, because the lease was lost before it was stored.
    ResultDropped,
    HandOver,
    HandOverAtCheckpoint,
    Retry,
    /// What is handed out again had its outcome already.
    KnownOutcome,
    /// A write in doubt turned out to be stored.
    DoubtWasStored,
    /// A write in doubt turned out not to be, and was made again.
    DoubtWasNot,
    DeadLetter,
    Exhausted,
    Interrupted,
    Expired,
    Rejected,
    Cancelled,
    /// The same, and no handler ever ran.
    CancelledBeforeStart,
    /// A copy was refused, because one is in the queue.
    Exists,
    /// A copy was dropped, because its message id is known.
    Duplicate,
    /// A copy was stored although the outcome was.
    StoredAgain,
    /// A copy that was overtaken by a later one was stored.
    Overtaken,
    /// A call that began after the outcome was stored was given it.
    Reattach,
    Unavailable,
    Unknown,
    IdReused,
}
