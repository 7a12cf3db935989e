//! Users who listen: what ends it, and what they hear.

use std::time::Duration;

use futures_util::FutureExt as _;
use gridpost_comms::chat::live::{End, Heard, Listening, NotHeard};
use gridpost_comms::identity::{Lifetime, TokenWish, User};
use gridpost_store::{Partition, StoreError, Table};

use super::{candidate, text, thread, users};
use crate::world::World;

/// What takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(20);

fn listen(world: &World, user: &User) -> Listening {
    world.comms.listen(user.clone()).unwrap()
}

async fn end(listening: &mut Listening) -> End {
    loop {
        let heard = tokio::time::timeout(PATIENCE, listening.next()).await;
        if let Heard::End(end) = heard.unwrap() {
            return end;
        }
    }
}

/// The type of the next event, without what all begin with.
async fn kind(listening: &mut Listening) -> String {
    match tokio::time::timeout(PATIENCE, listening.next()).await {
        Ok(Heard::Event(event)) => event.event_type.rsplit('.').next().unwrap().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_revokes_no_token() {
    const IDENTITIES: Table<String> = Table::new(70, "identities");
    let world = World::start().await;
    let bob = users(&world, 1).await.remove(0);
    let mut listening = listen(&world, &bob);
    let user = bob.clone();
    let damage = world
        .store
        .write(Partition::of(&bob.resource.id), move |txn| {
            let key = (user.id.resource(), user.id.user());
            txn.put(&IDENTITIES, key, &"damaged".to_owned())?;
            Ok::<_, StoreError>(())
        });
    damage.await.unwrap();
    assert_eq!(end(&mut listening).await, End::Failing);
}

#[tokio::test]
async fn a_revocation_counts_at_once_although_its_client_hung_up() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let dev = world.dev();
    let (mut alices, mut bobs) = (listen(&world, &all[0]), listen(&world, &all[1]));
    let held = world.hold().await;
    let revoking = Box::pin(world.comms.revoke_tokens(&dev, &all[0].id)).now_or_never();
    let deleting = Box::pin(world.comms.delete_identity(&dev, &all[1].id)).now_or_never();
    assert!(revoking.is_none() && deleting.is_none());
    drop(held);
    assert_eq!(end(&mut alices).await, End::Revoked);
    assert_eq!(end(&mut bobs).await, End::Revoked);
    world.settle().await;
}

#[tokio::test]
async fn a_newer_token_is_the_same_users_and_for_chat() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let mut listening = listen(&world, &all[0]);
    let caller = User {
        scopes: "voip".parse().unwrap(),
        ..all[0].clone()
    };
    let renewed = listening.renew(all[1].clone());
    assert_eq!(renewed, Err(NotHeard::AnotherUser));
    assert_eq!(listening.renew(caller), Err(NotHeard::Forbidden));
    assert_eq!(listening.renew(all[0].clone()), Ok(()));
}

#[tokio::test]
async fn a_receipt_is_told_although_its_client_hung_up_and_told_once() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let said = world.comms.chat(&all[1]).send(&made.id, text("x")).await;
    let said = said.unwrap();
    let mut bobs = listen(&world, &all[1]);
    let chat = world.comms.chat(&all[0]);
    let held = world.hold().await;
    assert!(Box::pin(chat.read(&made.id, said)).now_or_never().is_none());
    drop(held);
    assert_eq!(kind(&mut bobs).await, "ChatReadReceiptReceived");
    chat.read(&made.id, said).await.unwrap();
    world.breathe().await;
    chat.send(&made.id, text("y")).await.unwrap();
    assert_eq!(kind(&mut bobs).await, "ChatMessageReceived");
    world.settle().await;
}

#[tokio::test]
async fn twins_take_up_no_room_while_nobody_reads() {
    let world = World::start().await;
    let all = users(&world, 202).await;
    let made = thread(&world, &all[0], &all[1..2]).await;
    let mut bobs = listen(&world, &all[1]);
    let many = all[2..].iter().map(candidate).collect();
    world.comms.chat(&all[0]).add(&made.id, many).await.unwrap();
    world.settle().await;
    for _ in 0..200 {
        let added = "ChatParticipantAddedToThreadWithUser";
        assert_eq!(kind(&mut bobs).await, added);
    }
    assert!(bobs.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_token_is_good_when_it_is_handed_out() {
    let world = World::start().await;
    let bob = users(&world, 1).await.remove(0);
    // That it was given a token is noted once a minute.
    world.advance(Duration::from_secs(61)).await;
    let dev = world.dev();
    let wish = TokenWish {
        scopes: "chat".parse().unwrap(),
        lifetime: Lifetime::default(),
    };
    let held = world.hold().await;
    let mut revoking = Box::pin(world.comms.revoke_tokens(&dev, &bob.id));
    assert!((&mut revoking).now_or_never().is_none());
    let mut issuing = Box::pin(world.comms.issue_token(&dev, &bob.id, wish));
    assert!((&mut issuing).now_or_never().is_none());
    drop(held);
    revoking.await.unwrap();
    let token = issuing.await.unwrap();
    assert_eq!(world.comms.user_of(token.text.reveal()).unwrap().id, bob.id);
}
