//! How JSON from the server is shown to people.

use serde_json::Value;

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
    fn a_request_looks_as_on_the_wire() {
        let shown = request(&json!({
            "method": "POST", "path": "/hook", "headers": {"aeg-event-type": "Notification"}, "body": [],
        }));
        assert_eq!(shown, "POST /hook\naeg-event-type: Notification\n\n[]");
    }
}
