//! Resource Manager identifiers.
//!
//! Promise: an identifier is compared without regard to case and shown as it was first written.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The path of a resource: `/subscriptions/{s}/resourceGroups/{g}/providers/{namespace}/{type}/{name}`, or of one
/// of the scopes above or the resources below it. No empty segments, no trailing slash.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    text: Arc<str>,
    folded: Arc<str>,
}

/// The text is not the path of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a resource id: {0:?}")]
pub struct BadResourceId(pub String);

impl ResourceId {
    /// The path with its letters folded to lower case: what identifiers are compared and stored by.
    pub fn key(&self) -> &str {
        &self.folded
    }

    /// The path as it was first written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as it was first written, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The value after a segment of that name, ignoring case: `value_of("resourceGroups")`.
    pub fn value_of(&self, segment: &str) -> Option<&str> {
        let mut segments = self.text.split('/').skip(1);
        while let Some(kind) = segments.next() {
            let value = segments.next()?;
            if kind.eq_ignore_ascii_case(segment) {
                return Some(value);
            }
        }
        None
    }

    /// The subscription's identifier, when the path has one.
    pub fn subscription(&self) -> Option<&str> {
        self.value_of("subscriptions")
    }

    /// The resource group's name, when the path has one.
    pub fn resource_group(&self) -> Option<&str> {
        self.value_of("resourceGroups")
    }

    /// The type of the innermost resource: `Microsoft.EventGrid/systemTopics/eventSubscriptions`.
    /// `None` for scopes without a provider.
    pub fn resource_type(&self) -> Option<String> {
        let segments: Vec<&str> = self.text.split('/').skip(1).collect();
        // Words and names take turns, so a resource that is called `providers` is not mistaken for the word.
        let words = (0..segments.len()).step_by(2).rev();
        let at = words
            .into_iter()
            .find(|at| segments[*at].eq_ignore_ascii_case("providers"))?;
        let mut found = (*segments.get(at + 1)?).to_owned();
        for kind in segments[at + 2..].iter().step_by(2) {
            found.push('/');
            found.push_str(kind);
        }
        Some(found)
    }

    /// Whether the innermost resource is of this type, ignoring case.
    pub fn is_of_type(&self, resource_type: &str) -> bool {
        self.resource_type()
            .is_some_and(|own| own.eq_ignore_ascii_case(resource_type))
    }

    /// The path with more segments behind it. `tail` has no leading slash.
    ///
    /// # Errors
    /// `tail` has an empty segment.
    pub fn join(&self, tail: &str) -> Result<Self, BadResourceId> {
        format!("{}/{tail}", self.text).parse()
    }
}

impl FromStr for ResourceId {
    type Err = BadResourceId;

    fn from_str(text: &str) -> Result<Self, BadResourceId> {
        let bad = || BadResourceId(text.to_owned());
        let rest = text.strip_prefix('/').ok_or_else(bad)?;
        if rest.split('/').any(str::is_empty) || rest.chars().any(char::is_control) {
            return Err(bad());
        }
        Ok(Self {
            text: text.into(),
            folded: text.to_ascii_lowercase().into(),
        })
    }
}

impl TryFrom<String> for ResourceId {
    type Error = BadResourceId;

    fn try_from(text: String) -> Result<Self, BadResourceId> {
        text.parse()
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.text.as_ref().to_owned()
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for ResourceId {}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

/// What identifiers are compared by, so that a map of them can be asked with a folded text.
impl Borrow<str> for ResourceId {
    fn borrow(&self) -> &str {
        &self.folded
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/subscriptions/S1/resourceGroups/rg/providers/Microsoft.Communication/communicationServices/dev";

    #[test]
    fn case_makes_no_difference_and_is_kept() {
        let one: ResourceId = ID.parse().unwrap();
        let other: ResourceId = ID.to_uppercase().parse().unwrap();
        assert_eq!(one, other);
        assert_eq!(one.to_string(), ID);
    }

    #[test]
    fn a_map_of_identifiers_is_asked_with_a_folded_text() {
        let id: ResourceId = ID.parse().unwrap();
        let map = std::collections::HashMap::from([(id, 1)]);
        assert_eq!(map.get(ID.to_ascii_lowercase().as_str()), Some(&1));
        assert_eq!(map.get(ID), None);
    }

    #[test]
    fn parts_are_found() {
        let id: ResourceId = ID.parse().unwrap();
        assert_eq!(id.subscription(), Some("S1"));
        assert_eq!(id.resource_group(), Some("rg"));
        assert_eq!(id.name(), "dev");
        assert!(id.is_of_type("microsoft.communication/communicationservices"));
        let below = id
            .join("providers/Microsoft.EventGrid/eventSubscriptions/es")
            .unwrap();
        assert_eq!(
            below.resource_type().unwrap(),
            "Microsoft.EventGrid/eventSubscriptions"
        );
    }

    #[test]
    fn a_resource_may_be_called_providers() {
        let mail =
            "/subscriptions/S1/resourceGroups/providers/providers/A.B/emailServices/providers";
        let domain: ResourceId = format!("{mail}/domains/a.b").parse().unwrap();
        assert_eq!(domain.resource_type().unwrap(), "A.B/emailServices/domains");
        let group: ResourceId = "/subscriptions/S1/resourceGroups/providers"
            .parse()
            .unwrap();
        assert_eq!(group.resource_type(), None);
    }

    #[test]
    fn empty_segments_are_refused() {
        for text in [
            "",
            "subscriptions/x",
            "/",
            "/subscriptions//x",
            "/subscriptions/x/",
        ] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
    }
}
