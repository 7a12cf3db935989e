//! Resources for people without `az`: `group`, `topic`, `domain`, `system-topic`, `event-subscription` and `communication`.
//!
//! Promise: flags are spelled as in `az eventgrid` and `az communication`, and every call is one that `az` could make.
//! Not here: whether values are right, which Resource Manager decides.
//! Source: reference management 5 to 7.

use http::Method;
use serde_json::{Map, Value, json};

use super::naming::segment;
use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::credentials::SUBSCRIPTION;
use crate::output::{Failure, Output, table, text_of};
use crate::session::Session;

pub(super) mod below;
pub(super) mod communication;
pub(super) mod domain;
pub(super) mod event_subscription;
pub(super) mod group;
pub(super) mod occurrences;
pub(super) mod system_topic;
pub(super) mod topic;

/// Which one.
#[derive(clap::Args)]
pub(super) struct Named {
    /// Its name
    #[arg(short, long, value_parser = segment)]
    name: String,
    #[command(flatten)]
    home: Home,
}

/// Where.
#[derive(clap::Args)]
pub(super) struct Home {
    /// The resource group
    #[arg(short = 'g', long, value_name = "NAME", default_value = "gridpost", value_parser = segment)]
    resource_group: String,
}

/// Which ones.
#[derive(clap::Args)]
pub(super) struct Listed {
    /// Only those of this resource group
    #[arg(short = 'g', long, value_name = "NAME", value_parser = segment)]
    resource_group: Option<String>,
}

/// What every resource with a place has.
#[derive(clap::Args)]
pub(super) struct Tags {
    /// Tags: key=value, several with spaces between; none when nothing follows
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE", value_parser = pair)]
    tags: Option<Vec<(String, String)>>,
}

/// Where a new resource is.
#[derive(clap::Args)]
pub(super) struct Place {
    /// Its location
    #[arg(short, long)]
    location: Option<String>,
}

/// `key=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it has the form key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Tags {
    fn value(&self) -> Option<Value> {
        let tags = self.tags.as_ref()?.iter();
        Some(Value::Object(
            tags.map(|(key, value)| (key.clone(), json!(value)))
                .collect(),
        ))
    }
}

/// What is called by the same verbs: the path of its type, below a resource group.
#[derive(Clone, Copy)]
pub(super) struct Type(&'static str);

impl Type {
    fn id(self, named: &Named) -> String {
        self.id_of(&named.home, &named.name)
    }

    fn id_of(self, home: &Home, name: &str) -> String {
        format!(
            "{}/providers/{}/{name}",
            group(&home.resource_group),
            self.0
        )
    }

    async fn list(self, listed: &Listed, hands: &Hands) -> Result<(), Failure> {
        let scope = match &listed.resource_group {
            Some(name) => group(name),
            None => format!("/subscriptions/{SUBSCRIPTION}"),
        };
        hands.list(&format!("{scope}/providers/{}", self.0)).await
    }
}

fn group(name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}")
}

/// A client, and where its answers are written.
pub(super) struct Hands {
    client: Client,
    output: Output,
}

impl Hands {
    pub(super) fn find(config: &Config, output: Output) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::find(config)?,
            output,
        })
    }

    async fn show(&self, id: &str) -> Result<(), Failure> {
        self.tell(Method::GET, id, None).await
    }

    /// Makes a call, and writes the resource that it answers.
    async fn tell(&self, method: Method, id: &str, body: Option<Value>) -> Result<(), Failure> {
        let call = self.client.manage(method, id, body.as_ref());
        let answer = self.output.waiting("for the server", call).await?;
        self.output.result(&answer, properties);
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), Failure> {
        self.client.manage(Method::DELETE, id, None).await?;
        self.output
            .result(&json!({ "deleted": id }), |_| "Deleted.".to_owned());
        Ok(())
    }

    async fn list(&self, path: &str) -> Result<(), Failure> {
        let session = Session::open(&self.client).await?;
        let all = session.list(path).await?;
        self.output.result(&all, |all| rows(all));
        Ok(())
    }
}

/// A resource as a table of its properties.
fn properties(resource: &Value) -> String {
    let mut rows = Vec::new();
    flatten(resource, String::new(), &mut rows);
    table(&["PROPERTY", "VALUE"], &rows)
}

fn flatten(value: &Value, path: String, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Null => (),
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = match (path.as_str(), name.as_str()) {
                    // What stands in it is what people ask for.
                    ("", "properties") => String::new(),
                    ("", name) => name.to_owned(),
                    (above, name) => format!("{above}.{name}"),
                };
                flatten(value, inner, rows);
            }
        }
        Value::Array(all) if all.iter().any(Value::is_object) => {
            rows.push(vec![path, value.to_string()]);
        }
        other => match render::plain(other) {
            nothing if nothing.is_empty() => (),
            said => rows.push(vec![path, said]),
        },
    }
}

/// Resources as a table.
fn rows(all: &[Value]) -> String {
    if all.is_empty() {
        return "There are none.".to_owned();
    }
    let row = |one: &Value| {
        let id = text_of(one, "id");
        let group = id.split('/').nth(4).unwrap_or_default().to_owned();
        let of = &one["properties"];
        let what = match of["topic"].as_str() {
            Some(source) => source_name(source),
            None => text_of(one, "location").to_owned(),
        };
        let to = render::first(
            &of["destination"]["properties"],
            &["endpointBaseUrl", "resourceId"],
        );
        let to = if to.is_empty() {
            render::first(of, &["endpoint", "hostName", "source"])
        } else {
            to
        };
        vec![
            text_of(one, "name").to_owned(),
            group,
            what,
            text_of(of, "provisioningState").to_owned(),
            to,
        ]
    };
    let is_subscription = all.iter().any(|one| one["properties"]["topic"].is_string());
    let what = if is_subscription {
        "SOURCE"
    } else {
        "LOCATION"
    };
    let head = ["NAME", "RESOURCE GROUP", what, "STATE", "ENDPOINT"];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    // A topic of a domain has no place and no address of its own.
    let is_said = |column: &usize| rows.iter().any(|row| !row[*column].is_empty());
    let said: Vec<usize> = (0..head.len()).filter(is_said).collect();
    let pick = |row: &Vec<String>| said.iter().map(|column| row[*column].clone()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(pick).collect();
    let head: Vec<&str> = said.iter().map(|column| head[*column]).collect();
    table(&head, &rows)
}

/// What people call a source: its name, and for the topic of a domain the domain's before it.
fn source_name(id: &str) -> String {
    let mut parts = id.rsplit('/');
    let (name, kind) = (parts.next().unwrap_or_default(), parts.next());
    let (above, kind_above) = (parts.next().unwrap_or_default(), parts.next());
    let is = |kind: Option<&str>, word| kind.is_some_and(|kind| kind.eq_ignore_ascii_case(word));
    match is(kind, "topics") && is(kind_above, "domains") {
        true => format!("{above}/{name}"),
        false => name.to_owned(),
    }
}

/// A body of what was said, below `properties` and beside it.
fn body<const A: usize, const B: usize>(
    beside: [(&str, Option<Value>); A],
    properties: [(&str, Option<Value>); B],
) -> Value {
    let mut body = said(beside);
    body["properties"] = said(properties);
    body
}

fn said<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let said = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(said.collect::<Map<_, _>>())
}

fn text(value: Option<&String>) -> Option<Value> {
    value.map(|text| json!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_shown_as_a_table_without_the_word_properties() {
        let shown = properties(
            &json!({"name": "t", "properties": {"inputSchema": "x", "none": null, "inboundIpRules": [], "labels": ["a", "b"]}}),
        );
        assert_eq!(
            shown,
            "PROPERTY     VALUE\nname         t\ninputSchema  x\nlabels       a, b\n"
        );
    }

    #[test]
    fn a_column_that_is_empty_is_left_out_and_a_topic_of_a_domain_is_named_with_it() {
        let topics = [json!({
            "name": "berlin", "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains/d/topics/berlin",
            "properties": {"provisioningState": "Succeeded"},
        })];
        assert_eq!(
            rows(&topics),
            "NAME    RESOURCE GROUP  STATE\nberlin  g               Succeeded\n"
        );
        assert_eq!(source_name("/g/domains/d/topics/t"), "d/t");
        assert_eq!(source_name("/g/topics/t"), "t");
    }

    #[test]
    fn only_what_was_said_is_sent() {
        let sent = body(
            [("location", None)],
            [("inputSchema", Some(json!("x"))), ("other", None)],
        );
        assert_eq!(sent, json!({"properties": {"inputSchema": "x"}}));
    }
}
