//! The retry schedule, a day of it in a moment.

use serde_json::json;

use crate::world::{World, hours, minutes, seconds};

#[tokio::test]
async fn a_failing_event_is_tried_by_the_documented_schedule_and_then_given_up() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(500);
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    topic.publish("1").await;
    world.advance(hours(49)).await;

    let attempts = endpoint.notifications();
    let first = attempts[0].at;
    let offsets: Vec<u64> = attempts[1..]
        .iter()
        .map(|attempt| attempt.at.since(first).as_secs())
        .collect();
    let schedule = [
        seconds(10),
        seconds(30),
        minutes(1),
        minutes(5),
        minutes(10),
        minutes(30),
        hours(1),
        hours(3),
        hours(6),
        hours(12),
    ];
    assert!(schedule.len() <= offsets.len(), "{offsets:?}");
    for (found, expected) in offsets.iter().zip(schedule.map(|span| span.as_secs())) {
        let latest = expected + (expected / 10).min(30) + 1;
        assert!(
            (expected..=latest).contains(found),
            "{found} is not within {expected}..={latest}: {offsets:?}"
        );
    }
    let letters = world.dead_letters().await;
    assert_eq!(letters[0]["deadLetterReason"], "TimeToLiveExceeded");
    assert_eq!(letters[0]["deliveryAttempts"], attempts.len());
}

#[tokio::test]
async fn an_endpoint_that_recovers_gets_the_event_at_the_next_attempt_and_once() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(503);
    let topic = world.topic("orders").await;
    topic.subscribe("shop", &endpoint, json!({})).await;

    topic.publish("1").await;
    world.settle().await;
    let endpoint = endpoint.answering(200);
    world.advance(hours(25)).await;

    assert_eq!(endpoint.attempts(), 2);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn no_more_attempts_are_made_than_the_policy_allows() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(500);
    let topic = world.topic("orders").await;
    let policy =
        json!({ "retryPolicy": { "maxDeliveryAttempts": 3, "eventTimeToLiveInMinutes": 1440 } });
    topic.subscribe("shop", &endpoint, policy).await;

    topic.publish("1").await;
    world.advance(hours(25)).await;

    assert_eq!(endpoint.attempts(), 3);
    assert_eq!(
        world.dead_letters().await[0]["deadLetterReason"],
        "MaxDeliveryAttemptsExceeded"
    );
}

#[tokio::test]
async fn delivery_counts_are_told_to_the_endpoint() {
    let world = World::start().await;
    let endpoint = world.webhook().await.answering(500);
    let topic = world.topic("orders").await;
    topic
        .subscribe(
            "shop",
            &endpoint,
            json!({ "retryPolicy": { "maxDeliveryAttempts": 2 } }),
        )
        .await;

    topic.publish("1").await;
    world.advance(minutes(1)).await;

    let counts: Vec<String> = endpoint
        .notifications()
        .iter()
        .map(|attempt| attempt.header("aeg-delivery-count").to_owned())
        .collect();
    assert_eq!(counts, ["0", "1"]);
}
