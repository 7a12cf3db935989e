//! Service Bus queues, Service Bus topics and event hubs, with RabbitMQ in their place.

use std::sync::Arc;

use gridpost_grid::amqp::Peer;
use gridpost_grid::connections::Connections;
use gridpost_model::Destination;
use gridpost_model::subscription::{DeliveryAttribute, DeliverySchema, MessageEntity};
use serde_json::Value;

use crate::outage;
use crate::process::End;
use crate::rabbitmq::RabbitMq;
use crate::world::World;

const BUS: &str =
    "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.ServiceBus/namespaces/bus";
const HUBS: &str =
    "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.EventHub/namespaces/hubs";

/// The queues, a topic's two subscriptions and the hub, as they are at the broker.
fn prepare(rabbit: &RabbitMq) {
    rabbit.declare("orders");
    rabbit.declare("filtered");
    rabbit.bind("first", "amq.topic", "news");
    rabbit.bind("second", "amq.topic", "news");
    rabbit.declare("hub");
}

fn world(rabbit: &RabbitMq) -> World {
    let peer = |address: &str| Arc::new(Peer::read(&rabbit.url(), Some(address)).unwrap());
    let entries = [
        (BUS.to_owned(), peer("/amq/queue/{name}")),
        (format!("{BUS}/topics/news"), peer("/topic/{name}")),
        (HUBS.to_owned(), peer("/amq/queue/{name}")),
    ];
    let entries = entries.map(|(id, peer)| (id.parse().unwrap(), peer));
    World::knowing(Connections {
        amqp: entries.into(),
        ..Connections::default()
    })
}

fn entity(resource: &str, attributes: Vec<DeliveryAttribute>) -> MessageEntity {
    MessageEntity {
        resource_id: resource.parse().unwrap(),
        attributes,
    }
}

fn queue(attributes: Vec<DeliveryAttribute>) -> Destination {
    Destination::ServiceBusQueue(entity(&format!("{BUS}/queues/orders"), attributes))
}

fn topic() -> Destination {
    Destination::ServiceBusTopic(entity(&format!("{BUS}/topics/news"), Vec::new()))
}

fn hub(attributes: Vec<DeliveryAttribute>) -> Destination {
    Destination::EventHub(entity(&format!("{HUBS}/eventhubs/hub"), attributes))
}

#[track_caller]
fn only(messages: Vec<Value>) -> Value {
    let [message] = <[Value; 1]>::try_from(messages).expect("one message was expected");
    message
}

#[tokio::test]
#[ignore = "needs RabbitMQ: cargo xtask handlers"]
async fn section_6_messages_have_the_body_the_properties_and_the_attributes_of_their_kind() {
    let rabbit = RabbitMq::start().await;
    prepare(&rabbit);
    let world = world(&rabbit);
    let attributes = vec![
        DeliveryAttribute::taken("CorrelationId", "subject"),
        DeliveryAttribute::taken("Kind", "eventtype"),
        DeliveryAttribute::secret("Key", "s3cret"),
    ];
    world
        .subscribe_to("to-queue", queue(attributes), |_| ())
        .await;
    world
        .subscribe_to("to-topic", topic(), |spec| {
            spec.delivery_schema = DeliverySchema::CloudEvents;
        })
        .await;
    world
        .subscribe_to(
            "to-hub",
            hub(vec![DeliveryAttribute::taken("PartitionKey", "id")]),
            |_| (),
        )
        .await;
    let filtered = entity(&format!("{BUS}/queues/filtered"), Vec::new());
    world
        .subscribe_to(
            "to-filtered",
            Destination::ServiceBusQueue(filtered),
            |spec| spec.filter.subject_begins_with = "/elsewhere".into(),
        )
        .await;
    world.publish(0..1, 10).await;
    world.quiet().await;

    let message = only(rabbit.read("orders"));
    assert_eq!(message["body"]["id"], "0");
    assert_eq!(message["body"]["data"]["message"], "xxxxxxxxxx");
    assert_eq!(message["content_type"], "application/json");
    assert_eq!(message["correlation_id"], "/phonenumber/15550001");
    assert_eq!(message["delivery_mode"], 2, "it survives the broker");
    assert!(message["message_id"].as_str().unwrap().starts_with("msg_"));
    let expected = serde_json::json!({
        "aeg-event-type": "Notification", "aeg-subscription-name": "TO-QUEUE", "aeg-delivery-count": "0",
        "aeg-metadata-version": "1", "aeg-data-version": "1.0", "aeg-output-event-id": "0",
        "Kind": "Microsoft.Communication.SMSReceived", "Key": "s3cret",
    });
    assert_eq!(message["properties"], expected);

    for subscription in ["first", "second"] {
        let message = only(rabbit.read(subscription));
        assert_eq!(message["body"]["specversion"], "1.0");
        assert_eq!(message["content_type"], "application/cloudevents+json");
        assert_eq!(message["properties"]["aeg-metadata-version"], "1.0");
    }

    let message = only(rabbit.read("hub"));
    assert_eq!(message["body"][0]["id"], "0");
    assert_eq!(message["annotations"]["x-opt-partition-key"], "0");
    assert!(rabbit.read("filtered").is_empty());
}

#[tokio::test]
#[ignore = "needs RabbitMQ: cargo xtask handlers"]
async fn no_event_is_lost_while_the_broker_of_queue_topic_and_hub_is_stopped_and_started_twice() {
    let mut rabbit = RabbitMq::start().await;
    prepare(&rabbit);
    let world = world(&rabbit);
    world
        .subscribe_to("to-queue", queue(Vec::new()), |_| ())
        .await;
    world.subscribe_to("to-topic", topic(), |_| ()).await;
    world.subscribe_to("to-hub", hub(Vec::new()), |_| ()).await;
    // What it has accepted it has on disk.
    outage::endure(&world, &mut rabbit, End::Sudden).await;
    let ids = |queue: &str| {
        let messages = rabbit.read(queue).into_iter();
        messages.map(|message| {
            let body = &message["body"];
            let event = body.get(0).unwrap_or(body);
            event["id"].as_str().unwrap().to_owned()
        })
    };
    outage::check("ServiceBusQueue", ids("orders"));
    outage::check("ServiceBusTopic, one subscription", ids("first"));
    outage::check("ServiceBusTopic, the other", ids("second"));
    outage::check("EventHub", ids("hub"));
}
