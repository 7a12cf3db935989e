//! Resource ids: what is taken for one is taken again, and has the same key.

#![no_main]

use gridpost_model::ResourceId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(id) = text.parse::<ResourceId>() else {
        return;
    };
    let again: ResourceId = id.as_str().parse().expect("an id is an id");
    assert_eq!(id.key(), again.key());
    let _ = (id.name(), id.subscription(), id.resource_group());
    let _ = id.resource_type().is_some_and(|own| id.is_of_type(&own));
    let _ = id.join(text);
});
