//! Which events an action raises, whom they name, and what they look like.

use std::collections::BTreeSet;
use std::time::Duration;

use gridpost_comms::chat::{Candidate, ChatError, Edit, ThreadChange};
use gridpost_comms::identity::User;
use gridpost_comms::resources::ServicePatch;
use serde_json::Value;

use super::{about, candidate, counted, expected, text, thread, user, users};
use crate::world::{HANDSET, World, resource, shape};

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
async fn a_creation_as_large_as_it_may_be_is_kept_with_its_events_owed() {
    let world = World::start().await;
    let all = users(&world, 201).await;
    let mut new = about("plans", &all[1..]);
    for one in &mut new.participants {
        one.display_name = Some("\"".repeat(250));
        one.metadata = [("k".to_owned(), "\u{1}".repeat(1020))].into();
    }
    // A client that was refused would send the same again.
    let made = world.comms.chat(&all[0]).create(new).await.unwrap();
    assert_eq!(made.thread.members, 201);
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
