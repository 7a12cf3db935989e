//! Dead letters as blobs.

use std::time::Duration;

use gridpost_grid::DeadLetterQuery;
use gridpost_grid::subscriptions::SubscriptionSpec;
use gridpost_model::RetryPolicy;
use gridpost_model::subscription::{DeadLetterDestination, DeliverySchema};

use crate::azurite::Azurite;
use crate::outage::Peer;
use crate::process::End;
use crate::world::{ACCOUNT, World, until};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// One attempt, then a blob in that container.
fn given_up_into(container: &str) -> impl Fn(&mut SubscriptionSpec) {
    move |spec| {
        spec.retry_policy = RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        };
        spec.dead_letter = Some(DeadLetterDestination {
            resource_id: ACCOUNT.into(),
            container: container.into(),
        });
    }
}

/// That many letters which shall become a blob, of a subscription of this name.
async fn lost(name: &str, letters: usize) -> (Azurite, World) {
    let azurite = Azurite::start().await;
    azurite.make_container("lost-events").await;
    let world = World::start(azurite.account());
    world
        .subscribe(name, "no-such-queue", given_up_into("lost-events"))
        .await;
    world.publish(0..letters, 10).await;
    world.quiet().await;
    (azurite, world)
}

/// Waits until a container has that many blobs, and returns their names.
async fn written(azurite: &Azurite, container: &str, count: usize) -> Vec<String> {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..2_000 {
        let names = azurite.blobs(container).await;
        if count <= names.len() {
            return names;
        }
        tick.tick().await;
    }
    panic!("waited in vain for {count} blobs in {container}")
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_5_7_dead_letters_become_one_blob_after_five_minutes() {
    let (azurite, world) = lost("my-Hook", 3).await;
    world
        .advance(FIVE_MINUTES.saturating_sub(Duration::from_secs(1)))
        .await;
    assert!(azurite.blobs("lost-events").await.is_empty());
    world.advance(Duration::from_secs(1)).await;

    let names = written(&azurite, "lost-events", 1).await;
    let [name] = &names[..] else {
        panic!("one blob was expected: {names:?}")
    };
    let (path, file) = name.rsplit_once('/').unwrap();
    assert_eq!(path, "MY-HOOK/2027/1/15/8");
    let guid = file.strip_suffix(".json").unwrap();
    assert_eq!((guid.len(), guid.matches('-').count()), (36, 4), "{guid}");

    let records = azurite.blob("lost-events", name).await;
    let mut ids: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["id"].clone())
        .collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, ["0", "1", "2"]);
    let record = &records[0];
    assert_eq!(record["deadLetterReason"], "MaxDeliveryAttemptsExceeded");
    assert_eq!(record["deliveryAttempts"], 1);
    assert_eq!(record["lastDeliveryOutcome"], "NotFound");
    assert_eq!(record["publishTime"], "2027-01-15T08:00:00.0000000Z");
    assert_eq!(
        record["lastDeliveryAttemptTime"],
        "2027-01-15T08:00:00.0000000Z"
    );
    assert_eq!(record["data"]["message"], "xxxxxxxxxx");
    // They are still here too.
    assert_eq!(
        world
            .grid
            .dead_letters(&DeadLetterQuery::default())
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_5_7_the_blob_has_the_schema_of_the_subscription() {
    let azurite = Azurite::start().await;
    azurite.make_container("lost-events").await;
    let world = World::start(azurite.account());
    let adapt = given_up_into("lost-events");
    world
        .subscribe("es1", "no-such-queue", |spec| {
            adapt(spec);
            spec.delivery_schema = DeliverySchema::CloudEvents;
        })
        .await;
    world.publish(0..1, 10).await;
    world.quiet().await;
    world.advance(FIVE_MINUTES).await;
    let names = written(&azurite, "lost-events", 1).await;
    let records = azurite.blob("lost-events", &names[0]).await;
    assert_eq!(records[0]["specversion"], "1.0");
    assert_eq!(
        records[0]["deadletterreason"],
        "MaxDeliveryAttemptsExceeded"
    );
    assert_eq!(records[0]["deliveryattempts"], 1);
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn a_blob_is_written_although_the_router_was_restarted_and_the_account_was_down() {
    let (mut azurite, world) = lost("es1", 1).await;
    azurite.stop(End::Orderly).await;
    world.advance(Duration::from_secs(1)).await;
    let world = world.restart().await;
    world.advance(FIVE_MINUTES).await;
    // Deliveries are not in its way, nor it in theirs.
    world.publish(1..2, 10).await;
    world.quiet().await;
    azurite.start_again().await;
    assert_eq!(world.unwritten(), 2);
    // Ten seconds after the failure it is tried again.
    world.advance(Duration::from_secs(10)).await;
    let blobs = written(&azurite, "lost-events", 1).await;
    let records = azurite.blob("lost-events", &blobs[0]).await;
    assert_eq!(records[0]["id"], "0");
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn a_letter_that_was_brought_back_before_is_in_no_blob() {
    let azurite = Azurite::start().await;
    azurite.make_container("lost-events").await;
    let world = World::start(azurite.account());
    world
        .subscribe("es1", "late-queue", given_up_into("lost-events"))
        .await;
    world.publish(0..1, 10).await;
    world.quiet().await;
    azurite.make_queue("late-queue").await;
    world.publish(1..2, 50_000).await;
    world.quiet().await;
    let query = DeadLetterQuery {
        event_id: Some("0".into()),
        ..DeadLetterQuery::default()
    };
    assert_eq!(world.grid.redrive(&query).await.unwrap(), 1);
    world.quiet().await;
    assert_eq!(azurite.messages("late-queue").await.len(), 1);
    world.advance(FIVE_MINUTES).await;
    let names = written(&azurite, "lost-events", 1).await;
    let records = azurite.blob("lost-events", &names[0]).await;
    let ids: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["id"])
        .collect();
    assert_eq!(ids, ["1"]);
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_5_7_a_container_that_does_not_exist_costs_the_blob_and_not_the_letter() {
    let azurite = Azurite::start().await;
    let world = World::start(azurite.account());
    world
        .subscribe("es1", "no-such-queue", given_up_into("missing"))
        .await;
    world.publish(0..1, 10).await;
    world.quiet().await;
    assert_eq!(world.unwritten(), 1);
    world.advance(FIVE_MINUTES).await;
    until("the blob is dropped", || world.unwritten() == 0).await;
    is_kept_and_counted(&world, "404", "DeadLetterDestinationRefused").await;
}

/// Expects the one letter to be here with the reason why it is in no blob, and to be counted as dropped.
async fn is_kept_and_counted(world: &World, why: &str, reason: &'static str) {
    until("it is counted", || {
        let metrics = world.grid.metrics();
        let dropped = metrics.topics.iter().flat_map(|topic| &topic.dropped);
        dropped
            .map(|((_, why), count)| (*why, *count))
            .eq([(reason, 1)])
    })
    .await;
    let letters = world.grid.dead_letters(&DeadLetterQuery::default());
    let letters = letters.unwrap();
    let [letter] = &letters[..] else {
        panic!("one letter was expected: {letters:?}")
    };
    let said = letter.blob_error.as_deref().unwrap();
    assert!(said.contains(why), "{said}");
}

#[tokio::test]
#[ignore = "needs a storage service: cargo xtask handlers"]
async fn section_5_7_an_account_that_is_away_for_four_hours_costs_the_blob() {
    let (mut azurite, world) = lost("es1", 1).await;
    azurite.stop(End::Orderly).await;
    world
        .advance(FIVE_MINUTES + Duration::from_secs(4 * 3600 - 600))
        .await;
    assert_eq!(world.unwritten(), 1);
    world.advance(Duration::from_secs(1_200)).await;
    assert_eq!(world.unwritten(), 0);
    azurite.start_again().await;
    assert!(azurite.blobs("lost-events").await.is_empty());
    is_kept_and_counted(&world, "", "DeadLetterDestinationUnavailable").await;
}
