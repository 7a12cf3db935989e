//! SMS as clients see it.

use std::time::Duration;

use axum::body::Body;
use gridpost_model::WhichKey;
use http::Request;
use serde_json::{Value, json};

use crate::stack::{HANDSET, NUMBER, Signed, Stack, resource_id};

const SEND: &str = "/sms?api-version=2021-03-07";

fn text_to(recipients: &[&str]) -> String {
    let recipients: Vec<_> = recipients
        .iter()
        .enumerate()
        .map(|(at, to)| {
            json!({
                "to": to,
                "repeatabilityRequestId": format!("00000000-0000-4000-8000-00000000000{at}"),
                "repeatabilityFirstSent": "Sun, 22 Nov 2026 00:27:55 GMT",
            })
        })
        .collect();
    json!({
        "from": NUMBER, "smsRecipients": recipients, "message": "hello",
        "smsSendOptions": {"enableDeliveryReport": true, "tag": "campaign"},
    })
    .to_string()
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

#[tokio::test]
async fn each_recipient_has_a_result_of_its_own() {
    let stack = Stack::start().await;
    let answer = stack
        .signed("POST", SEND, &text_to(&[HANDSET, "nobody", "+15555550503"]))
        .await;
    let mut body = answer.json_of(202);
    let id = body["value"][0]["messageId"].take();
    assert!(
        id.as_str().unwrap().starts_with("Outgoing_20261122002755"),
        "{id}"
    );
    assert_eq!(
        body,
        json!({"value": [
            {"to": HANDSET, "messageId": null, "httpStatusCode": 202, "repeatabilityResult": "accepted", "successful": true},
            {"to": "nobody", "httpStatusCode": 400, "repeatabilityResult": "rejected", "successful": false,
             "errorMessage": "Invalid To phone number format."},
            {"to": "+15555550503", "httpStatusCode": 503, "repeatabilityResult": "rejected", "successful": false,
             "errorMessage": "ServiceUnavailable"},
        ]})
    );
    assert_eq!(answer.headers["x-ms-client-request-id"], "the-request");
}

#[tokio::test]
async fn an_array_is_no_recipient_and_no_options() {
    let stack = Stack::start().await;
    for (name, value) in [
        ("smsRecipients", json!([[HANDSET, null, null]])),
        ("smsSendOptions", json!([true, null, null, null])),
    ] {
        let mut body: Value = serde_json::from_str(&text_to(&[HANDSET])).unwrap();
        body[name] = value;
        let answer = stack.signed("POST", SEND, &body.to_string()).await;
        answer.json_of(400);
    }
}

#[tokio::test]
async fn the_same_repeatability_id_is_the_same_message() {
    let stack = Stack::start().await;
    let body = text_to(&[HANDSET]);
    let first = stack.signed("POST", SEND, &body).await.json_of(202);
    let again = stack.signed("POST", SEND, &body).await.json_of(202);
    assert_eq!(first, again);
    stack.advance(Duration::from_secs(1)).await;
    let texts = stack
        .own("GET", &format!("handsets/{HANDSET}/messages"), "")
        .await
        .json_of(200);
    assert_eq!(texts["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_key_and_a_changed_body_are_denied() {
    let stack = Stack::start().await;
    let (dev, now) = (stack.dev(), gridpost_model::Clock::now(&stack.clock));
    let body = text_to(&[HANDSET]);

    let changed = Signed::new("POST", SEND, &body)
        .but_sending("{}")
        .by(&dev.keys.first, now);
    let changed = stack.ask(changed).await;
    let differs = "Request 'x-ms-content-sha256' differs from generated content hash.";
    assert_eq!(changed.json_of(401), error("Denied", differs));

    let foreign = gridpost_model::Secret::new("AAECAw==");
    let wrong = stack
        .ask(Signed::new("POST", SEND, &body).by(&foreign, now))
        .await;
    assert_eq!(wrong.json_of(401)["error"]["code"], "Denied");

    let early = now - Duration::from_secs(301);
    let late = stack
        .ask(Signed::new("POST", SEND, &body).by(&dev.keys.first, early))
        .await;
    assert_eq!(late.json_of(401)["error"]["code"], "Denied");

    let none = Request::post(SEND)
        .header("host", "x")
        .body(Body::from(body))
        .unwrap();
    let none = stack.ask(none).await;
    assert_eq!(none.json_of(401)["error"]["code"], "Denied");
    assert_eq!(none.headers["www-authenticate"], "HMAC-SHA256");
}

#[tokio::test]
async fn both_keys_open_and_a_replaced_key_does_not() {
    let stack = Stack::start().await;
    let (dev, now) = (stack.dev(), gridpost_model::Clock::now(&stack.clock));
    let body = text_to(&[HANDSET]);
    let ask = async |key| {
        stack
            .ask(Signed::new("POST", SEND, &body).by(key, now))
            .await
            .status
    };
    assert_eq!(ask(&dev.keys.first).await, 202);
    assert_eq!(ask(&dev.keys.second).await, 202);
    stack
        .comms
        .regenerate_key(&dev.id, WhichKey::Second)
        .await
        .unwrap();
    assert_eq!(ask(&dev.keys.first).await, 202);
    assert_eq!(ask(&dev.keys.second).await, 401);
}

#[tokio::test]
async fn the_key_decides_which_resource_sends() {
    let stack = Stack::start().await;
    let (other, now) = (
        stack.make("other").await,
        gridpost_model::Clock::now(&stack.clock),
    );
    let body = text_to(&[HANDSET]);
    let answer = stack
        .ask(Signed::new("POST", SEND, &body).by(&other.keys.first, now))
        .await;
    let not_its = "The sender does not belong to this resource.";
    assert_eq!(answer.json_of(401), error("Denied", not_its));
}

#[tokio::test]
async fn a_bearer_token_opens_the_only_resource() {
    let stack = Stack::start().await;
    let token = stack.token().await;
    let ask = async |token: &str| {
        let request = Request::post(SEND)
            .header("host", "127.0.0.1:8480")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(text_to(&[HANDSET])))
            .unwrap();
        stack.ask(request).await
    };
    assert_eq!(ask(&token).await.status, 202);
    assert_eq!(
        ask("nonsense").await.json_of(401)["error"]["code"],
        "Denied"
    );
    stack.make("other").await;
    assert_eq!(ask(&token).await.json_of(401)["error"]["code"], "Denied");
}

#[tokio::test]
async fn any_dated_version_is_accepted_and_a_missing_one_is_not() {
    let stack = Stack::start().await;
    let body = text_to(&[HANDSET]);
    for version in ["2020-07-20-preview1", "2026-01-23", "2199-01-01"] {
        let target = format!("/sms?api-version={version}");
        assert_eq!(
            stack.signed("POST", &target, &body).await.status,
            202,
            "{version}"
        );
    }
    let mut expected = error(
        "ApiVersionUnspecified",
        "An API version is required, but was not specified.",
    );
    expected["error"]["innerError"] = Value::Null;
    assert_eq!(
        stack.signed("POST", "/sms", &body).await.json_of(400),
        expected
    );
}

#[tokio::test]
async fn an_invalid_envelope_is_refused_as_a_whole() {
    let stack = Stack::start().await;
    let too_many: Vec<_> = (0..101).map(|_| json!({"to": HANDSET})).collect();
    for body in [
        "{".to_owned(),
        json!({"from": NUMBER, "message": "x"}).to_string(),
        json!({"from": NUMBER, "smsRecipients": [], "message": "x"}).to_string(),
        json!({"from": NUMBER, "smsRecipients": too_many, "message": "x"}).to_string(),
        json!({"from": NUMBER, "smsRecipients": [{"to": HANDSET}], "message": "x".repeat(2049)})
            .to_string(),
        json!({"from": "!", "smsRecipients": [{"to": HANDSET}], "message": "x"}).to_string(),
    ] {
        let answer = stack.signed("POST", SEND, &body).await;
        assert_eq!(answer.json_of(400)["error"]["code"], "BadRequest", "{body}");
    }
    let partner =
        json!({"enableDeliveryReport": true, "messagingConnect": {"apiKey": "k", "partner": "p"}});
    let body = json!({"from": NUMBER, "smsRecipients": [{"to": HANDSET}], "message": "x", "smsSendOptions": partner});
    let answer = stack
        .signed("POST", SEND, &body.to_string())
        .await
        .json_of(400);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("messagingConnect")
    );
    let huge = format!("\"{}\"", "x".repeat(2 << 20));
    assert_eq!(stack.signed("POST", SEND, &huge).await.status, 413);
}

#[tokio::test]
async fn opt_outs_are_added_checked_and_removed() {
    let stack = Stack::start().await;
    let ask = async |verb: &str| {
        let target = format!("/sms/optouts:{verb}?api-version=2026-01-23");
        let recipients = json!([{"to": HANDSET}, {"to": "nobody"}]);
        let body = json!({"from": NUMBER, "recipients": recipients}).to_string();
        stack.signed("POST", &target, &body).await.json_of(200)["value"].take()
    };
    let bad = json!({"to": "nobody", "httpStatusCode": 400, "errorMessage": "Invalid recipient phone number format"});
    let good = json!({"to": HANDSET, "httpStatusCode": 200});
    let checked = |is| json!({"to": HANDSET, "httpStatusCode": 200, "isOptedOut": is});
    assert_eq!(ask("check").await, json!([checked(false), bad]));
    assert_eq!(ask("add").await, json!([good, bad]));
    assert_eq!(ask("check").await, json!([checked(true), bad]));
    assert_eq!(ask("remove").await, json!([good, bad]));
    assert_eq!(ask("check").await, json!([checked(false), bad]));
}

#[tokio::test]
async fn a_delivery_report_can_be_asked_for() {
    let stack = Stack::start().await;
    let sent = stack
        .signed("POST", SEND, &text_to(&[HANDSET]))
        .await
        .json_of(202);
    let id = sent["value"][0]["messageId"].as_str().unwrap();
    let target = format!("/deliveryReports/{id}?api-version=2025-08-01-preview");
    let pending = stack.signed("GET", &target, "").await.json_of(200);
    assert_eq!(pending["deliveryStatus"], "Pending");

    stack.advance(Duration::from_secs(1)).await;

    let mut report = stack.signed("GET", &target, "").await.json_of(200);
    assert!(report["receivedTimestamp"].take().is_string());
    assert!(
        report["deliveryAttempts"][0]["timestamp"]
            .take()
            .is_string()
    );
    assert_eq!(
        report,
        json!({
            "messageId": id, "from": "15555550100", "to": HANDSET, "deliveryStatus": "Delivered",
            "deliveryStatusDetails": "2000: No Error", "receivedTimestamp": null, "tag": "campaign",
            "deliveryAttempts": [{"timestamp": null, "segmentsSucceeded": 1, "segmentsFailed": 0}],
        })
    );
}

#[tokio::test]
async fn an_unknown_delivery_report_is_a_problem_document() {
    let stack = Stack::start().await;
    let target = "/deliveryReports/Outgoing_1?api-version=2025-08-01-preview";
    let answer = stack.signed("GET", target, "").await;
    assert_eq!(
        answer.headers["content-type"],
        "application/problem+json; charset=utf-8"
    );
    let body = answer.json_of(404);
    assert_eq!(
        (&body["title"], &body["status"]),
        (&json!("Not Found"), &json!(404))
    );
    assert!(body["traceId"].is_string());
}

#[tokio::test]
async fn a_resource_that_disabled_its_keys_refuses_them() {
    let stack = Stack::start().await;
    let patch = gridpost_comms::resources::ServicePatch {
        disable_local_auth: Some(true),
        ..Default::default()
    };
    stack
        .comms
        .patch_resource(&resource_id("dev"), patch)
        .await
        .unwrap();
    let answer = stack.signed("POST", SEND, &text_to(&[HANDSET])).await;
    assert_eq!(answer.json_of(401)["error"]["code"], "Denied");
}
