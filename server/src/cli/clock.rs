//! `gridpost clock`: what time the server thinks it is, and making it later.

use anyhow::Context as _;
use gridpost_model::Timestamp;
use gridpost_model::time::read_span;
use http::Method;
use serde_json::{Value, json};

use super::{examples, render};
use crate::client::{Client, OnItsWay};
use crate::config::Config;
use crate::output::{Failure, Output};

/// How long, in real time, one call lets time pass before it tells how far it came.
const WITHIN: &str = "2s";

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show what the server's clock shows
    Show,
    /// Move it on; what is due in between happens in its order, at its moment
    #[command(after_help = examples::ADVANCE)]
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
            let bar = output.bar("letting time pass");
            let (client, bar) = (&client, &bar);
            let call = async |method, path, body: Option<Value>| {
                client.own(method, path, body.as_ref()).await
            };
            let tell = |share, now: &str| bar.set(share, format!("it is {now}"));
            advance(call, tell, asked(by, to, patience)).await?
        }
    };
    output.result(&shown, face);
    Ok(())
}

/// Moves the clock on call by call, because the server answers each of them soon, and tells how far it came.
async fn advance(
    call: impl AsyncFn(Method, &'static str, Option<Value>) -> Result<Value, Failure>,
    tell: impl Fn(f64, &str),
    mut body: Value,
) -> Result<Value, Failure> {
    let begun = now(&call(Method::GET, "clock", None).await?)?;
    // What is no span of time is refused by the server, in its words.
    let span = body["by"].as_str().and_then(|by| read_span(by).ok());
    if let Some(span) = span {
        body = asked(
            None,
            Some(begun + span),
            body["patience"].as_str().map(str::to_owned),
        );
    }
    let target: Option<Timestamp> = body["to"].as_str().and_then(|to| to.parse().ok());
    body["within"] = WITHIN.into();
    loop {
        match call(Method::POST, "clock/advance", Some(body.clone())).await {
            Err(failure) if failure.error.is::<OnItsWay>() => (),
            answer => return answer,
        }
        let shown = call(Method::GET, "clock", None).await?;
        let (now, target) = (now(&shown)?, target.unwrap_or(begun));
        if target <= now {
            return Ok(shown);
        }
        let share = now.since(begun).as_secs_f64() / target.since(begun).as_secs_f64();
        tell(share, &now.to_string());
    }
}

fn now(shown: &Value) -> Result<Timestamp, Failure> {
    let now = shown["now"].as_str().context("the server tells no time")?;
    Ok(now.parse().context("the server tells no time")?)
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
        Some(ahead) => format!(
            "It is {now}, {} ahead of this machine.",
            render::span(ahead)
        ),
    };
    if let Some(next) = shown["nextAlarm"].as_str() {
        text.push_str(&format!(" Something is due at {next}."));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::output::Exit;

    #[test]
    fn only_what_was_given_is_asked_for() {
        assert_eq!(asked(Some("1h".into()), None, None), json!({ "by": "1h" }));
        assert_eq!(
            asked(None, Some(Timestamp::EPOCH), Some("2s".into())),
            json!({ "to": "1970-01-01T00:00:00Z", "patience": "2s" })
        );
    }

    #[tokio::test]
    async fn a_clock_that_is_on_its_way_is_asked_again_until_it_has_arrived() {
        let (minutes, told) = (Cell::new(0_i64), RefCell::new(Vec::new()));
        let shown = |minutes| {
            let now = Timestamp::from_seconds(minutes * 60).to_string();
            Ok(json!({ "now": now }))
        };
        let call = async |method, _: &'static str, body: Option<Value>| {
            if method == Method::GET {
                return shown(minutes.get());
            }
            let body = body.unwrap();
            assert_eq!(body["to"], "1970-01-01T01:00:00Z");
            assert_eq!(body["patience"], "1s");
            minutes.set(minutes.get() + 15);
            match minutes.get() {
                60.. => shown(60),
                _ => Err(Failure::new(Exit::Refused, OnItsWay("not yet".into()))),
            }
        };
        let tell = |share, now: &str| told.borrow_mut().push((share, now.to_owned()));
        let body = asked(Some("1h".into()), None, Some("1s".into()));
        let arrived = advance(call, tell, body).await.unwrap();
        assert_eq!(arrived["now"], "1970-01-01T01:00:00Z");
        let told: Vec<_> = told.into_inner();
        let shares: Vec<_> = told.iter().map(|(share, _)| *share).collect();
        assert_eq!(shares, [0.25, 0.5, 0.75]);
        assert_eq!(told[1].1, "1970-01-01T00:30:00Z");
    }

    #[tokio::test]
    async fn another_refusal_ends_it() {
        let call = async |method, _: &'static str, body: Option<Value>| {
            if method == Method::GET {
                return Ok(json!({ "now": "1970-01-01T00:00:00Z" }));
            }
            assert_eq!(body.unwrap()["by"], "soon");
            Err(Failure::said(Exit::Refused, "not a span of time"))
        };
        let body = asked(Some("soon".into()), None, None);
        let refused = advance(call, |_, _| (), body).await.unwrap_err();
        assert!(refused.error.to_string().contains("span"));
    }

    #[test]
    fn a_clock_that_was_moved_says_how_far() {
        let shown = json!({ "now": "A", "ahead": "PT1H", "nextAlarm": "B" });
        assert_eq!(
            face(&shown),
            "It is A, 1h ahead of this machine. Something is due at B."
        );
        assert_eq!(face(&json!({ "now": "A", "ahead": "PT0S" })), "It is A.");
    }
}
