//! `gridpost events replay` and what belongs to it: kept events delivered once more.

use std::time::Duration;

use gridpost_model::Timestamp;
use http::Method;
use serde_json::{Map, Value, json};

use super::events::encoded;
use super::render;
use crate::client::Client;
use crate::output::{Exit, Failure, Output, table, text_of};
use crate::real::nap;

/// How often the server is asked how far a replay has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which events are replayed, and where to. Without any choice all kept events that fit the subscription's filter.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The event subscription that receives them
    #[arg(long, value_name = "NAME")]
    subscription: String,
    /// The resource id of its source; only needed when several have a subscription of that name
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// The newest event with this id, whatever the subscription's filter says
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to", "filter"])]
    event: Option<String>,
    /// Published at this moment or later: 2026-11-22T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Published before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// Those that fit this filter instead of the subscription's own, written as in an event subscription
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Value>,
    /// Events handed over per second, at most 10000 [default: 50]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Count them and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Return at once; the server goes on by itself
    #[arg(long)]
    no_wait: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let hint = |_| "a time is written like 2026-11-22T09:00:00Z".to_owned();
    text.parse().map_err(hint)
}

fn filter(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

pub(super) async fn run(
    arguments: &Arguments,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let body = arguments.body();
    let asked = client.own(Method::POST, "replays", Some(&body));
    if arguments.dry_run {
        let preview = output.waiting("counting events", asked).await?;
        output.result(&preview, previewed);
        return Ok(());
    }
    let mut replay = asked.await?;
    if !arguments.no_wait {
        output.note(&format!(
            "Replay {} is under way; Ctrl-C leaves it so, `gridpost events cancel-replay {0}` ends it.",
            text_of(&replay, "id")
        ));
        replay = watched(client, replay, output).await?;
    }
    output.result(&replay, told);
    match text_of(&replay, "state") {
        "failed" => Err(Failure::said(Exit::Failed, "the replay could not go on")),
        _ => Ok(()),
    }
}

/// Follows a replay to its end.
async fn watched(client: &Client, mut replay: Value, output: Output) -> Result<Value, Failure> {
    let path = format!("replays/{}", encoded(text_of(&replay, "id")));
    let bar = output.bar("replaying");
    while text_of(&replay, "state") == "running" {
        nap(LOOK_EVERY).await;
        replay = client.own(Method::GET, &path, None).await?;
        let share = replay["progress"].as_f64().unwrap_or_default();
        bar.set(share, format!("{} events", replay["handedOver"]));
    }
    Ok(replay)
}

pub(super) async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let listed = client.own(Method::GET, "replays", None).await?;
    output.result(&listed, listing);
    Ok(())
}

pub(super) async fn cancel(client: &Client, id: &str, output: Output) -> Result<(), Failure> {
    let path = format!("replays/{}", encoded(id));
    let known = client.own(Method::GET, &path, None).await?;
    if text_of(&known, "state") != "running" {
        let words = format!("The replay is not under way: {}.", text_of(&known, "state"));
        return Err(Failure::said(Exit::Refused, words));
    }
    let ended = client.own(Method::DELETE, &path, None).await?;
    output.result(&ended, told);
    Ok(())
}

impl Arguments {
    fn body(&self) -> Value {
        let named = [
            ("source", self.source.as_ref().map(|source| json!(source))),
            ("eventId", self.event.as_ref().map(|event| json!(event))),
            ("from", self.from.map(|from| json!(from))),
            ("to", self.to.map(|to| json!(to))),
            ("filter", self.filter.clone()),
            ("rate", self.rate.map(|rate| json!(rate))),
            ("dryRun", self.dry_run.then_some(json!(true))),
        ];
        let mut body = Map::new();
        body.insert("subscription".to_owned(), json!(self.subscription));
        body.extend(
            named
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
        Value::Object(body)
    }
}

fn previewed(preview: &Value) -> String {
    match preview["events"].as_u64().unwrap_or_default() {
        0 => "No kept event would be replayed.".to_owned(),
        count => format!(
            "{count} {} would be replayed, published from {} to {}, within {} s.",
            if count == 1 { "event" } else { "events" },
            render::plain(&preview["first"]),
            render::plain(&preview["last"]),
            preview["seconds"],
        ),
    }
}

/// How a replay stands, in a sentence or two.
fn told(replay: &Value) -> String {
    let handed_over = match replay["handedOver"].as_u64().unwrap_or_default() {
        1 => "one event was".to_owned(),
        count => format!("{count} events were"),
    };
    let mut text = format!(
        "Replay {} is {}: {handed_over} handed to {}.",
        text_of(replay, "id"),
        match text_of(replay, "state") {
            "running" => "under way",
            state => state,
        },
        text_of(replay, "subscription"),
    );
    if let Some(because) = replay["because"].as_str() {
        text.push_str(&format!(" It cannot go on: {because}."));
    }
    if replay["missed"] == true {
        text.push_str(" Some of the journal was given up before the replay came to it.");
    }
    text
}

fn listing(listed: &Value) -> String {
    let replays = listed["value"].as_array().cloned().unwrap_or_default();
    if replays.is_empty() {
        return "There are no replays.".to_owned();
    }
    let row = |replay: &Value| {
        let share = replay["progress"].as_f64().unwrap_or_default();
        vec![
            render::plain(&replay["id"]),
            render::plain(&replay["subscription"]),
            render::plain(&replay["state"]),
            format!("{:.0}%", share * 100.0),
            render::plain(&replay["handedOver"]),
            render::plain(&replay["rate"]),
            render::plain(&replay["created"]),
        ]
    };
    let rows: Vec<Vec<String>> = replays.iter().map(row).collect();
    table(
        &[
            "ID",
            "SUBSCRIPTION",
            "STATE",
            "PROGRESS",
            "EVENTS",
            "RATE",
            "CREATED",
        ],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_said_in_the_body() {
        let arguments = Arguments {
            subscription: "shop".into(),
            source: None,
            event: None,
            from: Some(moment("2026-11-22T09:00:00Z").unwrap()),
            to: None,
            filter: Some(filter(r#"{"subjectBeginsWith":"orders/"}"#).unwrap()),
            rate: Some(5),
            dry_run: false,
            no_wait: false,
        };
        assert_eq!(
            arguments.body(),
            json!({
                "subscription": "shop", "from": "2026-11-22T09:00:00Z", "filter": {"subjectBeginsWith": "orders/"},
                "rate": 5,
            })
        );
        assert!(moment("yesterday").is_err() && filter("{").is_err());
    }

    #[test]
    fn a_replay_is_told_in_sentences() {
        let done = json!({"id": "1a", "subscription": "shop", "state": "done", "handedOver": 1, "missed": true});
        assert_eq!(
            told(&done),
            "Replay 1a is done: one event was handed to shop. Some of the journal was given up before the replay came to it."
        );
        let preview = json!({"events": 2, "first": "then", "last": "later", "seconds": 1});
        assert_eq!(
            previewed(&preview),
            "2 events would be replayed, published from then to later, within 1 s."
        );
    }
}
