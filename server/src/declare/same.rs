//! Whether what is there is what is wanted.
//!
//! Promise: values that mean the same to the server are the same, however they were written; what is not shown is not
//! counted as a difference.

use std::collections::BTreeSet;

use gridpost_model::Timestamp;
use serde_json::{Map, Value, json};

use super::names::Alike;

/// Whether the server has this already.
pub(super) fn same(alike: Alike, wanted: &Value, is: &Value) -> bool {
    if is_nothing(wanted) && is_nothing(is) {
        return true;
    }
    match alike {
        Alike::Exact => number(wanted).is_some_and(|one| number(is) == Some(one)) || wanted == is,
        Alike::Word => word(wanted) == word(is),
        Alike::Time => time(wanted).is_some_and(|one| time(is) == Some(one)),
        Alike::Rules => same_rules(wanted, is),
        Alike::Among => words(wanted).is_subset(&words(is)),
        Alike::Ids => words(wanted) == words(is),
        Alike::Mapping => mapping(wanted) == mapping(is),
        Alike::Filters => filters(wanted) == filters(is),
        Alike::Attributes => attributes(wanted, is),
        Alike::Url => same_url(wanted, is),
        Alike::Hidden => true,
    }
}

/// What says nothing, in any of the ways to say so.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn word(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text.to_ascii_lowercase()),
        other => other.clone(),
    }
}

/// The texts of a list, in whatever order and case.
pub(super) fn words(value: &Value) -> BTreeSet<String> {
    let texts = value.as_array().into_iter().flatten();
    let texts = texts.filter_map(Value::as_str);
    texts.map(str::to_ascii_lowercase).collect()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A file without the query of a URL keeps the one that is there.
fn same_url(wanted: &Value, is: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (wanted, is) = (text(wanted), text(is));
    if wanted.contains('?') {
        return wanted == is;
    }
    is.split('?').next() == Some(wanted.as_str())
}

fn same_rules(wanted: &Value, is: &Value) -> bool {
    let masks = |value: &Value| -> Option<Vec<String>> {
        let mask = |rule: &Value| rule["ipMask"].as_str().map(str::to_owned);
        value.as_array()?.iter().map(mask).collect()
    };
    masks(wanted).is_some_and(|wanted| masks(is) == Some(wanted))
}

/// A mapping without what is empty in it, and with its only type.
fn mapping(value: &Value) -> Value {
    let mut value = filled(value);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("inputSchemaMappingType".into(), "Json".into());
    }
    value
}

/// A value without what is empty in it.
pub(super) fn filled(value: &Value) -> Value {
    let Some(fields) = value.as_object() else {
        return value.clone();
    };
    let fields = fields
        .iter()
        .map(|(name, value)| (name.clone(), filled(value)));
    Value::Object(
        fields
            .filter(|(_, value)| !is_nothing(value))
            .collect::<Map<_, _>>(),
    )
}

/// Operator, key and values of each, whether one value is written alone or as a list.
fn filters(value: &Value) -> Option<Vec<(String, String, Vec<Value>)>> {
    let read = |one: &Value| {
        let operand = if one["values"].is_null() {
            &one["value"]
        } else {
            &one["values"]
        };
        let mut values = Vec::new();
        flatten(operand, &mut values);
        Some((
            one["operatorType"].as_str()?.to_ascii_lowercase(),
            one["key"].as_str()?.to_owned(),
            values,
        ))
    };
    value.as_array()?.iter().map(read).collect()
}

fn flatten(value: &Value, into: &mut Vec<Value>) {
    match value {
        Value::Null => (),
        Value::Array(all) => all.iter().for_each(|one| flatten(one, into)),
        Value::Number(number) => into.push(json!(number.as_f64())),
        other => into.push(other.clone()),
    }
}

fn attributes(wanted: &Value, is: &Value) -> bool {
    let (Some(wanted), Some(is)) = (wanted.as_array(), is.as_array()) else {
        return false;
    };
    wanted.len() == is.len()
        && wanted
            .iter()
            .zip(is)
            .all(|(wanted, is)| attribute(wanted, is))
}

fn attribute(wanted: &Value, is: &Value) -> bool {
    let (said, shown) = (&wanted["properties"], &is["properties"]);
    let is_secret = |of: &Value| of["isSecret"].as_bool().unwrap_or(false);
    let untold = is_secret(said) && said["value"].is_null();
    wanted["name"] == is["name"]
        && word(&wanted["type"]) == word(&is["type"])
        && is_secret(said) == is_secret(shown)
        && said["sourceField"] == shown["sourceField"]
        && (untold || said["value"] == shown["value"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        let table = [
            (Alike::Exact, json!([]), json!(null), true),
            (Alike::Exact, json!(5), json!(5.0), true),
            (
                Alike::Exact,
                json!({"a": "1"}),
                json!({"a": "1", "b": "2"}),
                false,
            ),
            (Alike::Word, json!("webhook"), json!("WebHook"), true),
            (
                Alike::Time,
                json!("2030-01-01T00:00:00Z"),
                json!("2030-01-01T00:00:00.000Z"),
                true,
            ),
            (
                Alike::Time,
                json!("2030-01-01T00:00:00Z"),
                json!(null),
                false,
            ),
            (
                Alike::Rules,
                json!([{"ipMask": "10.0.0.0/8"}]),
                json!([{"ipMask": "10.0.0.0/8", "action": "Allow"}]),
                true,
            ),
            (
                Alike::Among,
                json!(["domain"]),
                json!(["Domain", "SPF"]),
                true,
            ),
            (
                Alike::Among,
                json!(["Domain", "DKIM"]),
                json!(["Domain"]),
                false,
            ),
            (Alike::Ids, json!(["/A"]), json!(["/a"]), true),
            (Alike::Ids, json!(["/a"]), json!(["/a", "/b"]), false),
            (Alike::Url, json!("https://h/x"), json!("https://h/x"), true),
            (
                Alike::Url,
                json!("https://h/x"),
                json!("https://h/x?code=1"),
                true,
            ),
            (
                Alike::Url,
                json!("https://h/x?code=2"),
                json!("https://h/x?code=1"),
                false,
            ),
            (
                Alike::Url,
                json!("https://h/y"),
                json!("https://h/x"),
                false,
            ),
        ];
        for (alike, wanted, is, expected) in table {
            assert_eq!(same(alike, &wanted, &is), expected, "{wanted} {is}");
        }
    }

    #[test]
    fn a_mapping_is_compared_by_what_it_maps() {
        let shown = json!({"inputSchemaMappingType": "Json", "properties": {
            "id": {"sourceField": "receipt"}, "topic": {"sourceField": null},
            "subject": {"sourceField": null, "defaultValue": null},
        }});
        assert!(same(
            Alike::Mapping,
            &json!({"properties": {"id": {"sourceField": "receipt"}}}),
            &shown
        ));
        assert!(!same(Alike::Mapping, &json!({"properties": {}}), &shown));
    }

    #[test]
    fn filters_are_compared_by_their_meaning() {
        let shown = json!([
            {"operatorType": "NumberGreaterThan", "key": "data.n", "value": 5.0},
            {"operatorType": "NumberInRange", "key": "data.r", "values": [[1.0, 5.0]]},
        ]);
        let written = json!([
            {"operatorType": "numbergreaterthan", "key": "data.n", "value": 5},
            {"operatorType": "NumberInRange", "key": "data.r", "values": [[1, 5]]},
        ]);
        assert!(same(Alike::Filters, &written, &shown));
        assert!(!same(Alike::Filters, &json!([written[0]]), &shown));
    }

    #[test]
    fn a_secret_that_is_not_told_stays() {
        let attribute = |value: Value| json!([{"name": "x", "type": "Static", "properties": {"value": value, "isSecret": true}}]);
        assert!(same(
            Alike::Attributes,
            &attribute(Value::Null),
            &attribute(json!("s"))
        ));
        assert!(!same(
            Alike::Attributes,
            &attribute(json!("t")),
            &attribute(json!("s"))
        ));
    }
}
