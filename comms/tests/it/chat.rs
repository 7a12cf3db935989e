//! Chat: what is kept, who hears of it, and what survives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use gridpost_comms::chat::{
    Candidate, ChatError, Content, Draft, Edit, NewThread, Retention, Thread, ThreadChange,
};
use gridpost_comms::identity::{NewIdentity, Scopes, User};
use gridpost_comms::resources::ServicePatch;
use gridpost_model::Timestamp;
use serde_json::Value;

use crate::world::{HANDSET, World, resource, shape};

const DAY: Duration = Duration::from_secs(86_400);

async fn user(world: &World) -> User {
    let dev = world.dev();
    let made = world.comms.create_identity(&dev, NewIdentity::default());
    User {
        id: made.await.unwrap().id,
        resource: dev,
        scopes: "chat".parse::<Scopes>().unwrap(),
        expires: Timestamp::FAR_FUTURE,
    }
}

pub(crate) async fn users(world: &World, count: usize) -> Vec<User> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(user(world).await);
    }
    all
}

fn candidate(user: &User) -> Candidate {
    Candidate {
        id: user.id.to_string(),
        ..Candidate::default()
    }
}

fn about(topic: &str, people: &[User]) -> NewThread {
    NewThread {
        topic: topic.into(),
        participants: people.iter().map(candidate).collect(),
        metadata: BTreeMap::new(),
        retention: Retention::Unlimited,
        request_id: None,
    }
}

pub(crate) async fn thread(world: &World, creator: &User, others: &[User]) -> Thread {
    let chat = world.comms.chat(creator);
    chat.create(about("plans", others)).await.unwrap().thread
}

pub(crate) fn text(text: &str) -> Draft {
    Draft {
        text: text.into(),
        ..Draft::default()
    }
}

/// How many events of each type were staged, without those that were there already.
fn counted(world: &World, already: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in &world.events()[already..] {
        let name = event["eventType"].as_str().unwrap();
        let name = name.trim_start_matches("Microsoft.Communication.");
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn expected(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let owned = |(name, count): &(&str, usize)| ((*name).to_owned(), *count);
    counts.iter().map(owned).collect()
}

#[tokio::test]
async fn section_2_every_action_tells_each_other_member_once_and_the_thread_once() {
    let world = World::start().await;
    let all = users(&world, 4).await;
    let [alice, bob, carol, dave] = &all[..] else {
        unreachable!()
    };
    let chat = world.comms.chat(alice);

    let mut already = world.events().len();
    let mut next = |what: &str, counts: &[(&str, usize)]| {
        assert_eq!(counted(&world, already), expected(counts), "{what}");
        already = world.events().len();
    };

    let made = thread(&world, alice, &[bob.clone(), carol.clone()]).await;
    next(
        "create",
        &[("ChatThreadCreatedWithUser", 2), ("ChatThreadCreated", 1)],
    );
    let said = chat.send(&made.id, text("hello")).await.unwrap();
    next(
        "send",
        &[
            ("ChatMessageReceived", 2),
            ("ChatMessageReceivedInThread", 1),
        ],
    );
    let edit = Edit {
        text: Some("hello!".into()),
        ..Edit::default()
    };
    chat.edit(&made.id, said, edit).await.unwrap();
    next(
        "edit",
        &[("ChatMessageEdited", 2), ("ChatMessageEditedInThread", 1)],
    );
    world.comms.chat(bob).read(&made.id, said).await.unwrap();
    next("read", &[]);
    chat.typing(&made.id, None).await.unwrap();
    next("typing", &[("ChatTypingIndicatorReceivedInThread", 1)]);
    chat.delete_message(&made.id, said).await.unwrap();
    chat.delete_message(&made.id, said).await.unwrap();
    next(
        "delete, twice",
        &[("ChatMessageDeleted", 2), ("ChatMessageDeletedInThread", 1)],
    );
    chat.add(&made.id, vec![candidate(dave), candidate(bob)])
        .await
        .unwrap();
    next(
        "add one and one who is there",
        &[
            ("ChatParticipantAddedToThreadWithUser", 3),
            ("ChatMemberAddedToThreadWithUser", 3),
            ("ChatThreadParticipantAdded", 1),
        ],
    );
    chat.remove(&made.id, dave.id.as_str()).await.unwrap();
    next(
        "remove",
        &[
            ("ChatParticipantRemovedFromThreadWithUser", 3),
            ("ChatMemberRemovedFromThreadWithUser", 3),
            ("ChatThreadParticipantRemoved", 1),
        ],
    );
    let change = ThreadChange {
        topic: Some("other plans".into()),
        ..ThreadChange::default()
    };
    chat.update(&made.id, change).await.unwrap();
    next(
        "topic",
        &[
            ("ChatThreadPropertiesUpdatedPerUser", 2),
            ("ChatThreadPropertiesUpdated", 1),
        ],
    );
    chat.delete(&made.id).await.unwrap();
    next(
        "delete thread",
        &[("ChatThreadWithUserDeleted", 2), ("ChatThreadDeleted", 1)],
    );
    world.settle().await;
    assert!(matches!(chat.get(&made.id), Err(ChatError::NoThread)));
}

#[tokio::test]
async fn all_events_of_an_action_share_a_transaction_and_none_goes_to_the_actor() {
    let world = World::start().await;
    let all = users(&world, 3).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let already = world.events().len();
    world
        .comms
        .chat(&all[1])
        .send(&made.id, text("hi"))
        .await
        .unwrap();

    let events = &world.events()[already..];
    let of = |key: &str| -> BTreeSet<String> {
        let values = events
            .iter()
            .filter_map(|event| event["data"][key].as_str());
        values.map(str::to_owned).collect()
    };
    assert_eq!(of("transactionId").len(), 1);
    let recipients = [&all[0], &all[2]].map(|user| user.id.to_string());
    assert_eq!(of("recipientId"), BTreeSet::from(recipients));
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_message_to_250_members_is_250_events() {
    let world = World::start().await;
    let all = users(&world, 250).await;
    let made = thread(&world, &all[0], &all[1..200]).await;
    world
        .comms
        .chat(&all[0])
        .add(&made.id, all[200..].iter().map(candidate).collect())
        .await
        .unwrap();
    world.settle().await;
    let already = world.events().len();
    world
        .comms
        .chat(&all[0])
        .send(&made.id, text("to all"))
        .await
        .unwrap();
    // Nobody waited for anything: they came with the message.
    let counts = [
        ("ChatMessageReceived", 249),
        ("ChatMessageReceivedInThread", 1),
    ];
    assert_eq!(counted(&world, already), expected(&counts));

    let one_more = user(&world).await;
    let refused = world
        .comms
        .chat(&all[0])
        .add(&made.id, vec![candidate(&one_more)])
        .await;
    assert!(matches!(
        refused,
        Err(ChatError::Invalid {
            target: "participants",
            ..
        })
    ));
    let refused = world.comms.chat(&all[0]).typing(&made.id, None).await;
    assert!(matches!(refused, Err(ChatError::TooManyForPresence)));
}

#[tokio::test]
async fn events_that_fit_no_record_are_owed_and_told_once_even_after_a_kill() {
    let world = World::start().await;
    let all = users(&world, 60).await;
    let made = thread(&world, &all[0], &all[1..]).await;
    let already = world.events().len();
    // Written as JSON, each of these characters takes six bytes: 59 times 168 KB do not fit.
    let long = "\u{1}".repeat(28 * 1024);
    world
        .comms
        .chat(&all[0])
        .send(&made.id, text(&long))
        .await
        .unwrap();
    let world = world.after_kill();
    world.settle().await;
    let counts = [
        ("ChatMessageReceived", 59),
        ("ChatMessageReceivedInThread", 1),
    ];
    assert_eq!(counted(&world, already), expected(&counts));
}

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

/// The keys of a value and of all objects in it, with their paths.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{at}/{key}");
                paths(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, at, found)),
        _ => (),
    }
}

#[tokio::test]
async fn section_9_in_the_shape_of_2020_calls_raise_the_samples_key_for_key() {
    let world = World::start().await;
    let patch = ServicePatch {
        tags: Some(shape("2020-09")),
        ..ServicePatch::default()
    };
    let dev = resource("dev");
    world.comms.patch_resource(&dev, patch).await.unwrap();
    let all = users(&world, 3).await;
    let named = |user: &User| Candidate {
        display_name: Some("Somebody".into()),
        ..candidate(user)
    };
    let mut new = about("plans", &[]);
    new.participants = vec![named(&all[0]), named(&all[1])];
    let chat = world.comms.chat(&all[0]);
    let made = chat.create(new).await.unwrap().thread;
    let said = chat.send(&made.id, text("hello")).await.unwrap();
    let edit = Edit {
        text: Some("hello!".into()),
        ..Edit::default()
    };
    chat.edit(&made.id, said, edit).await.unwrap();
    chat.delete_message(&made.id, said).await.unwrap();
    chat.add(&made.id, vec![named(&all[2])]).await.unwrap();
    chat.remove(&made.id, all[2].id.as_str()).await.unwrap();
    let change = ThreadChange {
        topic: Some("other plans".into()),
        ..ThreadChange::default()
    };
    chat.update(&made.id, change).await.unwrap();
    chat.delete(&made.id).await.unwrap();
    world.text(HANDSET, "hello").await;
    world.send_to(HANDSET).await;
    world.advance(Duration::from_secs(1)).await;

    let events = world.events();
    let samples = ["comms/src/chat/fixtures", "comms/src/sms/fixtures"];
    let mut compared = 0;
    for folder in samples {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(folder);
        for file in std::fs::read_dir(folder).unwrap() {
            let sample = std::fs::read(file.unwrap().path()).unwrap();
            let sample: Value = serde_json::from_slice(&sample).unwrap();
            let Some(sample) = sample.get(0) else {
                continue;
            };
            let is_like = |event: &&Value| event["eventType"] == sample["eventType"];
            let event = events.iter().find(is_like);
            let event = event.unwrap_or_else(|| panic!("no {}", sample["eventType"]));
            let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
            paths(sample, "", &mut expected);
            paths(event, "", &mut found);
            assert_eq!(found, expected, "{}", sample["eventType"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 10);
    // Comings and goings are told in the words of 2020 alone.
    assert!(
        world
            .data("ChatParticipantAddedToThreadWithUser")
            .is_empty()
    );
    assert!(
        world
            .data("ChatParticipantRemovedFromThreadWithUser")
            .is_empty()
    );
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
