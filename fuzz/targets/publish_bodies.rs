//! Tries `gridpost_api::publish::fuzzing::publish_bodies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gridpost_api::publish::fuzzing::publish_bodies(input));
