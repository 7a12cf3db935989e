//! Dead letters that are deleted, too old, or brought back.

use std::time::Duration;

use gridpost_grid::DeadLetterQuery;

use crate::endpoint::{Endpoint, Reply};
use crate::world::{World, communication, until};

/// Three dead letters of each of two subscriptions, the first of which was deleted.
async fn buried() -> (World, Endpoint) {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("gone", &endpoint).await;
    world.subscribe("there", &endpoint).await;
    endpoint.answer(|_| Reply::status(400));
    world.texts(3).await;
    until("all were given up", || world.dead_letters().len() == 6).await;
    let source = communication().id;
    let deleted = world.grid.delete_event_subscription(&source, "gone").await;
    assert!(deleted.unwrap());
    (world, endpoint)
}

fn of(subscription: &str, limit: Option<usize>) -> DeadLetterQuery {
    DeadLetterQuery {
        subscription: Some(subscription.to_owned()),
        limit,
        ..DeadLetterQuery::default()
    }
}

#[tokio::test]
async fn dead_letters_are_deleted_by_query_those_of_deleted_subscriptions_too() {
    let (world, _endpoint) = buried().await;
    let delete = |query| {
        let grid = world.grid.clone();
        async move { grid.delete_dead_letters(&query).await.unwrap() }
    };
    assert_eq!(delete(of("nobody", None)).await, 0);
    assert_eq!(delete(of("gone", Some(2))).await, 2);
    assert_eq!(delete(of("gone", None)).await, 1);
    let left = world.dead_letters();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|letter| letter.subscription == "there"));
    assert_eq!(delete(DeadLetterQuery::default()).await, 3);
    assert!(world.dead_letters().is_empty());
}

#[tokio::test]
async fn the_limit_of_a_redrive_counts_what_is_brought_back() {
    let (world, _endpoint) = buried().await;
    let query = DeadLetterQuery {
        limit: Some(2),
        ..DeadLetterQuery::default()
    };
    // The three of the deleted subscription come first, and stay.
    assert_eq!(world.grid.redrive(&query).await.unwrap(), 2);
}

#[tokio::test]
async fn dead_letters_go_after_a_month_and_are_counted_as_dropped() {
    let (world, _endpoint) = buried().await;
    let dropped = || {
        let metrics = world.grid.metrics();
        let topics = metrics.topics.iter().flat_map(|topic| &topic.dropped);
        let named = topics.filter(|((_, reason), _)| *reason == "DeadLetterExpired");
        named.map(|(_, count)| *count).sum::<u64>()
    };
    let day = Duration::from_secs(24 * 3600);
    world.turn(29 * day).await;
    assert_eq!((world.dead_letters().len(), dropped()), (6, 0));
    world.turn(day).await;
    until("they are gone", || world.dead_letters().is_empty()).await;
    until("they are counted", || dropped() == 6).await;
}
