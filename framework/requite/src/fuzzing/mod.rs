//! What reads strangers' bytes, and what decides by arbitrary clocks and events, as functions of bytes: each panics where
//! a promise is broken.
//!
//! Compiled for tests and for coverage-guided fuzzing only. `tests/fuzz/` has one target for each function, with the
//! inputs that were worth keeping; `cargo test -p requite --lib fuzzing` plays those and random variations of them.

mod attempt;
mod bytes;
mod codec;
mod items;
mod lease;
mod pull;
mod subject;
#[cfg(test)]
mod tests;
mod wire;

pub use attempt::attempt;
pub use codec::{json, msgpack};
pub use items::items;
pub use lease::lease;
pub use pull::pull;
pub use subject::{ack, subject};
pub use wire::{answers, envelope, record};

/// What plays one input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 11] = [
    ("ack", ack),
    ("answers", answers),
    ("attempt", attempt),
    ("envelope", envelope),
    ("items", items),
    ("json", json),
    ("lease", lease),
    ("msgpack", msgpack),
    ("pull", pull),
    ("record", record),
    ("subject", subject),
];
