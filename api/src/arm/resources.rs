//! The list of all resources of a subscription or of a group, whatever their type.
//!
//! Promise: a filter that is not understood is refused, because a list that ignores it would be wrong.
//! Not here: one resource, which its own type shows under the same path.
//! Source: reference management 3.

use gridpost_comms::mail::MailKind;
use gridpost_grid::intake::IntakeKind;
use gridpost_grid::scope::Scope;
use gridpost_model::ResourceId;
use serde_json::Value;

use super::{Answer, Call, communication, email, entrances, lists, system_topics};
use crate::problem::Refusal;

/// `az resource list`: everything, without its properties.
pub(super) fn list(call: &Call, group: Option<&str>) -> Answer {
    let subscription = call.parts.tenant.subscription_id.clone();
    let scope = match group {
        Some(group) => Scope::ResourceGroup {
            subscription,
            group: group.to_owned(),
        },
        None => Scope::Subscription(subscription),
    };
    let wanted = Wanted::of(call)?;
    let expanded = call.query("$expand").unwrap_or_default();
    let found = all(call, &scope)
        .into_iter()
        .filter(|one| wanted.holds(one));
    let shown = found.map(|one| briefly(one, &expanded)).collect();
    lists::page(call, shown)
}

fn all(call: &Call, scope: &Scope) -> Vec<Value> {
    let mut all = communication::all(call, scope);
    for kind in [MailKind::Service, MailKind::Domain] {
        all.extend(email::all(call, scope, kind));
    }
    all.extend(entrances::all(call, IntakeKind::Topic, scope));
    all.extend(entrances::all(call, IntakeKind::Domain, scope));
    all.extend(system_topics::all(call, scope));
    all
}

/// `resourceType eq 'x' and tagName eq 'y' and tagValue eq 'z'`: what must all hold.
pub(super) struct Wanted(Vec<(String, String)>);

/// What can be asked for.
const PROPERTIES: [&str; 6] = [
    "resourcetype",
    "resourcegroup",
    "name",
    "location",
    "tagname",
    "tagvalue",
];

impl Wanted {
    /// What the call's `$filter` asks for; without one, everything.
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        Self::parse(&call.query("$filter").unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        let read = |clause: &str| {
            let (key, value) = clause.trim().split_once(" eq ")?;
            let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            let key = key.trim().to_ascii_lowercase();
            PROPERTIES
                .contains(&key.as_str())
                .then(|| (key, value.to_owned()))
        };
        let clauses: Option<_> = text
            .split(" and ")
            .filter(|one| !one.trim().is_empty())
            .map(read)
            .collect();
        clauses.map(Self).ok_or_else(|| {
            let message = format!(
                "The filter '{text}' is not supported; use {} eq 'value', joined by and.",
                "resourceType, resourceGroup, name, location, tagName or tagValue"
            );
            Refusal::invalid_field("$filter", message)
        })
    }

    /// Whether a resource is wanted.
    pub(super) fn holds(&self, one: &Value) -> bool {
        let Self(clauses) = self;
        let tag_name = clauses.iter().find(|(key, _)| key == "tagname");
        clauses.iter().all(|(key, value)| match key.as_str() {
            "tagname" => tags(one).any(|(name, _)| name.eq_ignore_ascii_case(value)),
            "tagvalue" => tags(one).any(|(name, found)| {
                let is_named = tag_name.is_none_or(|(_, tag)| tag.eq_ignore_ascii_case(name));
                is_named && found == value
            }),
            key => property(one, key).eq_ignore_ascii_case(value),
        })
    }
}

fn tags(one: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let tags = one.get("tags").and_then(Value::as_object);
    tags.into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

fn property(one: &Value, key: &str) -> String {
    let text = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
    match key {
        "resourcetype" => text("type").to_owned(),
        "resourcegroup" => {
            let id: Option<ResourceId> = text("id").parse().ok();
            let group = id.as_ref().and_then(ResourceId::resource_group);
            group.unwrap_or_default().to_owned()
        }
        other => text(other).to_owned(),
    }
}

/// Without its properties; with its times and its state if `$expand` names them.
fn briefly(one: Value, expanded: &str) -> Value {
    let further = [
        ("createdTime", "/systemData/createdAt"),
        ("changedTime", "/systemData/lastModifiedAt"),
        ("provisioningState", "/properties/provisioningState"),
    ];
    let asked = further.iter().filter(|(name, _)| {
        let mut names = expanded.split(',');
        names.any(|asked| asked.trim().eq_ignore_ascii_case(name))
    });
    let added: Vec<_> = asked
        .filter_map(|(name, path)| Some((*name, one.pointer(path)?.clone())))
        .collect();
    let mut brief = one;
    if let Some(fields) = brief.as_object_mut() {
        fields.retain(|name, _| {
            matches!(name.as_str(), "id" | "name" | "type" | "location" | "tags")
        });
        for (name, value) in added {
            fields.insert(name.to_owned(), value);
        }
    }
    brief
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one() -> Value {
        json!({
            "id": "/subscriptions/s/resourceGroups/RG/providers/A.B/c/d",
            "name": "d", "type": "A.B/c", "location": "local", "tags": {"Team": "shop", "x": "y"},
            "properties": {"provisioningState": "Succeeded"},
            "systemData": {"createdAt": "2026-01-01T00:00:00Z"},
        })
    }

    #[test]
    fn management_3_resources_are_filtered_by_equalities() {
        let table = [
            ("", true),
            ("resourceType eq 'a.b/C' and resourceGroup eq 'rg'", true),
            ("resourceType eq 'a.b/x'", false),
            ("name eq 'D' and location eq 'LOCAL'", true),
            ("tagName eq 'team' and tagValue eq 'shop'", true),
            ("tagname eq 'team'", true),
            ("tagValue eq 'y'", true),
            ("tagName eq 'team' and tagValue eq 'y'", false),
            ("tagName eq 'team' and tagValue eq 'Shop'", false),
            ("tagName eq 'none'", false),
        ];
        for (filter, holds) in table {
            assert_eq!(
                Wanted::parse(filter).unwrap().holds(&one()),
                holds,
                "{filter}"
            );
        }
        assert!(Wanted::parse("substringof('x', name)").is_err());
    }

    #[test]
    fn management_3_a_list_shows_what_is_asked_for() {
        let brief = briefly(one(), "createdTime,changedTime,provisioningState");
        assert_eq!(brief["provisioningState"], "Succeeded");
        assert_eq!(brief["createdTime"], "2026-01-01T00:00:00Z");
        assert!(brief.get("properties").is_none());
        assert!(briefly(one(), "").get("createdTime").is_none());
    }
}
