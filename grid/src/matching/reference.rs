//! A slow, obvious evaluator of filters, written from section 3.5 of the reference and from nothing else, and the
//! properties that hold the index and `Filter::refusal` to it.
//!
//! It works on the JSON of the event and on filters as they are written on the wire.

use std::sync::Arc;

use gridpost_model::filter::advanced::OPERATORS;
use gridpost_model::filter::advanced::Operator;
use gridpost_model::filter::{AdvancedFilter, Content, Refusal, TopicKind};
use gridpost_model::subscription::EventSubscription;
use gridpost_model::{Event, EventSchema, Filter};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::TopicIndex;
use crate::testing;

/// Whether an advanced filter, as a client writes it, takes the event.
fn takes(event: &Event, filter: &Value, on_arrays: bool) -> bool {
    let operator = filter["operatorType"].as_str().unwrap();
    let found = value(event, filter["key"].as_str().unwrap());
    let found = match found {
        None | Some(Value::Null) => return takes_nothing(operator),
        Some(found) => found,
    };
    if operator == "IsNullOrUndefined" || operator == "IsNotNull" {
        return operator == "IsNotNull";
    }
    let attribute = is_attribute(event, filter["key"].as_str().unwrap()) && !found.is_array();
    let elements = match found {
        Value::Array(_) if !on_arrays => return false,
        Value::Array(elements) => elements,
        one => vec![one],
    };
    let is_negative = operator.contains("Not");
    let any = elements
        .iter()
        .any(|one| fits(operator, filter, one, attribute));
    if is_negative { !any } else { any }
}

/// The column "key missing" of the table.
fn takes_nothing(operator: &str) -> bool {
    matches!(
        operator,
        "NumberNotIn" | "StringNotIn" | "NumberNotInRange" | "IsNullOrUndefined"
    )
}

/// Whether the positive form of the operator takes a single value.
fn fits(operator: &str, filter: &Value, one: &Value, attribute: bool) -> bool {
    let values = || filter["values"].as_array().unwrap().iter();
    let lower = |text: &str| -> String { text.chars().flat_map(char::to_lowercase).collect() };
    if let Some(kind) = operator.strip_prefix("String") {
        let text = match one {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) if attribute => one.to_string(),
            _ => return false,
        };
        let text = lower(&text);
        let wanted = |wanted: &Value| lower(wanted.as_str().unwrap());
        return values().any(|one| match kind.trim_start_matches("Not") {
            "In" => text == wanted(one),
            "BeginsWith" => text.starts_with(&wanted(one)),
            "EndsWith" => text.ends_with(&wanted(one)),
            "Contains" => text.contains(&wanted(one)),
            other => panic!("{other}"),
        });
    }
    if operator == "BoolEquals" {
        return one.is_boolean() && *one == filter["value"];
    }
    let Some(number) = one.as_f64() else {
        return false;
    };
    let value = || filter["value"].as_f64().unwrap();
    match operator {
        "NumberIn" | "NumberNotIn" => values().any(|one| one.as_f64() == Some(number)),
        "NumberInRange" | "NumberNotInRange" => values().any(|range| {
            range[0].as_f64().unwrap() <= number && number <= range[1].as_f64().unwrap()
        }),
        "NumberLessThan" => number < value(),
        "NumberLessThanOrEquals" => number <= value(),
        "NumberGreaterThan" => number > value(),
        "NumberGreaterThanOrEquals" => number >= value(),
        other => panic!("{other}"),
    }
}

/// Whether the key names a context attribute of a CloudEvent, which is never an array.
fn is_attribute(event: &Event, key: &str) -> bool {
    let key = key.to_lowercase();
    event.schema == EventSchema::CloudEvents && !key.contains('.') && key != "data"
}

/// The value at a key.
fn value(event: &Event, key: &str) -> Option<Value> {
    let object: Value = serde_json::from_slice(&event.json).unwrap();
    let lower = key.to_lowercase();
    if event.schema != EventSchema::CloudEvents {
        match &*lower {
            "id" => return Some(json!(*event.id)),
            "topic" => return Some(json!(*event.topic)),
            "subject" => return Some(json!(*event.subject)),
            "eventtype" => return Some(json!(*event.event_type)),
            "dataversion" => return Some(json!(*event.data_version)),
            _ => (),
        }
    }
    let mut path: Vec<&str> = key.split('.').collect();
    match event.schema {
        EventSchema::EventGrid if path[0].to_lowercase() != "data" => return None,
        EventSchema::Custom if path[0].to_lowercase() != "data" => path.insert(0, "data"),
        EventSchema::CloudEvents if object.get(path[0]).is_none() => match &*lower {
            "eventid" => path = vec!["id"],
            "eventtype" => path = vec!["type"],
            _ => (),
        },
        _ => (),
    }
    path.into_iter().try_fold(object, |at, name| {
        let members = at.as_object()?;
        let folded = || {
            let mut members = members.iter();
            members.find(|(found, _)| found.to_lowercase() == name.to_lowercase())
        };
        let exact = members.get_key_value(name).or_else(folded)?;
        Some(exact.1.clone())
    })
}

/// A filter as clients write it.
fn written(filter: &AdvancedFilter) -> Value {
    use gridpost_model::filter::advanced::Operand;
    let operand = filter.condition.operand();
    let name = match operand {
        Operand::Number(_) | Operand::Bool(_) => "value",
        _ => "values",
    };
    json!({"operatorType": filter.condition.operator(), "key": filter.key, name: operand.to_json()})
}

/// Whether the whole filter takes the event. Topics of communication resources are held by the properties of
/// `matching` itself, so topics are custom ones here.
fn wants(filter: &Filter, event: &Event) -> bool {
    let case = |text: &str| match filter.is_subject_case_sensitive {
        true => text.to_owned(),
        false => text.to_ascii_lowercase(),
    };
    let typed = filter.included_event_types.as_ref().is_none_or(|types| {
        types
            .iter()
            .any(|one| one.eq_ignore_ascii_case(&event.event_type))
    });
    typed
        && case(&event.subject).starts_with(&case(&filter.subject_begins_with))
        && case(&event.subject).ends_with(&case(&filter.subject_ends_with))
        && filter
            .advanced
            .iter()
            .all(|one| takes(event, &written(one), filter.advanced_on_arrays))
}

// Few names, few values: filters and events have to meet often.

const KEYS: &[&str] = &[
    "subject",
    "Subject",
    "eventType",
    "id",
    "data",
    "data.a",
    "Data.A",
    "data.b",
    "data.b.c",
    "data.b.c.d",
    "a",
    "b.c",
    "extra",
    "eventId",
    "type",
    "source",
];
const TEXTS: &[&str] = &["", "a", "A", "ab", "bA", "é", "É", "5", "true", "T", "σς"];

fn number() -> impl Strategy<Value = f64> {
    proptest::sample::select(&[-1.0, -0.0, 0.0, 1.0, 1.5, 5.0, 1e21][..])
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        3 => number().prop_map(|value| if value == 5.0 { json!(5) } else { json!(value) }),
        4 => proptest::sample::select(TEXTS).prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = proptest::sample::select(&["a", "A", "b", "c", "C", "d", "extra"][..]);
    proptest::collection::vec((name.prop_map(str::to_owned), value), 0..6)
        .prop_map(|all| all.into_iter().collect())
}

fn event() -> impl Strategy<Value = Event> {
    let schema = proptest::sample::select(
        &[
            EventSchema::EventGrid,
            EventSchema::CloudEvents,
            EventSchema::Custom,
        ][..],
    );
    let text = || proptest::sample::select(TEXTS);
    (
        schema,
        members(any_value()),
        any_value(),
        text(),
        text(),
        text(),
    )
        .prop_map(|(schema, members, data, id, kind, subject)| {
            let mut object = members;
            match schema {
                // It is kept in the envelope that its mapping fills.
                EventSchema::Custom => {
                    object = Map::from_iter([("data".to_owned(), Value::Object(object))]);
                }
                EventSchema::EventGrid => {
                    object = Map::from_iter([("data".to_owned(), data)]);
                }
                EventSchema::CloudEvents => {
                    let fields = [
                        ("id", id),
                        ("type", kind),
                        ("subject", subject),
                        ("source", "/s"),
                    ];
                    object.extend(fields.map(|(name, value)| (name.to_owned(), value.into())));
                    object.insert("data".to_owned(), data);
                }
            }
            Event {
                schema,
                id: id.into(),
                topic: "/t".into(),
                data_version: "1".into(),
                json: Value::Object(object).to_string().into(),
                ..testing::event(kind, subject)
            }
        })
}

fn advanced() -> impl Strategy<Value = AdvancedFilter> {
    let operator = proptest::sample::select(&OPERATORS[..]);
    let key = proptest::sample::select(KEYS);
    let numbers = proptest::collection::vec(number(), 2..4);
    let texts = proptest::collection::vec(proptest::sample::select(TEXTS), 1..4);
    (operator, key, numbers, texts, any::<bool>()).prop_map(
        |((_, operator), key, mut numbers, texts, flag)| AdvancedFilter {
            key: key.to_owned(),
            condition: match operator {
                Operator::Numbers(make) => make(numbers),
                Operator::Number(make) => make(numbers[0]),
                Operator::Ranges(make) => {
                    numbers.sort_by(f64::total_cmp);
                    make(vec![[numbers[0], numbers[1]]])
                }
                Operator::Bool(make) => make(flag),
                Operator::Texts(make) => make(texts.into_iter().map(str::to_owned).collect()),
                Operator::Nothing(make) => make(),
            },
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let types = proptest::option::weighted(
        0.2,
        proptest::collection::vec(proptest::sample::select(TEXTS), 1..3),
    );
    let subject = || prop_oneof![3 => Just(""), 1 => proptest::sample::select(TEXTS)];
    let advanced = proptest::collection::vec(advanced(), 0..4);
    (
        types,
        subject(),
        subject(),
        any::<bool>(),
        advanced,
        any::<bool>(),
    )
        .prop_map(|(types, begins, ends, exact, advanced, on_arrays)| Filter {
            included_event_types: types.map(|all| all.into_iter().map(str::to_owned).collect()),
            subject_begins_with: begins.into(),
            subject_ends_with: ends.into(),
            is_subject_case_sensitive: exact,
            advanced,
            advanced_on_arrays: on_arrays,
        })
}

fn numbered(filters: &[Filter]) -> Vec<Arc<EventSubscription>> {
    let all = (0..).zip(filters);
    all.map(|(lane, filter)| Arc::new(testing::subscription(lane, filter.clone())))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn section_3_5_index_and_refusal_accept_exactly_what_the_slow_reference_accepts(
        filters in proptest::collection::vec(filter(), 0..40),
        events in proptest::collection::vec(event(), 1..6),
    ) {
        let index = TopicIndex::new(TopicKind::Custom, &numbered(&filters));
        for event in &events {
            let slow: Vec<u64> = (0..).zip(&filters).filter(|(_, one)| wants(one, event)).map(|(lane, _)| lane).collect();
            let explained: Vec<u64> = (0..)
                .zip(&filters)
                .filter(|(_, one)| one.refusal(TopicKind::Custom, event).is_none())
                .map(|(lane, _)| lane)
                .collect();
            prop_assert_eq!(&explained, &slow, "refusal of {}", String::from_utf8_lossy(&event.json));
            let mut indexed: Vec<u64> = index.matches(event).iter().map(|lane| lane.0).collect();
            indexed.sort_unstable();
            prop_assert_eq!(&indexed, &slow, "index of {}", String::from_utf8_lossy(&event.json));
        }
    }

    #[test]
    fn section_3_5_the_advanced_filter_that_a_refusal_names_is_the_first_that_refuses(
        filters in proptest::collection::vec(advanced(), 1..5),
        on_arrays in any::<bool>(),
        event in event(),
    ) {
        let first = filters.iter().position(|one| !takes(&event, &written(one), on_arrays));
        let filter = Filter { advanced: filters, advanced_on_arrays: on_arrays, ..Filter::default() };
        let named = filter.refusal(TopicKind::Custom, &event).map(|refusal| match refusal {
            Refusal::Advanced { index, .. } => index,
            other => panic!("{other:?}"),
        });
        prop_assert_eq!(named, first);
    }
}

/// A subscription to orders of one customer, one in a thousand.
fn customer(number: usize) -> Filter {
    let filter: AdvancedFilter = serde_json::from_value(json!({
        "operatorType": "StringIn", "key": "data.customer", "operand": [format!("Customer-{number}")],
    }))
    .unwrap();
    Filter {
        subject_begins_with: "/orders/".into(),
        advanced: vec![filter],
        ..Filter::default()
    }
}

fn order(subject: &str, customer: &Value) -> Event {
    Event {
        subject: subject.into(),
        json: json!({"data": {"customer": customer}}).to_string().into(),
        ..testing::event("T", "")
    }
}

#[test]
fn of_a_thousand_that_want_equality_only_those_with_the_value_are_asked() {
    let filters: Vec<_> = (0..1000).map(customer).collect();
    let index = TopicIndex::new(TopicKind::Custom, &numbered(&filters));
    let visited = |event: &Event| {
        let (content, mut count) = (Content::of(event), 0);
        let values = super::Values::new(&content, &index.keys);
        let (subject, mut visit) = (&*event.subject, |_| count += 1);
        index.untyped.visit(subject, subject, &values, &mut visit);
        count
    };
    assert_eq!(visited(&order("/orders/1", &json!("CUSTOMER-7"))), 1);
    assert_eq!(visited(&order("/orders/1", &json!("nobody"))), 0);
    assert_eq!(
        visited(&order(
            "/orders/1",
            &json!(["customer-7", "customer-8", "customer-7"])
        )),
        2
    );
    assert_eq!(visited(&order("/orders/1", &json!({}))), 0);
}

#[test]
fn the_json_is_not_read_when_no_candidate_needs_it() {
    let mut filters: Vec<_> = (0..10).map(customer).collect();
    let mut by_subject = customer(3);
    by_subject.advanced.insert(
        1,
        AdvancedFilter {
            key: "Subject".into(),
            condition: gridpost_model::filter::Condition::StringEndsWith(vec!["/z".into()]),
        },
    );
    by_subject.subject_begins_with = "/returns/".into();
    filters.push(by_subject);
    let index = TopicIndex::new(TopicKind::Custom, &numbered(&filters));
    let reads = |subject: &str| {
        let event = order(subject, &json!("customer-3"));
        let content = Content::of(&event);
        let matched = index.matches_content(&event, &content).len();
        (content.is_read(), matched)
    };
    assert_eq!(reads("/invoices/1"), (false, 0));
    // The filter on the subject refuses first, although it is written second.
    assert_eq!(reads("/returns/1"), (false, 0));
    assert_eq!(reads("/returns/z"), (true, 1));
    assert_eq!(reads("/orders/1"), (true, 1));
}
