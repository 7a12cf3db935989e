//! Tries `gridpost_model::fuzzing::events`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gridpost_model::fuzzing::events(input));
