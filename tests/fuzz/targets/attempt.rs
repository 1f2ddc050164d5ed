//! An attempt under any events.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| requite::fuzzing::attempt(data));
