//! Outgoing texts and their reports, with the built-in carrier.

use std::future::Future as _;
use std::task::{Context, Poll};
use std::time::Duration;

use gridpost_comms::resources::ServicePatch;
use gridpost_comms::sms::{Repeatability, SendError, StatusCode};
use gridpost_model::Clock as _;
use serde_json::json;

use crate::world::{HANDSET, OWNED, World, number, resource, shape, spec, to_each, until};

const SOON: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn one_bad_number_among_three_fails_alone() {
    let world = World::start().await;
    let results = world
        .send(to_each(&[HANDSET, "+1bad", "+15555550124"]))
        .await;
    let statuses: Vec<u16> = results.iter().map(|result| result.status).collect();
    assert_eq!(statuses, [202, 400, 202]);
    assert_eq!(results[1].to, "+1bad");
    assert_eq!(
        results[1].error.as_deref(),
        Some("Invalid To phone number format.")
    );
    assert!(results[1].message_id.is_none());
    assert!(!results[1].is_successful());

    world.advance(SOON).await;
    assert_eq!(world.reports().len(), 2);
    assert_eq!(world.texts(HANDSET)[0].text, "hello");
    assert_eq!(world.texts(HANDSET)[0].from, OWNED);
    assert_eq!(world.comms.metrics().sms_delivered, 2);
}

#[tokio::test]
async fn a_delivered_text_is_reported_in_one_event() {
    let world = World::start().await;
    let mut request = to_each(&[HANDSET]);
    request.options.tag = Some("campaign".into());
    request.message = "€".repeat(81);
    let id = world.send(request).await[0].message_id.clone().unwrap();
    world.settle().await;
    assert_eq!(world.status_of(&id), Some("Pending"));
    assert!(world.events().is_empty());

    world.advance(SOON).await;
    let [event] = &world.events()[..] else {
        panic!("{:?}", world.events())
    };
    assert_eq!(event["id"], id.as_str());
    assert_eq!(event["subject"], "/phonenumber/15555550100");
    assert_eq!(
        event["data"],
        json!({
            "messageId": id.as_str(),
            "from": "15555550100",
            "to": HANDSET,
            "deliveryStatus": "Delivered",
            "deliveryStatusDetails": "2000: No Error",
            "receivedTimestamp": "2027-01-15T08:00:00.1Z",
            "deliveryAttempts": [
                {"timestamp": "2027-01-15T08:00:00Z", "segmentsSucceeded": 2, "segmentsFailed": 0},
            ],
            "tag": "campaign",
        })
    );
    let report = world
        .comms
        .delivery_report(&world.dev(), id.as_str())
        .unwrap()
        .unwrap();
    assert_eq!(report.status.as_str(), "Delivered");
    assert_eq!(report.tag.as_deref(), Some("campaign"));
    assert_eq!(report.attempts.len(), 1);
}

#[tokio::test]
async fn a_report_in_the_shape_of_2020_has_its_keys_and_words() {
    let world = World::start().await;
    let patch = ServicePatch {
        tags: Some(shape("2020-09")),
        ..ServicePatch::default()
    };
    world
        .comms
        .patch_resource(&resource("dev"), patch)
        .await
        .unwrap();
    world.send_to(HANDSET).await;
    world.advance(SOON).await;
    let data = &world.reports()[0];
    assert_eq!(data["DeliveryStatusDetails"], "No error.");
    assert_eq!(data["From"], "15555550100");
    assert_eq!(data["To"], HANDSET);
    assert_eq!(data["DeliveryAttempts"][0]["SegmentsSucceeded"], 1);
}

#[tokio::test]
async fn no_event_is_published_when_none_was_asked_for() {
    let world = World::start().await;
    let mut request = to_each(&[HANDSET]);
    request.options.enable_delivery_report = false;
    let id = world.send(request).await[0].message_id.clone().unwrap();
    world.advance(SOON).await;
    assert!(world.events().is_empty());
    assert_eq!(world.status_of(&id), Some("Delivered"));
}

#[tokio::test]
async fn each_magic_number_ends_with_its_code() {
    let world = World::start().await;
    for code in StatusCode::ALL
        .iter()
        .filter(|code| **code != StatusCode::NoReport)
    {
        let id = world.send_to(&format!("+1555555{}", code.number())).await;
        world.advance(SOON).await;
        let report = world.reports().pop().unwrap();
        assert_eq!(report["messageId"], id.as_str());
        assert_eq!(
            report["deliveryStatusDetails"],
            format!("{}: {}", code.number(), code.text())
        );
        let status = if *code == StatusCode::Delivered {
            "Delivered"
        } else {
            "Failed"
        };
        assert_eq!(report["deliveryStatus"], status);
    }
    assert!(world.texts("+15555554004").is_empty());
}

#[tokio::test]
async fn magic_numbers_refuse_a_recipient_at_once() {
    let world = World::start().await;
    let results = world
        .send(to_each(&[
            "+15555550400",
            "+15555550429",
            "+15555550503",
            HANDSET,
        ]))
        .await;
    let statuses: Vec<u16> = results.iter().map(|result| result.status).collect();
    assert_eq!(statuses, [400, 429, 503, 202]);
    assert_eq!(results[2].error.as_deref(), Some("ServiceUnavailable"));
}

#[tokio::test]
async fn a_report_that_comes_twice_is_one_event() {
    let world = World::start().await;
    for twice in ["+15555552001", "+15555552002"] {
        let id = world.send_to(twice).await;
        world.advance(SOON).await;
        world.advance(SOON).await;
        assert_eq!(world.status_of(&id), Some("Delivered"));
    }
    assert_eq!(world.reports().len(), 2);
    assert_eq!(world.comms.metrics().sms_reports_ignored, 2);
}

#[tokio::test]
async fn attempts_are_listed_and_delays_are_kept() {
    let world = World::start().await;
    world.send_to("+15555552103").await;
    world.advance(Duration::from_secs(10)).await;
    assert!(world.reports().is_empty());
    world.advance(SOON).await;
    let attempts = &world.reports()[0]["deliveryAttempts"];
    assert_eq!(attempts[0]["segmentsFailed"], 1);
    assert_eq!(attempts[2]["segmentsSucceeded"], 1);
    assert_eq!(attempts[2]["timestamp"], "2027-01-15T08:00:10Z");

    world.send_to("+15555553075").await;
    world.advance(Duration::from_secs(74)).await;
    assert_eq!(world.reports().len(), 1);
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(world.reports().len(), 2);
}

#[tokio::test]
async fn without_a_report_a_message_fails_when_its_time_is_over() {
    let world = World::start().await;
    let mut request = to_each(&["+15555555002"]);
    request.options.report_timeout_seconds = Some(60);
    let id = world.send(request).await[0].message_id.clone().unwrap();
    world.advance(Duration::from_secs(59)).await;
    assert_eq!(world.status_of(&id), Some("Pending"));
    assert_eq!(world.texts("+15555555002").len(), 1);
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(
        world.reports()[0]["deliveryStatusDetails"],
        "5002: Message Delivery Timeout"
    );
    assert_eq!(world.status_of(&id), Some("Failed"));
}

#[tokio::test]
async fn the_same_repeatability_id_is_the_same_message_for_a_day() {
    let world = World::start().await;
    let request = |id: &str| {
        let mut request = to_each(&[HANDSET]);
        request.recipients[0].request_id = Some(id.into());
        request.recipients[0].first_sent = Some("Fri, 15 Jan 2027 08:00:00 GMT".into());
        request
    };
    let first = world
        .send(request("e0db25c6-8a2d-4c1b-9b52-3a4fa6d8cf3f"))
        .await;
    assert_eq!(first[0].repeatability, Some(Repeatability::Accepted));
    world.advance(DAY - Duration::from_secs(1)).await;
    let again = world
        .send(request("E0DB25C6-8A2D-4C1B-9B52-3A4FA6D8CF3F"))
        .await;
    assert_eq!(again, first);
    world.advance(SOON).await;
    assert_eq!(world.texts(HANDSET).len(), 1);
    assert_eq!(world.reports().len(), 1);

    world.advance(Duration::from_secs(1)).await;
    let new = world
        .send(request("e0db25c6-8a2d-4c1b-9b52-3a4fa6d8cf3f"))
        .await;
    assert_ne!(new[0].message_id, first[0].message_id);
    // The first message is forgotten now; what its id stands for since must not go with it.
    world.advance(Duration::from_mins(1)).await;
    let again = world
        .send(request("e0db25c6-8a2d-4c1b-9b52-3a4fa6d8cf3f"))
        .await;
    assert_eq!(again, new);
}

#[tokio::test]
async fn an_invalid_first_sent_rejects_its_recipient() {
    let world = World::start().await;
    let mut request = to_each(&[HANDSET, HANDSET]);
    request.recipients[0].request_id = Some("e0db25c6-8a2d-4c1b-9b52-3a4fa6d8cf3f".into());
    request.recipients[0].first_sent = Some("yesterday".into());
    let results = world.send(request).await;
    assert_eq!(results[0].status, 400);
    assert_eq!(results[0].repeatability, Some(Repeatability::Rejected));
    assert_eq!(
        results[0].error.as_deref(),
        Some(
            "Request sent with Invalid DateTime value for repeatability-first-sent. \
             Expected is DateTime ,RFC1123 pattern."
        )
    );
    assert_eq!(results[1].status, 202);
}

#[tokio::test]
async fn a_sender_must_belong_to_the_resource_or_be_a_name() {
    let world = World::start().await;
    let (other, _) = world
        .comms
        .put_resource(resource("other"), spec())
        .await
        .unwrap();
    world
        .comms
        .assign(&other.id, number("+15555550150"))
        .await
        .unwrap();
    world
        .comms
        .assign(&world.dev().id, number("34567"))
        .await
        .unwrap();
    for foreign in ["+15555550150", "+15555550199", "99999"] {
        let mut request = to_each(&[HANDSET]);
        request.from = foreign.into();
        let refused = world.comms.send(&world.dev(), request).await;
        assert!(matches!(refused, Err(SendError::NotOwned)), "{foreign}");
    }
    for own in ["34567", "Contoso"] {
        let mut request = to_each(&[HANDSET]);
        request.from = own.into();
        assert_eq!(world.send(request).await[0].status, 202, "{own}");
    }
    world.advance(SOON).await;
    let subjects: Vec<_> = world
        .events()
        .iter()
        .map(|event| event["subject"].clone())
        .collect();
    assert!(subjects.contains(&json!("/phonenumber/34567")));
    assert!(subjects.contains(&json!("/phonenumber/Contoso")));
}

#[tokio::test]
async fn a_request_out_of_bounds_is_refused_as_a_whole() {
    let world = World::start().await;
    let dev = world.dev();
    let refusal = async |change: fn(&mut gridpost_comms::sms::SendRequest)| {
        let mut request = to_each(&[HANDSET]);
        change(&mut request);
        world.comms.send(&dev, request).await.unwrap_err()
    };
    assert!(matches!(
        refusal(|r| r.from = "?".into()).await,
        SendError::BadFrom
    ));
    assert!(matches!(
        refusal(|r| r.recipients.clear()).await,
        SendError::Recipients(0)
    ));
    assert!(matches!(
        refusal(|r| r.message.clear()).await,
        SendError::Length(0)
    ));
    assert!(matches!(
        refusal(|r| r.message = "a".repeat(2049)).await,
        SendError::Length(2049)
    ));
    let refused = refusal(|r| r.options.report_timeout_seconds = Some(59)).await;
    assert!(matches!(refused, SendError::ReportTimeout));
    assert!(matches!(
        refusal(|r| r.options.tag = Some("a".repeat(257))).await,
        SendError::Tag
    ));
    let many = vec![HANDSET; 101];
    let refused = world.comms.send(&dev, to_each(&many)).await;
    assert!(matches!(refused, Err(SendError::Recipients(101))));
    assert_eq!(world.send(to_each(&many[1..])).await.len(), 100);
}

#[tokio::test]
async fn a_message_is_forgotten_a_day_after_its_end() {
    let world = World::start().await;
    let id = world.send_to(HANDSET).await;
    world.advance(SOON).await;
    world.advance(DAY - SOON).await;
    assert_eq!(world.status_of(&id), Some("Delivered"));
    world.advance(SOON).await;
    assert_eq!(world.status_of(&id), None);
    assert_eq!(
        world.clock.next_alarm(),
        None,
        "something is still due for a forgotten message"
    );
}

#[tokio::test]
async fn a_message_is_nobody_elses_business() {
    let world = World::start().await;
    let (other, _) = world
        .comms
        .put_resource(resource("other"), spec())
        .await
        .unwrap();
    let id = world.send_to(HANDSET).await;
    assert!(
        world
            .comms
            .delivery_report(&other, id.as_str())
            .unwrap()
            .is_none()
    );
    assert!(
        world
            .comms
            .delivery_report(&world.dev(), "Outgoing_\0")
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_early_does_not_stop_its_text() {
    let world = World::start().await;
    let dev = world.dev();
    let mut sending = Box::pin(world.comms.send(&dev, to_each(&[HANDSET])));
    // The first look hands the transaction to the store; nobody ever looks again.
    let look = |context: &mut Context<'_>| Poll::Ready(sending.as_mut().poll(context).is_pending());
    assert!(std::future::poll_fn(look).await);
    drop(sending);
    until("the handset has the text", || {
        !world.texts(HANDSET).is_empty()
    })
    .await;
    world.settle().await;
    world.clock.turn_to(world.clock.now() + SOON);
    until("the text is reported", || world.reports().len() == 1).await;
}
