//! What a caller may watch of its call.

/// A step in the life of a call, as far as this caller saw it; see [`Call::on_event`](super::Call::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallEvent {
    /// The request was sent; the number counts from 1, and above 1 it was sent again under the same id.
    Sent {
        /// How often this call has been sent.
        number: u32,
    },
    /// The request is stored: from now on it ends in an outcome.
    Accepted,
    /// A handler runs it.
    Started {
        /// The worker.
        worker: String,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// The worker's heartbeat.
    Alive {
        /// The worker.
        worker: String,
        /// 1 for the first attempt.
        attempt: u32,
        /// Heartbeats heard by this call.
        heard: u32,
    },
    /// The outcome is here.
    Done {
        /// The attempt whose outcome it is.
        attempt: u32,
    },
}
