//! Why a filter refused an event.
//!
//! Promise: it names the clause, what it wanted and what it found, for programs (serialised) and people (displayed).

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::advanced::AdvancedFilter;
use super::lookup::{Shape, value_at};
use crate::Event;

/// Of a value that was found, as many characters are shown: events can hold megabytes.
const SHOWN_CHARACTERS: usize = 1_000;

/// The first clause of a filter that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "clause", rename_all = "camelCase")]
pub enum Refusal {
    /// The event's type is not in the list.
    #[serde(rename_all = "camelCase")]
    IncludedEventTypes {
        /// The list.
        wanted: Vec<String>,
        /// The event's type.
        found: String,
    },
    /// There is no list, and the type is only delivered to those who name it.
    #[serde(rename_all = "camelCase")]
    NotInDefaultSet {
        /// The event's type.
        found: String,
    },
    /// The subject begins otherwise.
    #[serde(rename_all = "camelCase")]
    SubjectBeginsWith {
        /// The prefix.
        wanted: String,
        /// The event's subject.
        found: String,
    },
    /// The subject ends otherwise.
    #[serde(rename_all = "camelCase")]
    SubjectEndsWith {
        /// The suffix.
        wanted: String,
        /// The event's subject.
        found: String,
    },
    /// An advanced filter does not take the value at its key.
    #[serde(rename = "advancedFilters", rename_all = "camelCase")]
    Advanced {
        /// Its place in `advancedFilters`, from 0.
        index: usize,
        /// `operatorType`.
        operator_type: &'static str,
        /// `key`.
        key: String,
        /// `value` or `values`, unless the operator takes none.
        #[serde(skip_serializing_if = "Option::is_none")]
        wanted: Option<Value>,
        /// What the event has at the key, long values cut short; absent when it has nothing there.
        #[serde(skip_serializing_if = "Option::is_none")]
        found: Option<Value>,
        /// Why that was not taken.
        why: Why,
    },
}

/// Why a value was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// There is none.
    Missing,
    /// It is `null`.
    Null,
    /// It is an array, and `enableAdvancedFilteringOnArrays` is off.
    Array,
    /// It does not compare as wanted.
    Value,
}

impl Refusal {
    pub(super) fn advanced(
        index: usize,
        filter: &AdvancedFilter,
        event: &Event,
        shape: Shape,
        on_arrays: bool,
    ) -> Self {
        Self::Advanced {
            index,
            operator_type: filter.condition.operator(),
            key: filter.key.clone(),
            wanted: filter.condition.operand().to_json(),
            found: value_at(event, &filter.key).map(shortened),
            why: match shape {
                Shape::Missing => Why::Missing,
                Shape::Null => Why::Null,
                Shape::Many if !on_arrays => Why::Array,
                Shape::One | Shape::Many => Why::Value,
            },
        }
    }
}

fn shortened(value: Value) -> Value {
    let text = match &value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
        _ => return value,
    };
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => Value::String(format!("{}…", &text[..end])),
        None => value,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IncludedEventTypes { wanted, found } => write!(
                formatter,
                "The event's type '{found}' is not among includedEventTypes: {}.",
                wanted.join(", ")
            ),
            Self::NotInDefaultSet { found } => write!(
                formatter,
                "The event's type '{found}' only goes to subscriptions that name it in includedEventTypes."
            ),
            Self::SubjectBeginsWith { wanted, found } => write!(
                formatter,
                "The subject '{found}' does not begin with '{wanted}'."
            ),
            Self::SubjectEndsWith { wanted, found } => write!(
                formatter,
                "The subject '{found}' does not end with '{wanted}'."
            ),
            Self::Advanced {
                index,
                operator_type,
                key,
                wanted,
                found,
                why,
            } => {
                write!(formatter, "advancedFilters[{index}]: {operator_type} ")?;
                if let Some(wanted) = wanted {
                    write!(formatter, "{wanted} ")?;
                }
                write!(formatter, "does not take '{key}', which is ")?;
                match (found, why) {
                    (Some(found), Why::Array) => write!(
                        formatter,
                        "{found}; enableAdvancedFilteringOnArrays is off."
                    ),
                    (Some(found), _) => write!(formatter, "{found}."),
                    (None, _) => formatter.write_str("not there."),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Condition, Filter, TopicKind};
    use super::*;
    use crate::{EventSchema, Timestamp};

    fn event(data: &Value) -> Event {
        Event {
            schema: EventSchema::EventGrid,
            id: "1".into(),
            topic: "/t".into(),
            event_type: "T".into(),
            subject: "/s".into(),
            data_version: "1".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: json!({"data": data}).to_string().into(),
        }
    }

    /// The refusal by a filter on `data.x`, behind one that holds.
    fn refusal(condition: Condition, data: &Value) -> Refusal {
        let one = |key: &str, condition| AdvancedFilter {
            key: key.into(),
            condition,
        };
        let filter = Filter {
            advanced: vec![one("id", Condition::IsNotNull), one("data.x", condition)],
            ..Filter::default()
        };
        filter.refusal(TopicKind::Custom, &event(data)).unwrap()
    }

    #[test]
    fn section_3_5_every_operator_that_refuses_is_named_with_what_it_found() {
        use Condition::*;
        let texts = || vec!["ab".to_owned()];
        for (condition, x, expected) in [
            (
                NumberIn(vec![1.0]),
                json!(2),
                "NumberIn [1] does not take 'data.x', which is 2.",
            ),
            (
                NumberNotIn(vec![2.0]),
                json!(2),
                "NumberNotIn [2] does not take 'data.x', which is 2.",
            ),
            (
                NumberLessThan(1.0),
                json!(1.5),
                "NumberLessThan 1 does not take 'data.x', which is 1.5.",
            ),
            (
                NumberLessThanOrEquals(1.0),
                json!(2),
                "NumberLessThanOrEquals 1 does not take 'data.x', which is 2.",
            ),
            (
                NumberGreaterThan(2.0),
                json!(2),
                "NumberGreaterThan 2 does not take 'data.x', which is 2.",
            ),
            (
                NumberGreaterThanOrEquals(3.0),
                json!(2),
                "NumberGreaterThanOrEquals 3 does not take 'data.x', which is 2.",
            ),
            (
                NumberInRange(vec![[3.0, 4.0]]),
                json!(2),
                "NumberInRange [[3,4]] does not take 'data.x', which is 2.",
            ),
            (
                NumberNotInRange(vec![[1.0, 2.5]]),
                json!(2),
                "NumberNotInRange [[1,2.5]] does not take 'data.x', which is 2.",
            ),
            (
                BoolEquals(true),
                json!(false),
                "BoolEquals true does not take 'data.x', which is false.",
            ),
            (
                StringIn(texts()),
                json!("b"),
                r#"StringIn ["ab"] does not take 'data.x', which is "b"."#,
            ),
            (
                StringNotIn(texts()),
                json!("AB"),
                r#"StringNotIn ["ab"] does not take 'data.x', which is "AB"."#,
            ),
            (
                StringBeginsWith(texts()),
                json!(5),
                r#"StringBeginsWith ["ab"] does not take 'data.x', which is 5."#,
            ),
            (
                StringNotBeginsWith(texts()),
                json!("abc"),
                r#"StringNotBeginsWith ["ab"] does not take 'data.x', which is "abc"."#,
            ),
            (
                StringEndsWith(texts()),
                json!({}),
                r#"StringEndsWith ["ab"] does not take 'data.x', which is {}."#,
            ),
            (
                StringNotEndsWith(texts()),
                json!("cab"),
                r#"StringNotEndsWith ["ab"] does not take 'data.x', which is "cab"."#,
            ),
            (
                StringContains(texts()),
                json!(null),
                r#"StringContains ["ab"] does not take 'data.x', which is null."#,
            ),
            (
                StringNotContains(texts()),
                json!("cabc"),
                r#"StringNotContains ["ab"] does not take 'data.x', which is "cabc"."#,
            ),
            (
                IsNullOrUndefined,
                json!(0),
                "IsNullOrUndefined does not take 'data.x', which is 0.",
            ),
            (
                IsNotNull,
                json!(null),
                "IsNotNull does not take 'data.x', which is null.",
            ),
        ] {
            let operator = condition.operator();
            let refusal = refusal(condition, &json!({"x": x}));
            let Refusal::Advanced {
                index,
                operator_type,
                key,
                found,
                ..
            } = &refusal
            else {
                panic!("{refusal:?}");
            };
            assert_eq!((*index, *operator_type, &**key), (1, operator, "data.x"));
            assert_eq!(found.as_ref(), Some(&x), "{operator}");
            assert_eq!(
                refusal.to_string(),
                format!("advancedFilters[1]: {expected}")
            );
        }
    }

    #[test]
    fn programs_are_told_in_fields() {
        let refusal = refusal(Condition::NumberIn(vec![1.0]), &json!({}));
        assert_eq!(
            serde_json::to_value(&refusal).unwrap(),
            json!({"clause": "advancedFilters", "index": 1, "operatorType": "NumberIn", "key": "data.x", "wanted": [1], "why": "missing"})
        );
        assert_eq!(
            refusal.to_string(),
            "advancedFilters[1]: NumberIn [1] does not take 'data.x', which is not there."
        );
    }

    #[test]
    fn why_tells_apart_what_looks_alike() {
        let why = |data: &Value| match refusal(Condition::NumberIn(vec![1.0]), data) {
            Refusal::Advanced { why, .. } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&json!({})), Why::Missing);
        assert_eq!(why(&json!({"x": null})), Why::Null);
        assert_eq!(why(&json!({"x": [1]})), Why::Array);
        assert_eq!(why(&json!({"x": 2})), Why::Value);
    }

    #[test]
    fn long_values_are_cut_short() {
        let long = json!({"x": ["é".repeat(5_000)]});
        let Refusal::Advanced { found, .. } = refusal(Condition::IsNullOrUndefined, &long) else {
            panic!("an advanced filter refused");
        };
        let shown = found.unwrap();
        assert_eq!(
            shown.as_str().unwrap().chars().count(),
            SHOWN_CHARACTERS + 1
        );
    }
}
