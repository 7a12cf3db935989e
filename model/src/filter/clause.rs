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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::advanced::OPERATORS;
    use super::super::{Content, Filter, TopicKind};
    use super::*;
    use crate::{Event, EventSchema, Timestamp};

    fn event(schema: EventSchema, object: &Value) -> Event {
        Event {
            schema,
            id: "ID-1".into(),
            topic: "/t".into(),
            event_type: "T".into(),
            subject: "/orders/Ä1".into(),
            data_version: "1".into(),
            published: Timestamp::EPOCH,
            trace: None,
            json: object.to_string().into(),
        }
    }

    fn takes(key: &str, condition: &Condition, object: &Value, on_arrays: bool) -> bool {
        let filter = AdvancedFilter {
            key: key.into(),
            condition: condition.clone(),
        };
        let event = event(EventSchema::EventGrid, object);
        Clause::of(&filter).holds(&Content::of(&event).find(key), on_arrays)
    }

    /// What stands at `data.x` in each column of the truth table. `None`: nothing.
    fn columns(hit: &Value, miss: &Value, other: &Value) -> Vec<Option<Value>> {
        vec![
            Some(hit.clone()),
            Some(miss.clone()),
            Some(other.clone()),
            None,
            Some(Value::Null),
            Some(json!({"x": hit})),
            // Arrays, looked into.
            Some(json!([miss, other, hit])),
            Some(json!([miss, other])),
            Some(json!([other, null, {}])),
            Some(json!([])),
        ]
    }

    #[test]
    fn section_3_5_the_truth_table_of_the_operators() {
        use Condition::*;
        let n = || (json!(5), json!(50), json!("5"));
        let s = || (json!("xAbZ"), json!("other"), json!(5));
        let texts = |text: &str| vec!["nothing".to_owned(), text.to_owned()];
        // hit, miss, another type, missing, null, object | arrays: with a hit, with a miss, of another type, empty
        let table = [
            (NumberIn(vec![4.0, 5.0]), n(), "+----- +---"),
            (NumberNotIn(vec![4.0, 5.0]), n(), "-+++++ -+++"),
            (NumberLessThan(50.0), n(), "+----- +---"),
            (NumberLessThanOrEquals(49.5), n(), "+----- +---"),
            (
                NumberGreaterThan(5.0),
                (json!(5.5), json!(5), json!("9")),
                "+----- +---",
            ),
            (
                NumberGreaterThanOrEquals(5.5),
                (json!(5.5), json!(5), json!("9")),
                "+----- +---",
            ),
            (
                NumberInRange(vec![[0.0, 1.0], [5.0, 6.0]]),
                n(),
                "+----- +---",
            ),
            (
                NumberNotInRange(vec![[0.0, 1.0], [4.0, 5.0]]),
                n(),
                "-+++++ -+++",
            ),
            (
                BoolEquals(true),
                (json!(true), json!(false), json!("true")),
                "+----- +---",
            ),
            (StringIn(texts("XABZ")), s(), "+----- +---"),
            (StringNotIn(texts("XABZ")), s(), "-+++++ -+++"),
            (StringBeginsWith(texts("Xa")), s(), "+----- +---"),
            (StringNotBeginsWith(texts("Xa")), s(), "-++--+ -+++"),
            (StringEndsWith(texts("Bz")), s(), "+----- +---"),
            (StringNotEndsWith(texts("Bz")), s(), "-++--+ -+++"),
            (StringContains(texts("aB")), s(), "+----- +---"),
            (StringNotContains(texts("aB")), s(), "-++--+ -+++"),
            (IsNullOrUndefined, n(), "---++- ----"),
            (IsNotNull, n(), "+++--+ ++++"),
        ];
        assert_eq!(table.len(), OPERATORS.len());
        for (condition, (hit, miss, other), expected) in table {
            let found: String = columns(&hit, &miss, &other)
                .into_iter()
                .map(|value| {
                    let object = value.map_or(json!({"data": {}}), |x| json!({"data": {"x": x}}));
                    if takes("data.x", &condition, &object, true) {
                        '+'
                    } else {
                        '-'
                    }
                })
                .collect();
            assert_eq!(found, expected.replace(' ', ""), "{}", condition.operator());
        }
    }

    #[test]
    fn section_3_5_an_array_is_taken_by_nothing_while_arrays_are_off_but_is_not_null() {
        for (name, operator) in OPERATORS {
            use super::super::advanced::Operator;
            let condition = match operator {
                Operator::Numbers(make) => make(vec![1.0]),
                Operator::Number(make) => make(1.0),
                Operator::Ranges(make) => make(vec![[1.0, 1.0]]),
                Operator::Bool(make) => make(true),
                Operator::Texts(make) => make(vec!["a".into()]),
                Operator::Nothing(make) => make(),
            };
            for array in [json!([1, "a", true]), json!([])] {
                let object = json!({"data": {"x": array}});
                let expected = name == "IsNotNull";
                assert_eq!(
                    takes("data.x", &condition, &object, false),
                    expected,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn section_3_5_ranges_hold_both_their_ends() {
        let range = Condition::NumberInRange(vec![[1.0, 2.0]]);
        for (value, expected) in [
            (0.99, false),
            (1.0, true),
            (1.5, true),
            (2.0, true),
            (2.01, false),
        ] {
            assert_eq!(
                takes("data", &range, &json!({"data": value}), false),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn trap_22_case_never_counts_in_texts_beyond_ascii_too() {
        let begins = |text: &str| Condition::StringBeginsWith(vec![text.into()]);
        assert!(takes("Subject", &begins("/ORDERS/ä"), &json!({}), false));
        assert!(takes("id", &begins("id-"), &json!({}), false));
        assert!(takes("data", &begins("ας"), &json!({"data": "ΑςΑ"}), false));
        assert!(!takes("id", &begins("id-2"), &json!({}), false));
    }

    #[test]
    fn section_3_5_all_advanced_filters_must_hold() {
        let both = |second: f64| Filter {
            advanced: vec![
                AdvancedFilter {
                    key: "data.a".into(),
                    condition: Condition::NumberGreaterThan(0.0),
                },
                AdvancedFilter {
                    key: "data.a".into(),
                    condition: Condition::NumberLessThan(second),
                },
            ],
            ..Filter::default()
        };
        let one = event(EventSchema::EventGrid, &json!({"data": {"a": 1}}));
        assert_eq!(both(2.0).refusal(TopicKind::Custom, &one), None);
        assert!(both(1.0).refusal(TopicKind::Custom, &one).is_some());
    }

    #[test]
    fn trap_19_the_sample_of_the_documentation_matches() {
        let sample = event(
            EventSchema::CloudEvents,
            &json!({"specversion": "1.0", "id": "1", "type": "t", "source": "/s", "comexampleextension2": 5}),
        );
        let filter = AdvancedFilter {
            key: "comexampleextension2".into(),
            condition: Condition::StringBeginsWith(vec!["5".into()]),
        };
        let content = Content::of(&sample);
        assert!(Clause::of(&filter).holds(&content.find(&filter.key), false));
    }
}
