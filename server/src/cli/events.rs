//! `gridpost events`: what happens to events, while it happens and afterwards.

use std::time::Duration;

use gridpost_model::Timestamp;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::render;
use crate::client::Client;
use crate::config::Config;
use crate::output::{Exit, Failure, Output};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show what happens as it happens, until Ctrl-C
    Tail {
        /// End after this many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Wait for an event and print it
    Wait {
        /// The event's type, whole or its last part: SMSReceived
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// What its subject begins with
        #[arg(long)]
        subject: Option<String>,
        /// How many seconds to wait
        #[arg(long, default_value_t = 30, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Tell everything about one event: who wanted it, who refused it and why, every attempt, the next one
    Explain {
        /// The event's id
        id: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Tail { count } => tail(&client, count, output).await,
        Command::Wait {
            event_type,
            subject,
            timeout,
        } => {
            let path = wait_path(event_type.as_deref(), subject.as_deref(), timeout);
            let wait = client.wait(&path, Duration::from_secs(timeout));
            let event = output.waiting("waiting for an event", wait).await?;
            if event.is_null() || event == Value::String(String::new()) {
                return Err(Failure::said(
                    Exit::TimedOut,
                    format!("no such event within {timeout} seconds"),
                ));
            }
            output.result(&event, render::pretty);
            Ok(())
        }
        Command::Explain { id } => {
            let path = format!("events/{}/explain", encoded(&id));
            let told = client.own(Method::GET, &path, None).await?;
            output.result(&told, render::outline);
            Ok(())
        }
    }
}

async fn tail(client: &Client, count: Option<u64>, output: Output) -> Result<(), Failure> {
    let mut stream = client.stream("events").await?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        match stream.next().await? {
            Some(activity) => output.item(&activity, line),
            None => return Err(Failure::said(Exit::NoServer, "the server has stopped")),
        }
        left -= 1;
    }
    Ok(())
}

/// One activity on one line: when, what, which event, where, and how it went.
fn line(activity: &Value) -> String {
    let at = render::first(activity, &["at", "time", "moment"]);
    let at = at
        .parse::<Timestamp>()
        .map_or(at, |at| at.format("%H:%M:%S%.3f"));
    let rest = [
        "kind",
        "what",
        "eventType",
        "subject",
        "eventId",
        "subscription",
        "outcome",
        "status",
        "detail",
    ];
    let mut shown = vec![at];
    shown.extend(
        rest.iter()
            .map(|field| render::plain(&activity[*field]))
            .filter(|text| !text.is_empty()),
    );
    if shown.len() < 3 {
        return activity.to_string();
    }
    shown.join("  ")
}

fn wait_path(event_type: Option<&str>, subject: Option<&str>, timeout_seconds: u64) -> String {
    let mut path = format!("events/wait?timeoutSeconds={timeout_seconds}");
    for (name, value) in [("type", event_type), ("subject", subject)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    path
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_encoded() {
        assert_eq!(
            wait_path(Some("SMSReceived"), Some("/phonenumber/1 5"), 3),
            "events/wait?timeoutSeconds=3&type=SMSReceived&subject=%2Fphonenumber%2F1%205"
        );
    }
}
