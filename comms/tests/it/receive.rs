//! Inbound texts.

use gridpost_comms::resources::ServicePatch;
use gridpost_comms::sms::ReceiveError;
use serde_json::json;

use crate::world::{HANDSET, OWNED, World, inbound, resource, shape};

#[tokio::test]
async fn an_inbound_text_is_one_event_of_the_current_shape() {
    let world = World::start().await;
    let id = world
        .text(HANDSET, "Great to connect with ACS events ")
        .await;
    assert_eq!(
        world.events(),
        [json!({
            "id": id.as_str(),
            "topic": resource("dev").as_str(),
            "subject": "/phonenumber/15555550100",
            "data": {
                "messageId": id.as_str(),
                "from": "15555550123",
                "to": "15555550100",
                "message": "Great to connect with ACS events ",
                "receivedTimestamp": "2027-01-15T08:00:00Z",
                "segmentCount": 1,
            },
            "eventType": "Microsoft.Communication.SMSReceived",
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": "2027-01-15T08:00:00Z",
        })]
    );
    assert!(id.as_str().starts_with("Incoming_20270115080000"));
    assert_eq!(world.comms.metrics().sms_received, 1);
}

#[tokio::test]
async fn the_tag_of_the_resource_chooses_the_shape_of_2020() {
    let world = World::start().await;
    let patch = ServicePatch {
        tags: Some(shape("2020-09")),
        ..ServicePatch::default()
    };
    world
        .comms
        .patch_resource(&resource("dev"), patch)
        .await
        .unwrap();
    world.text(HANDSET, "hello").await;
    let data = &world.data("SMSReceived")[0];
    let keys: Vec<&str> = data
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys.len(), 5);
    for key in ["MessageId", "From", "To", "Message", "ReceivedTimestamp"] {
        assert!(keys.contains(&key), "{key}");
    }
}

#[tokio::test]
async fn a_text_to_a_number_of_nobody_is_refused() {
    let world = World::start().await;
    let refused = world
        .comms
        .receive(inbound(HANDSET, "+15555550199", "hello"))
        .await;
    assert!(matches!(refused, Err(ReceiveError::NotOurs(_))));
    world.comms.release(&OWNED.parse().unwrap()).await.unwrap();
    let refused = world.comms.receive(inbound(HANDSET, OWNED, "hello")).await;
    assert!(matches!(refused, Err(ReceiveError::NotOurs(_))));
    assert!(world.events().is_empty());
}

#[tokio::test]
async fn a_text_of_2048_characters_is_taken_and_a_longer_one_refused() {
    let world = World::start().await;
    world.text(HANDSET, &"a".repeat(2048)).await;
    let refused = world
        .comms
        .receive(inbound(HANDSET, OWNED, &"a".repeat(2049)))
        .await;
    assert!(matches!(refused, Err(ReceiveError::TooLong)));
    assert_eq!(world.data("SMSReceived")[0]["segmentCount"], 14);
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn an_inbound_text_survives_the_death_of_the_process() {
    let world = World::start().await;
    let id = world.text(HANDSET, "hello").await;
    let after = world.after_kill();
    assert_eq!(after.events()[0]["id"], id.as_str());
}
