//! Why an event did not go where somebody waits for it: every clause of a filter, through the whole server.

use http::Method;
use serde_json::{Value, json};

use crate::world::World;

/// A filter that refuses the event by one clause: the clause, what it wants, and what it finds.
struct Refused {
    clause: &'static str,
    filter: Value,
    wanted: Value,
    found: Value,
}

/// The event that everybody refuses.
fn event() -> Value {
    json!({
        "id": "1", "subject": "orders/paid", "eventType": "Shop.Ordered", "dataVersion": "1.0",
        "eventTime": "2026-11-22T00:00:00Z", "data": { "n": 5, "b": true, "s": "Hello" },
    })
}

/// An advanced filter with a value or values.
fn advanced(operator: &'static str, key: &str, wanted: Value, found: Value) -> Refused {
    let operand = if wanted.is_array() { "values" } else { "value" };
    let mut filter = json!({ "operatorType": operator, "key": key });
    if !wanted.is_null() {
        filter[operand] = wanted.clone();
    }
    Refused {
        clause: operator,
        filter: json!({ "advancedFilters": [filter] }),
        wanted,
        found,
    }
}

/// The 19 operators of reference event-grid 3.5.
fn operators() -> [Refused; 19] {
    let n = |operator, wanted| advanced(operator, "data.n", wanted, json!(5));
    let s = |operator, wanted| advanced(operator, "data.s", wanted, json!("Hello"));
    [
        n("NumberIn", json!([1, 2])),
        n("NumberNotIn", json!([5])),
        n("NumberLessThan", json!(5)),
        n("NumberLessThanOrEquals", json!(4)),
        n("NumberGreaterThan", json!(5)),
        n("NumberGreaterThanOrEquals", json!(6)),
        n("NumberInRange", json!([[1, 2], [6, 7]])),
        n("NumberNotInRange", json!([[4, 6]])),
        advanced("BoolEquals", "data.b", json!(false), json!(true)),
        s("StringIn", json!(["x", "y"])),
        s("StringNotIn", json!(["hello"])),
        s("StringBeginsWith", json!(["x"])),
        s("StringNotBeginsWith", json!(["he"])),
        s("StringEndsWith", json!(["x"])),
        s("StringNotEndsWith", json!(["LO"])),
        s("StringContains", json!(["x"])),
        s("StringNotContains", json!(["ell"])),
        advanced("IsNullOrUndefined", "data.s", Value::Null, json!("Hello")),
        advanced("IsNotNull", "data.none", Value::Null, Value::Null),
    ]
}

/// The clauses of reference event-grid 3.4.
fn simple() -> [Refused; 3] {
    [
        Refused {
            clause: "includedEventTypes",
            filter: json!({ "includedEventTypes": ["Shop.Paid"] }),
            wanted: json!(["Shop.Paid"]),
            found: json!("Shop.Ordered"),
        },
        Refused {
            clause: "subjectBeginsWith",
            filter: json!({ "subjectBeginsWith": "bills/" }),
            wanted: json!("bills/"),
            found: json!("orders/paid"),
        },
        Refused {
            clause: "subjectEndsWith",
            filter: json!({ "subjectEndsWith": "/sent" }),
            wanted: json!("/sent"),
            found: json!("orders/paid"),
        },
    ]
}

#[tokio::test]
async fn section_3_4_and_3_5_explain_names_the_clause_that_refused_and_both_values() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic.subscribe("takes-all", &endpoint, json!({})).await;
    let cases: Vec<_> = operators().into_iter().chain(simple()).collect();
    for case in &cases {
        let properties = json!({ "filter": case.filter });
        topic.subscribe(case.clause, &endpoint, properties).await;
    }
    assert_eq!(topic.try_publish(json!([event()])).await, 200);
    world.settle().await;
    assert_eq!(endpoint.attempts(), 1, "nobody else wants it");

    let path = "events/1/explain";
    let explained = world.own(Method::GET, path, Value::Null).await;
    let subscriptions = explained["value"][0]["subscriptions"].as_array().unwrap();
    assert_eq!(subscriptions.len(), cases.len() + 1);
    let of = |name: &str| {
        let mut all = subscriptions.iter();
        all.find(|one| one["name"] == name).unwrap()
    };
    assert_eq!(of("takes-all")["fate"], "delivered");
    assert_eq!(of("takes-all")["because"], "The endpoint took it.");
    for case in &cases {
        names_the_clause(case, of(case.clause));
    }
}

fn names_the_clause(case: &Refused, explained: &Value) {
    assert_eq!(explained["fate"], "refused", "{explained}");
    let refusal = &explained["refusal"];
    assert_eq!(refusal["wanted"], case.wanted, "{explained}");
    assert_eq!(refusal["found"], case.found, "{explained}");
    let because = explained["because"].as_str().unwrap();
    if case.filter.get("advancedFilters").is_some() {
        let filter = &case.filter["advancedFilters"][0];
        assert_eq!(refusal["clause"], "advancedFilters", "{explained}");
        assert_eq!(refusal["operatorType"], case.clause, "{explained}");
        assert_eq!(refusal["key"], filter["key"], "{explained}");
        assert!(because.contains(case.clause), "{because}");
    } else {
        assert_eq!(refusal["clause"], case.clause, "{explained}");
    }
    let found = case.found.as_str().map(str::to_owned);
    let found = found.unwrap_or_else(|| match &case.found {
        Value::Null => "not there".to_owned(),
        found => found.to_string(),
    });
    assert!(because.contains(&found), "{because}");
}
