//! What an advanced filter means.
//!
//! Promise: `Clause::holds` is the only place that knows; it is prepared once (texts folded) and then only asked.
//! Not here: where the value comes from (`lookup`), what may be written (`advanced`).
//! Source: reference event-grid 3.5, traps 18 to 20. What it leaves open is listed in docs/parity.md: a `null` is
//! treated as missing; a missing value is in no range; what no operator can compare, such as an object or an element
//! of another type, is passed over, so that negative operators take it.

use super::advanced::{AdvancedFilter, Condition};
use super::lookup::{Found, Scalar, Shape, fold};

/// An advanced filter, prepared for asking.
#[derive(Clone, Debug)]
pub struct Clause {
    test: Test,
    /// Whether it wants none of the values to fit, rather than one of them.
    is_negative: bool,
    /// Whether it takes an event without the value.
    takes_missing: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Null,
    Numbers(Vec<f64>),
    Below(f64),
    UpTo(f64),
    Above(f64),
    From(f64),
    Ranges(Vec<[f64; 2]>),
    Bool(bool),
    Texts(Comparison, Vec<String>),
}

/// How a text is compared; both sides are folded.
#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equals,
    BeginsWith,
    EndsWith,
    Contains,
}

impl Clause {
    /// Prepares an advanced filter.
    pub fn of(filter: &AdvancedFilter) -> Self {
        use Comparison::{BeginsWith, Contains, EndsWith, Equals};
        let texts = |how, values: &[String]| {
            let folded = values.iter().map(|text| fold(text).into_owned());
            Test::Texts(how, folded.collect())
        };
        // Whether it is negative, whether it takes what is missing: the two are not the same (trap 18).
        let (test, is_negative, takes_missing) = match &filter.condition {
            Condition::NumberIn(values) => (Test::Numbers(values.clone()), false, false),
            Condition::NumberNotIn(values) => (Test::Numbers(values.clone()), true, true),
            Condition::NumberLessThan(value) => (Test::Below(*value), false, false),
            Condition::NumberLessThanOrEquals(value) => (Test::UpTo(*value), false, false),
            Condition::NumberGreaterThan(value) => (Test::Above(*value), false, false),
            Condition::NumberGreaterThanOrEquals(value) => (Test::From(*value), false, false),
            Condition::NumberInRange(ranges) => (Test::Ranges(ranges.clone()), false, false),
            Condition::NumberNotInRange(ranges) => (Test::Ranges(ranges.clone()), true, true),
            Condition::BoolEquals(value) => (Test::Bool(*value), false, false),
            Condition::StringIn(values) => (texts(Equals, values), false, false),
            Condition::StringNotIn(values) => (texts(Equals, values), true, true),
            Condition::StringBeginsWith(values) => (texts(BeginsWith, values), false, false),
            Condition::StringNotBeginsWith(values) => (texts(BeginsWith, values), true, false),
            Condition::StringEndsWith(values) => (texts(EndsWith, values), false, false),
            Condition::StringNotEndsWith(values) => (texts(EndsWith, values), true, false),
            Condition::StringContains(values) => (texts(Contains, values), false, false),
            Condition::StringNotContains(values) => (texts(Contains, values), true, false),
            Condition::IsNullOrUndefined => (Test::Null, false, true),
            Condition::IsNotNull => (Test::Null, true, false),
        };
        Self {
            test,
            is_negative,
            takes_missing,
        }
    }

    /// Whether it takes what was found at its key.
    pub fn holds(&self, found: &Found<'_>, on_arrays: bool) -> bool {
        match found.shape {
            Shape::Missing | Shape::Null => self.takes_missing,
            // The operators about null do not look at elements.
            _ if matches!(self.test, Test::Null) => self.is_negative,
            Shape::Many if !on_arrays => false,
            Shape::One | Shape::Many => {
                self.is_negative != found.scalars.iter().any(|one| self.test.fits(one))
            }
        }
    }

    /// The values of which one must be there, when the operator asks for equality: what an index can hash.
    pub fn equalities(&self) -> Option<Vec<Scalar<'_>>> {
        if self.is_negative {
            return None;
        }
        match &self.test {
            Test::Numbers(values) => Some(values.iter().copied().map(Scalar::Number).collect()),
            Test::Bool(value) => Some(vec![Scalar::Bool(*value)]),
            Test::Texts(Comparison::Equals, values) => {
                let text = |value: &'_ String| Scalar::Text(value.as_str().to_owned().into());
                Some(values.iter().map(text).collect())
            }
            _ => None,
        }
    }
}

impl Test {
    fn fits(&self, found: &Scalar<'_>) -> bool {
        match (self, found) {
            (Self::Numbers(values), Scalar::Number(found)) => values.contains(found),
            (Self::Below(value), Scalar::Number(found)) => found < value,
            (Self::UpTo(value), Scalar::Number(found)) => found <= value,
            (Self::Above(value), Scalar::Number(found)) => found > value,
            (Self::From(value), Scalar::Number(found)) => found >= value,
            (Self::Ranges(ranges), Scalar::Number(found)) => ranges
                .iter()
                .any(|[low, high]| (low..=high).contains(&found)),
            (Self::Bool(value), Scalar::Bool(found)) => found == value,
            (Self::Texts(how, values), Scalar::Text(found)) => {
                values.iter().any(|value| how.fits(found, value))
            }
            _ => false,
        }
    }
}

impl Comparison {
    fn fits(self, found: &str, value: &str) -> bool {
        match self {
            Self::Equals => found == value,
            Self::BeginsWith => found.starts_with(value),
            Self::EndsWith => found.ends_with(value),
            Self::Contains => found.contains(value),
        }
    }
}
