//! The integration tests: one binary, because linking is what costs; one server, or one namespace, for each test.

#![allow(clippy::unwrap_used)] // also in the functions that the tests share

mod caller;
mod faults;
mod streams;
mod worker;
