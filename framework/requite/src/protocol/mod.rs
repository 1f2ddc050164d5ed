//! The protocol as pure state machines: (event, time) → action. No async, no clock, no NATS.

pub(crate) mod time;
