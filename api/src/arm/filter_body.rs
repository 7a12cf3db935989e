//! What a client writes of a filter, and how it is shown.
//!
//! Promise: `advancedFilters` is read as old and new documentation spells it: names in any case, `value` or `values`
//! for one value. A refusal names the filter and the property. What is shown can be sent back.
//! Not here: how many filters and values there may be (`grid::validation`), what they mean (`model::filter`).
//! Source: reference event-grid 3.4, 3.5 and trap 21.

use gridpost_grid::manage::Change;
use gridpost_grid::subscriptions::FilterPatch;
use gridpost_model::Filter;
use gridpost_model::filter::advanced::{AdvancedFilter, Condition, OPERATORS, Operand, Operator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::objects;
use super::subscription_body::told;
use crate::problem::Refusal;

/// `filter`, of PUT and PATCH.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct FilterBody {
    #[serde(deserialize_with = "told")]
    included_event_types: Option<Option<Vec<String>>>,
    subject_begins_with: Option<String>,
    subject_ends_with: Option<String>,
    is_subject_case_sensitive: Option<bool>,
    #[serde(alias = "EnableAdvancedFilteringOnArrays")]
    enable_advanced_filtering_on_arrays: Option<bool>,
    #[serde(alias = "AdvancedFilters", deserialize_with = "told")]
    advanced_filters: Option<Option<Vec<Value>>>,
}

impl FilterBody {
    /// What the grid is asked to change.
    pub(super) fn read(self) -> Result<FilterPatch, Refusal> {
        let advanced = match self.advanced_filters {
            None => Change::Keep,
            Some(None) => Change::Clear,
            Some(Some(all)) => Change::Set(read_all(&all)?),
        };
        Ok(FilterPatch {
            included_event_types: match self.included_event_types {
                None => Change::Keep,
                Some(None) => Change::Clear,
                Some(Some(types)) => Change::Set(types),
            },
            subject_begins_with: self.subject_begins_with,
            subject_ends_with: self.subject_ends_with,
            is_subject_case_sensitive: self.is_subject_case_sensitive,
            advanced,
            advanced_on_arrays: self.enable_advanced_filtering_on_arrays,
        })
    }
}

/// What a filter consists of.
const PARTS: [&str; 6] = [
    "includedEventTypes",
    "subjectBeginsWith",
    "subjectEndsWith",
    "isSubjectCaseSensitive",
    "enableAdvancedFilteringOnArrays",
    "advancedFilters",
];

/// A filter on its own, as only our own REST takes one: a name that is none of a filter's is refused, because a filter
/// that was misspelt takes everything. The error says what is wrong with it, and where.
pub(crate) fn read_filter(written: Value) -> Result<Filter, String> {
    let Some(parts) = written.as_object() else {
        return Err("filter: it is not an object".to_owned());
    };
    for name in parts.keys() {
        if !PARTS.iter().any(|part| part.eq_ignore_ascii_case(name)) {
            let parts = PARTS.join(", ");
            return Err(format!("filter: '{name}' is none of its parts: {parts}"));
        }
    }
    let body: FilterBody =
        objects::from_value(written).map_err(|error| format!("filter: {error}"))?;
    let mut filter = Filter::default();
    let patch = body.read().map_err(|refusal| refusal.told())?;
    patch.apply(&mut filter);
    Ok(filter)
}

fn read_all(all: &[Value]) -> Result<Vec<AdvancedFilter>, Refusal> {
    let read = |(index, one): (usize, &Value)| {
        Reader { index }.read(one.as_object().ok_or_else(|| {
            let message = "An advanced filter is an object.";
            Refusal::invalid_field(&format!("filter.advancedFilters[{index}]"), message)
        })?)
    };
    all.iter().enumerate().map(read).collect()
}

/// Reads one advanced filter.
struct Reader {
    index: usize,
}

impl Reader {
    fn read(&self, written: &Map<String, Value>) -> Result<AdvancedFilter, Refusal> {
        let (name, operator) = self.operator(written)?;
        let key = property(written, "key").and_then(Value::as_str);
        let key = key.ok_or_else(|| {
            self.refuse(
                "key",
                "An advanced filter needs a 'key', such as 'data.key1'.",
            )
        })?;
        Ok(AdvancedFilter {
            key: key.to_owned(),
            condition: self.condition(name, operator, written)?,
        })
    }

    fn operator(&self, written: &Map<String, Value>) -> Result<(&'static str, Operator), Refusal> {
        let name = property(written, "operatorType").and_then(Value::as_str);
        let found = name.and_then(Operator::find);
        found.ok_or_else(|| {
            let known: Vec<_> = OPERATORS.iter().map(|(name, _)| *name).collect();
            let message = format!(
                "The operator type '{}' is unknown; use one of {}.",
                name.unwrap_or_default(),
                known.join(", ")
            );
            self.refuse("operatorType", message)
        })
    }

    fn condition(
        &self,
        name: &str,
        operator: Operator,
        written: &Map<String, Value>,
    ) -> Result<Condition, Refusal> {
        let one = |what: &str| {
            self.refuse(
                "value",
                format!("The operator {name} takes {what} as its 'value'."),
            )
        };
        let many = |what: &str| {
            self.refuse(
                "values",
                format!("The operator {name} takes a list of {what} as its 'values'."),
            )
        };
        Ok(match operator {
            Operator::Number(make) => make(
                single(written)
                    .and_then(Value::as_f64)
                    .ok_or_else(|| one("a number"))?,
            ),
            Operator::Bool(make) => {
                let value = single(written).and_then(Value::as_bool);
                make(value.ok_or_else(|| one("true or false"))?)
            }
            Operator::Numbers(make) => {
                make(list(written, Value::as_f64).ok_or_else(|| many("numbers"))?)
            }
            Operator::Texts(make) => {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                make(list(written, text).ok_or_else(|| many("strings"))?)
            }
            Operator::Ranges(make) => {
                make(ranges(written).ok_or_else(|| many("pairs of numbers, [[low, high], ...],"))?)
            }
            Operator::Nothing(make) => make(),
        })
    }

    fn refuse(&self, property: &str, message: impl Into<String>) -> Refusal {
        let field = format!("filter.advancedFilters[{}].{property}", self.index);
        Refusal::invalid_field(&field, message)
    }
}

/// A property by its name in any case; `null` is as good as nothing.
fn property<'a>(written: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = written
        .iter()
        .find(|(found, value)| found.eq_ignore_ascii_case(name) && !value.is_null());
    found.map(|(_, value)| value)
}

fn single(written: &Map<String, Value>) -> Option<&Value> {
    match (property(written, "value"), property(written, "values")) {
        (Some(value), _) => Some(value),
        (None, Some(Value::Array(values))) if values.len() == 1 => values.first(),
        _ => None,
    }
}

fn list<T>(written: &Map<String, Value>, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let values = property(written, "values").or_else(|| property(written, "value"))?;
    match values {
        Value::Array(values) => values.iter().map(read).collect(),
        one => Some(vec![read(one)?]),
    }
}

/// Pairs; a single pair may stand without the outer list.
fn ranges(written: &Map<String, Value>) -> Option<Vec<[f64; 2]>> {
    let pair = |value: &Value| match value.as_array()?.as_slice() {
        [low, high] => Some([low.as_f64()?, high.as_f64()?]),
        _ => None,
    };
    let values = property(written, "values").or_else(|| property(written, "value"))?;
    match pair(values) {
        Some(one) => Some(vec![one]),
        None => values.as_array()?.iter().map(pair).collect(),
    }
}

/// The filter, as GET shows it.
pub(crate) fn shown(filter: &Filter) -> Value {
    let advanced: Vec<Value> = filter.advanced.iter().map(shown_advanced).collect();
    json!({
        "subjectBeginsWith": filter.subject_begins_with,
        "subjectEndsWith": filter.subject_ends_with,
        "includedEventTypes": filter.included_event_types,
        "isSubjectCaseSensitive": filter.is_subject_case_sensitive,
        "enableAdvancedFilteringOnArrays": filter.advanced_on_arrays,
        "advancedFilters": advanced,
    })
}

fn shown_advanced(filter: &AdvancedFilter) -> Value {
    let mut shown = json!({"operatorType": filter.condition.operator(), "key": filter.key});
    let operand = filter.condition.operand();
    let name = match operand {
        Operand::Number(_) | Operand::Bool(_) => "value",
        _ => "values",
    };
    if let Some(value) = operand.to_json() {
        shown[name] = value;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filter: Value) -> Result<Filter, Refusal> {
        let body: FilterBody = serde_json::from_value(filter).unwrap();
        let mut filter = Filter::default();
        body.read()?.apply(&mut filter);
        Ok(filter)
    }

    fn one(advanced: impl Into<Value>) -> Result<Filter, Refusal> {
        let advanced: Value = advanced.into();
        read(json!({"advancedFilters": [advanced]}))
    }

    #[test]
    fn section_3_5_every_operator_is_shown_as_it_was_written() {
        let written = json!({
            "subjectBeginsWith": "a", "subjectEndsWith": "z", "includedEventTypes": ["T"],
            "isSubjectCaseSensitive": true, "enableAdvancedFilteringOnArrays": true,
            "advancedFilters": [
                {"operatorType": "NumberIn", "key": "data.n", "values": [1, 2.5]},
                {"operatorType": "NumberNotIn", "key": "data.n", "values": [3]},
                {"operatorType": "NumberLessThan", "key": "data.n", "value": 10},
                {"operatorType": "NumberLessThanOrEquals", "key": "data.n", "value": 10},
                {"operatorType": "NumberGreaterThan", "key": "data.n", "value": -1},
                {"operatorType": "NumberGreaterThanOrEquals", "key": "data.n", "value": 0.5},
                {"operatorType": "NumberInRange", "key": "data.n", "values": [[1, 2], [5, 6.5]]},
                {"operatorType": "NumberNotInRange", "key": "data.n", "values": [[7, 8]]},
                {"operatorType": "BoolEquals", "key": "data.b", "value": false},
                {"operatorType": "StringIn", "key": "Subject", "values": ["a", "B"]},
                {"operatorType": "StringNotIn", "key": "id", "values": ["a"]},
                {"operatorType": "StringBeginsWith", "key": "data.s", "values": ["a"]},
                {"operatorType": "StringNotBeginsWith", "key": "data.s", "values": ["a"]},
                {"operatorType": "StringEndsWith", "key": "data.s", "values": ["a"]},
                {"operatorType": "StringNotEndsWith", "key": "data.s", "values": ["a"]},
                {"operatorType": "StringContains", "key": "data.s", "values": ["a"]},
                {"operatorType": "StringNotContains", "key": "data.s", "values": ["a"]},
                {"operatorType": "IsNullOrUndefined", "key": "data.x"},
                {"operatorType": "IsNotNull", "key": "data.y"},
            ],
        });
        assert_eq!(shown(&read(written.clone()).unwrap()), written);
    }

    #[test]
    fn trap_21_old_spellings_are_understood() {
        let modern = json!({"operatorType": "StringIn", "key": "data.a", "values": ["x"]});
        for old in [
            json!({"OperatorType": "StringIn", "Key": "data.a", "Values": ["x"]}),
            json!({"operatorType": "stringin", "key": "data.a", "value": ["x"]}),
            json!({"operatorType": "StringIn", "key": "data.a", "value": "x", "values": null}),
        ] {
            assert_eq!(one(old).unwrap(), one(modern.clone()).unwrap());
        }
        let modern = json!({"operatorType": "BoolEquals", "key": "data.a", "value": true});
        let old = json!({"OperatorType": "BoolEquals", "Key": "data.a", "Values": [true]});
        assert_eq!(one(old).unwrap(), one(modern).unwrap());
        let modern = json!({"operatorType": "NumberInRange", "key": "n", "values": [[1, 2]]});
        let flat = json!({"operatorType": "NumberInRange", "key": "n", "values": [1, 2]});
        assert_eq!(one(flat).unwrap(), one(modern).unwrap());
        let pascal = read(json!({"AdvancedFilters": [], "EnableAdvancedFilteringOnArrays": true}));
        assert!(pascal.unwrap().advanced_on_arrays);
    }

    #[test]
    fn section_3_5_what_an_operator_does_not_take_is_refused_by_name() {
        for (advanced, property) in [
            (json!({}), ".operatorType"),
            (json!({"operatorType": "Like", "key": "a"}), ".operatorType"),
            (json!({"operatorType": "IsNotNull"}), ".key"),
            (json!({"operatorType": "IsNotNull", "key": 1}), ".key"),
            (
                json!({"operatorType": "NumberLessThan", "key": "a"}),
                ".value",
            ),
            (
                json!({"operatorType": "NumberLessThan", "key": "a", "value": "1"}),
                ".value",
            ),
            (
                json!({"operatorType": "NumberLessThan", "key": "a", "values": [1, 2]}),
                ".value",
            ),
            (
                json!({"operatorType": "BoolEquals", "key": "a", "value": 1}),
                ".value",
            ),
            (
                json!({"operatorType": "NumberIn", "key": "a", "values": [1, "2"]}),
                ".values",
            ),
            (json!({"operatorType": "NumberIn", "key": "a"}), ".values"),
            (
                json!({"operatorType": "StringIn", "key": "a", "values": [1]}),
                ".values",
            ),
            (
                json!({"operatorType": "NumberInRange", "key": "a", "values": [1]}),
                ".values",
            ),
            (
                json!({"operatorType": "NumberInRange", "key": "a", "values": [[1, 2, 3]]}),
                ".values",
            ),
            (json!("x"), ""),
        ] {
            let refusal = one(advanced.clone()).unwrap_err();
            let field = format!("filter.advancedFilters[0]{property}");
            assert_eq!(refusal.target(), Some(&*field), "{advanced}");
        }
    }

    #[test]
    fn a_null_removes_the_advanced_filters_and_an_absent_key_keeps_them() {
        let filter = one(json!({"operatorType": "IsNotNull", "key": "id"})).unwrap();
        for (patch, left) in [
            (json!({"subjectBeginsWith": "a"}), 1),
            (json!({"advancedFilters": null}), 0),
            (json!({"advancedFilters": []}), 0),
        ] {
            let body: FilterBody = serde_json::from_value(patch).unwrap();
            let mut changed = filter.clone();
            body.read().unwrap().apply(&mut changed);
            assert_eq!(changed.advanced.len(), left);
        }
    }

    #[test]
    fn a_filter_on_its_own_has_no_misspelt_part() {
        let refusal = read_filter(json!({ "advancedFilterz": [] })).unwrap_err();
        assert!(refusal.contains("'advancedFilterz'"), "{refusal}");
        assert!(read_filter(json!({ "subjectBeginsWith": "a", "AdvancedFilters": [] })).is_ok());
        assert!(read_filter(json!([])).is_err());
    }
}
