//! What was said: kept, listed page by page, and seen by whom.

use std::time::Duration;

use futures_util::future::join_all;
use gridpost_comms::chat::{Candidate, Content};
use gridpost_comms::identity::User;
use gridpost_model::Timestamp;

use super::{DAY, candidate, text, thread, users};
use crate::world::World;

#[tokio::test]
async fn a_message_and_its_events_survive_a_kill() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let id = world
        .comms
        .chat(&all[0])
        .send(&made.id, text("kept"))
        .await
        .unwrap();
    let world = world.after_kill();
    let message = world.comms.chat(&all[1]).message(&made.id, id).unwrap();
    assert!(matches!(message.content, Content::Said { text, .. } if text == "kept"));
    assert_eq!(world.data("ChatMessageReceived").len(), 1);
}

#[tokio::test]
async fn section_7_pages_go_from_the_newest_message_to_the_oldest() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let chat = world.comms.chat(&all[0]);
    let draft = |n: usize| text(&n.to_string());
    let ids = join_all((0..503).map(|n| chat.send(&made.id, draft(n)))).await;
    let mut ids: Vec<u64> = ids.into_iter().collect::<Result<_, _>>().unwrap();
    ids.sort_unstable();

    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = chat.messages(&made.id, None, before, Some(100)).unwrap();
        found.extend(page.items);
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    // Two messages of the system came first: the topic, and who was added.
    assert_eq!((found.len(), pages), (505, 6));
    assert!(
        found.is_sorted_by(
            |newer, older| older.id < newer.id && older.sequence + 1 == newer.sequence
        )
    );
    assert_eq!(found[0].id, ids[502]);
    assert_eq!(found[504].content.type_name(), "topicUpdated");
    assert_eq!(found[503].content.type_name(), "participantAdded");

    world.advance(DAY).await;
    let since = world.dev().created + DAY;
    let late = chat.send(&made.id, text("late")).await.unwrap();
    let page = chat
        .messages(&made.id, Some(since), None, Some(500))
        .unwrap();
    assert_eq!(
        page.items.iter().map(|one| one.id).collect::<Vec<_>>(),
        [late]
    );
}

#[tokio::test]
async fn section_7_who_comes_late_sees_as_far_back_as_it_was_let_and_who_left_no_further() {
    let world = World::start().await;
    let all = users(&world, 5).await;
    let made = thread(&world, &all[0], &all[1..2]).await;
    let chat = world.comms.chat(&all[0]);
    let first = chat.send(&made.id, text("first")).await.unwrap();
    world.advance(Duration::from_secs(60)).await;
    let noon = world.dev().created + Duration::from_secs(30);
    let second = chat.send(&made.id, text("second")).await.unwrap();
    world.advance(Duration::from_secs(60)).await;
    let since = |user: &User, time| Candidate {
        share_history_time: time,
        ..candidate(user)
    };
    let named = vec![
        since(&all[2], Some(Timestamp::EPOCH)),
        since(&all[3], Some(noon)),
        since(&all[4], None),
    ];
    chat.add(&made.id, named).await.unwrap();
    world.advance(Duration::from_secs(60)).await;
    chat.remove(&made.id, all[1].id.as_str()).await.unwrap();
    world.advance(Duration::from_secs(60)).await;
    let third = chat.send(&made.id, text("third")).await.unwrap();

    let sees = |user: &User| {
        let chat = world.comms.chat(user);
        let page = chat.messages(&made.id, None, None, Some(200)).unwrap();
        let listed = |id| page.items.iter().any(|message| message.id == id);
        let read = |id| chat.message(&made.id, id).is_ok();
        [first, second, third].map(|id| {
            assert_eq!(listed(id), read(id));
            listed(id)
        })
    };
    assert_eq!(sees(&all[0]), [true, true, true]);
    assert_eq!(sees(&all[1]), [true, true, false]);
    assert_eq!(sees(&all[2]), [true, true, true]);
    assert_eq!(sees(&all[3]), [false, true, true]);
    assert_eq!(sees(&all[4]), [false, false, true]);
}

#[tokio::test]
async fn a_page_of_long_messages_ends_early_and_tells_where_the_next_begins() {
    let world = World::start().await;
    let all = users(&world, 2).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let chat = world.comms.chat(&all[0]);
    // Kept and answered as six characters each.
    let long = "\u{1}".repeat(28 << 10);
    let ids = join_all((0..9).map(|_| chat.send(&made.id, text(&long)))).await;
    let ids: Vec<u64> = ids.into_iter().collect::<Result<_, _>>().unwrap();
    let (mut found, mut before) = (Vec::new(), None);
    let mut pages = Vec::new();
    loop {
        let page = chat.messages(&made.id, None, before, Some(200)).unwrap();
        pages.push(page.items.len());
        found.extend(page.items.iter().map(|message| message.id));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    // The last one has the two messages of the system.
    assert_eq!(pages, [4, 4, 3]);
    assert!(ids.iter().all(|id| found.contains(id)));
    let all_but_first = chat.messages(&made.id, None, None, Some(1)).unwrap();
    assert_eq!(all_but_first.next, Some(found[0]));
}
