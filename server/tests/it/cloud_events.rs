//! Delivery in the CloudEvents schema.

use http::Method;
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_cloud_event_of_any_source_is_explained_and_tried_before_and_after_a_restart() {
    let mut world = World::start().await;
    let endpoint = world.webhook().await;
    let topic = world.cloud_events_topic("orders").await;
    let schema = "CloudEventSchemaV1_0";
    let takes = json!({ "eventDeliverySchema": schema });
    topic.subscribe("takes", &endpoint, takes).await;
    let refuses =
        json!({ "eventDeliverySchema": schema, "filter": { "subjectBeginsWith": "bills/" } });
    topic.subscribe("refuses", &endpoint, refuses).await;
    let event = json!({ "specversion": "1.0", "id": "1", "source": "https://shop.example/a", "type": "t",
        "subject": "orders/1" });
    let headers = [(
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    )];
    assert_eq!(topic.publish_with(&headers, event.clone()).await, 200);
    world.settle().await;
    let delivered = &endpoint.requests();
    assert_eq!(delivered.last().unwrap().body, event, "to the letter");

    let id = topic.id.clone();
    for life in ["first", "second"] {
        let explained = world
            .own(Method::GET, "events/1/explain", Value::Null)
            .await;
        let explained = &explained["value"][0];
        assert_eq!(explained["deletedSubscriptions"], 0, "{life}: {explained}");
        let fates: Vec<_> = explained["subscriptions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["name"].clone(), one["fate"].clone()))
            .collect();
        let expected = [("refuses", "refused"), ("takes", "delivered")];
        assert_eq!(
            fates,
            expected.map(|(name, fate)| (name.into(), fate.into())),
            "{life}"
        );
        let filter = json!({ "source": id, "filter": { "subjectBeginsWith": "orders/" } });
        let tried = world.own(Method::POST, "filters/try", filter).await;
        assert_eq!(
            (&tried["tried"], &tried["matched"]),
            (&json!(1), &json!(1)),
            "{life}"
        );
        assert_eq!(tried["value"][0]["topic"], id, "{life}");
        let replay = json!({ "subscription": "takes", "source": id, "dryRun": true,
            "from": "2026-11-21T00:00:00Z" });
        let preview = world.own(Method::POST, "replays", replay).await;
        assert_eq!(preview["events"], 1, "{life}");
        world.restart().await;
        world.settle().await;
    }
}
