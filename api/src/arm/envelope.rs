//! The outer form that all resources share.
//!
//! Source: reference management 4 and 5.1.

use std::collections::BTreeMap;

use gridpost_model::{ResourceId, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// `tags`.
pub(super) type Tags = BTreeMap<String, String>;

/// How many tags a resource has at most, and how many characters their names and values: as the service has it, and so
/// that what is kept of a resource is bounded.
const MOST_TAGS: usize = 50;
const MOST_TAG_NAME_CHARS: usize = 512;
const MOST_TAG_VALUE_CHARS: usize = 256;

/// How many characters the name of a location has at most; the longest of the service's have some 25.
const MOST_LOCATION_CHARS: usize = 90;

/// Reads `tags`.
pub(super) fn read_tags<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Tags>, D::Error> {
    let tags = Option::<Tags>::deserialize(from)?;
    let all = tags.iter().flatten();
    let is_long = |text: &str, most: usize| most < text.chars().count();
    let mut too_long = all.filter(|(name, value)| {
        is_long(name, MOST_TAG_NAME_CHARS) || is_long(value, MOST_TAG_VALUE_CHARS)
    });
    if too_long.next().is_some() || tags.as_ref().is_some_and(|tags| MOST_TAGS < tags.len()) {
        return Err(D::Error::custom(format!(
            "a resource has at most {MOST_TAGS} tags, with names of at most {MOST_TAG_NAME_CHARS} and values of at most {MOST_TAG_VALUE_CHARS} characters"
        )));
    }
    Ok(tags)
}

/// Reads `location`, or the name of another place.
pub(super) fn read_location<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let location = Option::<String>::deserialize(from)?;
    let length = location.as_deref().map_or(0, |text| text.chars().count());
    if MOST_LOCATION_CHARS < length {
        return Err(D::Error::custom(format!(
            "the name of a location has at most {MOST_LOCATION_CHARS} characters"
        )));
    }
    Ok(location)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "read_location")]
        location: Option<String>,
        #[serde(default, deserialize_with = "read_tags")]
        tags: Option<Tags>,
    }

    fn read(tags: impl IntoIterator<Item = (usize, usize)>, location: usize) -> bool {
        let tag = |(at, (name, value)): (usize, (usize, usize))| {
            (format!("{at:0name$}"), json!("\u{e4}".repeat(value)))
        };
        let tags: serde_json::Map<_, _> = tags.into_iter().enumerate().map(tag).collect();
        let body = json!({"tags": tags, "location": "x".repeat(location)});
        serde_json::from_value::<Body>(body).is_ok()
    }

    #[test]
    fn tags_and_places_have_limits_counted_in_characters() {
        assert!(read([(512, 256)], 90));
        assert!(read([(2, 1); 50], 0));
        assert!(!read([(2, 1); 51], 0));
        assert!(!read([(513, 0)], 0));
        assert!(!read([(1, 257)], 0));
        assert!(!read([], 91));
        let nothing: Body = serde_json::from_str("{}").unwrap();
        assert!(nothing.tags.is_none() && nothing.location.is_none());
    }
}
