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
