//! What has to be done so that everything is as the file says. Pure: values in, steps out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::document::Entry;
use super::names::{Alike, ENDPOINT_URL, Field, Kind, Otherwise, SIGNING, VERIFIED};
use super::present::{Present, Sources};
use super::same::same;

/// One resource, and what has to be done about it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) entry: Entry,
    pub(super) action: Action,
    /// What is there.
    pub(super) present: Option<Value>,
    /// Its tag, once it was read by itself.
    pub(super) tag: Option<String>,
    /// `eventDeliverySchema` when nobody says another.
    pub(super) usual_schema: &'static str,
}

/// What has to be done.
#[derive(Debug)]
pub(super) enum Action {
    Create,
    Change(Vec<Difference>),
    Nothing,
}

/// A property that is not as the file says.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Its path.
    #[serde(rename = "property")]
    pub path: &'static str,
    /// What it is, without secrets.
    pub from: Value,
    /// What it shall be, without secrets.
    pub to: Value,
    /// What it shall be.
    #[serde(skip)]
    pub(super) wanted: Value,
}

/// Compares everything that the file names with what is there.
pub(super) fn plan(entries: Vec<Entry>, present: &Present) -> Vec<Step> {
    let sources = Sources::of(&entries, present);
    let schemas = Schemas::of(&entries, present);
    let plan_one = |entry: Entry| {
        let there = present.get(&sources.identity(&entry)).cloned();
        let usual_schema = schemas.usual(sources.behind(&entry.parent));
        planned(entry, there, usual_schema)
    };
    entries.into_iter().map(plan_one).collect()
}

/// Compares one entry with what is there.
pub(super) fn planned(entry: Entry, present: Option<Value>, usual_schema: &'static str) -> Step {
    let action = match &present {
        None => Action::Create,
        Some(there) => match differences(&entry, there, usual_schema) {
            found if found.is_empty() => Action::Nothing,
            found => Action::Change(found),
        },
    };
    Step {
        entry,
        action,
        present,
        tag: None,
        usual_schema,
    }
}

/// Two entries that are one resource on the server: the later one, and the line of the other.
pub(super) fn twin<'a>(entries: &'a [Entry], present: &Present) -> Option<(&'a Entry, usize)> {
    let sources = Sources::of(entries, present);
    let mut seen = BTreeMap::new();
    let mut all = entries.iter();
    all.find_map(|entry| {
        let before = seen.insert(sources.identity(entry), entry.line)?;
        Some((entry, before))
    })
}

fn differences(entry: &Entry, there: &Value, usual_schema: &'static str) -> Vec<Difference> {
    let compare = |field: &'static Field| {
        let otherwise = match field.otherwise {
            Otherwise::OfSource => Some(json!(usual_schema)),
            other => other.value(),
        };
        let wanted = entry.said.get(field.path).cloned().or(otherwise)?;
        let is = value_of(there, field);
        // What nobody has ever set is as it is without saying.
        let is = if is.is_null() {
            field.otherwise.value().unwrap_or_default()
        } else {
            is
        };
        (!same(field.alike, &wanted, &is)).then(|| Difference {
            path: field.path,
            from: masked(field.path, &is),
            to: masked(field.path, &wanted),
            wanted,
        })
    };
    entry.kind.fields().iter().filter_map(compare).collect()
}

/// What a resource shows of a property.
pub(super) fn value_of(shown: &Value, field: &Field) -> Value {
    if field.is_outside() {
        return shown[field.path].clone();
    }
    let at = |path: &str| {
        path.split('.')
            .fold(&shown["properties"], |value, name| &value[name])
            .clone()
    };
    if field.path == VERIFIED {
        return verified(&shown["properties"]);
    }
    match field.alike {
        Alike::Url if at(ENDPOINT_URL).is_null() => at("destination.properties.endpointBaseUrl"),
        _ => at(field.path),
    }
}

/// The records of an email domain that are verified. That Azure manages one, says it of all of them.
fn verified(properties: &Value) -> Value {
    if properties["domainManagement"] == "AzureManaged" {
        return Value::Null;
    }
    let states = properties["verificationStates"].as_object();
    let states = states.into_iter().flatten();
    states
        .filter(|(_, state)| state["status"] == "Verified")
        .map(|(record, _)| json!(record))
        .collect()
}

/// A value as it may be shown to people.
fn masked(path: &str, value: &Value) -> Value {
    match (path, value) {
        (ENDPOINT_URL, Value::String(url)) => match url.split_once('?') {
            Some((base, _)) => json!(format!("{base}?…")),
            None => value.clone(),
        },
        (SIGNING, _) => json!("…"),
        (_, Value::Array(all)) => all.iter().map(masked_attribute).collect(),
        _ => value.clone(),
    }
}

fn masked_attribute(one: &Value) -> Value {
    let mut one = one.clone();
    if one["properties"]["isSecret"] == true {
        one["properties"]["value"] = json!("…");
    }
    one
}

/// The schemas in which topics and domains take events, which decide in which they are delivered.
struct Schemas(BTreeMap<String, bool>);

impl Schemas {
    fn of(entries: &[Entry], present: &Present) -> Self {
        let is_cloud =
            |text: Option<&str>| text.is_some_and(|text| text.eq_ignore_ascii_case(CLOUD_EVENTS));
        let there = [Kind::Topic, Kind::Domain]
            .into_iter()
            .flat_map(|kind| present.all(kind));
        let there = there.map(|one| {
            (
                one["id"].as_str(),
                is_cloud(one["properties"]["inputSchema"].as_str()),
            )
        });
        let said = entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Topic | Kind::Domain));
        let said = said.map(|entry| (Some(entry.id.as_str()), is_cloud(entry.text("inputSchema"))));
        let all = there
            .chain(said)
            .filter_map(|(id, cloud)| Some((id?.to_ascii_lowercase(), cloud)));
        Self(all.collect())
    }

    fn usual(&self, source: &str) -> &'static str {
        usual_schema(
            self.0
                .get(domain_of(&source.to_ascii_lowercase()))
                .copied()
                .unwrap_or(false),
        )
    }
}

const CLOUD_EVENTS: &str = "CloudEventSchemaV1_0";

/// `eventDeliverySchema` when nobody says another.
pub(super) fn usual_schema(takes_cloud_events: bool) -> &'static str {
    if takes_cloud_events {
        CLOUD_EVENTS
    } else {
        "EventGridSchema"
    }
}

/// The domain of a domain topic, or the id itself. The id is in lower case.
fn domain_of(id: &str) -> &str {
    match id.split_once("/domains/") {
        Some((above, rest)) => {
            let name = rest.split('/').next().unwrap_or_default();
            &id[..above.len() + "/domains/".len() + name.len()]
        }
        None => id,
    }
}

impl Step {
    /// Whether everything is as the file says.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.action, Action::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;

    fn differences_of(text: &str, there: &Value) -> Vec<&'static str> {
        let document = Document::read("grid.toml", text).unwrap();
        let entry = document.entries.into_iter().next_back().unwrap();
        differences(&entry, there, "EventGridSchema")
            .iter()
            .map(|one| one.path)
            .collect()
    }

    fn there() -> Value {
        json!({"properties": {
            "destination": {"endpointType": "WebHook", "properties": {
                "endpointBaseUrl": "https://h/x", "maxEventsPerBatch": 1, "preferredBatchSizeInKilobytes": 64,
            }},
            "filter": {"subjectBeginsWith": "a", "subjectEndsWith": "", "includedEventTypes": null, "advancedFilters": []},
            "eventDeliverySchema": "EventGridSchema", "labels": [],
            "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
        }})
    }

    #[test]
    fn what_is_said_and_what_is_not_are_both_compared() {
        let head = "[topics.t.eventSubscriptions.s]\nendpoint = 'https://h/x'\n";
        assert_eq!(
            differences_of(&format!("{head}subjectBeginsWith = 'a'"), &there()),
            [""; 0]
        );
        assert_eq!(differences_of(head, &there()), ["filter.subjectBeginsWith"]);
        let more = format!("{head}subjectBeginsWith = 'a'\nretryPolicy.maxDeliveryAttempts = 5");
        assert_eq!(
            differences_of(&more, &there()),
            ["retryPolicy.maxDeliveryAttempts"]
        );
    }

    #[test]
    fn a_secret_is_not_shown_in_a_plan() {
        assert_eq!(
            masked(ENDPOINT_URL, &json!("https://h/x?code=1")),
            "https://h/x?…"
        );
        let shown = masked(
            super::super::names::ATTRIBUTES,
            &json!([{"properties": {"value": "s", "isSecret": true}}]),
        );
        assert_eq!(shown[0]["properties"]["value"], "…");
    }

    #[test]
    fn the_topics_of_a_domain_take_what_the_domain_takes() {
        assert_eq!(domain_of("/g/domains/d/topics/t"), "/g/domains/d");
        assert_eq!(domain_of("/g/topics/t"), "/g/topics/t");
    }
}
