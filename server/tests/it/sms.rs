//! Sending texts as the clients do.

use gridpost::credentials::NUMBER;
use gridpost::output::Exit;
use serde_json::{Value, json};

use crate::world::World;

const PATH: &str = "/sms?api-version=2021-03-07";

fn to(numbers: &[&str], report: bool) -> Value {
    let recipients: Vec<Value> = numbers
        .iter()
        .map(|number| json!({ "to": number }))
        .collect();
    json!({
        "from": NUMBER, "smsRecipients": recipients, "message": "Hello",
        "smsSendOptions": { "enableDeliveryReport": report },
    })
}

#[tokio::test]
async fn a_text_with_a_report_is_answered_per_recipient_and_reported_to_the_webhook() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    world.subscribe_with_the_missions_filter(&endpoint).await;
    let connection_string = world.client().connection_string().await.unwrap();

    let date = world.now().http_date();
    let body = to(&["+15555550123", "not a number"], true);
    let answer = world
        .client()
        .signed(&connection_string, &date, PATH, &body)
        .await
        .unwrap();
    world.advance(crate::world::seconds(10)).await;

    let successes: Vec<bool> = answer["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["successful"] == json!(true))
        .collect();
    assert_eq!(successes, [true, false]);
    let reports = endpoint.notifications();
    assert_eq!(reports.len(), 1);
    let event = &reports[0].body[0];
    assert_eq!(
        event["eventType"],
        "Microsoft.Communication.SMSDeliveryReportReceived"
    );
    assert_eq!(event["data"]["messageId"], answer["value"][0]["messageId"]);
    assert_eq!(event["data"]["deliveryStatus"], "Delivered");
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_nothing_is_sent() {
    let world = World::start().await;
    let date = world.now().http_date();
    let wrong = "endpoint=https://localhost/;accesskey=c2VjcmV0";
    let refusal = world
        .client()
        .signed(wrong, &date, PATH, &to(&["+15555550123"], false))
        .await
        .unwrap_err();
    assert_eq!(refusal.exit, Exit::Refused);
    assert!(
        refusal.error.to_string().contains("401"),
        "{}",
        refusal.error
    );
    assert_eq!(texts_of(&world).await, 0);
}

#[tokio::test]
async fn a_body_changed_after_signing_is_refused() {
    let world = World::start().await;
    let connection_string = world.client().connection_string().await.unwrap();
    let key = connection_string.split("accesskey=").nth(1).unwrap();
    let (date, host) = (world.now().http_date(), world.address().to_string());
    let signed_body = to(&["+15555550123"], false).to_string();
    let signature =
        gridpost::client::sign(key, PATH, &date, &host, signed_body.as_bytes()).unwrap();

    for (body, expected) in [
        (signed_body.clone(), 202),
        (signed_body.replace("Hello", "Hullo"), 401),
    ] {
        let mut sender = gridpost::client::open(world.address(), None).await.unwrap();
        let request = http::Request::post(PATH)
            .header("host", &host)
            .header("content-type", "application/json")
            .header("x-ms-date", &date)
            .header("x-ms-content-sha256", &signature.body_hash)
            .header("authorization", &signature.authorization)
            .body(http_body_util::Full::from(body))
            .unwrap();
        assert_eq!(
            sender.send_request(request).await.unwrap().status(),
            expected
        );
    }
    world.settle().await;
    assert_eq!(texts_of(&world).await, 1);
}

async fn texts_of(world: &World) -> usize {
    let path = "handsets/+15555550123/messages";
    world.own(http::Method::GET, path, Value::Null).await["value"]
        .as_array()
        .unwrap()
        .len()
}
