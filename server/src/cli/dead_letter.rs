//! `gridpost dead-letter`: what could not be delivered, and another chance for it.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::output::{Failure, Output, table};

/// Which dead letters are meant; all when nothing is named.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Of this event subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
}

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List them, with the reason and the last answer of the endpoint
    List(Which),
    /// Deliver them again, as if they had just been published
    Redrive(Which),
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::List(which) => {
            let listed = client
                .own(Method::GET, &format!("dead-letters{}", which.query()), None)
                .await?;
            output.result(&listed, letters);
            Ok(())
        }
        Command::Redrive(which) => {
            let path = "dead-letters:redrive";
            let body = which.body();
            let redrive = client.own(Method::POST, path, Some(&body));
            let done = output
                .waiting("sending dead letters again", redrive)
                .await?;
            output.result(&done, |done| {
                format!("{} sent again", render::first(done, &["redriven", "count"]))
            });
            Ok(())
        }
    }
}

impl Which {
    fn named(&self) -> impl Iterator<Item = (&'static str, &String)> {
        [
            ("subscription", &self.subscription),
            ("eventId", &self.event),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    fn query(&self) -> String {
        let pairs: Vec<String> = self
            .named()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("?{}", pairs.join("&"))
        }
    }

    fn body(&self) -> Value {
        let fields: Map<String, Value> = self
            .named()
            .map(|(name, value)| (name.to_owned(), Value::String(value.clone())))
            .collect();
        Value::Object(fields)
    }
}

fn letters(listed: &Value) -> String {
    let letters = listed["value"].as_array().cloned().unwrap_or_default();
    if letters.is_empty() {
        return "There are no dead letters.".to_owned();
    }
    let row = |letter: &Value| {
        vec![
            render::first(letter, &["deadLettered", "at"]),
            render::first(letter, &["subscription", "eventSubscription"]),
            render::first(letter, &["eventId", "id"]),
            render::first(letter, &["reason", "deadLetterReason"]),
            render::first(letter, &["attempts", "deliveryAttempts"]),
            render::first(letter, &["lastOutcome", "lastDeliveryOutcome"]),
        ]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    table(
        &[
            "AT",
            "SUBSCRIPTION",
            "EVENT",
            "REASON",
            "ATTEMPTS",
            "LAST OUTCOME",
        ],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_said_in_the_query_and_in_the_body() {
        let which = Which {
            subscription: Some("a b".into()),
            event: None,
        };
        assert_eq!(which.query(), "?subscription=a%20b");
        assert_eq!(which.body(), serde_json::json!({ "subscription": "a b" }));
        let all = Which {
            subscription: None,
            event: None,
        };
        assert_eq!(all.query(), "");
    }
}
