//! Filters as they are kept, held against an event: the first line is the filter, the rest the event.

#![no_main]

use bytes::Bytes;
use gridpost_model::filter::{Filter, TopicKind};
use gridpost_model::{Event, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let cut = input.iter().position(|byte| *byte == b'\n');
    let (filter, event) = input.split_at(cut.unwrap_or(input.len()));
    let Ok(filter) = serde_json::from_slice::<Filter>(filter) else {
        return;
    };
    let event = Bytes::copy_from_slice(event);
    let now = Timestamp::from_seconds(1_600_000_000);
    for event in [
        Event::from_event_grid_json(event.clone(), now),
        Event::cloud_event(event, now),
    ]
    .into_iter()
    .flatten()
    {
        for kind in [TopicKind::Custom, TopicKind::Communication] {
            let refused = filter.refusal(kind, &event).is_some();
            // Whoever looks at the envelope first comes to the same end.
            assert!(filter.takes_envelope(kind, &event) || refused);
        }
    }
});
