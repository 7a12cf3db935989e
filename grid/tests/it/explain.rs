//! What can be said of an event afterwards, and how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gridpost_grid::explain::{Explained, Fate};
use gridpost_grid::retry::{DueBy, Outcome, Verdict};
use gridpost_grid::subscriptions::SubscriptionSpec;
use gridpost_grid::{DeadLetterQuery, faults};
use gridpost_model::RetryPolicy;
use gridpost_store::{Fault, Faults, FileKind, Operation};
use http::StatusCode;

use crate::endpoint::{Endpoint, Reply};
use crate::world::{World, communication, until};

impl World {
    /// What the only subscription made of the newest event of that id.
    fn explained(&self, event_id: &str) -> Explained {
        let mut explained = self.grid.explain(event_id).unwrap();
        explained.remove(0).subscriptions.remove(0)
    }

    async fn rest(&self) {
        until("all is quiet", || self.grid.pending().is_quiet()).await;
    }

    async fn later(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
        self.rest().await;
    }
}

#[tokio::test]
async fn every_attempt_of_a_waiting_delivery_is_told_of_after_a_restart() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    endpoint.answer(|_| Reply::Says(503, vec![("x-why", "tired")], "come back".into()));
    world.text("e1", "15550001").await;
    world.rest().await;
    world.later(40).await;

    let before = world.explained("e1").attempts;
    let exchange = before[1].exchange.as_ref().unwrap();
    let (sent, answer) = (
        exchange.request.as_ref().unwrap(),
        exchange.answer.as_ref().unwrap(),
    );
    assert_eq!(sent.target, "/hook?•••");
    assert!(sent.body.bytes.starts_with(b"[{\"id\":\"e1\""));
    assert_eq!(&*answer.body.bytes, b"come back");
    assert!(answer.headers.contains(&("x-why".into(), "tired".into())));

    let world = world.restart().await;
    let after = world.explained("e1").attempts;
    let shown = |attempts: &[gridpost_grid::Attempted]| -> Vec<_> {
        let one = |one: &gridpost_grid::Attempted| {
            (
                one.at,
                one.number,
                one.first,
                one.outcome,
                one.status,
                one.verdict,
            )
        };
        attempts.iter().map(one).collect()
    };
    assert_eq!(shown(&after), shown(&before));
    assert_eq!(after.len(), 2);
    assert!(after[1].exchange.is_none());
    let reckoned = after[1].reckoning().unwrap();
    assert_eq!(reckoned.by, DueBy::Least(Duration::from_secs(30)));
    assert!(matches!(
        world.explained("e1").fate,
        Fate::Waiting {
            attempts: 2,
            last: Some(Outcome::Busy),
            replay: None,
            ..
        }
    ));
}

#[tokio::test]
async fn what_was_never_sent_is_not_shown_and_what_was_sent_is() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.text("sent", "15550001").await;
    world.rest().await;
    let shown = |id: &str| {
        let attempt = world.explained(id).attempts.remove(0);
        attempt.exchange.unwrap().request.is_some()
    };
    assert!(shown("sent"));
    let fault = faults::Fault {
        subscription: None,
        host: None,
        kind: faults::Kind::Status(StatusCode::SERVICE_UNAVAILABLE),
        times: None,
        probability: 1.0,
        expires: None,
    };
    assert_eq!(world.grid.faults().put("busy", fault), Ok(true));
    world.text("unsent", "15550001").await;
    world.rest().await;
    assert!(!shown("unsent"));
}

#[tokio::test]
async fn attempts_of_another_event_with_the_same_id_are_not_mixed_in() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    for _ in 0..2 {
        world.text("1", "15550001").await;
        world.rest().await;
        world.advance(Duration::from_secs(1));
    }
    let explained = world.grid.explain("1").unwrap();
    let attempts = |one: usize| explained[one].subscriptions[0].attempts.len();
    assert_eq!((explained.len(), attempts(0), attempts(1)), (2, 1, 1));
}

#[tokio::test]
async fn a_success_is_remembered_with_what_was_said() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.text("e1", "15550001").await;
    world.rest().await;
    let explained = world.explained("e1");
    assert_eq!(explained.fate, Fate::Delivered);
    let exchange = explained.attempts[0].exchange.as_ref().unwrap();
    assert_eq!(exchange.answer.as_ref().unwrap().status, 200);
}

#[tokio::test]
async fn attempts_before_a_redrive_are_still_told_of() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    endpoint.answer(|_| Reply::status(400));
    world.text("e1", "15550001").await;
    world.rest().await;
    endpoint.answer(|_| Reply::status(500));
    let all = DeadLetterQuery::default();
    assert_eq!(world.grid.redrive(&all).await.unwrap(), 1);
    endpoint.nth(3).await;
    world.rest().await;
    let world = world.restart().await;
    let attempts = world.explained("e1").attempts;
    let told: Vec<_> = attempts
        .iter()
        .map(|one| (one.number, one.outcome))
        .collect();
    assert_eq!(told, [(1, Outcome::BadRequest), (1, Outcome::GenericError)]);
    assert!(matches!(attempts[0].verdict, Verdict::GiveUp(_)));
}

#[tokio::test]
async fn a_destination_on_probation_is_told_of() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.text("e", "15550001").await;
    world.rest().await;
    assert_eq!(world.explained("e").probation, None);
    endpoint.answer(|_| Reply::status(503));
    for number in 0..10 {
        world.text(&format!("e{number}"), "15550001").await;
        world.rest().await;
    }
    assert!(world.explained("e3").probation.is_some());
}

#[tokio::test]
async fn a_dead_letter_is_explained_when_its_event_has_left_the_journal() {
    // Nothing settled is kept, and events are large enough to fill segments.
    let world = World::start_with(|options| {
        options.retention = Duration::ZERO;
        options.retention_bytes = 0;
    });
    let endpoint = Endpoint::agreeing().await;
    let spec = SubscriptionSpec {
        retry_policy: RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        },
        ..SubscriptionSpec::to(endpoint.url())
    };
    let made = world
        .grid
        .put_event_subscription(&communication(), "es1", spec)
        .await;
    made.unwrap();
    endpoint.answer(|_| Reply::status(500));
    world.text("old", "15550001").await;
    world.rest().await;
    let position = world.grid.explain("old").unwrap()[0].position;
    assert!(position.is_some());
    endpoint.answer(|_| Reply::status(200));
    let long = "5".repeat(500_000);
    for number in 0..400 {
        world.text(&format!("e{number}"), &long).await;
        if number % 20 == 0 {
            world.advance(Duration::from_secs(31));
        }
        if position < Some(world.store.oldest()) {
            break;
        }
    }
    until("the event has left the journal", || {
        position < Some(world.store.oldest())
    })
    .await;
    let explained = world.grid.explain("old").unwrap();
    assert_eq!(explained[0].position, None);
    let told = &explained[0].subscriptions[0];
    assert!(matches!(told.fate, Fate::DeadLettered { .. }));
    assert_eq!(told.attempts.len(), 1);
}

struct Full(Arc<AtomicBool>);

impl Faults for Full {
    fn strike(&self, file: FileKind, operation: Operation) -> Option<Fault> {
        let struck = matches!(file, FileKind::Segment(_))
            && matches!(operation, Operation::Write { .. })
            && self.0.load(Ordering::SeqCst);
        struck.then(|| Fault {
            written_bytes: 0,
            error: std::io::ErrorKind::StorageFull.into(),
        })
    }
}

#[tokio::test]
async fn an_event_from_before_a_full_disk_is_found_however_far_positions_went_on() {
    let full = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&full);
    let world = World::start_with(move |options| options.faults = Some(Arc::new(Full(switch))));
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    world.text("before", "15550001").await;
    world.rest().await;
    full.store(true, Ordering::SeqCst);
    for number in 0..40 {
        assert!(!world.try_text(&format!("refused {number}")).await);
    }
    full.store(false, Ordering::SeqCst);
    world.text("after", "15550001").await;
    world.rest().await;
    let position = |id: &str| world.grid.explain(id).unwrap()[0].position.unwrap();
    assert!(1 << 30 < position("after").0 - position("before").0);
}
