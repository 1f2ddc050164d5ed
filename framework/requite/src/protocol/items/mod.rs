//! Streams of items: one [`writer`], one [`reader`], and a log of frames between them.
//!
//! The frames of one direction of a call lie in numbered slots, each written at most once. A writer has at most [`FLIGHT`]
//! of them on their way: a slot is written only when all but the last few before it are known to be taken. A later writer of
//! the same stream, which is the next attempt of a handler or another process of a caller, first writes an empty frame into
//! the first slot that is empty: from then on whatever an earlier one still sends finds its slot taken, or lies behind that
//! frame and says nothing. Nor does a frame that does not follow from those before it: what was to come between them found
//! its slot taken by somebody who has no part in the stream, and comes again behind it, with all that follows.
//!
//! A stream that is not stored has slots too, one row of them for each writer. Its writer keeps what its reader has not said
//! that it has, and sends it again when it is missed.

use std::time::Duration;

mod flight;
mod gather;
mod passed;
pub(crate) mod reader;
mod readers;
pub(crate) mod slot;
mod unstored;
pub(crate) mod watch;
pub(crate) mod writer;

/// What a reader may have unread, and what a first writer may send before it has heard from its reader. In tests it is less
/// than the streams of the simulation, so that those wait for credit.
pub(crate) const WINDOW_ITEMS: u64 = if cfg!(test) { 16 } else { 16 * 1024 };
pub(crate) const WINDOW_BYTES: u64 = 8 << 20;
/// The same where nothing is stored: its writer keeps all of that in memory, and twice as much made nothing faster. A log is
/// slower the less is on its way to it (`cargo bench --bench streams -- --only stored --size 131072` has both by hand).
pub(crate) const UNSTORED_WINDOW_BYTES: u64 = 4 << 20;
/// A frame is not filled any further above this. Of a frame of this size less than 1 % is headers, and several of them
/// may be unread. It is a little above 256 KiB, so that items of 128 KiB go by twos, with what encodes them: alone, each
/// of them waits for an answer of the server (`cargo bench --bench streams` shows the difference).
pub(crate) const FRAME_BYTES: usize = 260 << 10;
/// The same where nothing is stored. Servers and clients read up to 64 KiB at once, and what does not fit is copied as it
/// grows. An item of 16 KiB goes alone, with what encodes it.
pub(crate) const UNSTORED_FRAME_BYTES: usize = 17 << 10;
pub(crate) const FRAME_ITEMS: usize = 4 * 1024;
/// How many frames are on their way to the log at once, if they are full. Half a window: the reader's credit comes back
/// meanwhile. Tests have fewer: the model sees every order in which they can arrive.
pub(crate) const FLIGHT: usize = if cfg!(test) { 4 } else { 16 };
/// How long a log that takes nothing, or is not there, is put up with.
pub(crate) const REFUSED_FOR: Duration = Duration::from_secs(15);
/// A reader says this often that it is there.
pub(crate) const SAID_EVERY: Duration = Duration::from_secs(5);
/// A reader that waits repeats its credit this often: the last message may be lost.
pub(crate) const REPEATED_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
