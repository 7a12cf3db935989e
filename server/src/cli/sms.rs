//! `gridpost sms`: be the person with the phone, or the application.

use gridpost_model::Clock as _;
use http::Method;
use serde_json::{Value, json};

use super::{examples, render};
use crate::client::Client;
use crate::config::{Config, Profile};
use crate::credentials::NUMBER;
use crate::output::{Exit, Failure, Output};
use crate::real::SystemClock;

const SMS_VERSION: &str = "2021-03-07";

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Let a handset text one of our numbers
    #[command(after_help = examples::SMS_RECEIVE)]
    Receive {
        /// The handset; any number will do
        #[arg(long, default_value = "+15555550123")]
        from: String,
        /// Our number
        #[arg(long, default_value = NUMBER)]
        to: String,
        /// What it says
        #[arg(value_name = "TEXT")]
        message: String,
    },
    /// Send a text from one of our numbers to a handset, signed with an access key
    #[command(after_help = examples::SMS_SEND)]
    Send {
        /// Our number
        #[arg(long, default_value = NUMBER)]
        from: String,
        /// The handsets
        #[arg(long, required = true)]
        to: Vec<String>,
        /// Ask for a delivery report
        #[arg(long)]
        report: bool,
        /// Sign with the key of this connection string [default: the development resource's]; its endpoint does not count
        #[arg(long)]
        connection_string: Option<String>,
        /// What it says
        #[arg(value_name = "TEXT")]
        message: String,
    },
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Receive { from, to, message } => {
            let body = json!({ "from": from, "to": to, "message": message });
            let answer = client.own(Method::POST, "sms/receive", Some(&body)).await?;
            output.result(&answer, |answer| {
                format!("Received as {}", render::plain(&answer["messageId"]))
            });
            Ok(())
        }
        Command::Send {
            from,
            to,
            report,
            connection_string,
            message,
        } => {
            let connection_string = match connection_string {
                Some(given) if given.contains("accesskey=") => given,
                Some(_) => {
                    return Err(Failure::said(
                        Exit::Usage,
                        "the connection string has no `accesskey=`; `gridpost env` prints a whole one",
                    ));
                }
                None if client.server().profile == Profile::Production => {
                    return Err(Failure::said(
                        Exit::Usage,
                        "a server in the production profile has no development resource; name one with --connection-string",
                    ));
                }
                None => client.connection_string().await?,
            };
            let recipients: Vec<Value> = to.iter().map(|to| json!({ "to": to })).collect();
            let body = json!({
                "from": from, "smsRecipients": recipients, "message": message,
                "smsSendOptions": { "enableDeliveryReport": report },
            });
            let date = SystemClock::default().now().http_date();
            let path = format!("/sms?api-version={SMS_VERSION}");
            let answer = client
                .signed(&connection_string, &date, &path, &body)
                .await?;
            output.result(&answer, sent);
            refused_recipients(&answer)
        }
    }
}

fn sent(answer: &Value) -> String {
    let results = answer["value"].as_array().cloned().unwrap_or_default();
    let line = |result: &Value| match result["successful"].as_bool() {
        Some(true) => format!(
            "{}  sent as {}",
            render::plain(&result["to"]),
            render::plain(&result["messageId"])
        ),
        _ => format!(
            "{}  refused: {}",
            render::plain(&result["to"]),
            render::plain(&result["errorMessage"])
        ),
    };
    results.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn refused_recipients(answer: &Value) -> Result<(), Failure> {
    let results = answer["value"].as_array().map_or(&[][..], Vec::as_slice);
    match results
        .iter()
        .filter(|result| result["successful"] != json!(true))
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::said(Exit::Refused, "one recipient was refused")),
        count => Err(Failure::said(
            Exit::Refused,
            format!("{count} recipients were refused"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_recipient_fails_the_command() {
        let answer = json!({ "value": [
            { "to": "+1", "successful": true, "messageId": "m" },
            { "to": "+2", "successful": false, "errorMessage": "Opted out" },
        ]});
        assert_eq!(sent(&answer), "+1  sent as m\n+2  refused: Opted out");
        assert_eq!(refused_recipients(&answer).unwrap_err().exit, Exit::Refused);
    }
}
