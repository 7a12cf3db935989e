//! Event subscriptions: how they come to exist, change, wait and end. Tests are named after the sections of the Event
//! Grid reference.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gridpost_grid::confirm::ConfirmError;
use gridpost_grid::explain::{Explained, Fate};
use gridpost_grid::manage::Created;
use gridpost_grid::retry::{Outcome, Reason};
use gridpost_grid::scope::Scope;
use gridpost_grid::subscriptions::{
    FilterPatch, SubscribeError, SubscriptionPatch, SubscriptionSpec,
};
use gridpost_grid::transcript::Answer;
use gridpost_model::filter::Refusal;
use gridpost_model::subscription::{
    DeliveryAttribute, DeliverySchema, EventSubscription, ProvisioningState, WebHook,
};
use gridpost_model::{Clock as _, Destination, Filter, Secret};
use gridpost_store::Partition;
use http::Method;

use crate::endpoint::{Endpoint, Reply, Seen};
use crate::world::{BEGINNING, World, communication, until, visited};

/// Answers validation with 200 and nothing else, as endpoints do that want a person to decide.
fn undecided(seen: &Seen) -> Reply {
    match seen.header("aeg-event-type") {
        "SubscriptionValidation" => Reply::Says(200, Vec::new(), "OK".into()),
        _ => Reply::agreeing(seen),
    }
}

impl World {
    async fn put(
        &self,
        name: &str,
        spec: SubscriptionSpec,
    ) -> Result<(Arc<EventSubscription>, Created), SubscribeError> {
        self.grid
            .put_event_subscription(&communication(), name, spec)
            .await
    }

    fn one(&self, name: &str) -> Option<Arc<EventSubscription>> {
        self.grid.event_subscription(&communication().id, name)
    }

    async fn awaiting(&self, name: &str, endpoint: &Endpoint) -> String {
        let (made, _) = self
            .put(name, SubscriptionSpec::to(endpoint.url()))
            .await
            .unwrap();
        assert!(matches!(
            made.state,
            ProvisioningState::AwaitingManualAction { .. }
        ));
        endpoint.seen().last().unwrap().validation_url()
    }
}

#[tokio::test]
async fn section_4_1_an_endpoint_that_answers_the_code_is_subscribed_at_once() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let (made, created) = world
        .put("es1", SubscriptionSpec::to(endpoint.url()))
        .await
        .unwrap();
    assert_eq!(
        (made.state.clone(), created),
        (ProvisioningState::Succeeded, Created::New)
    );

    let question = endpoint.nth(1).await;
    assert_eq!(question.method, Method::POST);
    assert_eq!(question.target, "/hook?code=s3cret");
    assert_eq!(question.header("aeg-event-type"), "SubscriptionValidation");
    assert_eq!(question.header("aeg-subscription-name"), "ES1");
    assert_eq!(question.header("accept"), "");
    assert_eq!(question.json()[0]["topic"], communication().id.as_str());
}

/// A subscription that sends a secret header, a plain one, and one of the event.
fn guarded(url: String) -> SubscriptionSpec {
    let mut spec = SubscriptionSpec::to(url.clone());
    spec.destination = Destination::WebHook(WebHook {
        attributes: vec![
            DeliveryAttribute::secret("x-shop-pass", "hunter2"),
            DeliveryAttribute::fixed("x-shop", "berlin"),
            DeliveryAttribute::taken("x-subject", "subject"),
        ],
        ..WebHook::new(url)
    });
    spec
}

#[tokio::test]
async fn section_4_1_what_guards_an_endpoint_is_sent_with_the_question_and_with_the_notice() {
    let world = World::start();
    let endpoint = Endpoint::start(|seen| match seen.header("x-shop-pass") {
        "hunter2" => Reply::agreeing(seen),
        _ => Reply::status(401),
    })
    .await;
    for schema in [DeliverySchema::EventGrid, DeliverySchema::CloudEvents] {
        let spec = SubscriptionSpec {
            delivery_schema: schema,
            ..guarded(endpoint.url())
        };
        let (made, _) = world.put("es1", spec).await.unwrap();
        assert_eq!(made.state, ProvisioningState::Succeeded);
    }
    let source = communication().id;
    let deleted = world.grid.delete_event_subscription(&source, "es1").await;
    assert!(deleted.unwrap());
    until("the notice arrives", || endpoint.seen().len() == 3).await;
    for seen in endpoint.seen() {
        let found = ["x-shop-pass", "x-shop", "x-subject"].map(|name| seen.header(name));
        assert_eq!(found, ["hunter2", "berlin", ""]);
    }
}

#[tokio::test]
async fn section_4_1_a_transcript_shows_that_a_secret_was_sent_and_not_which() {
    let world = World::start();
    let endpoint = Endpoint::start(|_| Reply::status(500)).await;
    let refused = world.put("es1", guarded(endpoint.url())).await.unwrap_err();
    let SubscribeError::HandshakeFailed { transcript, .. } = refused else {
        panic!("{refused}");
    };
    let headers = &transcript.exchanges[0].headers;
    let value = |name| headers.iter().find(|(found, _)| found == name).unwrap();
    assert_eq!(value("x-shop-pass").1, "•••");
    assert_eq!(value("x-shop").1, "berlin");
    assert!(!transcript.to_string().contains("hunter2"));
}

#[tokio::test]
async fn section_4_1_any_other_answer_fails_the_creation_and_says_what_came_back() {
    let world = World::start();
    for status in [202, 302, 400, 404, 500] {
        let endpoint =
            Endpoint::start(move |_| Reply::Says(status, Vec::new(), "nope".into())).await;
        let refused = world
            .put("es1", SubscriptionSpec::to(endpoint.url()))
            .await
            .unwrap_err();
        let SubscribeError::HandshakeFailed {
            message,
            transcript,
        } = refused
        else {
            panic!("{status}: {refused}");
        };
        assert!(message.starts_with("Webhook validation handshake failed for http://127.0.0.1:"));
        assert!(
            message.contains("/hook. Http POST request failed with response code "),
            "{message}"
        );
        assert!(!message.contains("s3cret"));
        let [exchange] = &transcript.exchanges[..] else {
            panic!("{transcript}")
        };
        let Answer::Answered {
            status: shown,
            body,
            ..
        } = &exchange.answer
        else {
            panic!("{transcript}");
        };
        assert_eq!((*shown, body.as_str()), (status, "nope"));
        assert!(!transcript.to_string().contains("s3cret"));
        assert!(world.one("es1").is_none());
    }
    assert!(world.grid.system_topics(&Scope::Everywhere).is_empty());
}

#[tokio::test]
async fn section_4_1_an_endpoint_that_is_not_there_fails_the_creation() {
    let world = World::start();
    // Bound and closed again, so that nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let refused = world
        .put("es1", SubscriptionSpec::to(url))
        .await
        .unwrap_err();
    let SubscribeError::HandshakeFailed {
        message,
        transcript,
    } = refused
    else {
        panic!("{refused}")
    };
    let Answer::Failed(why) = &transcript.exchanges[0].answer else {
        panic!("{transcript}")
    };
    let told = format!("response code Unknown ({why})");
    assert!(message.contains(&told), "{message}");
}

#[tokio::test]
async fn section_4_1_after_a_time_out_the_endpoint_is_asked_again_5_s_later() {
    let world = World::start();
    let endpoint = Endpoint::start(|_| Reply::Hangs).await;
    let grid = world.grid.clone();
    let spec = SubscriptionSpec::to(endpoint.url());
    let put = tokio::spawn(async move {
        grid.put_event_subscription(&communication(), "es1", spec)
            .await
    });
    endpoint.nth(1).await;
    world.advance(Duration::from_secs(30));
    let again = BEGINNING + Duration::from_secs(35);
    until("the pause is entered", || {
        world.clock.next_alarm() == Some(again)
    })
    .await;
    assert_eq!(endpoint.seen().len(), 1);

    endpoint.answer(Reply::agreeing);
    world.clock.turn_to(again);
    let (made, _) = put.await.unwrap().unwrap();
    assert_eq!(made.state, ProvisioningState::Succeeded);
    assert_eq!(endpoint.seen().len(), 2);
}

#[tokio::test]
async fn section_4_1_a_200_without_the_code_waits_for_a_visit() {
    let world = World::start();
    let endpoint = Endpoint::start(undecided).await;
    let url = world.awaiting("es1", &endpoint).await;
    assert!(
        url.starts_with("https://127.0.0.1:8480/eventsubscriptions/"),
        "{url}"
    );
    let (lane, token) = visited(&url);
    assert_eq!(lane, world.one("es1").unwrap().lane);

    let wrong = world.grid.confirm(lane, &Secret::new("guess")).await;
    assert!(matches!(wrong, Err(ConfirmError::Unknown)));
    let confirmed = world.grid.confirm(lane, &token).await.unwrap();
    assert_eq!(confirmed.name, "es1");
    assert_eq!(
        world.one("es1").unwrap().state,
        ProvisioningState::Succeeded
    );
    assert!(matches!(
        world.grid.confirm(lane, &token).await,
        Err(ConfirmError::Unknown)
    ));
}

#[tokio::test]
async fn section_4_1_a_visit_while_the_endpoint_still_answers_counts() {
    let world = World::start();
    let endpoint = Endpoint::start(|_| Reply::Hangs).await;
    let grid = world.grid.clone();
    let spec = SubscriptionSpec::to(endpoint.url());
    let put = tokio::spawn(async move {
        grid.put_event_subscription(&communication(), "es1", spec)
            .await
    });
    let (lane, token) = visited(&endpoint.nth(1).await.validation_url());
    world.grid.confirm(lane, &token).await.unwrap();
    // The first request is given up, the second is answered without a code.
    endpoint.answer(undecided);
    world.advance(Duration::from_secs(30));
    let again = BEGINNING + Duration::from_secs(35);
    until("the pause is entered", || {
        world.clock.next_alarm() == Some(again)
    })
    .await;
    world.clock.turn_to(again);
    assert_eq!(
        put.await.unwrap().unwrap().0.state,
        ProvisioningState::Succeeded
    );
}

#[tokio::test]
async fn section_4_1_when_the_window_passes_the_subscription_fails_and_can_be_created_again() {
    let world = World::start();
    let endpoint = Endpoint::start(undecided).await;
    let url = world.awaiting("es1", &endpoint).await;
    let before = world.one("es1").unwrap();
    assert_eq!(world.text("1", "15551").await, 1);

    world.advance(Duration::from_secs(600));
    until("the window has passed", || {
        world.one("es1").unwrap().state == ProvisioningState::Failed
    })
    .await;
    assert_eq!(world.text("2", "15551").await, 0);
    let (lane, token) = visited(&url);
    assert!(matches!(
        world.grid.confirm(lane, &token).await,
        Err(ConfirmError::Unknown)
    ));

    endpoint.answer(Reply::agreeing);
    let (after, created) = world
        .put("es1", SubscriptionSpec::to(endpoint.url()))
        .await
        .unwrap();
    assert_eq!(
        (after.state.clone(), created),
        (ProvisioningState::Succeeded, Created::Updated)
    );
    assert_ne!(after.lane, before.lane);
    assert_eq!(world.text("3", "15551").await, 1);
    assert_eq!(endpoint.nth(3).await.json()[0]["id"], "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_subscription_that_fails_while_it_is_put_anew_does_not_succeed_without_a_lane() {
    let world = World::start();
    let endpoint = Endpoint::start(undecided).await;
    world.awaiting("es1", &endpoint).await;
    world.advance(Duration::from_secs(590));

    let (answer_now, may_answer) = std::sync::mpsc::channel::<()>();
    let may_answer = parking_lot::Mutex::new(may_answer);
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    endpoint.answer(move |seen| {
        asks.store(true, Ordering::Relaxed);
        let _ = may_answer.lock().recv();
        Reply::agreeing(seen)
    });
    let (grid, spec) = (world.grid.clone(), SubscriptionSpec::to(endpoint.url()));
    let put = async move {
        grid.put_event_subscription(&communication(), "es1", spec)
            .await
    };
    let put = tokio::spawn(put);
    until("the endpoint is asked", || asked.load(Ordering::Relaxed)).await;
    world.advance(Duration::from_secs(10));
    until("the window has passed", || {
        world.one("es1").unwrap().state == ProvisioningState::Failed
    })
    .await;
    drop(answer_now);
    let put = put.await.unwrap();
    assert!(matches!(put, Err(SubscribeError::InProgress(_))), "{put:?}");

    world
        .put("es1", SubscriptionSpec::to(endpoint.url()))
        .await
        .unwrap();
    assert_eq!(world.text("1", "15551").await, 1);
    assert_eq!(endpoint.nth(4).await.json()[0]["id"], "1");
}

#[tokio::test]
async fn section_4_1_events_wait_until_somebody_confirms() {
    let world = World::start();
    let endpoint = Endpoint::start(undecided).await;
    let url = world.awaiting("es1", &endpoint).await;
    assert_eq!(world.text("kept", "15551").await, 1);
    assert_eq!(endpoint.seen().len(), 1);
    let (lane, token) = visited(&url);
    world.grid.confirm(lane, &token).await.unwrap();
    assert_eq!(endpoint.nth(2).await.json()[0]["id"], "kept");
}

#[tokio::test]
async fn section_4_2_cloud_events_endpoints_are_asked_by_options() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let spec = SubscriptionSpec {
        delivery_schema: DeliverySchema::CloudEvents,
        ..SubscriptionSpec::to(endpoint.url())
    };
    let (made, _) = world.put("es1", spec.clone()).await.unwrap();
    assert_eq!(made.state, ProvisioningState::Succeeded);
    let question = endpoint.nth(1).await;
    assert_eq!(
        (question.method.clone(), question.body.len()),
        (Method::OPTIONS, 0)
    );
    assert_eq!(
        question.header("webhook-request-origin"),
        "eventgrid.azure.net"
    );

    endpoint.answer(|_| Reply::status(204));
    let (later, _) = world.put("es2", spec.clone()).await.unwrap();
    assert!(matches!(
        later.state,
        ProvisioningState::AwaitingManualAction { .. }
    ));
    let (lane, token) = visited(&endpoint.nth(2).await.validation_url());
    world.grid.confirm(lane, &token).await.unwrap();
    assert_eq!(
        world.one("es2").unwrap().state,
        ProvisioningState::Succeeded
    );

    endpoint.answer(|_| Reply::status(404));
    let refused = world.put("es3", spec).await;
    assert!(matches!(
        refused,
        Err(SubscribeError::HandshakeFailed { .. })
    ));
}

#[tokio::test]
async fn section_4_3_a_deletion_is_told_to_an_endpoint_that_had_agreed() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    assert!(
        world
            .grid
            .delete_event_subscription(&communication().id, "ES1")
            .await
            .unwrap()
    );
    let notice = endpoint.nth(2).await;
    assert_eq!(notice.header("aeg-event-type"), "SubscriptionDeletion");
    let event = &notice.json()[0];
    assert_eq!(
        event["eventType"],
        "Microsoft.EventGrid.SubscriptionDeletedEvent"
    );
    let id = format!(
        "{}/providers/Microsoft.EventGrid/eventSubscriptions/es1",
        communication().id
    );
    assert_eq!(event["data"]["eventSubscriptionId"], id.as_str());

    assert_eq!(world.text("1", "15551").await, 0);
    assert!(
        !world
            .grid
            .delete_event_subscription(&communication().id, "es1")
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn section_4_3_a_deletion_is_told_in_the_schema_of_the_subscription() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let delivery_schema = DeliverySchema::CloudEvents;
    let spec = SubscriptionSpec {
        delivery_schema,
        ..SubscriptionSpec::to(endpoint.url())
    };
    world.put("es1", spec).await.unwrap();
    world
        .grid
        .delete_event_subscription(&communication().id, "es1")
        .await
        .unwrap();
    let notice = endpoint.nth(2).await;
    assert_eq!(
        notice.header("content-type"),
        "application/cloudevents+json; charset=utf-8"
    );
    assert_eq!(
        notice.json()["type"],
        "Microsoft.EventGrid.SubscriptionDeletedEvent"
    );
    assert_eq!(notice.json()["specversion"], "1.0");
}

#[tokio::test]
async fn section_4_3_an_endpoint_that_never_agreed_is_told_nothing() {
    let world = World::start();
    let (silent, told) = (Endpoint::start(undecided).await, Endpoint::agreeing().await);
    world.awaiting("es1", &silent).await;
    world.subscribe("es2", &told).await;
    world.grid.remove_source(&communication().id).await.unwrap();
    // Notices of one removal go out together: when one has arrived, the other would have been sent.
    told.nth(2).await;
    assert_eq!(silent.seen().len(), 1);
}

#[tokio::test]
async fn section_3_3_a_subscription_retires_at_its_expiration() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let expires = BEGINNING + Duration::from_secs(3_600);
    let spec = SubscriptionSpec {
        expires: Some(expires),
        ..SubscriptionSpec::to(endpoint.url())
    };
    world.put("es1", spec).await.unwrap();
    world.advance(Duration::from_secs(3_599));
    tokio::task::yield_now().await;
    assert!(world.one("es1").is_some());
    world.advance(Duration::from_secs(1));
    until("the subscription is gone", || world.one("es1").is_none()).await;
    assert_eq!(
        endpoint.nth(2).await.header("aeg-event-type"),
        "SubscriptionDeletion"
    );
}

#[tokio::test]
async fn what_expired_while_nobody_was_there_retires_at_the_start() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let expires = BEGINNING + Duration::from_secs(60);
    let spec = SubscriptionSpec {
        expires: Some(expires),
        ..SubscriptionSpec::to(endpoint.url())
    };
    world.put("es1", spec).await.unwrap();
    let clock = world.clock.clone();
    let world = world.restart_after(|| clock.turn_to(expires)).await;
    until("the subscription is gone", || world.one("es1").is_none()).await;
}

#[tokio::test]
async fn section_3_3_a_patch_keeps_what_it_does_not_name() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let spec = SubscriptionSpec {
        filter: Filter {
            subject_begins_with: "phonenumber/1555".into(),
            ..Filter::default()
        },
        labels: vec!["l1".into()],
        ..SubscriptionSpec::to(endpoint.url())
    };
    let (before, _) = world.put("es1", spec).await.unwrap();
    let filter = FilterPatch {
        subject_ends_with: Some("7".into()),
        ..FilterPatch::default()
    };
    let patch = SubscriptionPatch {
        filter,
        ..SubscriptionPatch::default()
    };
    let source = communication().id;
    let after = world
        .grid
        .patch_event_subscription(&source, "ES1", patch)
        .await
        .unwrap();
    assert_eq!((after.lane, after.name.as_str()), (before.lane, "es1"));
    assert_eq!(
        (&after.labels, &after.destination),
        (&before.labels, &before.destination)
    );
    assert_eq!(world.text("1", "15551").await, 0);
    assert_eq!(world.text("2", "15557").await, 1);

    let absent = world
        .grid
        .patch_event_subscription(&source, "es9", SubscriptionPatch::default())
        .await;
    assert!(matches!(absent, Err(SubscribeError::NotFound(_))));
}

#[tokio::test]
async fn an_update_that_the_endpoint_refuses_changes_nothing() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    let before = world.one("es1").unwrap();
    endpoint.answer(|_| Reply::status(500));
    let patch = SubscriptionPatch {
        labels: Some(vec!["x".into()]),
        ..SubscriptionPatch::default()
    };
    let refused = world
        .grid
        .patch_event_subscription(&communication().id, "es1", patch)
        .await;
    assert!(matches!(
        refused,
        Err(SubscribeError::HandshakeFailed { .. })
    ));
    assert_eq!(world.one("es1").unwrap(), before);
    assert_eq!(world.text("1", "15551").await, 1);
}

#[tokio::test]
async fn two_at_once_for_one_subscription_do_not_mix() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let lane = world.subscribe("es1", &endpoint).await;
    endpoint.answer(|_| Reply::Hangs);
    let (grid, spec) = (world.grid.clone(), SubscriptionSpec::to(endpoint.url()));
    let slow = tokio::spawn(async move {
        grid.put_event_subscription(&communication(), "es1", spec)
            .await
    });
    endpoint.nth(2).await;
    let second = world.put("es1", SubscriptionSpec::to(endpoint.url())).await;
    assert!(matches!(second, Err(SubscribeError::InProgress(_))));
    // Once the slow one has gone, the way is free.
    slow.abort();
    let _ = slow.await;
    endpoint.answer(Reply::agreeing);
    assert_eq!(world.subscribe("es1", &endpoint).await, lane);
}

#[tokio::test]
async fn a_subscription_deleted_while_its_endpoint_was_asked_stays_deleted() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    endpoint.answer(|_| Reply::Hangs);
    let (grid, spec) = (world.grid.clone(), SubscriptionSpec::to(endpoint.url()));
    let slow = tokio::spawn(async move {
        grid.put_event_subscription(&communication(), "es1", spec)
            .await
    });
    endpoint.nth(2).await;
    world
        .grid
        .delete_event_subscription(&communication().id, "es1")
        .await
        .unwrap();
    endpoint.answer(Reply::agreeing);
    // The question hangs until its time is up, then it is asked again and answered.
    world.advance(Duration::from_secs(30));
    until("the second question is asked", || {
        world.advance(Duration::from_secs(1));
        slow.is_finished()
    })
    .await;
    assert!(matches!(
        slow.await.unwrap(),
        Err(SubscribeError::InProgress(_))
    ));
    assert!(world.one("es1").is_none());
}

#[tokio::test]
async fn a_lane_number_is_never_given_out_twice() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let mut lanes = vec![world.subscribe("es1", &endpoint).await];
    assert_eq!(
        lanes[0].0 >> 48,
        u64::from(Partition::of(&communication().id).0)
    );
    world
        .grid
        .delete_event_subscription(&communication().id, "es1")
        .await
        .unwrap();
    lanes.push(world.subscribe("es1", &endpoint).await);
    let world = world.restart().await;
    lanes.push(world.subscribe("es2", &endpoint).await);
    world.grid.remove_source(&communication().id).await.unwrap();
    lanes.push(world.subscribe("es1", &endpoint).await);
    let mut distinct = lanes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, lanes);
}

#[tokio::test]
async fn time_in_the_past_is_no_time_for_an_expiration() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let expires = Some(world.clock.now());
    let spec = SubscriptionSpec {
        expires,
        ..SubscriptionSpec::to(endpoint.url())
    };
    let refused = world.put("es1", spec).await.unwrap_err();
    assert!(
        matches!(&refused, SubscribeError::Invalid(invalid) if invalid.field == "expirationTimeUtc")
    );
    assert_eq!(endpoint.seen().len(), 0);
}

impl World {
    /// What became of the newest event of that id, by subscription.
    fn fates(&self, event_id: &str) -> Vec<(String, Fate)> {
        let explained = self.grid.explain(event_id).unwrap();
        let Some(newest) = explained.first() else {
            return Vec::new();
        };
        let fate = |one: &Explained| (one.subscription.name.clone(), one.fate.clone());
        newest.subscriptions.iter().map(fate).collect()
    }

    fn fate(&self, event_id: &str, name: &str) -> Option<Fate> {
        self.fates(event_id)
            .into_iter()
            .find(|(of, _)| of == name)
            .map(|(_, fate)| fate)
    }
}

#[tokio::test]
async fn an_event_is_explained_by_what_each_subscription_made_of_it() {
    let world = World::start();
    let (good, waiting) = (Endpoint::agreeing().await, Endpoint::start(undecided).await);
    let picky = SubscriptionSpec {
        filter: Filter {
            subject_begins_with: "phonenumber/4".into(),
            ..Filter::default()
        },
        ..SubscriptionSpec::to(good.url())
    };
    world.put("picky", picky).await.unwrap();
    world.subscribe("good", &good).await;
    world.awaiting("undecided", &waiting).await;
    assert_eq!(world.text("sms-1", "15551").await, 2);
    good.nth(3).await;
    until("it is delivered", || {
        world.fate("sms-1", "good") == Some(Fate::Delivered)
    })
    .await;
    world.subscribe("later", &good).await;

    let refused = Refusal::SubjectBeginsWith {
        wanted: "phonenumber/4".into(),
        found: "/phonenumber/15551".into(),
    };
    let expected = [
        ("good", Fate::Delivered),
        ("later", Fate::NotThen),
        ("picky", Fate::Refused(refused)),
        ("undecided", Fate::Pending),
    ];
    let expected = expected.map(|(name, fate)| (name.to_owned(), fate));
    assert_eq!(world.fates("sms-1"), expected);

    let explained = world.grid.explain("sms-1").unwrap();
    let good = explained[0]
        .subscriptions
        .iter()
        .find(|one| one.subscription.name == "good");
    assert_eq!(good.unwrap().attempts.len(), 1);
    assert!(world.grid.explain("sms-2").unwrap().is_empty());

    world
        .grid
        .delete_event_subscription(&communication().id, "good")
        .await
        .unwrap();
    assert_eq!(world.grid.explain("sms-1").unwrap()[0].deleted, 1);
}

#[tokio::test]
async fn an_event_that_could_not_be_delivered_is_explained_by_where_it_waits_or_rests() {
    let world = World::start();
    let (busy, broken) = (Endpoint::agreeing().await, Endpoint::agreeing().await);
    world.subscribe("busy", &busy).await;
    world.subscribe("broken", &broken).await;
    busy.answer(|_| Reply::status(503));
    broken.answer(|_| Reply::status(400));
    world.text("sms-1", "15551").await;

    until("it waits", || {
        matches!(world.fate("sms-1", "busy"), Some(Fate::Waiting { .. }))
    })
    .await;
    let Some(Fate::Waiting {
        due,
        attempts,
        last,
        ..
    }) = world.fate("sms-1", "busy")
    else {
        panic!()
    };
    assert!(BEGINNING < due);
    assert_eq!((attempts, last), (1, Some(Outcome::Busy)));

    let dead = |fate| matches!(fate, Some(Fate::DeadLettered { .. }));
    until("it is a dead letter", || {
        dead(world.fate("sms-1", "broken"))
    })
    .await;
    let Some(Fate::DeadLettered { reason, .. }) = world.fate("sms-1", "broken") else {
        panic!()
    };
    assert_eq!(reason, Reason::UndeliverableDueToHttpBadRequest);
}

#[tokio::test]
async fn of_events_that_share_an_id_the_newest_is_explained_first() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    for from in ["1", "2", "3"] {
        world.text("same", from).await;
        world.text("other", from).await;
    }
    let explained = world.grid.explain("same").unwrap();
    let subjects: Vec<_> = explained.iter().map(|one| &*one.event.subject).collect();
    assert_eq!(
        subjects,
        ["/phonenumber/3", "/phonenumber/2", "/phonenumber/1"]
    );
}
