//! `gridpost audit`: who did what, when.

use http::Method;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::output::{Failure, Output, table};

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

pub(super) async fn run(
    arguments: &Arguments,
    config: &Config,
    output: Output,
) -> Result<(), Failure> {
    let client = Client::find(config)?;
    let path = format!("audit?{}", arguments.query());
    let page = client.own(Method::GET, &path, None).await?;
    output.result(&page, shown);
    Ok(())
}

impl Arguments {
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        let outcome = self.refused.then(|| "refused".to_owned());
        let before = self.before.map(|before| before.to_string());
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
        query.append_pair("limit", &self.limit.to_string());
        query.finish()
    }
}

fn shown(page: &Value) -> String {
    let rows: Vec<Vec<String>> = page["value"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            ["time", "principal", "action", "scope", "status", "code"]
                .map(|field| render::plain(&row[field]))
                .into()
        })
        .collect();
    if rows.is_empty() {
        return "Nothing of that kind was done.".to_owned();
    }
    let mut text = table(
        &["TIME", "PRINCIPAL", "ACTION", "SCOPE", "STATUS", "CODE"],
        &rows,
    );
    if let Some(next) = page["next"].as_u64() {
        text.push_str(&format!("\nThere are older ones: --before {next}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_what_was_asked_for() {
        let arguments = Arguments {
            principal: None,
            action: Some("topics/write".into()),
            scope: None,
            refused: true,
            since: None,
            until: None,
            correlation_id: None,
            limit: 5,
            before: Some(7),
        };
        assert_eq!(
            arguments.query(),
            "action=topics%2Fwrite&outcome=refused&before=7&limit=5"
        );
    }
}
