//! Delivery in the CloudEvents schema.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn an_event_is_delivered_as_a_cloud_event_after_the_options_handshake() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.topic("orders").await;
    topic
        .subscribe(
            "shop",
            &endpoint,
            json!({ "eventDeliverySchema": "CloudEventSchemaV1_0" }),
        )
        .await;

    topic.publish("1").await;
    world.settle().await;

    let requests = endpoint.requests();
    assert_eq!(requests[0].method, "OPTIONS");
    assert!(!requests[0].header("webhook-request-origin").is_empty());
    let delivered = &requests[1];
    assert_eq!(delivered.method, "POST");
    assert!(
        delivered
            .header("content-type")
            .starts_with("application/cloudevents+json")
    );
    assert_eq!(
        delivered.body,
        json!({
            "specversion": "1.0", "id": "1", "source": topic.id, "type": "Shop.Ordered", "subject": "orders/1",
            "time": "2026-11-22T00:00:00Z", "dataschema": "#1.0", "data": { "number": "1" },
        })
    );
}
