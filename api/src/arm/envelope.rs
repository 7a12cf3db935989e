//! The outer form that all resources share.
//!
//! Source: reference management 4 and 5.1.

use std::collections::BTreeMap;

use gridpost_model::{ResourceId, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

/// `tags`.
pub(super) type Tags = BTreeMap<String, String>;

/// A resource with a place and tags.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tracked<'a, P> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    #[serde(rename = "type")]
    pub(super) resource_type: &'a str,
    pub(super) location: &'a str,
    pub(super) tags: &'a Tags,
    pub(super) system_data: Value,
    pub(super) properties: P,
}

impl<'a, P: Serialize> Tracked<'a, P> {
    /// The resource as JSON. Ours always can be.
    pub(super) fn shown(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub(super) fn new(
        id: &'a ResourceId,
        resource_type: &'a str,
        (location, tags): (&'a str, &'a Tags),
        (created, updated): (Timestamp, Timestamp),
        properties: P,
    ) -> Self {
        let system_data = system_data(created, updated);
        let (id, name) = (id.as_str(), id.name());
        Self {
            id,
            name,
            resource_type,
            location,
            tags,
            system_data,
            properties,
        }
    }
}

/// `systemData`: when. Who is not recorded.
pub(super) fn system_data(created: Timestamp, updated: Timestamp) -> Value {
    json!({"createdAt": created, "lastModifiedAt": updated})
}
