//! The numbers, as a collector reads them: the whole page through a strict reader, and a scenario that moves each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::manager::{HOST, Manager, serve_sink};
use crate::stack::{Answer, Stack};

const TOPIC: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders";
const SOURCE: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders";

/// A sample's name and its labels.
type Series = (String, BTreeMap<String, String>);

/// The page, read as the text format demands it. Anything that a collector could stumble over panics.
#[derive(Debug, Default)]
struct Exposition {
    types: BTreeMap<String, String>,
    samples: BTreeMap<Series, f64>,
}

impl Exposition {
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut page = Self::default();
        let mut helped = BTreeSet::new();
        // The metric whose samples may stand here.
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty() && is_name(name, true), "{line}");
                assert!(helped.insert(name.to_owned()), "{name} has two helps");
                current = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name, current, "a type follows its help");
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} has two types");
            } else {
                page.sample(line, &current);
            }
        }
        page.check_histograms();
        page
    }

    fn sample(&mut self, line: &str, current: &str) {
        let split = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(split);
        assert!(is_name(name, true), "{line}");
        let (labels, value) = match rest.strip_prefix('{') {
            None => (BTreeMap::new(), rest.strip_prefix(' ').unwrap()),
            Some(rest) => read_labels(rest),
        };
        let value: f64 = value
            .parse()
            .unwrap_or_else(|_| panic!("not a number: {line}"));
        let family = match self.types[current].as_str() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or_else(|| panic!("not a part of a histogram: {line}")),
            _ => name,
        };
        assert_eq!(family, current, "samples stand under their type: {line}");
        if self.types[current] == "counter" {
            assert!(
                name.ends_with("_total") && value >= 0.0,
                "a counter is called a total and does not fall below zero: {line}"
            );
        }
        let before = self.samples.insert((name.to_owned(), labels), value);
        assert!(before.is_none(), "twice: {line}");
    }

    fn check_histograms(&self) {
        let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            if let Some(family) = name.strip_suffix("_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").unwrap();
                let bound = match bound.as_str() {
                    "+Inf" => f64::INFINITY,
                    bound => bound.parse().unwrap(),
                };
                let series = (family.to_owned(), labels);
                buckets.entry(series).or_default().push((bound, *value));
            }
        }
        for ((family, labels), mut found) in buckets {
            found.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(
                found.is_sorted_by(|one, next| one.1 <= next.1),
                "{family} is cumulative"
            );
            let (bound, all) = *found.last().unwrap();
            assert_eq!(bound, f64::INFINITY);
            let count = &self.samples[&(format!("{family}_count"), labels.clone())];
            assert_eq!(all, *count, "{family}");
            assert!(
                self.samples
                    .contains_key(&(format!("{family}_sum"), labels))
            );
        }
    }

    /// The value of a series that has these labels among others; they must tell it from all others.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |series: &&Series| {
            let has = |(label, value): &(&str, &str)| {
                series.1.get(*label).is_some_and(|found| found == value)
            };
            series.0 == name && labels.iter().all(has)
        };
        let found: Vec<_> = self.samples.keys().filter(fits).collect();
        match found.as_slice() {
            [] => 0.0,
            [series] => self.samples[*series],
            _ => panic!("{name} {labels:?}: {found:?}"),
        }
    }
}

fn is_name(text: &str, colon: bool) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':');
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// Reads labels behind the opening brace; what follows the closing one and its space is the value.
fn read_labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, behind) = rest.split_once("=\"").unwrap();
        assert!(is_name(name, false), "{text}");
        let mut value = String::new();
        let mut letters = behind.char_indices();
        let end = loop {
            match letters.next().unwrap() {
                (_, '\\') => value.push(match letters.next().unwrap().1 {
                    'n' => '\n',
                    letter @ ('\\' | '"') => letter,
                    other => panic!("\\{other} is no escape: {text}"),
                }),
                (index, '"') => break index + 1,
                (_, letter) => value.push(letter),
            }
        };
        let before = labels.insert(name.to_owned(), value);
        assert!(before.is_none(), "{name} stands twice: {text}");
        rest = &behind[end..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix("} ").unwrap()),
        }
    }
}

async fn page(stack: &Stack) -> Exposition {
    let request = http::Request::get("/metrics").header("host", HOST);
    let answer = stack
        .ask(request.body(axum::body::Body::empty()).unwrap())
        .await;
    Exposition::read(&answer.text)
}

struct Publisher<'a> {
    stack: &'a Stack,
    key: String,
}

impl Publisher<'_> {
    async fn publish(&self, topic: &str, key: &str, body: String) -> Answer {
        let request = http::Request::post(format!("/topics/{topic}/api/events"))
            .header("host", HOST)
            .header("aeg-sas-key", key)
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        self.stack.ask(request).await
    }

    /// Publishes one event about that subject and lets follow what follows.
    async fn event(&self, subject: &str) {
        let event = json!([{
            "id": "1", "subject": subject, "eventType": "Shop.Ordered",
            "eventTime": "2026-11-22T00:00:00Z", "data": {"n": 1}, "dataVersion": "1.0",
        }]);
        let answer = self.publish("orders", &self.key, event.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.stack.settle().await;
    }
}

async fn subscribe(stack: &Stack, manager: &Manager<'_>, name: &str, filter: Value) {
    let sink = serve_sink(stack, name).await;
    let body = json!({"properties": {
        "destination": {"endpointType": "WebHook", "properties": {"endpointUrl": sink}},
        "filter": filter,
    }});
    manager
        .put(&format!("{TOPIC}/eventSubscriptions/{name}"), body)
        .await;
}

async fn behave(stack: &Stack, sink: &str, status: u16) {
    let body = json!({"status": status}).to_string();
    let answer = stack
        .own("PUT", &format!("sinks/{sink}/behaviour"), &body)
        .await;
    assert!(answer.status.is_success());
}

async fn start(stack: &Stack) -> (Manager<'_>, Publisher<'_>) {
    let manager = Manager::sign_in(stack).await;
    manager
        .put("/resourceGroups/rg1", json!({"location": "local"}))
        .await;
    manager.put(TOPIC, json!({})).await;
    let keys = manager
        .ask("POST", &format!("{TOPIC}/listKeys"), Value::Null)
        .await;
    let key = keys.json_of(200)["key1"].as_str().unwrap().to_owned();
    (manager, Publisher { stack, key })
}

#[tokio::test]
async fn section_8_1_each_metric_moves_with_what_it_counts() {
    let stack = Stack::start().await;
    let (manager, publisher) = start(&stack).await;
    let filter = json!({
        "subjectBeginsWith": "a/",
        "advancedFilters": [{"operatorType": "NumberLessThan", "key": "data.n", "value": 5}],
    });
    subscribe(&stack, &manager, "es-a", filter).await;

    publisher.event("a/taken").await;
    publisher.event("nobody's").await;
    behave(&stack, "es-a", 413).await;
    publisher.event("a/refused").await;
    behave(&stack, "es-a", 500).await;
    publisher.event("a/later").await;
    let before = page(&stack).await;
    let deleted = manager
        .ask(
            "DELETE",
            &format!("{TOPIC}/eventSubscriptions/es-a"),
            Value::Null,
        )
        .await;
    assert!(deleted.status.is_success());
    stack.settle().await;
    let after = page(&stack).await;

    let source = ("source", SOURCE);
    let lane = [source, ("event_subscription_name", "es-a")];
    let of_lane = |name| before.value(name, &lane);
    assert_eq!(
        before.value("eventgrid_publish_success_total", &[source]),
        4.0
    );
    assert_eq!(
        before.value("eventgrid_publish_success_latency_seconds_count", &[source]),
        4.0
    );
    assert_eq!(
        before.value("eventgrid_unmatched_event_total", &[source]),
        1.0
    );
    assert_eq!(of_lane("eventgrid_matched_event_total"), 3.0);
    assert_eq!(of_lane("eventgrid_delivery_success_total"), 1.0);
    assert_eq!(of_lane("eventgrid_advanced_filter_evaluation_total"), 3.0);
    assert_eq!(
        of_lane("eventgrid_destination_processing_duration_seconds_count"),
        3.0
    );
    for (error, error_type) in [
        ("PayloadTooLarge", "Response"),
        ("GenericError", "Response"),
    ] {
        let labels = [
            source,
            lane[1],
            ("error", error),
            ("error_type", error_type),
        ];
        assert_eq!(
            before.value("eventgrid_delivery_attempt_fail_total", &labels),
            1.0
        );
    }
    let reason = "UndeliverableDueToHttpRequestEntityTooLarge";
    let labels = [source, lane[1], ("dead_letter_reason", reason)];
    assert_eq!(before.value("eventgrid_dead_lettered_total", &labels), 1.0);
    let mine = [source, ("subscription", "es-a")];
    assert_eq!(
        before.value("gridpost_delivery_latency_seconds_count", &mine),
        1.0
    );
    assert_eq!(
        before.value("gridpost_deliveries_retried_total", &mine),
        1.0
    );
    let labels = [source, lane[1], ("drop_reason", "SubscriptionDeleted")];
    assert_eq!(before.value("eventgrid_dropped_event_total", &labels), 0.0);
    assert_eq!(after.value("eventgrid_dropped_event_total", &labels), 1.0);
    assert_eq!(after.value("gridpost_deliveries_dropped_total", &mine), 1.0);
}

#[tokio::test]
async fn section_8_1_refused_publishes_are_counted_by_reason() {
    let stack = Stack::start().await;
    let (_, publisher) = start(&stack).await;
    let key = publisher.key.clone();
    let large = "x".repeat(1_600_000);
    for (topic, key, body) in [
        ("orders", "d3Jvbmc=", "[]"),
        ("orders", "d3Jvbmc=", "[]"),
        ("orders", &key, "not JSON"),
        ("orders", &key, &large),
        ("nowhere", &key, "[]"),
    ] {
        let answer = publisher.publish(topic, key, body.to_owned()).await;
        assert!(answer.status.is_client_error());
    }
    let page = page(&stack).await;
    let failed = |source, error| {
        page.value(
            "eventgrid_publish_fail_total",
            &[("source", source), ("error", error)],
        )
    };
    assert_eq!(failed(SOURCE, "Unauthorized"), 2.0);
    assert_eq!(failed(SOURCE, "BadRequest"), 1.0);
    assert_eq!(failed(SOURCE, "RequestEntityTooLarge"), 1.0);
    assert_eq!(failed("unknown", "NotFound"), 1.0);
    assert_eq!(
        page.value("eventgrid_publish_success_total", &[("source", SOURCE)]),
        0.0
    );
}
