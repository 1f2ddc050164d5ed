//! Records, signals and questions.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| requite::fuzzing::record(data));
