//! What is tried with requests that nobody meant well: one function a fuzz target, which panics where a law is broken.
//!
//! Promise: any input returns. The seeds of each target are tried in every test run.
//! Not here: the fuzzer that makes the inputs (`fuzz`), events and filters (`model::fuzzing`).

use gridpost_model::{Chance, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue};

mod bodies;
mod signatures;

pub use bodies::publish_bodies;
pub use signatures::sas_tokens;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const TOPIC: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t";
const DOMAIN: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains/d";

/// Every identifier it makes is the same.
struct Zeros;

impl Chance for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// What stands before a line feed, and what stands behind it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// Headers, a line each up to an empty one, and what stands behind that. A line that is no header does not count, as no
/// connection would let it through.
fn headers(mut text: &[u8]) -> (HeaderMap, &[u8]) {
    let mut found = HeaderMap::new();
    loop {
        let (first, rest) = line(text);
        text = rest;
        if first.is_empty() {
            return (found, text);
        }
        let Some(colon) = first.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&first[..colon]);
        let value = HeaderValue::from_bytes(first[colon + 1..].trim_ascii());
        // The most headers that a connection takes of one request.
        if let (Ok(name), Ok(value), true) = (name, value, found.len() < 100) {
            found.append(name, value);
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_break_no_law() {
        seeds::each("sas_tokens", sas_tokens);
        seeds::each("publish_bodies", publish_bodies);
    }
}
