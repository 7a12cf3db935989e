//! Tries `gridpost_model::fuzzing::filters`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gridpost_model::fuzzing::filters(input));
