//! `gridpost events`: what happens to events, while it happens and afterwards.

use std::time::Duration;

use gridpost_model::{Timestamp, event_type};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{examples, render, replay, try_filter};
use crate::client::Client;
use crate::config::Config;
use crate::nearest::nearest;
use crate::output::{Exit, Failure, Output};

/// The server waits no longer than so many seconds.
const LONGEST_WAIT: u64 = 120;

/// Of a body, as many characters are shown when nobody asks for all that is remembered.
const SHOWN_OF_BODY: usize = 200;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show what happens as it happens, until Ctrl-C
    #[command(after_help = examples::TAIL)]
    Tail {
        /// End after this many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        #[command(flatten)]
        only: Only,
    },
    /// Wait for an event and print it
    #[command(after_help = examples::WAIT)]
    Wait {
        /// The event's type, whole or its last part: SMSReceived
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// What its subject begins with
        #[arg(long)]
        subject: Option<String>,
        /// How many seconds to wait, at most 120
        #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=LONGEST_WAIT))]
        timeout: u64,
    },
    /// Tell everything about one event: who wanted it, who refused it and why, every attempt, the next one
    Explain {
        /// The event's id
        id: String,
        /// Show requests and answers as far as they are remembered, with their headers
        #[arg(long)]
        full: bool,
    },
    /// Tell what a filter would have done with the newest events, before it is saved
    TryFilter(try_filter::Arguments),
    /// Deliver kept events once more to one subscription
    #[command(after_help = examples::REPLAY)]
    Replay(replay::Arguments),
    /// List replays, under way and ended
    Replays,
    /// End a replay; what it has handed over is still delivered
    CancelReplay {
        /// The replay's id
        id: String,
    },
}

/// Which activities are shown.
#[derive(clap::Args, Default)]
pub(super) struct Only {
    /// Only of events of this type, whole or its last part: SMSReceived
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only of events whose subject begins so
    #[arg(long)]
    subject: Option<String>,
    /// Only of this event
    #[arg(long)]
    id: Option<String>,
    /// Only in this event subscription
    #[arg(long)]
    subscription: Option<String>,
}

impl Only {
    fn path(&self) -> String {
        let event_type = self.event_type.as_deref().map(whole);
        let wanted = [
            ("type", event_type.as_ref()),
            ("subject", self.subject.as_ref()),
            ("id", self.id.as_ref()),
            ("subscription", self.subscription.as_ref()),
        ];
        let query: Vec<_> = wanted
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))))
            .collect();
        match query.is_empty() {
            true => "events".to_owned(),
            false => format!("events?{}", query.join("&")),
        }
    }
}

pub(super) async fn run(command: Command, config: &Config, output: Output) -> Result<(), Failure> {
    let client = Client::find(config)?;
    match command {
        Command::Tail { count, only } => tail(&client, count, &only, output).await,
        Command::Wait {
            event_type,
            subject,
            timeout,
        } => {
            if let Some(doubt) = event_type.as_deref().and_then(doubt) {
                output.note(&doubt);
            }
            let path = wait_path(event_type.as_deref(), subject.as_deref(), timeout);
            let wait = client.wait(&path, Duration::from_secs(timeout));
            let event = output.waiting("waiting for an event", wait).await?;
            output.result(&event, |activity| render::pretty(&activity["event"]));
            Ok(())
        }
        Command::Explain { id, full } => {
            let path = format!("events/{}/explain", encoded(&id));
            let told = client.own(Method::GET, &path, None);
            let told = output.waiting("looking for the event", told).await?;
            output.result(&told, |told| explained(told, full));
            Ok(())
        }
        Command::TryFilter(arguments) => try_filter::run(&arguments, &client, output).await,
        Command::Replay(arguments) => replay::run(&arguments, &client, output).await,
        Command::Replays => replay::list(&client, output).await,
        Command::CancelReplay { id } => replay::cancel(&client, &id, output).await,
    }
}

async fn tail(
    client: &Client,
    count: Option<u64>,
    only: &Only,
    output: Output,
) -> Result<(), Failure> {
    let mut stream = client.stream(&only.path()).await?;
    output
        .note("Watching, until Ctrl-C. Every text raises something: `gridpost sms receive hello`");
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        // A server that was killed ends the stream in the middle, which is the same news.
        match stream.next().await.ok().flatten() {
            Some(activity) => output.item(&activity, line),
            None => return Err(Failure::said(Exit::NoServer, "the server has stopped")),
        }
        left -= 1;
    }
    Ok(())
}

/// One activity on one line: when, what, which event, where, and how it went.
fn line(activity: &Value) -> String {
    if let Some(lost) = activity["lost"].as_u64() {
        return format!("({lost} activities were lost: more happened than could be shown)");
    }
    let at = render::plain(&activity["at"]);
    let at = at
        .parse::<Timestamp>()
        .map_or(at, |at| at.format("%H:%M:%S%.3f"));
    let mut shown = vec![at, format!("{:<12}", render::plain(&activity["what"]))];
    shown.push(render::kind(&activity["eventType"]));
    shown.push(render::plain(&activity["id"]));
    // Once for each event; what follows is known by the id.
    if activity["what"] == "accepted" {
        shown.push(render::subject(&activity["subject"]));
    }
    if let Some(matched) = activity["matched"].as_u64() {
        shown.push(format!("wanted by {matched}"));
    }
    if let Some(subscription) = activity["subscription"].as_str() {
        shown.push(format!("to {subscription}"));
    }
    let attempt = &activity["attempt"];
    if attempt.is_object() {
        let status = render::first(attempt, &["status", "failure"]);
        shown.push(format!(
            "attempt {}: {} {status}",
            attempt["number"],
            render::plain(&attempt["outcome"])
        ));
        if let Some(next) = attempt["nextAttempt"].as_str() {
            shown.push(format!("next {next}"));
        }
        if let Some(replay) = attempt["replay"].as_str() {
            shown.push(format!("replay {replay}"));
        }
    }
    shown.push(render::plain(&activity["deadLetterReason"]));
    shown.retain(|part| !part.trim().is_empty());
    shown.join("  ")
}

/// What became of an event, subscription by subscription.
fn explained(told: &Value, full: bool) -> String {
    let mut text = String::new();
    for event in list(&told["value"]) {
        // A CloudEvent has a type and a source; one of a publisher's own schema may have none of these.
        let envelope = &event["event"];
        let named = ["eventType", "type", "id"].map(|name| render::plain(&envelope[name]));
        let named: Vec<_> = named.into_iter().filter(|name| !name.is_empty()).collect();
        let accepted = render::plain(&event["accepted"]);
        text.push_str(&format!("{} was accepted at {accepted}\n", named.join(" ")));
        for field in ["subject", "topic", "source"] {
            let value = render::plain(&envelope[field]);
            if !value.is_empty() {
                text.push_str(&format!("  {field:<7}  {value}\n"));
            }
        }
        let mut subscriptions: Vec<_> = list(&event["subscriptions"]).iter().collect();
        subscriptions
            .sort_by_key(|one| matches!(one["fate"].as_str(), Some("refused" | "notThen")));
        if subscriptions.is_empty() {
            text.push_str("\n  No event subscription listens to this topic.\n");
        }
        for subscription in subscriptions {
            text.push_str(&one_subscription(subscription, full));
        }
        if let Some(count) = event["deletedSubscriptions"]
            .as_u64()
            .filter(|count| *count > 0)
        {
            text.push_str(&match count {
                1 => "\n  One subscription that wanted it is deleted.\n".to_owned(),
                _ => format!("\n  {count} subscriptions that wanted it are deleted.\n"),
            });
        }
        text.push('\n');
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[][..], Vec::as_slice)
}

fn one_subscription(subscription: &Value, full: bool) -> String {
    let mut text = format!(
        "\n  {}: {}. {}\n    endpoint  {}\n",
        render::plain(&subscription["name"]),
        fate(&subscription["fate"]),
        render::plain(&subscription["because"]),
        render::plain(&subscription["endpoint"]),
    );
    if let Some(replay) = subscription["replay"].as_str() {
        text.push_str(&format!("    replay    {replay}\n"));
    }
    let mut last = 0;
    for attempt in list(&subscription["attempts"]) {
        let number = attempt["number"].as_u64().unwrap_or_default();
        if number <= last {
            text.push_str("    began anew: it was redriven or replayed\n");
        }
        last = number;
        text.push_str(&one_attempt(attempt, full));
    }
    // Why it was given up is said above.
    let next = render::plain(&subscription["nextAttempt"]);
    if !next.is_empty() {
        text.push_str(&format!("    next attempt {next}\n"));
    }
    text
}

fn one_attempt(attempt: &Value, full: bool) -> String {
    let mut text = format!(
        "    attempt {} at {}: {} {} after {:.1} ms\n",
        attempt["number"],
        render::plain(&attempt["at"]),
        render::plain(&attempt["outcome"]),
        render::first(attempt, &["status", "failure"]),
        attempt["tookMs"].as_f64().unwrap_or_default(),
    );
    if let Some(replay) = attempt["replay"].as_str() {
        text.push_str(&format!("      of replay {replay}\n"));
    }
    let (request, response) = (&attempt["request"], &attempt["response"]);
    if full && request.is_object() {
        let line = format!(
            "{} {}",
            render::plain(&request["method"]),
            render::plain(&request["path"])
        );
        text.push_str(&message("sent", &line, request));
    }
    if full && response.is_object() {
        let line = render::plain(&response["status"]);
        text.push_str(&message("answered", &line, response));
    }
    let answer = render::plain(&response["body"]);
    if !full && !answer.trim().is_empty() {
        text.push_str(&format!("      answered: {}\n", shortened(&answer)));
    }
    if let Some(because) = attempt["nextAttemptBecause"].as_str() {
        let next = render::plain(&attempt["nextAttempt"]);
        text.push_str(&format!("      next at {next}: {because}\n"));
    }
    text
}

/// A request or an answer as it was on the wire, as far as it is remembered.
fn message(what: &str, line: &str, message: &Value) -> String {
    let mut text = format!("      {what}: {line}\n");
    let headers = message["headers"].as_object();
    for (name, value) in headers.into_iter().flatten() {
        text.push_str(&format!("        {name}: {}\n", render::plain(value)));
    }
    let body = render::plain(&message["body"]);
    if !body.is_empty() {
        text.push('\n');
    }
    for line in body.lines() {
        text.push_str(&format!("        {line}\n"));
    }
    if message["bodyTruncated"] == true {
        let whole = render::plain(&message["bodyBytes"]);
        text.push_str(&format!("        … ({whole} bytes in all)\n"));
    }
    text
}

/// What became of a delivery, in words.
fn fate(fate: &Value) -> String {
    match fate.as_str() {
        Some("deadLettered") => "given up".to_owned(),
        Some("notThen") => "not then".to_owned(),
        _ => render::plain(fate),
    }
}

/// The beginning of an endpoint's answer, on one line.
fn shortened(answer: &str) -> String {
    let words: Vec<&str> = answer.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN_OF_BODY) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn wait_path(event_type: Option<&str>, subject: Option<&str>, timeout_seconds: u64) -> String {
    let mut path = format!("events/wait?timeoutSeconds={timeout_seconds}");
    if let Some(event_type) = event_type {
        path.push_str(&format!("&type={}", encoded(&whole(event_type))));
    }
    if let Some(subject) = subject {
        path.push_str(&format!("&subject={}", encoded(subject)));
    }
    path
}

/// A type by its last part, as people say it, in full. What communication services do not have may be a topic's own.
fn whole(event_type: &str) -> String {
    let full = format!("{COMMUNICATION}{event_type}");
    match event_type::find(&full) {
        Some(_) => full,
        None => event_type.to_owned(),
    }
}

/// What the types of communication services begin with.
const COMMUNICATION: &str = "Microsoft.Communication.";

/// A word about a type that no communication resource raises: it may be a slip of the pen.
fn doubt(event_type: &str) -> Option<String> {
    let given = event_type.strip_prefix(COMMUNICATION);
    let is_known = event_type::find(&whole(event_type)).is_some();
    let is_a_topics = given.is_none() && event_type.contains('.');
    if is_known || is_a_topics {
        return None;
    }
    let names = event_type::COMMUNICATION.iter();
    let names = names.filter_map(|(name, _)| name.strip_prefix(COMMUNICATION));
    let advice = match nearest(given.unwrap_or(event_type), names) {
        Some(meant) => format!("Did you mean {meant}?"),
        None => "A topic's own events may have it.".to_owned(),
    };
    Some(format!(
        "No communication resource raises '{event_type}'. {advice} Waiting for it all the same."
    ))
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_activity_is_one_line() {
        let failed = json!({
            "at": "2026-11-22T00:27:55.5Z", "what": "failed", "id": "1", "eventType": "T", "subject": "/s",
            "topic": "/t", "subscription": "orders",
            "attempt": {"number": 1, "outcome": "Busy", "status": 503, "nextAttempt": "2026-11-22T00:28:05Z"},
        });
        assert_eq!(
            line(&failed),
            "00:27:55.500  failed        T  1  to orders  attempt 1: Busy 503  next 2026-11-22T00:28:05Z"
        );
    }

    #[test]
    fn an_event_that_is_accepted_shows_its_subject() {
        let accepted = json!({
            "at": "2026-11-22T00:27:55.5Z", "what": "accepted", "id": "1", "subject": "/s", "matched": 2,
            "eventType": "Microsoft.Communication.SMSReceived",
        });
        assert_eq!(
            line(&accepted),
            "00:27:55.500  accepted      SMSReceived  1  /s  wanted by 2"
        );
    }

    #[test]
    fn an_explanation_tells_first_of_those_that_wanted_it() {
        let one = |name: &str, fate: &str| json!({"name": name, "fate": fate, "attempts": []});
        let told = json!({ "value": [{
            "event": {"id": "1"}, "deletedSubscriptions": 0,
            "subscriptions": [one("a", "refused"), one("b", "delivered"), one("c", "notThen"), one("d", "waiting")],
        }]});
        let text = explained(&told, false);
        let places = ["b", "d", "a", "c"].map(|name| text.find(&format!("\n  {name}: ")).unwrap());
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn an_explanation_tells_each_subscriptions_part() {
        let told = json!({ "value": [{
            "event": {"id": "1", "eventType": "T", "subject": "/s", "topic": "/t"}, "accepted": "2026-11-22T00:00:00Z",
            "deletedSubscriptions": 0, "subscriptions": [{
                "name": "orders", "fate": "waiting", "because": "It failed.", "endpoint": "https://e",
                "attempts": [{"number": 1, "at": "2026-11-22T00:00:01Z", "outcome": "Busy", "status": 503, "tookMs": 2.25}],
                "nextAttempt": "2026-11-22T00:00:31Z",
            }],
        }]});
        assert_eq!(
            explained(&told, false),
            "T 1 was accepted at 2026-11-22T00:00:00Z\n  subject  /s\n  topic    /t\n\n  orders: waiting. It failed.\n    \
             endpoint  https://e\n    attempt 1 at 2026-11-22T00:00:01Z: Busy 503 after 2.2 ms\n    next attempt \
             2026-11-22T00:00:31Z\n\n"
        );
    }

    #[test]
    fn a_cloud_event_is_named_by_its_type_and_source() {
        let told = json!({ "value": [{
            "event": {"specversion": "1.0", "id": "1", "type": "T", "source": "/shop"}, "accepted": "then",
            "deletedSubscriptions": 0, "subscriptions": [],
        }]});
        let text = explained(&told, false);
        assert!(
            text.starts_with("T 1 was accepted at then\n  source   /shop\n"),
            "{text}"
        );
        assert!(!text.contains("subject"), "{text}");
    }

    #[test]
    fn an_explanation_shows_what_endpoints_answered_and_where_a_redrive_began() {
        let told = one_subscription(
            &json!({
                "name": "orders", "fate": "deadLettered", "because": "It failed.", "endpoint": "https://e", "attempts": [
                    {"number": 1, "at": "then", "outcome": "BadRequest", "status": 400, "tookMs": 1, "response": {"body": "no\nsuch order"}},
                    {"number": 1, "at": "later", "outcome": "Busy", "status": 503, "tookMs": 1, "response": {"body": ""}},
                ],
            }),
            false,
        );
        assert_eq!(
            told,
            "\n  orders: given up. It failed.\n    endpoint  https://e\n    attempt 1 at then: BadRequest 400 after \
             1.0 ms\n      answered: no such order\n    began anew: it was redriven or replayed\n    attempt 1 at later: \
             Busy 503 after 1.0 ms\n"
        );
        assert_eq!(shortened(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
    }

    #[test]
    fn an_attempt_is_shown_in_full_when_asked_for() {
        let attempt = json!({
            "number": 2, "at": "then", "outcome": "Busy", "status": 503, "tookMs": 1, "nextAttempt": "later",
            "nextAttemptBecause": "of the schedule",
            "request": {"method": "POST", "path": "/hook?•••", "headers": {"aeg-event-type": "Notification"}, "body": "[{}]"},
            "response": {"status": 503, "headers": {"retry-after": "1"}, "body": "busy", "bodyBytes": 9, "bodyTruncated": true},
        });
        assert_eq!(
            one_attempt(&attempt, true),
            "    attempt 2 at then: Busy 503 after 1.0 ms\n      sent: POST /hook?•••\n        aeg-event-type: \
             Notification\n\n        [{}]\n      answered: 503\n        retry-after: 1\n\n        busy\n        … (9 \
             bytes in all)\n      next at later: of the schedule\n"
        );
    }

    #[test]
    fn what_is_watched_is_said_in_the_query() {
        assert_eq!(Only::default().path(), "events");
        let only = Only {
            event_type: Some("SMSReceived".into()),
            id: Some("a/b".into()),
            ..Only::default()
        };
        assert_eq!(
            only.path(),
            "events?type=Microsoft%2ECommunication%2ESMSReceived&id=a%2Fb"
        );
    }

    #[test]
    fn a_type_that_nobody_raises_is_doubted() {
        for known in [
            "SMSReceived",
            "Microsoft.Communication.SMSReceived",
            "Shop.Ordered",
        ] {
            assert_eq!(doubt(known), None);
        }
        assert!(
            doubt("SMSRecieved")
                .unwrap()
                .contains("Did you mean SMSReceived?")
        );
        let whole_name = doubt("Microsoft.Communication.SMSReceivd").unwrap();
        assert!(
            whole_name.contains("Did you mean SMSReceived?"),
            "{whole_name}"
        );
        assert!(doubt("Nonsense").unwrap().contains("A topic's own events"));
        assert_eq!(whole("Nonsense"), "Nonsense");
    }

    #[test]
    fn what_is_waited_for_is_encoded() {
        assert_eq!(
            wait_path(Some("SMSReceived"), Some("/phonenumber/1 5"), 3),
            "events/wait?timeoutSeconds=3&type=Microsoft%2ECommunication%2ESMSReceived&subject=%2Fphonenumber%2F1%205"
        );
    }
}
