//! A file made of what is there.
//!
//! Promise: applied where nothing is, it makes the same again, but for keys and secrets, which are left out; what is as
//! it would be without saying is not said.

use std::fmt::Write as _;

use serde_json::Value;

use super::document::bare;
use super::endpoint;
use super::names::{
    ATTRIBUTES, Alike, DEAD_LETTER, DEAD_LETTER_CONTAINER, DEAD_LETTER_RESOURCE, DEAD_LETTER_TYPE,
    ENDPOINT, ENDPOINT_TYPE, ENDPOINT_URL, Field, Kind, Otherwise, QUEUE_NAME, RESOURCE_ID,
    USERNAME,
};
use super::plan::{usual_schema, value_of};
use super::present::Present;
use super::same::{filled, same};
use crate::output::text_of;

const HEAD: &str = "\
# Resources of Gridpost: `gridpost apply -f FILE` makes them so.
# Keys and secrets are not in this file: keys of topics and connection strings, what follows the ? in the URL of a
# webhook, secret delivery attributes, signing secrets. Where the resources exist, they stay as they are.
";

/// The file. `home` is the id of the resource group whose resources stand at the top.
pub(super) fn text(present: &Present, home: &str) -> String {
    let mut writer = Writer {
        present,
        text: HEAD.to_owned(),
    };
    let (own, others): (Vec<&Value>, Vec<&Value>) = present
        .all(Kind::Group)
        .partition(|group| text_of(group, "id").eq_ignore_ascii_case(home));
    let name = home.rsplit('/').next().unwrap_or_default();
    let _ = write!(
        writer.text,
        "\nresourceGroup = {}\n",
        toml::Value::from(name)
    );
    for group in own {
        writer.group(group, "");
    }
    for group in others {
        writer.group(
            group,
            &format!("resourceGroups.{}", bare(text_of(group, "name"))),
        );
    }
    writer.text
}

struct Writer<'a> {
    present: &'a Present,
    text: String,
}

/// Where a resource stands in the file.
struct Place<'a> {
    /// The table that it lives in.
    above: &'a str,
    /// The word for its kind there.
    word: &'a str,
    /// Whether it takes CloudEvents because what it lives in does.
    takes_cloud_events: bool,
}

impl Writer<'_> {
    fn group(&mut self, group: &Value, label: &str) {
        if !label.is_empty() {
            let _ = write!(self.text, "\n[{label}]\n");
        }
        if text_of(group, "location") != "local" {
            line(&mut self.text, "location", &group["location"]);
        }
        if !group["tags"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
        {
            line(&mut self.text, "tags", &group["tags"]);
        }
        for (word, kind) in Kind::Group.children() {
            for one in self.inside(*kind, text_of(group, "id")) {
                if *kind == Kind::SystemTopic && self.comes_by_itself(&one) {
                    continue;
                }
                let place = Place {
                    above: label,
                    word,
                    takes_cloud_events: false,
                };
                self.resource(*kind, &one, &place, group);
            }
        }
    }

    /// Whether a system topic came with an event subscription of its source, and will come again with it, under another
    /// name: its source's and a GUID.
    fn comes_by_itself(&self, topic: &Value) -> bool {
        let source = text_of(&topic["properties"], "source");
        let name = text_of(topic, "name");
        let rest = source.rsplit('/').next();
        let rest = rest.and_then(|source| name.strip_prefix(source)?.strip_prefix('-'));
        let is_named_so = rest.is_some_and(|rest| {
            let lengths: Vec<usize> = rest.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12]
        });
        let has_tags = topic["tags"]
            .as_object()
            .is_some_and(|tags| !tags.is_empty());
        let mut subscriptions = self.present.all(Kind::Subscription);
        is_named_so
            && !has_tags
            && subscriptions
                .any(|one| text_of(&one["properties"], "topic").eq_ignore_ascii_case(source))
    }

    /// The resources of a kind whose ids begin so.
    fn inside(&self, kind: Kind, above: &str) -> Vec<Value> {
        let above = format!("{above}/").to_ascii_lowercase();
        let within = |one: &&Value| text_of(one, "id").to_ascii_lowercase().starts_with(&above);
        self.present.all(kind).filter(within).cloned().collect()
    }

    fn resource(&mut self, kind: Kind, one: &Value, place: &Place<'_>, group: &Value) {
        let label = labelled(place.above, place.word, text_of(one, "name"));
        let _ = write!(self.text, "\n[{label}]\n");
        for field in kind.fields() {
            let value = value_of(one, field);
            let is_usual = match field.path {
                "location" => is_usual_place(kind, &value, group),
                USERNAME if kind == Kind::Sender => value == one["name"],
                _ => false,
            };
            if !is_usual {
                self.field(field, &value, "EventGridSchema");
            }
        }
        let input_schema = text_of(&one["properties"], "inputSchema");
        let takes_cloud_events =
            place.takes_cloud_events || input_schema.eq_ignore_ascii_case("CloudEventSchemaV1_0");
        for (word, child) in kind.children() {
            match child {
                // Those of a system topic stand with its source.
                Kind::Subscription if kind == Kind::SystemTopic => (),
                Kind::Subscription => self.subscriptions(one, &label, takes_cloud_events),
                _ => {
                    for inner in self.inside(*child, text_of(one, "id")) {
                        let place = Place {
                            above: &label,
                            word,
                            takes_cloud_events,
                        };
                        self.resource(*child, &inner, &place, group);
                    }
                }
            }
        }
    }

    fn subscriptions(&mut self, source: &Value, above: &str, takes_cloud_events: bool) {
        let of_source = |one: &&Value| {
            text_of(&one["properties"], "topic").eq_ignore_ascii_case(text_of(source, "id"))
        };
        let all: Vec<Value> = self
            .present
            .all(Kind::Subscription)
            .filter(of_source)
            .cloned()
            .collect();
        for one in all {
            let label = labelled(above, "eventSubscriptions", text_of(&one, "name"));
            let _ = write!(self.text, "\n[{label}]\n");
            self.subscription(&one, usual_schema(takes_cloud_events));
        }
    }

    fn subscription(&mut self, one: &Value, usual: &'static str) {
        let of = |path: &str| {
            Kind::Subscription
                .field(path)
                .map(|field| value_of(one, field))
                .unwrap_or_default()
        };
        let text = |path: &str| of(path).as_str().unwrap_or_default().to_owned();
        let endpoint = match (text(ENDPOINT_URL), text(QUEUE_NAME)) {
            (url, _) if !url.is_empty() => url,
            (_, queue) if !queue.is_empty() => endpoint::of_queue(&text(RESOURCE_ID), &queue),
            _ => text(RESOURCE_ID),
        };
        for field in Kind::Subscription.fields() {
            match field.path {
                ENDPOINT_URL => line(&mut self.text, ENDPOINT, &Value::from(endpoint.clone())),
                RESOURCE_ID | QUEUE_NAME | DEAD_LETTER_TYPE | DEAD_LETTER_CONTAINER => (),
                DEAD_LETTER_RESOURCE if !text(DEAD_LETTER_RESOURCE).is_empty() => {
                    let whole = endpoint::of_container(
                        &text(DEAD_LETTER_RESOURCE),
                        &text(DEAD_LETTER_CONTAINER),
                    );
                    line(&mut self.text, DEAD_LETTER, &Value::from(whole));
                }
                ENDPOINT_TYPE if text(ENDPOINT_TYPE) == "WebHook" => (),
                _ => self.field(field, &of(field.path), usual),
            }
        }
    }

    fn field(&mut self, field: &Field, value: &Value, usual_schema: &'static str) {
        let is_as_without_saying = match field.otherwise {
            Otherwise::OfSource => same(field.alike, &Value::from(usual_schema), value),
            // Nobody else would say it: only what is nothing need not be said.
            Otherwise::Kept => same(Alike::Exact, &Value::Null, value),
            other => same(field.alike, &other.value().unwrap_or_default(), value),
        };
        if value.is_null() || is_as_without_saying || field.alike == Alike::Hidden {
            return;
        }
        if field.path == ATTRIBUTES && is_secret(value) {
            self.text
                .push_str("# The values of secret attributes are left out.\n");
        }
        match field.alike {
            Alike::Mapping => line(&mut self.text, field.short(), &filled(value)),
            _ => line(&mut self.text, field.short(), value),
        }
    }
}

/// Adds a property, unless there is nothing to say of it.
pub(super) fn line(text: &mut String, name: &str, value: &Value) {
    let Some(value) = toml_of(value) else { return };
    let long = |all: &Vec<toml::Value>| 1 < all.len() || all.iter().any(toml::Value::is_table);
    let _ = match value.as_array().filter(|all| long(all)) {
        Some(all) => {
            let lines: String = all.iter().map(|one| format!("    {one},\n")).collect();
            write!(text, "{name} = [\n{lines}]\n")
        }
        None => writeln!(text, "{name} = {value}"),
    };
}

fn labelled(above: &str, word: &str, name: &str) -> String {
    let dot = if above.is_empty() { "" } else { "." };
    format!("{above}{dot}{word}.{}", bare(name))
}

/// Whether a resource is where the server would put it.
fn is_usual_place(kind: Kind, place: &Value, group: &Value) -> bool {
    match kind {
        Kind::Topic | Kind::Domain => *place == group["location"],
        Kind::Communication | Kind::EmailService | Kind::EmailDomain => place == "global",
        _ => false,
    }
}

fn is_secret(attributes: &Value) -> bool {
    attributes
        .as_array()
        .into_iter()
        .flatten()
        .any(|one| one["properties"]["isSecret"] == true)
}

/// JSON as TOML, which has no `null`.
fn toml_of(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::Array(all) => toml::Value::Array(all.iter().filter_map(toml_of).collect()),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), toml_of(value)?)));
            toml::Value::Table(fields.collect())
        }
    })
}
