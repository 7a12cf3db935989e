//! The configuration files of two simulators, as a file of resources.
//!
//! Promise: topics, webhooks and filters are taken over; what cannot be is left out with a comment in its place.
//! Not here: whether names and values are right here, which `apply` tells.
//! Source: the public READMEs of AzureEventGridSimulator (`topics`, a list) and of the Workleap Event Grid emulator
//! (`Topics`, an object of lists of addresses, and `Filters`).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::document::bare;
use super::written::line;

/// The file of resources that stands for a simulator's `appsettings.json`.
///
/// # Errors
/// It is not JSON, or has no topics.
pub fn import(text: &str) -> Result<String, String> {
    let settings: Value = serde_json::from_str(&plain_json(text))
        .map_err(|error| format!("it is not JSON: {error}"))?;
    let mut imported = Imported(
        "# Imported. `gridpost apply -f FILE --dry-run` tells what it would make.\n".to_owned(),
    );
    match part(&settings, "topics") {
        Value::Array(topics) => topics.iter().for_each(|topic| imported.topic(topic)),
        Value::Object(topics) => {
            let filters = part(&settings, "filters")
                .as_array()
                .cloned()
                .unwrap_or_default();
            for (name, addresses) in topics {
                imported.addresses(name, addresses, &filters);
            }
        }
        _ => return Err("it has neither a list nor an object of `topics`".to_owned()),
    }
    Ok(imported.0)
}

struct Imported(String);

impl Imported {
    /// A topic of AzureEventGridSimulator.
    fn topic(&mut self, topic: &Value) {
        let name = text(part(topic, "name"));
        if *part(topic, "disabled") == true {
            return self.left_out(&format!("the topic {name}, which is disabled"));
        }
        self.table(&format!("topics.{}", bare(&name)));
        if !part(topic, "key").is_null() {
            self.left_out("the key: publishers take one from `gridpost topic key list`");
        }
        self.said("inputSchema", &schema(part(topic, "inputSchema")));
        let usual = schema(part(topic, "outputSchema"));
        match part(topic, "subscribers") {
            Value::Array(all) => all
                .iter()
                .for_each(|one| self.subscriber(&name, one, &usual)),
            Value::Object(kinds) => {
                for (kind, all) in kinds {
                    for one in all.as_array().into_iter().flatten() {
                        if kind.eq_ignore_ascii_case("http") {
                            self.subscriber(&name, one, &usual);
                        } else {
                            let what = format!(
                                "the {kind} subscriber {}: it needs a resource id and a connection, see docs/handlers.md",
                                text(part(one, "name"))
                            );
                            self.left_out(&what);
                        }
                    }
                }
            }
            _ => (),
        }
    }

    fn subscriber(&mut self, topic: &str, one: &Value, usual_schema: &Value) {
        let name = text(part(one, "name"));
        if *part(one, "disabled") == true {
            return self.left_out(&format!("the subscriber {name}, which is disabled"));
        }
        self.table(&format!(
            "topics.{}.eventSubscriptions.{}",
            bare(topic),
            bare(&name)
        ));
        if *part(one, "disableValidation") == true {
            self.left_out("disableValidation: the endpoint has to answer the validation request");
        }
        self.said("endpoint", part(one, "endpoint"));
        let filter = part(one, "filter");
        for name in [
            "includedEventTypes",
            "subjectBeginsWith",
            "subjectEndsWith",
            "isSubjectCaseSensitive",
        ] {
            self.said(name, part(filter, name));
        }
        let advanced = part(filter, "advancedFilters")
            .as_array()
            .into_iter()
            .flatten();
        let advanced: Vec<Value> = advanced.map(advanced_filter).collect();
        if !advanced.is_empty() {
            self.said("advancedFilters", &json!(advanced));
        }
        for name in ["maxDeliveryAttempts", "eventTimeToLiveInMinutes"] {
            self.said(name, part(part(one, "retryPolicy"), name));
        }
        let own = schema(part(one, "deliverySchema"));
        self.said(
            "eventDeliverySchema",
            if own.is_null() { usual_schema } else { &own },
        );
        if !part(one, "deadLetter").is_null() {
            self.left_out("deadLetter: every dead letter is kept, see `gridpost dead-letter list`");
        }
    }

    /// A topic of the emulator: addresses, which have no names.
    fn addresses(&mut self, topic: &str, addresses: &Value, filters: &[Value]) {
        self.table(&format!("topics.{}", bare(topic)));
        for (at, address) in addresses.as_array().into_iter().flatten().enumerate() {
            let address = text(address);
            if address.starts_with("pull://") {
                self.left_out(&format!("{address}: there is no pull delivery yet"));
                continue;
            }
            self.table(&format!(
                "topics.{}.eventSubscriptions.webhook-{}",
                bare(topic),
                at + 1
            ));
            self.said("endpoint", &json!(address));
            if let Some(filter) = filters
                .iter()
                .find(|one| text(part(one, "subscription")) == address)
            {
                self.said("includedEventTypes", part(filter, "includedEventTypes"));
            }
        }
    }

    fn table(&mut self, label: &str) {
        let _ = write!(self.0, "\n[{label}]\n");
    }

    fn said(&mut self, name: &str, value: &Value) {
        line(&mut self.0, name, value);
    }

    fn left_out(&mut self, what: &str) {
        let what = what.replace(char::is_control, " ");
        let _ = writeln!(self.0, "# Left out: {what}");
    }
}

/// A part by its name in any case, as .NET reads its settings.
fn part<'a>(value: &'a Value, name: &str) -> &'a Value {
    let fields = value.as_object();
    let found = fields.and_then(|fields| {
        fields
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(name))
    });
    found.map_or(&Value::Null, |(_, value)| value)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The simulator's names of schemas are shorter than Resource Manager's.
fn schema(value: &Value) -> Value {
    match value.as_str() {
        Some(name) if name.to_ascii_lowercase().starts_with("cloudevent") => {
            json!("CloudEventSchemaV1_0")
        }
        _ => value.clone(),
    }
}

/// With the names of its parts as `apply` knows them.
fn advanced_filter(one: &Value) -> Value {
    let parts = ["operatorType", "key", "value", "values"].into_iter();
    let said = parts
        .map(|name| (name.to_owned(), part(one, name).clone()))
        .filter(|(_, value)| !value.is_null());
    Value::Object(said.collect())
}

/// JSON without the comments and the commas before an end that .NET allows in settings.
fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut in_text = false;
    while let Some(next) = rest.next() {
        match (in_text, next, rest.peek()) {
            (true, '\\', _) => {
                plain.push(next);
                plain.extend(rest.next());
            }
            (_, '"', _) => {
                in_text = !in_text;
                plain.push(next);
            }
            (false, '/', Some('/')) => while rest.next_if(|one| *one != '\n').is_some() {},
            (false, '/', Some('*')) => {
                let mut before = ' ';
                while let Some(one) = rest.next_if(|one| !(before == '*' && *one == '/')) {
                    before = one;
                }
                rest.next();
            }
            (false, ']' | '}', _) => {
                let kept = plain.trim_end().trim_end_matches(',').len();
                plain.truncate(kept);
                plain.push(next);
            }
            _ => plain.push(next),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;

    #[test]
    fn topics_and_subscribers_of_the_simulator_are_taken_over() {
        let text = import(
            r#"{
              // as its README has it
              "topics": [
                {"name": "MyAwesomeTopic", "port": 60101, "key": "TheLocal+DevelopmentKey=", "inputSchema": "CloudEventV1_0",
                 "subscribers": {"http": [{
                    "name": "LocalAzureFunctionSubscription", "disableValidation": true,
                    "endpoint": "http://localhost:7071/runtime/webhooks/EventGrid?functionName=PersistEventToDb",
                    "filter": {"includedEventTypes": ["my.eventType"], "subjectBeginsWith": "/a", "advancedFilters": [
                        {"operatorType": "NumberGreaterThanOrEquals", "key": "Data.Key1", "value": 5},
                    ]},
                    "retryPolicy": {"maxDeliveryAttempts": 3}
                 }], "serviceBus": [{"name": "Bus"}]}},
                {"name": "Off", "disabled": true},
              ], /* the end */
            }"#,
        )
        .unwrap();
        let document = Document::read("grid.toml", &text).unwrap();
        let entry = document.entries.last().unwrap();
        assert_eq!(
            entry.label,
            "topics.MyAwesomeTopic.eventSubscriptions.LocalAzureFunctionSubscription"
        );
        assert_eq!(
            entry.said["filter.includedEventTypes"],
            json!(["my.eventType"])
        );
        assert_eq!(entry.said["filter.advancedFilters"][0]["value"], 5);
        assert_eq!(entry.said["retryPolicy.maxDeliveryAttempts"], 3);
        assert_eq!(
            document.entries.len(),
            3,
            "the group, the topic, the event subscription"
        );
        for left_out in [
            "the key",
            "disableValidation",
            "serviceBus subscriber Bus",
            "topic Off",
        ] {
            assert!(text.contains(left_out), "{text}");
        }
    }

    #[test]
    fn addresses_and_filters_of_the_emulator_are_taken_over() {
        let text = import(
            r#"{"Topics": {"topicfoobar": ["pull://foo", "http://host.docker.internal:7221/eventgrid", "https://h/x"],},
                "Filters": [{"Subscription": "http://host.docker.internal:7221/eventgrid", "IncludedEventTypes": ["Qux"]}]}"#,
        )
        .unwrap();
        let document = Document::read("grid.toml", &text).unwrap();
        let labels: Vec<&str> = document.entries[2..]
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(labels, ["webhook-2", "webhook-3"]);
        assert_eq!(
            document.entries[2].said["filter.includedEventTypes"],
            json!(["Qux"])
        );
        assert!(
            !document.entries[3]
                .said
                .contains_key("filter.includedEventTypes")
        );
        assert!(text.contains("# Left out: pull://foo"));
    }

    #[test]
    fn what_is_no_settings_file_is_refused() {
        for text in ["", "[]", "{}", "{\"topics\": 1}"] {
            assert!(import(text).is_err(), "{text}");
        }
    }
}
