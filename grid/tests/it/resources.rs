//! Topics, system topics and resource groups: what exists, what goes with what. Tests are named after the sections of
//! the Event Grid reference.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use gridpost_grid::domain_topics::Automation;
use gridpost_grid::entrances::EntranceSpec;
use gridpost_grid::intake::{IngressSpec, IntakeKind};
use gridpost_grid::manage::{Created, ManageError};
use gridpost_grid::scope::Scope;
use gridpost_grid::subscriptions::{Source, SubscribeError, SubscriptionSpec};
use gridpost_grid::system_topics::SystemTopicSpec;
use gridpost_model::filter::TopicKind;
use gridpost_model::{ResourceId, WhichKey};

use crate::endpoint::Endpoint;
use crate::world::{GROUP, World, communication, system_topic_id, topic_id, until};

fn topic_spec() -> EntranceSpec {
    EntranceSpec {
        location: "local".into(),
        tags: BTreeMap::new(),
        ingress: IngressSpec::default(),
        automation: None,
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn section_2_10_subscribing_to_a_source_makes_its_system_topic_once() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.subscribe("es2", &endpoint).await;
    let [topic] = &world.grid.system_topics(&Scope::Everywhere)[..] else {
        panic!("one topic")
    };
    assert_eq!(
        (topic.source.clone(), topic.location.as_str()),
        (communication().id, "global")
    );
    assert_eq!(topic.id.resource_group(), Some("rg"));

    // The system topic shows the same subscriptions, and takes them along when it goes.
    let names = |of: &ResourceId| {
        let all = world.grid.event_subscriptions(Some(of), &Scope::Everywhere);
        all.iter().map(|one| one.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&topic.id), ["es1", "es2"]);
    assert_eq!(names(&communication().id), ["es1", "es2"]);
    assert!(world.grid.delete_system_topic(&topic.id).await.unwrap());
    assert_eq!(names(&communication().id), Vec::<String>::new());
    assert_eq!(world.text("1", "15551").await, 0);
}

#[tokio::test]
async fn section_2_10_a_source_has_one_system_topic() {
    let world = World::start();
    let spec = || SystemTopicSpec {
        location: "global".into(),
        tags: BTreeMap::from([("a".into(), "b".into())]),
        source: communication().id,
        topic_type: "Microsoft.Communication.CommunicationServices".into(),
    };
    let first = world
        .grid
        .put_system_topic(system_topic_id("st1"), spec())
        .await
        .unwrap();
    assert_eq!(first.1, Created::New);
    let again = world
        .grid
        .put_system_topic(system_topic_id("ST1"), spec())
        .await
        .unwrap();
    assert_eq!(
        (again.1, again.0.id.as_str()),
        (Created::Updated, first.0.id.as_str())
    );
    let second = world
        .grid
        .put_system_topic(system_topic_id("st2"), spec())
        .await;
    assert!(matches!(second, Err(ManageError::Conflict(_))));

    let source = Source {
        id: system_topic_id("st1"),
        kind: TopicKind::Communication,
    };
    let endpoint = Endpoint::agreeing().await;
    let nested = SubscriptionSpec::to(endpoint.url());
    let (made, _) = world
        .grid
        .put_event_subscription(&source, "es1", nested)
        .await
        .unwrap();
    assert_eq!(made.source, communication().id);
    assert_eq!(world.text("1", "15551").await, 1);
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let (topic, _) = world
        .grid
        .put_entrance(topic_id("orders"), topic_spec())
        .await
        .unwrap();
    world.subscribe("es1", &endpoint).await;
    let subscription = world
        .grid
        .event_subscription(&communication().id, "es1")
        .unwrap();
    let system_topics = world.grid.system_topics(&Scope::Everywhere);
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let (group, _) = world
        .grid
        .put_resource_group(GROUP.parse().unwrap(), "local".into(), tags)
        .await
        .unwrap();

    let world = world.restart().await;
    let found = world.grid.intake(IntakeKind::Topic, "ORDERS").unwrap();
    assert_eq!(world.grid.entrance(&found.id).unwrap(), topic);
    assert_eq!(
        world
            .grid
            .event_subscription(&communication().id, "es1")
            .unwrap(),
        subscription
    );
    assert_eq!(world.grid.system_topics(&Scope::Everywhere), system_topics);
    assert_eq!(
        world
            .grid
            .resource_group(&GROUP.to_uppercase().parse().unwrap()),
        Some(group)
    );
    assert_eq!(world.text("1", "15551").await, 1);
}

#[tokio::test]
async fn section_3_3_topic_names_are_unique_and_keys_stay() {
    let world = World::start();
    let (topic, created) = world
        .grid
        .put_entrance(topic_id("orders"), topic_spec())
        .await
        .unwrap();
    assert_eq!(created, Created::New);
    let (again, created) = world
        .grid
        .put_entrance(topic_id("Orders"), topic_spec())
        .await
        .unwrap();
    assert_eq!(
        (created, &again.ingress.keys, &again.id),
        (Created::Updated, &topic.ingress.keys, &topic.id)
    );

    let elsewhere =
        "/subscriptions/sub/resourceGroups/other/providers/Microsoft.EventGrid/topics/orders";
    let taken = world
        .grid
        .put_entrance(elsewhere.parse().unwrap(), topic_spec())
        .await
        .unwrap_err();
    assert_eq!(
        taken.to_string(),
        "Topic with the specified name already exists. Choose a different topic name."
    );
    let moved = EntranceSpec {
        location: "mars".into(),
        ..topic_spec()
    };
    assert!(matches!(
        world.grid.put_entrance(topic_id("orders"), moved).await,
        Err(ManageError::Conflict(_))
    ));
    let other = world
        .grid
        .regenerate_key(&topic.id, WhichKey::Second)
        .await
        .unwrap();
    assert_eq!(other.ingress.keys.first, topic.ingress.keys.first);
    assert_ne!(other.ingress.keys.second, topic.ingress.keys.second);
}

#[tokio::test]
async fn a_topic_takes_its_subscriptions_along() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let source = Source {
        id: topic_id("orders"),
        kind: TopicKind::Custom,
    };
    let spec = SubscriptionSpec::to(endpoint.url());
    let unknown = world
        .grid
        .put_event_subscription(&source, "es1", spec.clone())
        .await;
    assert!(matches!(unknown, Err(SubscribeError::UnknownSource(_))));

    world
        .grid
        .put_entrance(source.id.clone(), topic_spec())
        .await
        .unwrap();
    world
        .grid
        .put_event_subscription(&source, "es1", spec)
        .await
        .unwrap();
    assert!(world.grid.delete_entrance(&source.id).await.unwrap());
    assert!(world.grid.intake(IntakeKind::Topic, "orders").is_none());
    assert!(world.grid.event_subscription(&source.id, "es1").is_none());
    assert_eq!(
        endpoint.nth(2).await.header("aeg-event-type"),
        "SubscriptionDeletion"
    );
    assert!(!world.grid.delete_entrance(&source.id).await.unwrap());
}

#[tokio::test]
async fn a_resource_group_goes_with_what_lies_in_it() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let group = GROUP.parse().unwrap();
    world
        .grid
        .put_resource_group(GROUP.parse().unwrap(), "local".into(), BTreeMap::new())
        .await
        .unwrap();
    world
        .grid
        .put_entrance(topic_id("orders"), topic_spec())
        .await
        .unwrap();
    let domain = EntranceSpec {
        automation: Some(Automation::default()),
        ..topic_spec()
    };
    let shop = format!("{GROUP}/providers/Microsoft.EventGrid/domains/shop");
    let put = world.grid.put_entrance(shop.parse().unwrap(), domain);
    put.await.unwrap();
    world.subscribe("es1", &endpoint).await;
    let scope = Scope::ResourceGroup {
        subscription: "SUB".into(),
        group: "RG".into(),
    };
    assert_eq!(world.grid.event_subscriptions(None, &scope).len(), 1);
    assert!(world.grid.delete_resource_group(&group).await.unwrap());
    assert!(world.grid.entrances(IntakeKind::Topic, &scope).is_empty());
    assert!(world.grid.entrances(IntakeKind::Domain, &scope).is_empty());
    assert!(world.grid.system_topics(&scope).is_empty());
    assert!(world.grid.event_subscriptions(None, &scope).is_empty());
    assert!(!world.grid.delete_resource_group(&group).await.unwrap());
}

#[tokio::test]
async fn a_change_is_finished_when_its_client_hangs_up() {
    let world = World::start();
    let grid = world.grid.clone();
    let mut put = Box::pin(grid.put_entrance(topic_id("orders"), topic_spec()));
    // Polled once, so that the change has begun, and dropped.
    assert!(poll_once(put.as_mut()).is_pending());
    drop(put);
    drop(grid);
    until("the topic is there", || {
        world.grid.intake(IntakeKind::Topic, "orders").is_some()
    })
    .await;
    let world = world.restart().await;
    assert!(world.grid.intake(IntakeKind::Topic, "orders").is_some());
}
