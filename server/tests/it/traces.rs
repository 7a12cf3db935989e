//! Traces, as publishers, endpoints and a collector see them.

use serde_json::{Value, json};

use crate::webhook::Webhook;
use crate::world::{World, event, seconds};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PUBLISHER: &str = "00f067aa0ba902b7";

/// A collector: a webhook that nobody subscribed.
struct Collector(Webhook);

impl Collector {
    async fn open() -> Self {
        let clock = gridpost_sim::VirtualClock::at(gridpost_model::Timestamp::EPOCH);
        Self(Webhook::open(clock).await)
    }

    /// A world that sends its traces here.
    async fn world(&self) -> World {
        World::start_with(&[("GRIDPOST_TELEMETRY_ENDPOINT", &self.0.url())]).await
    }

    /// The spans that came, the earliest first, checked as the protocol has them.
    fn spans(&self) -> Vec<Value> {
        let mut spans = Vec::new();
        for request in self.0.requests() {
            assert_eq!(request.target, "/hook/v1/traces");
            assert_eq!(request.header("content-type"), "application/json");
            let resource = &request.body["resourceSpans"][0];
            assert_eq!(
                resource["resource"]["attributes"][0],
                json!({"key": "service.name", "value": {"stringValue": "gridpost"}})
            );
            let found = resource["scopeSpans"][0]["spans"].as_array().unwrap();
            spans.extend(found.iter().cloned());
        }
        let began = |span: &Value| -> u64 {
            let [began, ended] = ["startTimeUnixNano", "endTimeUnixNano"]
                .map(|name| span[name].as_str().unwrap().parse::<u64>().unwrap());
            assert!(began <= ended, "{span}");
            began
        };
        // The publish of a moment stands before its attempts.
        spans.sort_by_key(|span| (began(span), span["kind"].as_u64()));
        spans
    }
}

fn attribute(span: &Value, name: &str) -> Value {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|one| one["key"] == name);
    found.map_or(Value::Null, |one| {
        let value = one["value"].as_object().unwrap();
        value.values().next().unwrap().clone()
    })
}

/// The `traceparent` that a span gives to those it calls.
fn traceparent(span: &Value) -> String {
    let part = |name: &str| span[name].as_str().unwrap().to_owned();
    format!("00-{}-{}-01", part("traceId"), part("spanId"))
}

#[tokio::test]
async fn a_publishers_trace_leads_to_every_attempt_across_a_restart() {
    let collector = Collector::open().await;
    let mut world = collector.world().await;
    let endpoint = world.webhook().await.answering(500);
    {
        let topic = world.topic("orders").await;
        topic.subscribe("shop", &endpoint, json!({})).await;
        let headers = [("traceparent", &*format!("00-{TRACE}-{PUBLISHER}-01"))];
        let status = topic.publish_with(&headers, json!([event("1")])).await;
        assert_eq!(status, 200);
    }
    world.settle().await;
    world.restart().await;
    let endpoint = endpoint.answering(200);
    world.advance(seconds(20)).await;
    world.stop().await;

    let spans = collector.spans();
    let [publish, first, second] = spans.as_slice() else {
        panic!("{spans:#?}");
    };
    assert_eq!(publish["name"], "publish orders");
    assert_eq!(publish["kind"], 2);
    assert_eq!(publish["parentSpanId"], PUBLISHER);
    assert_eq!(attribute(publish, "messaging.batch.message_count"), "1");
    assert_eq!(attribute(publish, "http.response.status_code"), "200");
    assert_eq!(publish["status"], Value::Null);
    for span in &spans {
        assert_eq!(span["traceId"], TRACE);
    }
    for (number, attempt) in [("1", first), ("2", second)] {
        assert_eq!(attempt["name"], "deliver shop");
        assert_eq!(attempt["kind"], 3);
        assert_eq!(attempt["parentSpanId"], publish["spanId"]);
        assert_eq!(attribute(attempt, "gridpost.attempt"), number);
        assert_eq!(attribute(attempt, "messaging.message.id"), "1");
    }
    assert_eq!(attribute(first, "gridpost.outcome"), "GenericError");
    assert_eq!(attribute(first, "http.response.status_code"), "500");
    assert_eq!(first["status"]["code"], 2);
    assert_eq!(first["links"], Value::Null);
    assert_eq!(attribute(second, "gridpost.outcome"), "Delivered");
    assert_eq!(second["status"], Value::Null);
    assert_eq!(
        second["links"],
        json!([{"traceId": TRACE, "spanId": first["spanId"]}])
    );
    let heard: Vec<_> = endpoint
        .notifications()
        .iter()
        .map(|one| one.header("traceparent").to_owned())
        .collect();
    assert_eq!(heard, [traceparent(first), traceparent(second)]);
}

#[tokio::test]
async fn an_event_without_a_trace_begins_one_and_a_refused_publish_has_one_too() {
    let collector = Collector::open().await;
    let mut world = collector.world().await;
    let endpoint = world.webhook().await;
    {
        let topic = world.topic("orders").await;
        topic.subscribe("shop", &endpoint, json!({})).await;
        topic.publish("1").await;
        world.advance(seconds(1)).await;
        assert_eq!(topic.try_publish(json!([{"id": "2"}])).await, 400);
    }
    world.stop().await;

    let spans = collector.spans();
    let [publish, attempt, refused] = spans.as_slice() else {
        panic!("{spans:#?}");
    };
    assert_eq!(publish["parentSpanId"], Value::Null);
    assert_eq!(attempt["traceId"], publish["traceId"]);
    assert_eq!(attempt["parentSpanId"], publish["spanId"]);
    assert_ne!(refused["traceId"], publish["traceId"]);
    assert_eq!(attribute(refused, "http.response.status_code"), "400");
    assert_eq!(refused["status"]["code"], 2);
}

#[tokio::test]
async fn a_trace_that_its_publisher_does_not_record_is_only_passed_on() {
    let collector = Collector::open().await;
    let mut world = collector.world().await;
    let endpoint = world.webhook().await;
    let unrecorded = format!("00-{TRACE}-{PUBLISHER}-00");
    {
        let topic = world.topic("orders").await;
        topic.subscribe("shop", &endpoint, json!({})).await;
        let headers = [("traceparent", &*unrecorded)];
        topic.publish_with(&headers, json!([event("1")])).await;
    }
    world.settle().await;
    world.stop().await;
    assert!(collector.spans().is_empty());
    let heard = endpoint.notifications();
    assert_eq!(heard[0].header("traceparent"), unrecorded);
}

#[tokio::test]
async fn without_a_collector_a_traceparent_is_passed_on_and_none_is_made() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;
    let given = format!("00-{TRACE}-{PUBLISHER}-01");
    let headers = [("traceparent", &*given)];
    topic.publish_with(&headers, json!([event("1")])).await;
    world.settle().await;
    topic.publish("2").await;
    world.settle().await;
    let wrong = [("traceparent", "00-not-a-trace")];
    topic.publish_with(&wrong, json!([event("3")])).await;
    world.settle().await;
    let heard: Vec<_> = endpoint
        .notifications()
        .iter()
        .map(|one| one.headers.get("traceparent").cloned())
        .collect();
    assert_eq!(heard, [Some(json!(given)), None, None]);
}

#[tokio::test]
async fn a_cloud_events_own_trace_is_joined() {
    let collector = Collector::open().await;
    let mut world = collector.world().await;
    let endpoint = world.webhook().await;
    {
        let topic = world.cloud_events_topic("orders").await;
        let properties = json!({ "eventDeliverySchema": "CloudEventSchemaV1_0" });
        topic.subscribe("shop", &endpoint, properties).await;
        let cloud = |id: &str, trace: &str| {
            json!({
                "specversion": "1.0", "id": id, "source": "/shop", "type": "Shop.Ordered",
                "traceparent": format!("00-{trace}-{PUBLISHER}-01"),
            })
        };
        let other = "0af7651916cd43dd8448eb211c80319c";
        let batch = json!([cloud("1", TRACE), cloud("2", other)]);
        let batched = "application/cloudevents-batch+json; charset=utf-8";
        let status = topic
            .publish_with(&[("content-type", batched)], batch)
            .await;
        assert_eq!(status, 200);
    }
    world.settle().await;
    world.stop().await;

    let spans = collector.spans();
    let publish = spans.iter().find(|span| span["kind"] == 2).unwrap();
    let attempt = |id: &str| {
        let is = |span: &&Value| attribute(span, "messaging.message.id") == id;
        spans.iter().find(is).unwrap()
    };
    assert_eq!(spans.len(), 3);
    assert_eq!(publish["traceId"], TRACE);
    assert_eq!(publish["parentSpanId"], PUBLISHER);
    assert_eq!(attempt("1")["parentSpanId"], publish["spanId"]);
    // An event of another trace stays in that one.
    assert_ne!(attempt("2")["traceId"], TRACE);
    assert_eq!(attempt("2")["parentSpanId"], PUBLISHER);
}
