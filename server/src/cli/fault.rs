//! `gridpost fault`: what goes wrong on the way to an endpoint, on purpose.

use gridpost_api::path::escaped;
use http::Method;
use serde_json::{Map, Value, json};

use super::naming::segment;
use super::{examples, render};
use crate::client::Client;
use crate::config::Config;
use crate::output::{Failure, Output, table};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Set a fault: deliveries fail, wait, hang, break or come twice
    #[command(after_help = examples::FAULT)]
    Set(Set),
    /// List faults and how many attempts each has struck
    List,
    /// End a fault, or all of them
    Clear {
        /// Which; all when left out
        #[arg(value_parser = segment)]
        name: Option<String>,
    },
}

/// Exactly one of the things that go wrong, and for whom.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Set {
    /// Its name
    #[arg(default_value = "fault", value_parser = segment)]
    name: String,
    /// Answer with this status instead of sending, 300 to 599
    #[arg(long, group = "what")]
    status: Option<u16>,
    /// Send that much later, at most a minute: 2s, 500ms
    #[arg(long, value_name = "SPAN", group = "what")]
    delay: Option<String>,
    /// Send nothing, and let no answer come
    #[arg(long, group = "what")]
    hang: bool,
    /// Send nothing, and break the connection
    #[arg(long, group = "what")]
    reset: bool,
    /// Send twice
    #[arg(long, group = "what")]
    duplicate: bool,
    /// Only for this event subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Only for webhooks on this host
    #[arg(long)]
    host: Option<String>,
    /// Only for so many attempts
    #[arg(long, value_name = "N")]
    times: Option<u32>,
    /// Only that likely, above 0 and at most 1
    #[arg(long, value_name = "P")]
    probability: Option<f64>,
    /// End it by itself after that long
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<String>,
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Set(set) => {
            let path = format!("faults/{}", escaped(&set.name));
            let fault = client.own(Method::PUT, &path, Some(&set.body())).await?;
            output.result(&fault, |fault| {
                format!("The fault '{}' is set.", render::plain(&fault["name"]))
            });
        }
        Command::List => {
            let listed = client.own(Method::GET, "faults", None).await?;
            output.result(&listed, faults);
        }
        Command::Clear { name: Some(name) } => {
            client
                .own(Method::DELETE, &format!("faults/{}", escaped(&name)), None)
                .await?;
            output.result(&json!({ "cleared": [name] }), |_| "Cleared.".to_owned());
        }
        Command::Clear { name: None } => {
            let listed = client.own(Method::GET, "faults", None).await?;
            let names: Vec<String> = rows(&listed)
                .iter()
                .map(|fault| render::plain(&fault["name"]))
                .collect();
            for name in &names {
                client
                    .own(Method::DELETE, &format!("faults/{}", escaped(name)), None)
                    .await?;
            }
            output.result(&json!({ "cleared": names }), |_| {
                format!("{} cleared.", names.len())
            });
        }
    }
    Ok(())
}

impl Set {
    fn body(&self) -> Value {
        let fault = match self {
            Self {
                status: Some(_), ..
            } => "status",
            Self { delay: Some(_), .. } => "delay",
            Self { hang: true, .. } => "hang",
            Self { reset: true, .. } => "reset",
            _ => "duplicate",
        };
        let fields = [
            ("fault", Some(json!(fault))),
            ("status", self.status.map(Value::from)),
            ("delay", self.delay.clone().map(Value::from)),
            ("subscription", self.subscription.clone().map(Value::from)),
            ("host", self.host.clone().map(Value::from)),
            ("times", self.times.map(Value::from)),
            ("probability", self.probability.map(Value::from)),
            ("expiresIn", self.expires_in.clone().map(Value::from)),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

fn rows(listed: &Value) -> Vec<Value> {
    listed["value"].as_array().cloned().unwrap_or_default()
}

fn faults(listed: &Value) -> String {
    let rows: Vec<Vec<String>> = rows(listed)
        .iter()
        .map(|fault| {
            [
                "name",
                "fault",
                "subscription",
                "host",
                "struck",
                "left",
                "expires",
            ]
            .map(|field| render::plain(&fault[field]))
            .into()
        })
        .collect();
    if rows.is_empty() {
        return "There are no faults.".to_owned();
    }
    let head = [
        "NAME",
        "FAULT",
        "SUBSCRIPTION",
        "HOST",
        "STRUCK",
        "LEFT",
        "EXPIRES",
    ];
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_said_in_the_words_of_the_rest() {
        let set = Set {
            name: "fault".into(),
            status: Some(503),
            delay: None,
            hang: false,
            reset: false,
            duplicate: false,
            subscription: Some("shop".into()),
            host: None,
            times: Some(3),
            probability: None,
            expires_in: None,
        };
        assert_eq!(
            set.body(),
            json!({ "fault": "status", "status": 503, "subscription": "shop", "times": 3 })
        );
    }
}
