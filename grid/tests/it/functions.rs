//! Functions: webhooks whose URL the configuration has.

use gridpost_grid::connections::Connections;
use gridpost_grid::subscriptions::{SubscribeError, SubscriptionPatch, SubscriptionSpec};
use gridpost_model::subscription::{AzureFunction, Batch, DeliveryAttribute};
use gridpost_model::{Destination, Secret};

use crate::endpoint::{Endpoint, Reply};
use crate::world::{World, communication, until};

const FUNCTION: &str =
    "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Web/sites/app/functions/f";

fn world(endpoint: &Endpoint) -> World {
    let functions = [(FUNCTION.parse().unwrap(), Secret::new(endpoint.url()))];
    World::start_knowing(Connections {
        functions: functions.into(),
        ..Connections::default()
    })
}

async fn subscribe(world: &World, function: &str) -> Result<(), SubscribeError> {
    subscribe_with(world, function, Vec::new()).await
}

async fn subscribe_with(
    world: &World,
    function: &str,
    attributes: Vec<DeliveryAttribute>,
) -> Result<(), SubscribeError> {
    let mut spec = SubscriptionSpec::to("https://unused.example");
    spec.destination = Destination::AzureFunction(AzureFunction {
        resource_id: function.parse().unwrap(),
        batch: Batch::default(),
        attributes,
    });
    let made = world
        .grid
        .put_event_subscription(&communication(), "es1", spec)
        .await;
    made.map(drop)
}

#[tokio::test]
async fn section_6_a_function_is_asked_and_sent_to_as_a_webhook_is_and_told_of_the_end() {
    let endpoint = Endpoint::agreeing().await;
    let world = world(&endpoint);
    subscribe(&world, &FUNCTION.to_uppercase()).await.unwrap();
    world.text("e1", "15550001").await;
    until("the event arrives", || endpoint.seen().len() == 2).await;
    let kinds = |endpoint: &Endpoint| -> Vec<String> {
        let seen = endpoint.seen();
        let kind = |seen: &crate::endpoint::Seen| seen.header("aeg-event-type").to_owned();
        seen.iter().map(kind).collect()
    };
    assert_eq!(kinds(&endpoint), ["SubscriptionValidation", "Notification"]);
    let seen = &endpoint.seen()[1];
    assert_eq!(seen.target, "/hook?code=s3cret");
    assert_eq!(seen.json()[0]["id"], "e1");
    until("all is quiet", || world.grid.pending().is_quiet()).await;

    let source = communication().id;
    assert!(
        world
            .grid
            .delete_event_subscription(&source, "es1")
            .await
            .unwrap()
    );
    until("the notice arrives", || endpoint.seen().len() == 3).await;
    assert_eq!(kinds(&endpoint)[2], "SubscriptionDeletion");
}

#[tokio::test]
async fn section_3_3_a_function_s_secret_that_is_sent_back_as_it_is_shown_stays() {
    let endpoint = Endpoint::agreeing().await;
    let world = world(&endpoint);
    let secret = |value: &str| DeliveryAttribute::secret("x-pass", value);
    let put = |value| subscribe_with(&world, FUNCTION, vec![secret(value)]);
    let refused = put("").await.unwrap_err();
    assert!(matches!(refused, SubscribeError::Invalid(_)), "{refused}");
    put("hunter2").await.unwrap();
    put("").await.unwrap();

    let mut destination = world
        .grid
        .event_subscription(&communication().id, "es1")
        .unwrap()
        .destination
        .clone();
    *destination.attributes_mut().unwrap() = vec![secret("")];
    let patch = SubscriptionPatch {
        destination: Some(destination),
        ..SubscriptionPatch::default()
    };
    let source = communication().id;
    let patched = world
        .grid
        .patch_event_subscription(&source, "es1", patch)
        .await;
    let kept = patched.unwrap().destination.attributes().to_vec();
    assert_eq!(kept, [secret("hunter2")]);
    let questions: Vec<_> = endpoint.seen();
    assert_eq!(questions.len(), 3);
    assert!(
        questions
            .iter()
            .all(|one| one.header("x-pass") == "hunter2")
    );
}

#[tokio::test]
async fn section_4_1_a_function_that_does_not_agree_gets_no_subscription() {
    let endpoint = Endpoint::start(|_| Reply::status(500)).await;
    let world = world(&endpoint);
    let refused = subscribe(&world, FUNCTION).await.unwrap_err();
    assert!(
        matches!(refused, SubscribeError::HandshakeFailed { .. }),
        "{refused}"
    );
    assert!(!refused.to_string().contains("s3cret"), "{refused}");
}

#[tokio::test]
async fn a_function_that_is_not_configured_is_refused_with_the_name_of_the_setting() {
    let endpoint = Endpoint::agreeing().await;
    let refused = subscribe(&world(&endpoint), "/elsewhere")
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("[[handlers.function]]"),
        "{refused}"
    );
    assert!(endpoint.seen().is_empty());
}
