//! The macros of `requite`; use them through that crate.
