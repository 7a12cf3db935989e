//! Calls whose caller lost the right to them after they began.

use gridpost_comms::chat::{ChatError, Content, Edit, NewThread, ThreadChange};
use gridpost_comms::identity::{IdentityError, NewIdentity};

use super::{about, text, thread, users};
use crate::world::{World, resource, spec};

#[tokio::test]
async fn a_change_counts_only_while_the_token_is_good() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let already = world.events().len();
    let revoked = world.comms.revoke_tokens(&world.dev(), &all[1].id).await;
    revoked.unwrap();
    let chat = world.comms.chat(&all[1]);
    let late = chat.send(&made.id, text("late")).await;
    assert!(matches!(late, Err(ChatError::Unauthorized)), "{late:?}");
    let deleted = world.comms.delete_identity(&world.dev(), &all[1].id).await;
    deleted.unwrap();
    let late = chat.create(about("late", &all[..1])).await;
    assert!(matches!(late, Err(ChatError::Unauthorized)), "{late:?}");
    world.settle().await;
    let others = world.comms.chat(&all[0]);
    assert_eq!(others.list(None, None, None).unwrap().items.len(), 1);
    // The rest tells that the deleted one left.
    let told = &world.events()[already..];
    let is_late = |event: &serde_json::Value| event.to_string().contains("late");
    assert!(!told.is_empty() && !told.iter().any(is_late), "{told:?}");
}

#[tokio::test]
async fn nothing_comes_into_a_resource_that_was_deleted() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let dev = world.dev();
    assert!(world.comms.delete_resource(&dev.id).await.unwrap());
    let again = world.comms.put_resource(resource("dev"), spec()).await;
    assert_ne!(again.unwrap().0.immutable_id, dev.immutable_id);
    let already = world.events().len();
    let chat = world.comms.chat(&all[0]);
    let late = chat.create(about("late", &all[1..])).await;
    assert!(matches!(late, Err(ChatError::Unauthorized)), "{late:?}");
    let late = world.comms.create_identity(&dev, NewIdentity::default());
    let late = late.await;
    assert!(matches!(late, Err(IdentityError::NoResource)), "{late:?}");
    assert_eq!(world.events().len(), already);
}

#[tokio::test]
async fn a_creation_is_not_repeated_to_a_creator_who_was_removed() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let once = || NewThread {
        request_id: Some("5e7b".into()),
        ..about("once", &all[1..])
    };
    let creator = world.comms.chat(&all[0]);
    let made = creator.create(once()).await.unwrap().thread;
    let other = world.comms.chat(&all[1]);
    other.remove(&made.id, all[0].id.as_str()).await.unwrap();
    let change = ThreadChange {
        topic: Some("secret".into()),
        ..ThreadChange::default()
    };
    other.update(&made.id, change).await.unwrap();
    let again = creator.create(once()).await;
    assert!(matches!(again, Err(ChatError::Forbidden(_))), "{again:?}");
}

#[tokio::test]
async fn who_was_removed_does_not_see_what_is_edited_in_afterwards() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let (stays, goes) = (world.comms.chat(&all[0]), world.comms.chat(&all[1]));
    let before = stays.send(&made.id, text("one")).await.unwrap();
    let after = stays.send(&made.id, text("two")).await.unwrap();
    let edit = |text: &str| Edit {
        text: Some(text.into()),
        metadata: [("k".to_owned(), Some("v".to_owned()))].into(),
    };
    stays.edit(&made.id, before, edit("1")).await.unwrap();
    stays.remove(&made.id, all[1].id.as_str()).await.unwrap();
    stays.edit(&made.id, after, edit("2")).await.unwrap();
    let words = |chat: &gridpost_comms::chat::Chat<'_>, id| {
        let message = chat.message(&made.id, id).unwrap();
        let listed = chat.messages(&made.id, None, None, None).unwrap();
        assert!(listed.items.contains(&message));
        let Content::Said { text, .. } = message.content else {
            panic!("a system message");
        };
        (text, message.metadata.len(), message.edited.is_some())
    };
    assert_eq!(words(&stays, after), ("2".into(), 1, true));
    assert_eq!(words(&goes, after), (String::new(), 0, true));
    assert_eq!(words(&goes, before), ("1".into(), 1, true));
}
