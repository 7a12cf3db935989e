//! The main job: a text arrives, a webhook hears of it.

use gridpost::credentials::{COMMUNICATION_RESOURCE, NUMBER};
use http::Method;
use serde_json::{Value, json};

use crate::webhook::Received;
use crate::world::World;

#[tokio::test]
async fn a_text_that_passes_the_missions_filter_reaches_the_webhook() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    world.subscribe_with_the_missions_filter(&endpoint).await;

    world.text("+15555550123", NUMBER, "Hello").await;
    world.settle().await;

    assert_eq!(endpoint.attempts(), 1);
    insta::assert_json_snapshot!("the_request_of_a_text", shown(&endpoint.notifications()[0]));
}

#[tokio::test]
async fn the_handshake_comes_first_and_is_a_request_of_its_own() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    world.subscribe_with_the_missions_filter(&endpoint).await;

    assert_eq!(endpoint.requests().len(), 1);
    insta::assert_json_snapshot!("the_request_of_a_handshake", shown(&endpoint.requests()[0]));
}

#[tokio::test]
async fn a_text_to_a_number_outside_the_filter_reaches_nobody() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    world.subscribe_with_the_missions_filter(&endpoint).await;
    world
        .own(Method::PUT, "numbers/+14255550100", Value::Null)
        .await;

    world.text("+15555550123", "+14255550100", "Hello").await;
    world.text("+14255550123", NUMBER, "Hello").await;
    world.settle().await;

    assert_eq!(endpoint.attempts(), 1);
    assert_eq!(
        endpoint.notifications()[0].body[0]["data"]["to"],
        "15555550100"
    );
}

#[tokio::test]
async fn in_the_shape_of_2020_the_event_has_exactly_the_fields_of_the_missions_sample() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let tags = json!({
        "location": "global", "tags": { "gridpost-event-shape": "2020-09" },
        "properties": { "dataLocation": "Local" },
    });
    world
        .manage(Method::PUT, COMMUNICATION_RESOURCE, tags)
        .await;
    world.subscribe_with_the_missions_filter(&endpoint).await;

    world.text("+15555550123", NUMBER, "Hello").await;
    world.settle().await;

    let event = &endpoint.notifications()[0].body[0];
    let mut fields: Vec<&str> = event["data"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["From", "Message", "MessageId", "ReceivedTimestamp", "To"]
    );
    insta::assert_json_snapshot!(
        "the_request_of_a_text_in_the_shape_of_2020",
        shown(&endpoint.notifications()[0])
    );
}

/// A request with what differs from run to run masked.
fn shown(request: &Received) -> Value {
    let mut headers = request.headers.clone();
    headers.insert("host".to_owned(), json!("[endpoint]"));
    let mut body = request.body.clone();
    if let Some(url) = body[0]["data"].get_mut("validationUrl") {
        *url = json!("[url]");
    }
    json!({ "method": request.method, "target": request.target, "headers": headers, "body": body })
}
