//! Tries `gridpost_model::fuzzing::resource_ids`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gridpost_model::fuzzing::resource_ids(input));
