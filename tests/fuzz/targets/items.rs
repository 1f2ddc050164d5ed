//! Frames, credit and both ends of a stream.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| requite::fuzzing::items(data));
