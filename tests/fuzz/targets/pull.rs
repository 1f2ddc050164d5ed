//! The account of pulls.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| requite::fuzzing::pull(data));
