//! How JSON from the server is shown to people.

use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_model::time::read_span;
use serde_json::Value;

use crate::output::visible;

/// A webhook request as it looks on the wire.
pub(super) fn request(request: &Value) -> String {
    let mut text = format!(
        "{} {}\n",
        plain(&request["method"]),
        plain(&request["path"])
    );
    if let Some(headers) = request["headers"].as_object() {
        for (name, value) in headers {
            text.push_str(&format!("{name}: {}\n", plain(value)));
        }
    }
    text.push('\n');
    text.push_str(&pretty(&request["body"]));
    text
}

/// A value as one would write it in a sentence.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A span of time as people say it, to the second: `1h 30m`. What is no span is shown as it is.
pub(super) fn span(text: &str) -> String {
    let Ok(span) = read_span(text) else {
        return text.to_owned();
    };
    let seconds = span.saturating_add(Duration::from_millis(500)).as_secs();
    let parts = [
        (seconds / (24 * 3600), "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let said: Vec<_> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    match said.is_empty() {
        true => "less than a second".to_owned(),
        false => said.join(" "),
    }
}

/// A moment to the second, in UTC. What is none is shown as it is.
pub(super) fn moment(value: &Value) -> String {
    let text = plain(value);
    match text.parse::<Timestamp>() {
        Ok(at) => at.format("%Y-%m-%d %H:%M:%S"),
        Err(_) => text,
    }
}

/// An event's type without what all of one service have in common.
pub(super) fn kind(event_type: &Value) -> String {
    let whole = plain(event_type);
    let short = whole.strip_prefix("Microsoft.Communication.");
    short.unwrap_or(&whole).to_owned()
}

/// Of a subject, as many characters are shown on a line.
const SHOWN_OF_SUBJECT: usize = 60;

/// A subject that fits a line: what is long is cut in its middle, because chat has long ids at both ends.
pub(super) fn subject(subject: &Value) -> String {
    let whole = visible(&plain(subject), &[]).into_owned();
    let count = whole.chars().count();
    if count <= SHOWN_OF_SUBJECT {
        return whole;
    }
    let half = SHOWN_OF_SUBJECT / 2;
    let begin: String = whole.chars().take(half).collect();
    let end: String = whole.chars().skip(count - half).collect();
    format!("{begin}…{end}")
}

/// What a list has, a row for each.
pub(super) fn rows(listed: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    listed.as_array().into_iter().flatten().map(row).collect()
}

/// JSON on several lines.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The first of some fields that has something in it.
pub(super) fn first(value: &Value, fields: &[&str]) -> String {
    fields
        .iter()
        .map(|field| plain(&value[*field]))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_span_is_said_as_people_do() {
        for (written, said) in [
            ("PT1H", "1h"),
            ("PT59M59.7167879S", "1h"),
            ("PT59M58.4S", "59m 58s"),
            ("PT36H0.5S", "1d 12h 1s"),
            ("PT0.25S", "less than a second"),
            ("soon", "soon"),
        ] {
            assert_eq!(span(written), said);
        }
    }

    #[test]
    fn a_request_looks_as_on_the_wire() {
        let shown = request(&json!({
            "method": "POST", "path": "/hook", "headers": {"aeg-event-type": "Notification"}, "body": [],
        }));
        assert_eq!(shown, "POST /hook\naeg-event-type: Notification\n\n[]");
    }

    #[test]
    fn a_long_subject_keeps_both_ends_and_a_type_its_own_name() {
        let long = format!("thread/{}/sender/bob", "é".repeat(80));
        let shown = subject(&Value::from(long));
        assert_eq!(shown.chars().count(), SHOWN_OF_SUBJECT + 1);
        assert!(shown.starts_with("thread/é") && shown.ends_with("é/sender/bob"));
        assert_eq!(subject(&Value::from("/s")), "/s");
        let chat = Value::from("Microsoft.Communication.ChatMessageReceived");
        assert_eq!(kind(&chat), "ChatMessageReceived");
        assert_eq!(kind(&Value::from("Shop.Paid")), "Shop.Paid");
    }
}
