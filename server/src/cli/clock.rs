//! `gridpost clock`: what time the server thinks it is, and making it later.

use gridpost_model::Timestamp;
use http::Method;
use serde_json::{Value, json};

use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::output::{Failure, Output};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show what the server's clock shows
    Show,
    /// Move it on; what is due in between happens in its order, at its moment
    Advance {
        /// How far: 1h, "1h 30m", 2d, PT1H30M, or a number of seconds
        #[arg(
            value_name = "SPAN",
            required_unless_present = "to",
            conflicts_with = "to"
        )]
        by: Option<String>,
        /// Up to this moment
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
        /// How long, in real time, an endpoint may take to answer before time goes on without it [default: 250ms]
        #[arg(long, value_name = "SPAN")]
        patience: Option<String>,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    let shown = match command {
        Command::Show => client.own(Method::GET, "clock", None).await?,
        Command::Advance { by, to, patience } => {
            let body = asked(by, to, patience);
            let advance = client.own(Method::POST, "clock/advance", Some(&body));
            output.waiting("letting time pass", advance).await?
        }
    };
    output.result(&shown, face);
    Ok(())
}

fn asked(by: Option<String>, to: Option<Timestamp>, patience: Option<String>) -> Value {
    let mut body = json!({});
    let to = to.map(|to| to.to_string());
    for (name, value) in [("by", by), ("to", to), ("patience", patience)] {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    body
}

fn face(shown: &Value) -> String {
    let now = render::plain(&shown["now"]);
    let mut text = match shown["ahead"].as_str() {
        None | Some("PT0S") => format!("It is {now}."),
        Some(ahead) => format!("It is {now}, {ahead} ahead of this machine."),
    };
    if let Some(next) = shown["nextAlarm"].as_str() {
        text.push_str(&format!(" Something is due at {next}."));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_asked_for() {
        assert_eq!(asked(Some("1h".into()), None, None), json!({ "by": "1h" }));
        assert_eq!(
            asked(None, Some(Timestamp::EPOCH), Some("2s".into())),
            json!({ "to": "1970-01-01T00:00:00Z", "patience": "2s" })
        );
    }

    #[test]
    fn a_clock_that_was_moved_says_how_far() {
        let shown = json!({ "now": "A", "ahead": "PT1H", "nextAlarm": "B" });
        assert_eq!(
            face(&shown),
            "It is A, PT1H ahead of this machine. Something is due at B."
        );
        assert_eq!(face(&json!({ "now": "A", "ahead": "PT0S" })), "It is A.");
    }
}
