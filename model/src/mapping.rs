//! What a topic or a domain takes in, and how events of their publishers' own shape become events.
//!
//! Promise: in a mapping that passed `check` no name is empty and every text is short enough to keep. An entry may name
//! nothing and is then as good as absent: the command line of the service sends every entry, most of them empty.
//! Not here: applying it to a body (`api`), its place in a resource (`api::arm`), keeping it (`grid`).
//! Source: reference event-grid 1.3.

use serde::{Deserialize, Serialize};

use crate::EventSchema;

/// The longest name or default value. The service publishes no bound; ours keeps the row of a topic small, and a batch of
/// small events with defaults within one record of the journal.
pub const MAX_TEXT_BYTES: usize = 256;

/// `inputSchema` together with `inputSchemaMapping`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per topic or domain, and it is read in place"
)]
pub enum InputSchema {
    /// `EventGridSchema`.
    #[default]
    EventGrid,
    /// `CloudEventSchemaV1_0`.
    CloudEvents,
    /// `CustomEventSchema`; without a mapping nothing is taken from the publisher's object.
    Custom(Option<Mapping>),
}

impl InputSchema {
    /// The schema without its mapping.
    pub fn schema(&self) -> EventSchema {
        match self {
            Self::EventGrid => EventSchema::EventGrid,
            Self::CloudEvents => EventSchema::CloudEvents,
            Self::Custom(_) => EventSchema::Custom,
        }
    }
}

/// `inputSchemaMapping`: where the envelope's fields stand in a publisher's object. A source field is a property's
/// name, or names with dots between them for a property of a property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mapping {
    /// `id.sourceField`; an event without one gets a new GUID.
    pub id: Option<String>,
    /// `topic.sourceField`; only a domain needs it.
    pub topic: Option<String>,
    /// `eventTime.sourceField`; an event without one happened when it was published.
    pub event_time: Option<String>,
    /// `eventType`.
    pub event_type: MappedField,
    /// `subject`.
    pub subject: MappedField,
    /// `dataVersion`.
    pub data_version: MappedField,
}

/// A field of the envelope that can have a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MappedField {
    /// `sourceField`.
    pub source_field: Option<String>,
    /// `defaultValue`: for when there is no source field, or an event lacks it.
    pub default_value: Option<String>,
}

/// A mapping cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The mapping of '{field}' must have texts of 1 to {MAX_TEXT_BYTES} characters.")]
pub struct BadMapping {
    /// The entry: `eventType`, `id`.
    pub field: &'static str,
}

impl Mapping {
    /// Checks every text. Default values may be empty, names may not.
    ///
    /// # Errors
    /// A name is empty, or a text is too long.
    pub fn check(&self) -> Result<(), BadMapping> {
        let entries = [
            ("id", &self.id, &None),
            ("topic", &self.topic, &None),
            ("eventTime", &self.event_time, &None),
            (
                "eventType",
                &self.event_type.source_field,
                &self.event_type.default_value,
            ),
            (
                "subject",
                &self.subject.source_field,
                &self.subject.default_value,
            ),
            (
                "dataVersion",
                &self.data_version.source_field,
                &self.data_version.default_value,
            ),
        ];
        for (field, name, default) in entries {
            let name_fits = |text: &String| (1..=MAX_TEXT_BYTES).contains(&text.len());
            let value_fits = |text: &String| text.len() <= MAX_TEXT_BYTES;
            if !name.as_ref().is_none_or(name_fits) || !default.as_ref().is_none_or(value_fits) {
                return Err(BadMapping { field });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_1_3_a_mapping_is_read_back_as_it_was_kept() {
        let mapping = Mapping {
            id: Some("data.id".into()),
            subject: MappedField {
                source_field: None,
                default_value: Some("none".into()),
            },
            ..Mapping::default()
        };
        let kept = serde_json::to_string(&InputSchema::Custom(Some(mapping.clone()))).unwrap();
        let again: InputSchema = serde_json::from_str(&kept).unwrap();
        assert_eq!(again, InputSchema::Custom(Some(mapping)));
        let empty: Mapping = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Mapping::default());
    }

    #[test]
    fn names_are_neither_empty_nor_endless() {
        let named = |name: &str| Mapping {
            event_time: Some(name.into()),
            ..Mapping::default()
        };
        assert_eq!(named("at").check(), Ok(()));
        assert_eq!(named("").check().unwrap_err().field, "eventTime");
        assert!(named(&"x".repeat(MAX_TEXT_BYTES + 1)).check().is_err());
    }
}
