//! `gridpost audit`: who did what, when.

use http::Method;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::naming::{self, Names};
use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::output::{Failure, Format, Output, table};

/// Which rows, the newest first.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only what this client id or object id did
    #[arg(long)]
    principal: Option<String>,
    /// Only actions with this in them: topics/write, listKeys
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this resource or below it
    #[arg(long, value_name = "ID")]
    scope: Option<String>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Not older than this: 2026-11-23T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Older than this
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only calls of this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only rows older than the one of this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

/// How many pages are asked for at most: the log has some 100,000 rows, and a page holds 1,000 or looks at 20,000.
const MOST_PAGES: usize = 256;

pub(super) async fn run(
    arguments: &Arguments,
    config: &Config,
    output: Output,
) -> Result<(), Failure> {
    let client = Client::find(config)?;
    let ask = async |query: String| {
        let path = format!("audit?{query}");
        client.own(Method::GET, &path, None).await
    };
    let page = output.waiting("for the server", collected(arguments, ask));
    let page = page.await?;
    let names = match output.format() {
        Format::Json => Names::default(),
        Format::Human => {
            let rows = page["value"].as_array().into_iter().flatten();
            Names::of(&client, rows.map(|row| &row["principal"])).await
        }
    };
    output.result(&page, |page| shown(page, &names));
    Ok(())
}

/// As many rows as were asked for, or all there are: a page may have fewer, because the server looks only so far at once.
async fn collected(
    arguments: &Arguments,
    ask: impl AsyncFn(String) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    let limit = arguments.limit.max(1);
    let mut rows = Vec::new();
    let mut next = arguments.before;
    for _ in 0..MOST_PAGES {
        let mut page = ask(arguments.query(limit - rows.len(), next)).await?;
        if let Some(found) = page["value"].as_array_mut() {
            rows.append(found);
        }
        next = page["next"].as_u64();
        if next.is_none() || limit <= rows.len() {
            break;
        }
    }
    let mut all = json!({ "value": rows });
    if let Some(next) = next {
        all["next"] = next.into();
    }
    Ok(all)
}

impl Arguments {
    fn query(&self, limit: usize, before: Option<u64>) -> String {
        let mut query = Serializer::new(String::new());
        let outcome = self.refused.then(|| "refused".to_owned());
        let before = before.map(|before| before.to_string());
        for (name, value) in [
            ("principal", &self.principal),
            ("action", &self.action),
            ("scope", &self.scope),
            ("outcome", &outcome),
            ("since", &self.since),
            ("until", &self.until),
            ("correlationId", &self.correlation_id),
            ("before", &before),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("limit", &limit.to_string());
        query.finish()
    }
}

fn shown(page: &Value, names: &Names) -> String {
    let rows = render::rows(&page["value"], |row| {
        vec![
            render::moment(&row["time"]),
            names.of_id(&row["principal"]),
            naming::action(&row["action"]),
            naming::scope(&row["scope"]),
            render::plain(&row["status"]),
            render::plain(&row["code"]),
        ]
    });
    let next = page["next"].as_u64();
    let head = ["TIME", "PRINCIPAL", "ACTION", "SCOPE", "STATUS", "CODE"];
    let mut text = match (rows.is_empty(), next) {
        (true, None) => "Nothing of that kind was done.".to_owned(),
        (true, Some(_)) => "Nothing of that kind was done lately.".to_owned(),
        (false, _) => table(&head, &rows),
    };
    if let Some(next) = next {
        text.push_str(&format!("\nThere are older ones: --before {next}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn arguments(limit: usize) -> Arguments {
        Arguments {
            principal: None,
            action: Some("topics/write".into()),
            scope: None,
            refused: true,
            since: None,
            until: None,
            correlation_id: None,
            limit,
            before: Some(7),
        }
    }

    #[test]
    fn the_query_names_what_was_asked_for() {
        assert_eq!(
            arguments(5).query(5, Some(7)),
            "action=topics%2Fwrite&outcome=refused&before=7&limit=5"
        );
    }

    #[tokio::test]
    async fn pages_are_followed_to_the_limit_or_the_end() {
        for (limit, asked, found, next) in [
            (
                2,
                vec!["before=7&limit=2", "before=5&limit=2", "before=4&limit=1"],
                2,
                Some(3),
            ),
            (
                9,
                vec![
                    "before=7&limit=9",
                    "before=5&limit=9",
                    "before=4&limit=8",
                    "before=3&limit=7",
                ],
                3,
                None,
            ),
        ] {
            let pages = RefCell::new(
                [
                    json!({"value": [], "next": 5}),
                    json!({"value": [1], "next": 4}),
                    json!({"value": [2], "next": 3}),
                    json!({"value": [3]}),
                ]
                .into_iter(),
            );
            let heard = RefCell::new(Vec::new());
            let ask = async |query: String| {
                heard.borrow_mut().push(query);
                Ok(pages.borrow_mut().next().unwrap())
            };
            let all = collected(&arguments(limit), ask).await.unwrap();
            assert_eq!(all["value"].as_array().unwrap().len(), found);
            assert_eq!(all["next"].as_u64(), next);
            let heard = heard.into_inner();
            assert_eq!(heard.len(), asked.len());
            for (query, end) in heard.iter().zip(asked) {
                assert!(query.ends_with(end), "{query} {end}");
            }
        }
    }

    #[test]
    fn a_search_that_was_not_brought_to_its_end_says_so() {
        let names = Names::default();
        let told = shown(&json!({"value": [], "next": 9}), &names);
        assert!(told.ends_with("--before 9"), "{told}");
        let told = shown(&json!({"value": []}), &names);
        assert_eq!(told, "Nothing of that kind was done.");
    }
}
