//! Users who are gone: told of once, and not when they come back in time.

use std::time::Duration;

use gridpost_comms::identity::{Scopes, User};
use gridpost_model::Clock as _;
use gridpost_store::{Partition, Scan, Table};

use super::users;
use crate::world::{World, resource};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn gone(world: &World) -> Vec<String> {
    let told = world.data("UserDisconnected");
    let of = |data: &serde_json::Value| data["userCommunicationIdentifier"]["rawId"].clone();
    told.iter()
        .map(|data| of(data).as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn section_6_a_user_whose_last_listener_went_is_told_of_once() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let listen = |user: &User| world.comms.listen(user.clone()).unwrap();
    let (phone, laptop, other) = (listen(&all[0]), listen(&all[0]), listen(&all[1]));
    drop(phone);
    world.advance(seconds(60)).await;
    assert!(gone(&world).is_empty());

    drop(laptop);
    world.advance(seconds(29)).await;
    assert!(gone(&world).is_empty());
    world.advance(seconds(1)).await;
    assert_eq!(gone(&world), [all[0].id.to_string()]);

    // Its resource and subject are the user's, whom no thread is about.
    let events = world.events();
    let event = events.last().unwrap();
    assert_eq!(event["subject"], format!("user/{}", all[0].id));
    assert_eq!(event["topic"], resource("dev").as_str());
    drop(other);
    world.advance(seconds(3600)).await;
    assert_eq!(gone(&world).len(), 2);
}

#[tokio::test]
async fn whoever_comes_back_in_time_was_never_gone() {
    let world = World::start().await;
    let bob = users(&world, 1).await.remove(0);
    let listen = || world.comms.listen(bob.clone()).unwrap();
    drop(listen());
    world.advance(seconds(20)).await;
    let again = listen();
    world.advance(seconds(3600)).await;
    assert!(gone(&world).is_empty());

    drop(again);
    world.advance(seconds(20)).await;
    drop(listen());
    // The first departure's time is over, but not the second's.
    world.advance(seconds(20)).await;
    assert!(gone(&world).is_empty());
    world.advance(seconds(10)).await;
    assert_eq!(gone(&world).len(), 1);
}

#[tokio::test]
async fn a_departure_outlives_a_kill_and_goes_with_its_resource() {
    let world = World::start().await;
    let bob = users(&world, 1).await.remove(0);
    drop(world.comms.listen(bob.clone()).unwrap());
    world.settle().await;
    let next = world.after_kill();
    next.advance(seconds(30)).await;
    assert_eq!(gone(&next), [bob.id.to_string()]);

    world.comms.delete_resource(&resource("dev")).await.unwrap();
    world.advance(seconds(30)).await;
    assert!(gone(&world).is_empty());
}

#[tokio::test]
async fn whoever_listened_when_a_resource_was_deleted_leaves_nothing_behind() {
    #[derive(serde::Deserialize)]
    struct Away {
        #[serde(rename = "gone")]
        _gone: gridpost_model::Timestamp,
    }
    const AWAY: Table<Away> = Table::new(88, "chat_away");
    let world = World::start().await;
    let all = users(&world, 2).await;
    let partition = Partition::of(&resource("dev"));
    let away = || {
        let rows = world.store.snapshot().scan(&AWAY, partition, Scan::all());
        rows.unwrap().len()
    };
    drop(world.comms.listen(all[0].clone()).unwrap());
    world.settle().await;
    assert_eq!(away(), 1);
    let listening = world.comms.listen(all[1].clone()).unwrap();
    world.comms.delete_resource(&resource("dev")).await.unwrap();
    drop(listening);
    world.advance(seconds(60)).await;
    assert_eq!(away(), 0);
    assert!(gone(&world).is_empty());
}

#[tokio::test]
async fn whoever_leaves_when_the_services_close_is_told_of_after_the_restart() {
    let world = World::start().await;
    let bob = users(&world, 1).await.remove(0);
    world.settle().await;
    drop(world.comms.listen(bob.clone()).unwrap());
    let next = world.restart().await;
    next.advance(seconds(30)).await;
    assert_eq!(gone(&next), [bob.id.to_string()]);
}

#[tokio::test]
async fn whoever_leaves_again_while_its_first_departure_is_judged_is_gone_a_grace_later() {
    let world = World::start().await;
    let bob = users(&world, 1).await.remove(0);
    let listen = || world.comms.listen(bob.clone()).unwrap();
    drop(listen());
    world.settle().await;
    // The judgement is on its way, and waits for the writer.
    let held = world.hold().await;
    world.clock.turn_to(world.clock.now() + seconds(30));
    world.breathe().await;
    drop(listen());
    drop(held);
    world.settle().await;
    assert!(gone(&world).is_empty());
    world.advance(seconds(29)).await;
    assert!(gone(&world).is_empty());
    world.advance(seconds(1)).await;
    assert_eq!(gone(&world).len(), 1);
}

#[tokio::test]
async fn who_may_not_listen_is_never_gone() {
    let world = World::start().await;
    let mut bob = users(&world, 1).await.remove(0);
    bob.scopes = "voip".parse::<Scopes>().unwrap();
    assert!(world.comms.listen(bob).is_err());
    world.advance(seconds(60)).await;
    assert!(gone(&world).is_empty());
}
