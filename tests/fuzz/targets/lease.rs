//! Leases under any clocks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| requite::fuzzing::lease(data));
