//! Domains and their topics: whom an event goes to, and what comes and goes by itself. Tests are named after the
//! sections of the Event Grid reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridpost_grid::domain_topics::{Automation, AutomationPatch};
use gridpost_grid::entrances::{EntrancePatch, EntranceSpec};
use gridpost_grid::explain::Fate;
use gridpost_grid::intake::{IngressSpec, IntakeKind};
use gridpost_grid::manage::{Created, ManageError};
use gridpost_grid::scope::Scope;
use gridpost_grid::subscriptions::{Source, SubscribeError, SubscriptionSpec};
use gridpost_model::event::NewEvent;
use gridpost_model::filter::TopicKind;
use gridpost_model::mapping::InputSchema;
use gridpost_model::subscription::DeliverySchema;
use gridpost_model::{Clock as _, Event, ResourceId, WhichKey};

use crate::endpoint::Endpoint;
use crate::world::{GROUP, World, until};

fn domain_id() -> ResourceId {
    format!("{GROUP}/providers/Microsoft.EventGrid/domains/shop")
        .parse()
        .unwrap()
}

fn topic_id(name: &str) -> ResourceId {
    domain_id().join(&format!("topics/{name}")).unwrap()
}

fn spec() -> EntranceSpec {
    EntranceSpec {
        location: "local".into(),
        tags: BTreeMap::new(),
        ingress: IngressSpec::default(),
        automation: Some(Automation::default()),
    }
}

/// Topics are made and removed by hand.
const BY_HAND: Automation = Automation {
    create_with_first_subscription: false,
    delete_with_last_subscription: false,
};

impl World {
    async fn with_domain() -> Self {
        let world = Self::start();
        world.grid.put_entrance(domain_id(), spec()).await.unwrap();
        world
    }

    async fn subscribe_to(
        &self,
        source: ResourceId,
        name: &str,
        endpoint: &Endpoint,
    ) -> Result<Created, SubscribeError> {
        let kind = TopicKind::Custom;
        let spec = SubscriptionSpec::to(endpoint.url());
        let made = self
            .grid
            .put_event_subscription(&Source { id: source, kind }, name, spec)
            .await;
        made.map(|(_, created)| created)
    }

    fn event(&self, topic: &str) -> Event {
        let topic: Arc<str> = topic_id(topic).as_str().into();
        let new = NewEvent {
            id: "1",
            topic: &topic,
            subject: "order/1",
            event_type: "Shop.Ordered",
            event_time: "2027-01-15T08:00:00Z",
            data_version: "1.0",
            data: &serde_json::json!({}),
        };
        Event::event_grid(&new, self.clock.now()).unwrap()
    }

    async fn publish_to(&self, topics: &[&str]) {
        let batch = topics.iter().map(|topic| self.event(topic)).collect();
        let intake = self.grid.intake(IntakeKind::Domain, "SHOP").unwrap();
        self.grid.publish(&intake, batch).await.unwrap();
    }

    async fn settled(&self) {
        until("everything is delivered", || self.grid.pending().is_quiet()).await;
    }
}

/// The topics of the events that an endpoint was sent, without the domain.
fn received(endpoint: &Endpoint) -> Vec<String> {
    let mut topics: Vec<String> = endpoint
        .seen()
        .iter()
        .filter(|seen| seen.header("aeg-event-type") == "Notification")
        .map(|seen| seen.json()[0]["topic"].as_str().unwrap().to_owned())
        .map(|topic| {
            let below = topic.strip_prefix(domain_id().as_str());
            below.unwrap().to_owned()
        })
        .collect();
    topics.sort();
    topics
}

fn notices(endpoint: &Endpoint) -> usize {
    let all = endpoint.seen();
    let notice = "SubscriptionDeletion";
    all.iter()
        .filter(|seen| seen.header("aeg-event-type") == notice)
        .count()
}

#[tokio::test]
async fn section_2_8_an_event_reaches_its_topic_and_its_domain_each_once() {
    let world = World::with_domain().await;
    let (whole, books, toys) = (
        Endpoint::agreeing().await,
        Endpoint::agreeing().await,
        Endpoint::agreeing().await,
    );
    for (source, endpoint) in [
        (domain_id(), &whole),
        (topic_id("books"), &books),
        (topic_id("Toys"), &toys),
    ] {
        let created = world.subscribe_to(source, "es1", endpoint).await.unwrap();
        assert_eq!(created, Created::New);
    }
    // One of these nobody has subscribed to, so that it does not exist.
    world
        .publish_to(&["books", "toys", "books", "garden"])
        .await;
    world.settled().await;

    let all = [
        "/topics/books",
        "/topics/books",
        "/topics/garden",
        "/topics/toys",
    ];
    assert_eq!(received(&whole), all);
    assert_eq!(received(&books), ["/topics/books", "/topics/books"]);
    assert_eq!(received(&toys), ["/topics/toys"]);
    assert!(world.grid.domain_topic(&topic_id("garden")).is_none());
}

#[tokio::test]
async fn an_event_of_a_domain_is_explained_by_the_subscriptions_of_its_topic_and_of_the_domain() {
    let world = World::with_domain().await;
    let endpoint = Endpoint::agreeing().await;
    for source in [domain_id(), topic_id("books"), topic_id("toys")] {
        world.subscribe_to(source, "es1", &endpoint).await.unwrap();
    }
    world.publish_to(&["books"]).await;
    world.settled().await;
    let told = world.grid.explain("1").unwrap();
    let mut asked: Vec<_> = told[0]
        .subscriptions
        .iter()
        .map(|one| (one.subscription.source.clone(), one.fate.clone()))
        .collect();
    asked.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [domain_id(), topic_id("books")].map(|source| (source, Fate::Delivered));
    assert_eq!((asked, told[0].deleted), (expected.to_vec(), 0));
}

#[tokio::test]
async fn section_2_8_a_topic_comes_with_its_first_subscription_and_goes_with_its_last() {
    let world = World::with_domain().await;
    let endpoint = Endpoint::agreeing().await;
    let source = topic_id("books");
    for name in ["es1", "es2"] {
        world
            .subscribe_to(source.clone(), name, &endpoint)
            .await
            .unwrap();
    }
    let made = world.grid.domain_topics(&domain_id());
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].id.as_str(), source.as_str());

    let delete = |name| world.grid.delete_event_subscription(&source, name);
    assert!(delete("es1").await.unwrap());
    assert!(world.grid.domain_topic(&source).is_some());
    assert!(delete("es2").await.unwrap());
    assert!(world.grid.domain_topic(&source).is_none());
    assert!(!delete("es2").await.unwrap());

    let world = world.restart().await;
    assert!(world.grid.domain_topics(&domain_id()).is_empty());
    let again = world.subscribe_to(source.clone(), "es1", &endpoint).await;
    assert_eq!(again.unwrap(), Created::New);
}

#[tokio::test]
async fn the_counters_of_a_topic_go_with_its_last_subscription() {
    let world = World::with_domain().await;
    let endpoint = Endpoint::agreeing().await;
    let source = topic_id("books");
    let is_counted = || {
        let metrics = world.grid.metrics();
        metrics.topics.iter().any(|topic| topic.source == source)
    };
    let made = world.subscribe_to(source.clone(), "es1", &endpoint).await;
    made.unwrap();
    assert!(is_counted());
    let deleted = world.grid.delete_event_subscription(&source, "es1").await;
    assert!(deleted.unwrap());
    assert!(!is_counted());
}

#[tokio::test]
async fn section_2_8_topics_are_made_and_removed_by_hand_where_the_domain_says_so() {
    let world = World::start();
    let by_hand = EntranceSpec {
        automation: Some(BY_HAND),
        ..spec()
    };
    world.grid.put_entrance(domain_id(), by_hand).await.unwrap();
    let endpoint = Endpoint::agreeing().await;
    let source = topic_id("books");
    let refused = world.subscribe_to(source.clone(), "es1", &endpoint).await;
    assert!(matches!(refused, Err(SubscribeError::UnknownSource(_))));
    assert!(endpoint.seen().is_empty());

    let (_, created) = world.grid.put_domain_topic(source.clone()).await.unwrap();
    assert_eq!(created, Created::New);
    world
        .subscribe_to(source.clone(), "es1", &endpoint)
        .await
        .unwrap();
    assert!(
        world
            .grid
            .delete_event_subscription(&source, "es1")
            .await
            .unwrap()
    );
    assert!(world.grid.domain_topic(&source).is_some());
    assert!(world.grid.delete_domain_topic(&source).await.unwrap());
    assert!(world.grid.domain_topic(&source).is_none());
}

#[tokio::test]
async fn section_4_3_a_domain_takes_its_topics_and_their_subscriptions_along() {
    let world = World::with_domain().await;
    let endpoint = Endpoint::agreeing().await;
    for source in [domain_id(), topic_id("books"), topic_id("toys")] {
        world.subscribe_to(source, "es1", &endpoint).await.unwrap();
    }
    let held = world.grid.intake(IntakeKind::Domain, "shop").unwrap();
    assert!(world.grid.delete_entrance(&domain_id()).await.unwrap());
    until("all are told", || notices(&endpoint) == 3).await;
    assert!(world.grid.intake(IntakeKind::Domain, "shop").is_none());
    let left = world.grid.event_subscriptions(None, &Scope::Everywhere);
    assert!(left.is_empty(), "{left:?}");

    // Whoever had found the domain before publishes to nobody.
    world
        .grid
        .publish(&held, vec![world.event("books")])
        .await
        .unwrap();
    world.settled().await;
    assert_eq!(received(&endpoint), Vec::<String>::new());
    let world = world.restart().await;
    assert!(world.grid.entrance(&domain_id()).is_none());
    assert!(world.grid.domain_topics(&domain_id()).is_empty());
}

#[tokio::test]
async fn a_domain_of_many_topics_goes_whole() {
    let world = World::with_domain().await;
    // More than are removed in one transaction.
    for number in 0..1_050 {
        let id = topic_id(&format!("topic-{number}"));
        world.grid.put_domain_topic(id).await.unwrap();
    }
    assert_eq!(world.grid.domain_topics(&domain_id()).len(), 1_050);
    world.grid.delete_entrance(&domain_id()).await.unwrap();
    world.grid.put_entrance(domain_id(), spec()).await.unwrap();
    assert!(world.grid.domain_topics(&domain_id()).is_empty());
    let world = world.restart().await;
    assert!(world.grid.domain_topics(&domain_id()).is_empty());
}

#[tokio::test]
async fn a_domain_is_there_again_after_a_restart_and_routes() {
    let world = World::with_domain().await;
    let endpoint = Endpoint::agreeing().await;
    let (books, es1) = (topic_id("books"), "es1");
    world.subscribe_to(books, es1, &endpoint).await.unwrap();
    let before = world.grid.entrance(&domain_id()).unwrap();
    let world = world.restart().await;
    assert_eq!(world.grid.entrance(&domain_id()).unwrap(), before);
    world.publish_to(&["BOOKS"]).await;
    world.settled().await;
    assert_eq!(received(&endpoint), ["/topics/BOOKS"]);
}

#[tokio::test]
async fn who_holds_an_intake_publishes_to_those_who_subscribed_since() {
    let world = World::with_domain().await;
    let held = world.grid.intake(IntakeKind::Domain, "shop").unwrap();
    let endpoint = Endpoint::agreeing().await;
    for source in [domain_id(), topic_id("books")] {
        world.subscribe_to(source, "es1", &endpoint).await.unwrap();
    }
    let batch = vec![world.event("books")];
    world.grid.publish(&held, batch).await.unwrap();
    world.settled().await;
    assert_eq!(received(&endpoint), ["/topics/books", "/topics/books"]);
}

#[tokio::test]
async fn section_3_3_domain_names_are_unique_and_keys_stay() {
    let world = World::with_domain().await;
    let made = world.grid.entrance(&domain_id()).unwrap();
    let (again, created) = world.grid.put_entrance(domain_id(), spec()).await.unwrap();
    assert_eq!(
        (created, &again.ingress.keys),
        (Created::Updated, &made.ingress.keys)
    );
    let elsewhere = domain_id().as_str().replace("/rg/", "/other/");
    let taken = world
        .grid
        .put_entrance(elsewhere.parse().unwrap(), spec())
        .await
        .unwrap_err();
    assert!(matches!(taken, ManageError::Conflict(_)), "{taken}");
    let other = world
        .grid
        .regenerate_key(&domain_id(), WhichKey::First)
        .await
        .unwrap();
    assert_ne!(other.ingress.keys.first, made.ingress.keys.first);
    assert_eq!(other.ingress.keys.second, made.ingress.keys.second);
    let held = world.grid.intake(IntakeKind::Domain, "shop").unwrap();
    assert_eq!(held.keys, other.ingress.keys);

    let patch = EntrancePatch {
        automation: AutomationPatch {
            delete_with_last_subscription: Some(false),
            ..AutomationPatch::default()
        },
        ..EntrancePatch::default()
    };
    let patched = world
        .grid
        .patch_entrance(&domain_id(), patch)
        .await
        .unwrap();
    let automation = patched.automation.unwrap();
    assert!(automation.create_with_first_subscription);
    assert!(!automation.delete_with_last_subscription);
    assert_eq!(patched.ingress, other.ingress);
}

#[tokio::test]
async fn section_1_4_the_schema_of_a_domain_binds_the_subscriptions_of_its_topics() {
    let world = World::start();
    let mut cloud = spec();
    cloud.ingress.input = Some(InputSchema::CloudEvents);
    world.grid.put_entrance(domain_id(), cloud).await.unwrap();
    let endpoint = Endpoint::agreeing().await;
    let source = topic_id("books");
    assert_eq!(
        world.grid.usual_delivery_schema(&source),
        DeliverySchema::CloudEvents
    );
    let refused = world.subscribe_to(source, "es1", &endpoint).await;
    let Err(SubscribeError::Invalid(refused)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.field, "eventDeliverySchema");
    assert!(
        refused
            .message
            .ends_with("input schema of CloudEventSchemaV1_0")
    );
    let unknown = world.grid.put_domain_topic(topic_id("a_b")).await;
    assert!(matches!(unknown, Err(ManageError::Invalid(_))));
}
