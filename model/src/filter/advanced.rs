//! Advanced filters, as they are written, kept and shown.
//!
//! Promise: a condition holds exactly what its operator can take, spelled as the client spelled it.
//! Not here: what an operator means (`clause`), how many values it may have (`grid::validation`).
//! Source: reference event-grid 3.5.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// One advanced filter: a condition on the value at a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdvancedFilter {
    /// `key`: where the value is.
    pub key: String,
    /// `operatorType` and its `value` or `values`.
    #[serde(flatten)]
    pub condition: Condition,
}

/// An operator and what it compares with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operatorType", content = "operand")]
#[expect(missing_docs, reason = "the names are the service's and say it all")]
pub enum Condition {
    NumberIn(Vec<f64>),
    NumberNotIn(Vec<f64>),
    NumberLessThan(f64),
    NumberLessThanOrEquals(f64),
    NumberGreaterThan(f64),
    NumberGreaterThanOrEquals(f64),
    NumberInRange(Vec<[f64; 2]>),
    NumberNotInRange(Vec<[f64; 2]>),
    BoolEquals(bool),
    StringIn(Vec<String>),
    StringNotIn(Vec<String>),
    StringBeginsWith(Vec<String>),
    StringNotBeginsWith(Vec<String>),
    StringEndsWith(Vec<String>),
    StringNotEndsWith(Vec<String>),
    StringContains(Vec<String>),
    StringNotContains(Vec<String>),
    IsNullOrUndefined,
    IsNotNull,
}

/// What an operator takes, and how a condition is made of it.
#[derive(Clone, Copy, Debug)]
pub enum Operator {
    /// `values`: numbers.
    Numbers(fn(Vec<f64>) -> Condition),
    /// `value`: a number.
    Number(fn(f64) -> Condition),
    /// `values`: pairs of numbers, both ends included.
    Ranges(fn(Vec<[f64; 2]>) -> Condition),
    /// `value`: a boolean.
    Bool(fn(bool) -> Condition),
    /// `values`: strings.
    Texts(fn(Vec<String>) -> Condition),
    /// Nothing.
    Nothing(fn() -> Condition),
}

/// What a condition compares with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a> {
    /// `values`: numbers.
    Numbers(&'a [f64]),
    /// `value`: a number.
    Number(f64),
    /// `values`: pairs of numbers.
    Ranges(&'a [[f64; 2]]),
    /// `value`: a boolean.
    Bool(bool),
    /// `values`: strings.
    Texts(&'a [String]),
    /// Nothing.
    Nothing,
}

/// Every `operatorType` there is.
pub const OPERATORS: [(&str, Operator); 19] = [
    ("NumberIn", Operator::Numbers(Condition::NumberIn)),
    ("NumberNotIn", Operator::Numbers(Condition::NumberNotIn)),
    (
        "NumberLessThan",
        Operator::Number(Condition::NumberLessThan),
    ),
    (
        "NumberLessThanOrEquals",
        Operator::Number(Condition::NumberLessThanOrEquals),
    ),
    (
        "NumberGreaterThan",
        Operator::Number(Condition::NumberGreaterThan),
    ),
    (
        "NumberGreaterThanOrEquals",
        Operator::Number(Condition::NumberGreaterThanOrEquals),
    ),
    ("NumberInRange", Operator::Ranges(Condition::NumberInRange)),
    (
        "NumberNotInRange",
        Operator::Ranges(Condition::NumberNotInRange),
    ),
    ("BoolEquals", Operator::Bool(Condition::BoolEquals)),
    ("StringIn", Operator::Texts(Condition::StringIn)),
    ("StringNotIn", Operator::Texts(Condition::StringNotIn)),
    (
        "StringBeginsWith",
        Operator::Texts(Condition::StringBeginsWith),
    ),
    (
        "StringNotBeginsWith",
        Operator::Texts(Condition::StringNotBeginsWith),
    ),
    ("StringEndsWith", Operator::Texts(Condition::StringEndsWith)),
    (
        "StringNotEndsWith",
        Operator::Texts(Condition::StringNotEndsWith),
    ),
    ("StringContains", Operator::Texts(Condition::StringContains)),
    (
        "StringNotContains",
        Operator::Texts(Condition::StringNotContains),
    ),
    (
        "IsNullOrUndefined",
        Operator::Nothing(|| Condition::IsNullOrUndefined),
    ),
    ("IsNotNull", Operator::Nothing(|| Condition::IsNotNull)),
];

impl Operator {
    /// The operator of that name, compared without case, and the name as the service spells it.
    pub fn find(name: &str) -> Option<(&'static str, Self)> {
        let found = OPERATORS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.copied()
    }
}

impl Condition {
    /// `operatorType`.
    pub fn operator(&self) -> &'static str {
        match self {
            Self::NumberIn(_) => "NumberIn",
            Self::NumberNotIn(_) => "NumberNotIn",
            Self::NumberLessThan(_) => "NumberLessThan",
            Self::NumberLessThanOrEquals(_) => "NumberLessThanOrEquals",
            Self::NumberGreaterThan(_) => "NumberGreaterThan",
            Self::NumberGreaterThanOrEquals(_) => "NumberGreaterThanOrEquals",
            Self::NumberInRange(_) => "NumberInRange",
            Self::NumberNotInRange(_) => "NumberNotInRange",
            Self::BoolEquals(_) => "BoolEquals",
            Self::StringIn(_) => "StringIn",
            Self::StringNotIn(_) => "StringNotIn",
            Self::StringBeginsWith(_) => "StringBeginsWith",
            Self::StringNotBeginsWith(_) => "StringNotBeginsWith",
            Self::StringEndsWith(_) => "StringEndsWith",
            Self::StringNotEndsWith(_) => "StringNotEndsWith",
            Self::StringContains(_) => "StringContains",
            Self::StringNotContains(_) => "StringNotContains",
            Self::IsNullOrUndefined => "IsNullOrUndefined",
            Self::IsNotNull => "IsNotNull",
        }
    }

    /// `value` or `values`.
    pub fn operand(&self) -> Operand<'_> {
        match self {
            Self::NumberIn(values) | Self::NumberNotIn(values) => Operand::Numbers(values),
            Self::NumberLessThan(value)
            | Self::NumberLessThanOrEquals(value)
            | Self::NumberGreaterThan(value)
            | Self::NumberGreaterThanOrEquals(value) => Operand::Number(*value),
            Self::NumberInRange(ranges) | Self::NumberNotInRange(ranges) => Operand::Ranges(ranges),
            Self::BoolEquals(value) => Operand::Bool(*value),
            Self::StringIn(values)
            | Self::StringNotIn(values)
            | Self::StringBeginsWith(values)
            | Self::StringNotBeginsWith(values)
            | Self::StringEndsWith(values)
            | Self::StringNotEndsWith(values)
            | Self::StringContains(values)
            | Self::StringNotContains(values) => Operand::Texts(values),
            Self::IsNullOrUndefined | Self::IsNotNull => Operand::Nothing,
        }
    }
}

impl Operand<'_> {
    /// How many values that are.
    pub fn count(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Ranges(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Number(_) | Self::Bool(_) => 1,
            Self::Nothing => 0,
        }
    }

    /// As JSON: one value, a list, or `None` when the operator takes nothing.
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Numbers(values) => values.iter().copied().map(number).collect(),
            Self::Number(value) => number(*value),
            Self::Ranges(ranges) => {
                let pair = |ends: &[f64; 2]| ends.iter().copied().map(number).collect::<Value>();
                ranges.iter().map(pair).collect()
            }
            Self::Bool(value) => (*value).into(),
            Self::Texts(values) => values.iter().cloned().map(Value::from).collect(),
            Self::Nothing => return None,
        })
    }
}

/// Doubles hold integers up to this without gaps.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A number as people write it: without a fraction that says nothing.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= WHOLE {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the value is a whole number in range"
        )]
        return (value as i64).into();
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_operator_makes_the_condition_of_its_name() {
        for (name, operator) in OPERATORS {
            let made = match operator {
                Operator::Numbers(make) => make(vec![1.0, 2.5]),
                Operator::Number(make) => make(1.0),
                Operator::Ranges(make) => make(vec![[1.0, 2.0]]),
                Operator::Bool(make) => make(true),
                Operator::Texts(make) => make(vec!["a".into()]),
                Operator::Nothing(make) => make(),
            };
            assert_eq!(made.operator(), name);
            let filter = AdvancedFilter {
                key: "data.x".into(),
                condition: made,
            };
            let kept = serde_json::to_value(&filter).unwrap();
            assert_eq!(
                serde_json::from_value::<AdvancedFilter>(kept).unwrap(),
                filter
            );
        }
    }

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        let shown = Condition::NumberIn(vec![5.0, -1.5, 1e300]);
        assert_eq!(shown.operand().to_json().unwrap(), json!([5, -1.5, 1e300]));
        let ranges = Condition::NumberInRange(vec![[1.0, 2.5]]);
        assert_eq!(ranges.operand().to_json().unwrap(), json!([[1, 2.5]]));
        assert_eq!(Condition::IsNotNull.operand().to_json(), None);
    }
}
