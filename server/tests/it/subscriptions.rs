//! The life of event subscriptions.

use http::Method;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::webhook::Webhook;
use crate::world::{World, hours, minutes, subscription_id};

/// The state that Resource Manager shows.
async fn state(world: &World, source: &str, name: &str) -> Value {
    let found = world
        .manage(Method::GET, &subscription_id(source, name), Value::Null)
        .await;
    found["properties"]["provisioningState"].clone()
}

/// Visits the validation URL that the endpoint was sent.
async fn visit(world: &World, endpoint: &Webhook) -> http::StatusCode {
    let url = endpoint.requests()[0].body[0]["data"]["validationUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    let target = url
        .split_once(&world.address().to_string())
        .expect("the URL names our address")
        .1
        .to_owned();
    let mut sender = gridpost::client::open(world.address(), None).await.unwrap();
    let request = http::Request::get(target)
        .header("host", world.address().to_string())
        .body(Full::default())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn a_visit_within_the_window_confirms_and_events_that_waited_are_delivered() {
    let world = World::start().await;
    let endpoint = world.webhook().await.withholding_the_code();
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;
    assert_eq!(
        state(&world, &topic.id, "shop").await,
        "AwaitingManualAction"
    );

    topic.publish("1").await;
    world.settle().await;
    assert_eq!(endpoint.attempts(), 0);

    world.advance(minutes(4)).await;
    assert!(visit(&world, &endpoint).await.is_success());
    world.settle().await;

    assert_eq!(state(&world, &topic.id, "shop").await, "Succeeded");
    assert_eq!(endpoint.ids(), ["1"]);
}

#[tokio::test]
async fn a_visit_after_the_window_confirms_nothing() {
    let world = World::start().await;
    let endpoint = world.webhook().await.withholding_the_code();
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    world.advance(hours(1)).await;

    assert!(!visit(&world, &endpoint).await.is_success());
    assert_eq!(state(&world, &topic.id, "shop").await, "Failed");
    topic.publish("1").await;
    world.settle().await;
    assert_eq!(endpoint.attempts(), 0);
    world.leave_unsettled();
}

#[tokio::test]
async fn an_expired_subscription_is_gone_and_sent_nothing() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    let expires = world.now() + hours(2);
    topic
        .subscribe("shop", &endpoint, json!({ "expirationTimeUtc": expires }))
        .await;

    topic.publish("1").await;
    world.advance(hours(3)).await;
    topic.publish("2").await;
    world.settle().await;

    assert_eq!(endpoint.ids(), ["1"]);
    let gone = world
        .try_manage(
            Method::GET,
            &subscription_id(&topic.id, "shop"),
            Value::Null,
        )
        .await;
    assert!(gone.unwrap_err().error.to_string().contains("404"));
}

#[tokio::test]
async fn a_deleted_subscription_is_told_so_and_sent_nothing_more() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    world
        .manage(
            Method::DELETE,
            &subscription_id(&topic.id, "shop"),
            Value::Null,
        )
        .await;
    topic.publish("1").await;
    world.settle().await;

    let kinds: Vec<String> = endpoint
        .requests()
        .iter()
        .map(|request| request.header("aeg-event-type").to_owned())
        .collect();
    assert_eq!(kinds, ["SubscriptionValidation", "SubscriptionDeletion"]);
}
