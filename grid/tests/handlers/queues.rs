//! Storage queues.

use std::time::Duration;

use gridpost_grid::DeadLetterQuery;
use gridpost_model::subscription::DeliverySchema;

use crate::azurite::Azurite;
use crate::outage;
use crate::process::End;
use crate::world::World;

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_6_a_queue_message_is_the_bare_object_in_base64() {
    let azurite = Azurite::start().await;
    azurite.make_queue("events").await;
    azurite.make_queue("cloud-events").await;
    let world = World::start(azurite.account());
    world.subscribe("es1", "events", |_| ()).await;
    world
        .subscribe("es2", "cloud-events", |spec| {
            spec.delivery_schema = DeliverySchema::CloudEvents;
        })
        .await;
    world.publish(0..1, 10).await;
    world.quiet().await;
    let [message] = &azurite.messages("events").await[..] else {
        panic!("one message was expected")
    };
    assert_eq!(message["id"], "0");
    assert_eq!(message["eventType"], "Microsoft.Communication.SMSReceived");
    assert_eq!(message["data"]["message"], "xxxxxxxxxx");
    let [message] = &azurite.messages("cloud-events").await[..] else {
        panic!("one message was expected")
    };
    assert_eq!(message["specversion"], "1.0");
    assert_eq!(message["id"], "0");
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn an_event_too_large_for_a_message_is_a_dead_letter_at_once() {
    let azurite = Azurite::start().await;
    azurite.make_queue("events").await;
    let world = World::start(azurite.account());
    world.subscribe("es1", "events", |_| ()).await;
    world.publish(0..1, 50_000).await;
    world.publish(1..2, 40_000).await;
    world.quiet().await;
    let [letter] = &world
        .grid
        .dead_letters(&DeadLetterQuery::default())
        .unwrap()[..]
    else {
        panic!("one dead letter was expected")
    };
    assert_eq!(&*letter.event.id, "0");
    assert_eq!(letter.last_outcome.as_str(), "PayloadTooLarge");
    assert_eq!(azurite.messages("events").await.len(), 1);
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_5_2_a_queue_that_does_not_exist_yet_is_tried_again_after_five_minutes() {
    let azurite = Azurite::start().await;
    let world = World::start(azurite.account());
    world.subscribe("es1", "events", |_| ()).await;
    world.publish(0..1, 10).await;
    world.quiet().await;
    azurite.make_queue("events").await;
    world.advance(Duration::from_secs(299)).await;
    assert!(azurite.messages("events").await.is_empty());
    world.advance(Duration::from_secs(60)).await;
    assert_eq!(azurite.messages("events").await.len(), 1);
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn no_event_is_lost_while_the_queue_is_stopped_and_started_twice() {
    let mut azurite = Azurite::start().await;
    azurite.make_queue("events").await;
    let world = World::start(azurite.account());
    world.subscribe("es1", "events", |_| ()).await;
    // Azurite writes its index down now and then only, so it is never ended at once.
    outage::endure(&world, &mut azurite, End::Orderly).await;

    let mut found = Vec::new();
    loop {
        let messages = azurite.messages("events").await;
        if messages.is_empty() {
            break;
        }
        let ids = messages.iter();
        found.extend(ids.map(|message| message["id"].as_str().unwrap().to_owned()));
    }
    outage::check("StorageQueue", found);
}
