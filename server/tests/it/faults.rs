//! Deliveries that go wrong on purpose.

use http::Method;
use serde_json::{Value, json};

use crate::world::{World, hours, minutes, seconds};

async fn set(world: &World, name: &str, fault: Value) -> Value {
    let path = format!("faults/{name}");
    world.own(Method::PUT, &path, fault).await
}

/// The attempts that explain tells of, for an event.
async fn attempts(world: &World, id: &str) -> Vec<Value> {
    let path = format!("events/{id}/explain");
    let explained = world.own(Method::GET, &path, Value::Null).await;
    let subscriptions = explained["value"][0]["subscriptions"].as_array().unwrap();
    let attempts = subscriptions[0]["attempts"].as_array().unwrap();
    attempts.clone()
}

#[tokio::test]
async fn an_injected_status_reaches_the_schedule_but_not_the_endpoint() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;
    let fault = json!({ "fault": "status", "status": 503, "subscription": "shop", "times": 2 });
    set(&world, "busy", fault).await;

    topic.publish("1").await;
    world.advance(hours(1)).await;

    assert_eq!(endpoint.attempts(), 1);
    assert_eq!(
        endpoint.notifications()[0].header("aeg-delivery-count"),
        "2"
    );
    let attempts = attempts(&world, "1").await;
    for attempt in &attempts[..2] {
        assert_eq!(attempt["outcome"], "Busy");
        assert_eq!(attempt["status"], 503);
        assert_eq!(attempt["response"]["headers"]["gridpost-fault"], "busy");
    }
    let listed = world.own(Method::GET, "faults", Value::Null).await;
    assert_eq!(listed["value"][0]["struck"], 2);
    assert_eq!(listed["value"][0]["left"], 0);
}

#[tokio::test]
async fn an_injected_silence_takes_as_long_as_a_real_one_and_is_told_by_its_name() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;
    set(
        &world,
        "mute",
        json!({ "fault": "hang", "expiresIn": "PT30S" }),
    )
    .await;
    set(&world, "torn", json!({ "fault": "reset", "times": 1 })).await;

    topic.publish("1").await;
    world.advance(hours(1)).await;

    assert_eq!(endpoint.attempts(), 1);
    let attempts = attempts(&world, "1").await;
    assert_eq!(attempts[0]["outcome"], "TimedOut");
    assert_eq!(attempts[0]["tookMs"], 30_000.0);
    let why = attempts[0]["failure"].as_str().unwrap();
    assert!(why.contains("injected by the fault 'mute'"), "{why}");
    assert_eq!(attempts[1]["outcome"], "SocketError");
    let why = attempts[1]["failure"].as_str().unwrap();
    assert!(why.contains("injected by the fault 'torn'"), "{why}");
}

#[tokio::test]
async fn deliveries_are_doubled_and_delayed_where_the_fault_says() {
    let world = World::start().await;
    let (doubled, other) = (world.webhook().await, world.webhook().await);
    let topic = world.topic("orders").await;
    topic.subscribe("doubled", &doubled, json!({})).await;
    topic.subscribe("other", &other, json!({})).await;
    set(
        &world,
        "1",
        json!({ "fault": "duplicate", "subscription": "Doubled" }),
    )
    .await;
    let slow =
        json!({ "fault": "delay", "delay": "2s", "host": "127.0.0.1", "subscription": "other" });
    set(&world, "2", slow).await;
    let (began, elsewhere) = (
        world.now(),
        json!({ "fault": "reset", "host": "a.example" }),
    );
    set(&world, "0", elsewhere).await;

    topic.publish("1").await;
    world.advance(minutes(1)).await;

    assert_eq!(doubled.ids(), ["1", "1"]);
    assert_eq!(other.ids(), ["1"]);
    assert_eq!(other.notifications()[0].at, began + seconds(2));
}

#[tokio::test]
async fn faults_are_listed_replaced_and_cleared() {
    let world = World::start().await;
    let shown = set(&world, "a", json!({ "fault": "delay", "delay": 1.5 })).await;
    assert_eq!(
        shown,
        json!({ "name": "a", "fault": "delay", "delay": "PT1.5S", "probability": 1.0, "struck": 0 })
    );
    set(&world, "a", json!({ "fault": "hang", "expiresIn": "1m" })).await;
    let one = world.own(Method::GET, "faults/a", Value::Null).await;
    assert_eq!(one["expires"], json!(world.now() + minutes(1)));
    world.advance(minutes(1)).await;
    let gone = world.client().own(Method::GET, "faults/a", None).await;
    assert!(format!("{:#}", gone.unwrap_err().error).contains("There is no fault 'a'"));

    set(&world, "b", json!({ "fault": "reset" })).await;
    world.own(Method::DELETE, "faults/b", Value::Null).await;
    let listed = world.own(Method::GET, "faults", Value::Null).await;
    assert_eq!(listed, json!({ "value": [] }));
    for (name, body) in [
        ("c", json!({ "fault": "status", "status": 200 })),
        ("not%20a%20name", json!({ "fault": "hang" })),
        ("d", json!({ "fault": "hang", "subscription": "misspelt" })),
    ] {
        let path = format!("faults/{name}");
        let refused = world.client().own(Method::PUT, &path, Some(&body)).await;
        assert!(refused.is_err(), "{name}");
    }
}
