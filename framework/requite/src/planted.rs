//! Known bugs that tests switch on: a checker that misses the one it is there for proves nothing.
//!
//! The code that they change asks [`is_planted`] under `cfg(test)`; nothing of this is in the product.

use std::cell::Cell;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    /// A request is acked before its outcome is stored.
    AckFirst,
    /// The caller is answered with what the handler computed, before anything is stored.
    ComputedAnswer,
    /// An outcome is written without compare-and-set.
    OutcomeOverwritten,
    /// A redelivered request is started without a claim.
    NoClaimOnRedelivery,
    /// Requests are deduplicated by their message id alone.
    MessageIdAlone,
    /// What was to be settled while the connection was down is settled after the reconnect.
    LateNak,
    /// The lease is shorter than an election.
    ShortLease,
    /// Heartbeats come from the runtime of the handlers.
    BeatsAmongHandlers,
    /// A full request stream drops its oldest request.
    DiscardOld,
    /// The server stops delivering after the third time.
    MaxDeliver,
    /// What was heard to be cancelled starts without a look, if it is fresh.
    CancelUnheard,
    /// A checkpoint is stored without compare-and-set.
    CheckpointUnchecked,
    /// A frame of items is stored without compare-and-set.
    ItemUnchecked,
}

impl Bug {
    pub(crate) const ALL: [Self; 13] = [
        Self::AckFirst,
        Self::ComputedAnswer,
        Self::OutcomeOverwritten,
        Self::NoClaimOnRedelivery,
        Self::MessageIdAlone,
        Self::LateNak,
        Self::ShortLease,
        Self::BeatsAmongHandlers,
        Self::DiscardOld,
        Self::MaxDeliver,
        Self::CancelUnheard,
        Self::CheckpointUnchecked,
        Self::ItemUnchecked,
    ];
}

thread_local! {
    static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug on this thread, or removes it.
pub(crate) fn plant(bug: Option<Bug>) {
    HERE.set(bug);
}

/// Whether this bug is planted on this thread.
pub(crate) fn is_planted(bug: Bug) -> bool {
    HERE.get() == Some(bug)
}

#[test]
fn a_bug_is_planted_on_one_thread() {
    plant(Some(Bug::AckFirst));
    assert!(is_planted(Bug::AckFirst));
    assert!(!is_planted(Bug::DiscardOld));
    std::thread::spawn(|| assert!(!is_planted(Bug::AckFirst))).join().expect("no bug there");
    plant(None);
    assert!(!is_planted(Bug::AckFirst));
}
