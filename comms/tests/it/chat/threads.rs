//! Threads and the people in them: how they come, and how they go.

use gridpost_comms::chat::{Candidate, ChatError, NewThread, Retention, ThreadChange};

use super::{DAY, about, counted, expected, text, thread, user, users};
use crate::world::{World, resource};

#[tokio::test]
async fn section_4_a_creation_repeated_within_a_day_makes_no_second_thread() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let chat = world.comms.chat(&all[0]);
    let once = || NewThread {
        request_id: Some("5E7B".into()),
        ..about("once", &all[1..])
    };
    let first = chat.create(once()).await.unwrap().thread;
    let again = NewThread {
        request_id: Some("5e7b".into()),
        ..once()
    };
    assert_eq!(chat.create(again).await.unwrap().thread, first);
    assert_ne!(
        world
            .comms
            .chat(&all[1])
            .create(once())
            .await
            .unwrap()
            .thread
            .id,
        first.id
    );
    world.advance(DAY * 2).await;
    assert_ne!(chat.create(once()).await.unwrap().thread.id, first.id);
}

#[tokio::test]
async fn a_stranger_named_as_participant_is_told_of_and_not_taken_in() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let gone = user(&world).await;
    world
        .comms
        .delete_identity(&gone.resource, &gone.id)
        .await
        .unwrap();
    let mut new = about("strangers", &[all[1].clone(), gone.clone()]);
    new.participants.push(Candidate {
        id: "4:+14255550123".into(),
        ..Candidate::default()
    });
    let made = world.comms.chat(&all[0]).create(new).await.unwrap();
    let why: Vec<_> = made
        .invalid
        .iter()
        .map(|one| (one.why.code(), one.target.as_str()))
        .collect();
    assert_eq!(why, [("404", gone.id.as_str()), ("403", "4:+14255550123")]);
    assert_eq!(made.thread.members, 2);
}

#[tokio::test]
async fn a_deleted_user_leaves_its_threads_and_the_others_hear_of_it() {
    let world = World::start().await;
    let all = users(&world, 3).await;
    let mut threads = Vec::new();
    for _ in 0..3 {
        threads.push(thread(&world, &all[0], &all[1..]).await.id);
    }
    let already = world.events().len();
    world
        .comms
        .delete_identity(&all[2].resource, &all[2].id)
        .await
        .unwrap();
    world.settle().await;
    let counts = [
        ("ChatParticipantRemovedFromThreadWithUser", 6),
        ("ChatMemberRemovedFromThreadWithUser", 6),
        ("ChatThreadParticipantRemoved", 3),
    ];
    assert_eq!(counted(&world, already), expected(&counts));
    for thread in &threads {
        let page = world
            .comms
            .chat(&all[0])
            .participants(thread, 0, None)
            .unwrap();
        assert!(
            page.items
                .iter()
                .all(|member| member.person.id != all[2].id)
        );
        assert_eq!(page.items.len(), 2);
    }
}

#[tokio::test]
async fn a_thread_whose_time_is_over_goes_and_all_its_members_hear_of_it() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let new = NewThread {
        retention: Retention::Days(30),
        ..about("short", &all[1..])
    };
    let made = world.comms.chat(&all[0]).create(new).await.unwrap().thread;
    let longer = ThreadChange {
        retention: Some(Retention::Days(40)),
        ..ThreadChange::default()
    };
    world
        .comms
        .chat(&all[0])
        .update(&made.id, longer)
        .await
        .unwrap();
    let already = world.events().len();
    world.advance(DAY * 31).await;
    assert!(world.comms.chat(&all[0]).get(&made.id).is_ok());
    world.advance(DAY * 10).await;
    assert!(matches!(
        world.comms.chat(&all[0]).get(&made.id),
        Err(ChatError::NoThread)
    ));
    let counts = [("ChatThreadWithUserDeleted", 2), ("ChatThreadDeleted", 1)];
    assert_eq!(counted(&world, already), expected(&counts));
}

#[tokio::test]
async fn a_deleted_resource_takes_its_chat_along() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    world
        .comms
        .chat(&all[0])
        .send(&made.id, text("hello"))
        .await
        .unwrap();
    let already = world.events().len();
    world.comms.delete_resource(&resource("dev")).await.unwrap();
    world.settle().await;
    assert!(matches!(
        world.comms.chat(&all[0]).get(&made.id),
        Err(ChatError::NoThread)
    ));
    assert_eq!(world.events().len(), already);
}
