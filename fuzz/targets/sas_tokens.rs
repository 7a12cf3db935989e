//! Tries `gridpost_api::publish::fuzzing::sas_tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gridpost_api::publish::fuzzing::sas_tokens(input));
