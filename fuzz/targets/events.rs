//! Events as publishers write them, and in the schemas they are delivered in. Text only: the wire has checked that.

#![no_main]

use bytes::Bytes;
use gridpost_model::{Event, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let bytes = Bytes::copy_from_slice(input.as_bytes());
    let now = Timestamp::from_seconds(1_600_000_000);
    for event in [
        Event::from_event_grid_json(bytes.clone(), now),
        Event::cloud_event(bytes, now),
    ]
    .into_iter()
    .flatten()
    {
        for delivered in [event.to_cloud_event(), event.to_event_grid()]
            .into_iter()
            .flatten()
        {
            let whole = serde_json::from_slice::<serde_json::Value>(&delivered);
            assert!(whole.is_ok(), "what is delivered is JSON");
        }
    }
});
