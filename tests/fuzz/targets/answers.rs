//! The server's answers in JSON.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| requite::fuzzing::answers(data));
