//! What is tried with bytes that nobody meant well: one function a fuzz target, which panics where a law is broken.
//!
//! Promise: any input returns. The seeds of each target are tried in every test run.
//! Not here: the fuzzer that makes the inputs (`fuzz`), reading published bodies (`api`).

use bytes::Bytes;

use crate::filter::{Filter, TopicKind};
use crate::subscription::DeliverySchema;
use crate::{Event, ResourceId, Timestamp};

const NOW: Timestamp = Timestamp::from_seconds(1_600_000_000);

/// Resource ids: what is taken for one is taken again, and has the same key.
pub fn resource_ids(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(id) = text.parse::<ResourceId>() else {
        return;
    };
    let again: ResourceId = id.as_str().parse().expect("an id is an id");
    assert_eq!(id.key(), again.key());
    let _ = (id.name(), id.subscription(), id.resource_group());
    let _ = id.resource_type().is_some_and(|own| id.is_of_type(&own));
    let _ = id.join(text);
}

/// Filters as they are kept, held against an event: the first line is the filter, the rest the event.
pub fn filters(input: &[u8]) {
    let cut = input.iter().position(|byte| *byte == b'\n');
    let (filter, event) = input.split_at(cut.unwrap_or(input.len()));
    let Ok(filter) = serde_json::from_slice::<Filter>(filter) else {
        return;
    };
    for event in stored(event) {
        for kind in [TopicKind::Custom, TopicKind::Communication] {
            let refused = filter.refusal(kind, &event).is_some();
            // Whoever looks at the envelope first comes to the same end.
            assert!(filter.takes_envelope(kind, &event) || refused);
        }
    }
}

/// Stored events, and the schemas they are delivered in.
pub fn events(input: &[u8]) {
    // The wire has checked that what is stored is text.
    if std::str::from_utf8(input).is_err() {
        return;
    }
    for event in stored(input) {
        for schema in [
            DeliverySchema::EventGrid,
            DeliverySchema::CloudEvents,
            DeliverySchema::Custom,
        ] {
            if let Ok(delivered) = event.in_schema(schema) {
                let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&delivered);
                assert!(whole.is_ok(), "what is delivered is JSON");
            }
        }
    }
}

fn stored(json: &[u8]) -> impl Iterator<Item = Event> {
    let json = Bytes::copy_from_slice(json);
    [
        Event::from_event_grid_json(json.clone(), NOW),
        Event::cloud_event(json, NOW),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
#[path = "../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_break_no_law() {
        seeds::each("resource_ids", resource_ids);
        seeds::each("filters", filters);
        seeds::each("events", events);
    }
}
