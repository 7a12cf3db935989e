//! What the tests of events share: a resource to raise them for, and the keys of what was written.

use std::collections::BTreeMap;

use gridpost_model::{KeyPair, Secret, Timestamp};

use crate::resources::{CommunicationService, EVENT_SHAPE_TAG, EventShape};

pub(crate) fn service(shape: EventShape, id: &str) -> CommunicationService {
    CommunicationService {
        id: id.parse().unwrap(),
        location: "global".into(),
        data_location: "United States".into(),
        tags: BTreeMap::from([(EVENT_SHAPE_TAG.to_owned(), shape.tag().to_owned())]),
        immutable_id: "guid".into(),
        host_name: String::new(),
        keys: KeyPair {
            first: Secret::default(),
            second: Secret::default(),
        },
        disable_local_auth: false,
        public_network_access: "Enabled".into(),
        linked_domains: Vec::new(),
        notification_hub_id: None,
        created: Timestamp::EPOCH,
        updated: Timestamp::EPOCH,
    }
}

/// The keys of an object and of all objects in it, in order. The text is searched rather than a parsed value, because
/// a parsed value has sorted its keys.
pub(crate) fn keys(json: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let after = &rest[start + 1..];
        let end = after.find('"').unwrap();
        rest = &after[end + 1..];
        if rest.trim_start().starts_with(':') {
            found.push(after[..end].to_owned());
        }
    }
    found
}
