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

/// A document as an indented list of its fields, for answers that people read whole.
pub(super) fn outline(value: &Value) -> String {
    let mut text = String::new();
    write_outline(&mut text, value, 0);
    text
}

fn write_outline(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        text.push_str(&format!("{indent}{name}:\n"));
                        write_outline(text, value, depth + 1);
                    }
                    Value::Array(items)
                        if items.iter().any(|item| item.is_object() || item.is_array()) =>
                    {
                        text.push_str(&format!("{indent}{name}:\n"));
                        write_outline(text, value, depth + 1);
                    }
                    value => text.push_str(&format!("{indent}{name}: {}\n", plain(value))),
                }
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push('\n');
                }
                write_outline(text, item, depth);
            }
        }
        value => text.push_str(&format!("{indent}{}\n", plain(value))),
    }
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

    #[test]
    fn an_outline_indents_what_is_nested() {
        let shown = outline(&json!({"a": 1, "b": {"c": ["x", "y"]}, "d": [{"e": null}]}));
        assert_eq!(shown, "a: 1\nb:\n  c: x, y\nd:\n  e: \n");
    }
}
