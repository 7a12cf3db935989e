//! What a subscription asks for beside the events: batches, a rate, a pause, headers, tokens, signatures.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_grid::metrics::Counts;
use gridpost_grid::subscriptions::SubscriptionSpec;
use gridpost_model::Secret;
use gridpost_model::subscription::{
    Batch, DeliveryAttribute, DeliverySchema, Destination, Entra, LaneId, WebHook,
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::endpoint::{Endpoint, Reply, Seen};
use crate::world::{World, communication, until, visited};

/// Leaves a validation event to a visitor, and agrees to everything else.
fn undecided(seen: &Seen) -> Reply {
    match seen.header("aeg-event-type") {
        "SubscriptionValidation" => Reply::status(200),
        _ => Reply::agreeing(seen),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl World {
    async fn subscribe_hook(
        &self,
        endpoint: &Endpoint,
        adapt: impl FnOnce(&mut WebHook),
    ) -> LaneId {
        let mut hook = WebHook::new(endpoint.url());
        adapt(&mut hook);
        self.subscribe_with(endpoint, |spec| {
            spec.destination = Destination::WebHook(hook);
        })
        .await
    }

    fn counts(&self, lane: LaneId) -> Counts {
        let mut lanes = self.grid.metrics().lanes.into_iter();
        lanes.find(|one| one.lane == lane).unwrap().counts
    }

    /// A subscription to which that many events have come before it may send the first.
    async fn laden(
        &self,
        endpoint: &Endpoint,
        events: usize,
        adapt: impl FnOnce(&mut WebHook),
    ) -> LaneId {
        let lane = self.subscribe_hook(endpoint, adapt).await;
        self.texts(events).await;
        let (waiting, token) = visited(&endpoint.nth(1).await.validation_url());
        assert_eq!(waiting, lane);
        self.grid.confirm(lane, &token).await.unwrap();
        lane
    }
}

fn batch(max_events: u32, preferred_kilobytes: u32) -> impl FnOnce(&mut WebHook) {
    move |hook| {
        hook.batch = Batch {
            max_events,
            preferred_kilobytes,
        };
    }
}

/// Only with a token for that application.
fn protected(application: &str) -> impl FnOnce(&mut WebHook) {
    move |hook| {
        hook.entra = Some(Entra {
            tenant: "t".into(),
            application: application.into(),
        });
    }
}

fn ids(seen: &Seen) -> Vec<String> {
    let body = seen.json();
    let all = body.as_array().unwrap().iter();
    all.map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn section_5_5_what_waits_goes_together_up_to_the_number_asked_for() {
    let world = World::start();
    let endpoint = Endpoint::start(undecided).await;
    let lane = world.laden(&endpoint, 7, batch(3, 64)).await;
    endpoint.event(3).await;
    world.quiet().await;
    let mut sizes: Vec<_> = endpoint
        .events()
        .iter()
        .map(|seen| ids(seen).len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 3]);
    let mut all: Vec<_> = endpoint.events().iter().flat_map(ids).collect();
    all.sort_unstable();
    assert_eq!(all, ["e0", "e1", "e2", "e3", "e4", "e5", "e6"]);
    let counts = world.counts(lane);
    assert_eq!(counts.delivered, 7);
    // Nobody waits for company.
    world.text("alone", "15550001").await;
    assert_eq!(ids(&endpoint.event(4).await), ["alone"]);
}

#[tokio::test]
async fn section_5_5_a_batch_keeps_to_its_size_unless_one_event_is_larger() {
    let world = World::start();
    let endpoint = Endpoint::start(undecided).await;
    world.laden(&endpoint, 9, batch(5_000, 1)).await;
    until("all arrived", || {
        endpoint.events().iter().flat_map(ids).count() == 9
    })
    .await;
    for seen in endpoint.events() {
        assert!(seen.body.len() <= 1_024 + 16, "{} bytes", seen.body.len());
    }
    assert!(endpoint.events().iter().any(|seen| ids(seen).len() > 1));
    let long = "9".repeat(2_000);
    world.text("large", &long).await;
    until("the large one arrived", || {
        endpoint.events().iter().any(|seen| ids(seen) == ["large"])
    })
    .await;
}

#[tokio::test]
async fn section_5_5_a_batch_fails_as_one_and_each_event_is_tried_again() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match seen.header("aeg-event-type") {
        "Notification" => Reply::status(500),
        _ => undecided(seen),
    })
    .await;
    let lane = world.laden(&endpoint, 3, batch(10, 64)).await;
    let first = endpoint.event(1).await;
    assert_eq!(ids(&first).len(), 3);
    assert_eq!(first.header("aeg-delivery-count"), "0");
    until("all three wait", || world.grid.pending().waiting == 3).await;

    // Their numbers stay apart: a fresh event does not travel with those that were tried before.
    endpoint.answer(Reply::agreeing);
    world.text("fresh", "15550001").await;
    assert_eq!(ids(&endpoint.event(2).await), ["fresh"]);
    world.turn(seconds(12)).await;
    let again = endpoint.event(3).await;
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(again.header("aeg-delivery-count"), "1");
    world.quiet().await;
    assert_eq!(world.grid.pending().waiting, 0);
    let counts = world.counts(lane);
    assert_eq!((counts.delivered, counts.retried), (4, 3));
}

#[tokio::test]
async fn section_5_5_a_refused_batch_is_dead_lettered_event_by_event() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match seen.header("aeg-event-type") {
        "Notification" => Reply::status(400),
        _ => undecided(seen),
    })
    .await;
    world.laden(&endpoint, 3, batch(10, 64)).await;
    until("all are dead letters", || world.dead_letters().len() == 3).await;
    assert_eq!(endpoint.events().len(), 1);
}

#[tokio::test]
async fn section_4_2_the_rate_that_an_endpoint_allowed_is_kept() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| {
        if seen.method == http::Method::OPTIONS {
            let granted = vec![
                ("WebHook-Allowed-Origin", "*"),
                ("WebHook-Allowed-Rate", "60"),
            ];
            return Reply::Says(200, granted, String::new());
        }
        Reply::status(200)
    })
    .await;
    world
        .subscribe_with(&endpoint, |spec| {
            spec.delivery_schema = DeliverySchema::CloudEvents;
        })
        .await;
    world.texts(3).await;
    let arrived = || {
        let posts = endpoint.seen();
        posts
            .iter()
            .filter(|seen| seen.method == http::Method::POST)
            .count()
    };
    for count in 1..=3 {
        until("the next event arrives", || arrived() == count).await;
        world.quiet().await;
        world.turn(Duration::from_millis(900)).await;
        assert_eq!(arrived(), count);
        world.advance(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn section_5_2_an_endpoint_says_when_to_come_again() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match seen.header("aeg-event-type") {
        "Notification" => Reply::Says(503, vec![("Retry-After", "120")], String::new()),
        _ => Reply::agreeing(seen),
    })
    .await;
    world.subscribe("es1", &endpoint).await;
    world.text("e1", "15550001").await;
    endpoint.event(1).await;
    until("it waits", || world.grid.pending().waiting == 1).await;
    world.turn(seconds(119)).await;
    assert_eq!(endpoint.events().len(), 1);
    world.turn(seconds(14)).await;
    assert_eq!(endpoint.event(2).await.header("aeg-delivery-count"), "1");
}

#[tokio::test]
async fn section_3_3_delivery_attributes_arrive_as_headers() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world
        .subscribe_hook(&endpoint, |hook| {
            hook.attributes = vec![
                DeliveryAttribute::fixed("X-Fixed", "one two"),
                DeliveryAttribute::secret("Authorization", "Basic s3cret"),
                DeliveryAttribute::taken("X-From", "data.from"),
                DeliveryAttribute::taken("X-Absent", "data.absent"),
            ];
        })
        .await;
    world.text("e1", "15550001").await;
    let seen = endpoint.event(1).await;
    assert_eq!(seen.header("x-fixed"), "one two");
    assert_eq!(seen.header("authorization"), "Basic s3cret");
    assert_eq!(seen.header("x-from"), "15550001");
    assert!(!seen.headers.contains_key("x-absent"));
    assert_eq!(seen.header("aeg-output-event-id"), "e1");
}

#[tokio::test]
async fn section_5_8_a_protected_endpoint_is_asked_and_served_with_a_token() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match seen.header("authorization") {
        "Bearer for-api://hook" => Reply::agreeing(seen),
        _ => Reply::status(401),
    })
    .await;
    world
        .subscribe_hook(&endpoint, protected("api://hook"))
        .await;
    world.text("e1", "15550001").await;
    assert_eq!(
        endpoint.event(1).await.header("authorization"),
        "Bearer for-api://hook"
    );
    world.quiet().await;
    assert_eq!(world.dead_letters().len(), 0);
}

#[tokio::test]
async fn section_5_8_nothing_is_asked_while_no_token_can_be_had() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let mut hook = WebHook::new(endpoint.url());
    protected("closed")(&mut hook);
    let spec = SubscriptionSpec {
        destination: Destination::WebHook(hook),
        ..SubscriptionSpec::to("")
    };
    let refused = world
        .grid
        .put_event_subscription(&communication(), "es1", spec.clone())
        .await;
    assert!(
        refused.is_err(),
        "the endpoint cannot be asked without a token"
    );
    assert_eq!(endpoint.seen().len(), 0);

    world.advance(seconds(6));
    let made = world
        .grid
        .put_event_subscription(&communication(), "es1", spec)
        .await;
    assert!(made.is_ok());
}

#[tokio::test]
async fn a_signed_request_carries_what_a_receiver_verifies() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match seen.header("aeg-event-type") {
        "Notification" => Reply::status(500),
        _ => Reply::agreeing(seen),
    })
    .await;
    world
        .subscribe_hook(&endpoint, |hook| {
            hook.signing = Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        })
        .await;
    world.text("e1", "15550001").await;
    endpoint.event(1).await;
    until("it waits", || world.grid.pending().waiting == 1).await;
    world.turn(seconds(12)).await;
    let all = [
        endpoint.nth(1).await,
        endpoint.event(1).await,
        endpoint.event(2).await,
    ];
    for seen in &all {
        let key = BASE64_STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let mut hmac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        hmac.update(seen.header("webhook-id").as_bytes());
        hmac.update(b".");
        hmac.update(seen.header("webhook-timestamp").as_bytes());
        hmac.update(b".");
        hmac.update(&seen.body);
        let expected = BASE64_STANDARD.encode(hmac.finalize().into_bytes());
        assert_eq!(seen.header("webhook-signature"), format!("v1,{expected}"));
    }
    // The same event has the same name, at another moment.
    assert_eq!(all[1].header("webhook-id"), all[2].header("webhook-id"));
    assert_ne!(
        all[1].header("webhook-timestamp"),
        all[2].header("webhook-timestamp")
    );
}

#[tokio::test]
async fn a_defect_while_sending_is_a_failed_attempt_and_stops_no_lane() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe_hook(&endpoint, protected("broken")).await;
    world.advance(seconds(10));
    world.text("e1", "15550001").await;
    until("it waits", || world.grid.pending().waiting == 1).await;
    assert_eq!(endpoint.events().len(), 0);
    world.turn(seconds(12)).await;
    let seen = endpoint.event(1).await;
    assert_eq!(seen.header("aeg-delivery-count"), "1");
    world.quiet().await;
    assert_eq!(world.grid.pending().waiting, 0);
}
