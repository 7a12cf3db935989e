//! `gridpost dead-letter`: what could not be delivered, another chance for it, and its end.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{examples, render};
use crate::client::Client;
use crate::config::Config;
use crate::output::{Exit, Failure, Output, table};

/// As many as the server gives at once.
const PAGE: usize = 1000;

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
    #[command(after_help = examples::REDRIVE)]
    Redrive(Which),
    /// Delete them for good
    Delete {
        #[command(flatten)]
        which: Which,
        /// All of them, when nothing else says which
        #[arg(long, conflicts_with_all = ["subscription", "event"])]
        all: bool,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::List(which) => {
            let listed = output
                .waiting("reading dead letters", all(&client, &which))
                .await?;
            output.result(&listed, |listed| letters(listed, &which));
            if listed["value"]
                .as_array()
                .is_some_and(|found| !found.is_empty())
            {
                output.note("`gridpost dead-letter redrive` delivers them again; `gridpost events explain ID` tells every attempt.");
            }
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
                match done["redriven"].as_u64().unwrap_or_default() {
                    0 => which.none(),
                    1 => "One dead letter is due again, now.".to_owned(),
                    count => format!("{count} dead letters are due again, now."),
                }
            });
            Ok(())
        }
        Command::Delete { which, all } => {
            if !all && which.named().next().is_none() {
                return Err(Failure::said(
                    Exit::Usage,
                    "Say which dead letters to delete, with --subscription or --event, or say --all.",
                ));
            }
            let path = format!("dead-letters?all={all}{}", which.query());
            let delete = client.own(Method::DELETE, &path, None);
            let done = output.waiting("deleting dead letters", delete).await?;
            output.result(&done, |done| {
                match done["deleted"].as_u64().unwrap_or_default() {
                    0 => which.none(),
                    1 => "One dead letter was deleted.".to_owned(),
                    count => format!("{count} dead letters were deleted."),
                }
            });
            Ok(())
        }
    }
}

/// All pages as one.
async fn all(client: &Client, which: &Which) -> Result<Value, Failure> {
    let mut letters = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("dead-letters?limit={PAGE}{}{after}", which.query());
        let mut page = client.own(Method::GET, &path, None).await?;
        if let Value::Array(found) = page["value"].take() {
            letters.extend(found);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
            None => return Ok(json!({ "value": letters })),
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

    /// What is said when there are none.
    fn none(&self) -> String {
        match self.named().next() {
            Some(_) => "There are no such dead letters.".to_owned(),
            None => "There are no dead letters.".to_owned(),
        }
    }

    fn query(&self) -> String {
        self.named()
            .map(|(name, value)| {
                format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
            })
            .collect()
    }

    fn body(&self) -> Value {
        let fields: Map<String, Value> = self
            .named()
            .map(|(name, value)| (name.to_owned(), Value::String(value.clone())))
            .collect();
        Value::Object(fields)
    }
}

fn letters(listed: &Value, which: &Which) -> String {
    let letters = listed["value"].as_array().cloned().unwrap_or_default();
    if letters.is_empty() {
        return which.none();
    }
    let row = |letter: &Value| {
        vec![
            render::moment(&letter["deadLetterTime"]),
            render::plain(&letter["subscription"]),
            render::plain(&letter["event"]["id"]),
            render::kind(type_of(&letter["event"])),
            render::subject(&letter["event"]["subject"]),
            render::plain(&letter["deadLetterReason"]),
            render::plain(&letter["deliveryAttempts"]),
            format!(
                "{} {}",
                render::plain(&letter["lastDeliveryOutcome"]),
                render::plain(&letter["lastHttpStatus"])
            ),
        ]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    table(
        &[
            "AT",
            "SUBSCRIPTION",
            "EVENT",
            "TYPE",
            "SUBJECT",
            "REASON",
            "ATTEMPTS",
            "LAST OUTCOME",
        ],
        &rows,
    )
}

/// CloudEvents say `type`; what has another schema of its own has none.
fn type_of(event: &Value) -> &Value {
    match &event["eventType"] {
        Value::Null => &event["type"],
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_shown_with_the_type_and_the_subject_of_its_event() {
        let which = Which {
            subscription: None,
            event: None,
        };
        let listed = serde_json::json!({ "value": [
            {
                "event": {"id": "1", "eventType": "Microsoft.Communication.SMSReceived", "subject": "/phonenumber/1"},
                "deadLetterTime": "2026-11-23T04:19:16.6459979Z",
            },
            {"event": {"id": "2", "type": "Shop.Paid"}},
        ]});
        let shown = letters(&listed, &which);
        assert!(
            shown.contains("SMSReceived") && shown.contains("Shop.Paid"),
            "{shown}"
        );
        assert!(!shown.contains("Microsoft"), "{shown}");
        assert!(shown.contains("/phonenumber/1"), "{shown}");
        assert!(shown.contains("2026-11-23 04:19:16  "), "{shown}");
    }

    #[test]
    fn a_choice_is_said_in_the_query_and_in_the_body() {
        let which = Which {
            subscription: Some("a b".into()),
            event: None,
        };
        assert_eq!(which.query(), "&subscription=a%20b");
        assert_eq!(which.body(), serde_json::json!({ "subscription": "a b" }));
        let all = Which {
            subscription: None,
            event: None,
        };
        assert_eq!(all.query(), "");
        assert_ne!(all.none(), which.none());
    }
}
