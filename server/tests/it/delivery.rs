//! What becomes of events that an endpoint does not take.

use http::Method;
use serde_json::json;

use crate::world::{World, event, hours, minutes, seconds};

#[tokio::test]
async fn a_refused_event_is_dead_lettered_without_retry_and_can_be_redriven() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(400);
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    topic.publish("1").await;
    world.settle().await;

    assert_eq!(endpoint.attempts(), 1);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        letters[0]["deadLetterReason"],
        "UndeliverableDueToHttpBadRequest"
    );
    assert_eq!(letters[0]["lastHttpStatus"], 400);
    assert_eq!(letters[0]["event"]["id"], "1");
    world.advance(hours(25)).await;
    assert_eq!(endpoint.attempts(), 1);

    let endpoint = endpoint.answering(200);
    let redriven = world
        .own(
            Method::POST,
            "dead-letters:redrive",
            json!({ "eventId": "1" }),
        )
        .await;
    world.settle().await;

    assert_eq!(redriven["redriven"], 1);
    assert_eq!(endpoint.ids(), ["1", "1"]);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_is_spoken_to_in_the_version_that_it_chooses() {
    let world = World::start().await;
    let topic = world.topic("orders").await;
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (name, protocols, version) in [
        ("newer", both, http::Version::HTTP_2),
        ("older", &both[1..], http::Version::HTTP_11),
        ("silent", &[], http::Version::HTTP_11),
    ] {
        let endpoint = world.secure_webhook(protocols).await;
        topic.subscribe(name, &endpoint, json!({})).await;
        for id in ["1", "2", "3"] {
            topic.publish(id).await;
            world.settle().await;
        }
        let requests = endpoint.requests();
        assert_eq!(requests.len(), 4, "a handshake and three events");
        for request in requests {
            assert_eq!(request.version, version, "{name}");
            assert!(request.target.ends_with("/hook"), "{}", request.target);
        }
        assert_eq!(endpoint.ids(), ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn what_an_endpoint_refuses_over_http2_is_tried_again_and_dead_lettered_as_ever() {
    let world = World::start().await;
    let endpoint = world.secure_webhook(&[b"h2"]).await.answering(503);
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    topic.publish("1").await;
    world.advance(minutes(10)).await;
    assert!(1 < endpoint.attempts());
    let endpoint = endpoint.answering(400);
    world.advance(hours(1)).await;

    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["lastHttpStatus"], 400);
    assert!(
        endpoint
            .requests()
            .iter()
            .all(|request| request.version == http::Version::HTTP_2)
    );
}

#[tokio::test]
async fn a_destination_that_keeps_failing_is_left_alone_and_then_probed_with_one_event() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(503);
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    for number in 1..=10 {
        topic.publish(&number.to_string()).await;
        world.settle().await;
    }
    assert_eq!(endpoint.attempts(), 10);
    topic.publish("11").await;
    world.settle().await;
    assert_eq!(
        endpoint.attempts(),
        10,
        "an event was sent to a destination on probation"
    );

    world.advance(seconds(11)).await;
    assert_eq!(endpoint.attempts(), 11, "probation must end with one probe");

    let endpoint = endpoint.answering(200);
    world.advance(minutes(10)).await;
    let mut ids = endpoint.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(
        ids.len(),
        11,
        "everything is delivered once the destination is well again"
    );
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn an_event_that_is_none_is_refused_and_nothing_of_its_batch_is_kept() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    let status = topic.try_publish(json!([event("1"), { "id": "2" }])).await;
    world.settle().await;

    assert_eq!(status, 400);
    assert_eq!(endpoint.attempts(), 0);
}

#[tokio::test]
async fn a_dead_endpoint_does_not_hold_up_another() {
    let world = World::start().await;
    let (dead, alive) = (world.webhook().await.answering(500), world.webhook().await);
    let topic = world.topic("orders").await;
    topic
        .subscribe(
            "dead",
            &dead,
            json!({ "retryPolicy": { "maxDeliveryAttempts": 1 } }),
        )
        .await;
    topic.subscribe("alive", &alive, json!({})).await;

    for number in 0..50 {
        topic.publish(&number.to_string()).await;
    }
    world.settle().await;
    assert_eq!(alive.attempts(), 50);

    world.advance(hours(25)).await;
    assert_eq!(world.dead_letters().await.len(), 50);
}
