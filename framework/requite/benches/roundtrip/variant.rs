//! The measured paths, in the order of the table.

use std::time::Duration;

use anyhow::Result;

use crate::by_hand::ByHand;
use crate::core_nats::CoreNats;
use crate::expired::Expired;
use crate::load::{self, Measurement};
use crate::requite::Requite;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Core,
    ByHand,
    Requite,
    Expired,
}

impl Variant {
    pub(crate) const ALL: [Variant; 4] = [Variant::Core, Variant::ByHand, Variant::Requite, Variant::Expired];

    /// What every other path is compared with.
    pub(crate) const REFERENCE: Variant = Variant::ByHand;

    /// The name in options, in the table and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::Core => "core",
            Variant::ByHand => "by-hand",
            Variant::Requite => "requite",
            Variant::Expired => "expired",
        }
    }

    pub(crate) fn measure(self, callers: usize, window: Duration) -> Result<Measurement> {
        match self {
            Variant::Core => load::measure::<CoreNats>(callers, window),
            Variant::ByHand => load::measure::<ByHand>(callers, window),
            Variant::Requite => load::measure::<Requite>(callers, window),
            Variant::Expired => load::measure::<Expired>(callers, window),
        }
    }

    pub(crate) fn make_calls(self, callers: usize, calls: u64) -> Result<()> {
        match self {
            Variant::Core => load::make_calls::<CoreNats>(callers, calls),
            Variant::ByHand => load::make_calls::<ByHand>(callers, calls),
            Variant::Requite => load::make_calls::<Requite>(callers, calls),
            Variant::Expired => load::make_calls::<Expired>(callers, calls),
        }
    }
}
