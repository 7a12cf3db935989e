//! Sinks as webhooks and as their readers see them.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use gridpost_api::Profile;
use gridpost_model::Clock as _;
use http::Request;
use serde_json::json;

use crate::stack::{Answer, Stack, own_request};

const EVENT: &str =
    r#"[{"id":"7","eventType":"A.B","subject":"/phonenumber/15555555555","data":{}}]"#;

/// Polls once: a request that is to wait must be waiting before the test goes on.
async fn is_waiting(asking: std::pin::Pin<&mut impl Future<Output = Answer>>) -> bool {
    let mut asking = asking;
    std::future::poll_fn(move |context| Poll::Ready(asking.as_mut().poll(context).is_pending()))
        .await
}

#[tokio::test]
async fn a_sink_keeps_what_it_received() {
    let stack = Stack::start().await;
    let mut request = own_request("POST", "sinks/s?code=a%20b", EVENT);
    request
        .headers_mut()
        .insert("aeg-event-type", "Notification".parse().unwrap());
    assert_eq!(stack.ask(request).await.status, 200);
    let read = stack.own("GET", "sinks/s/requests", "").await.json_of(200);
    assert_eq!(
        read,
        json!({"requests": [{
            "number": 1, "time": "2026-11-22T00:27:55Z", "method": "POST",
            "path": "/_gridpost/v1/sinks/s?code=a%20b",
            "headers": {"host": "127.0.0.1:8480", "aeg-event-type": "Notification"},
            "body": [{"id": "7", "eventType": "A.B", "subject": "/phonenumber/15555555555", "data": {}}],
            "bodyBytes": EVENT.len(),
        }]})
    );
    let listed = stack.own("GET", "sinks", "").await.json_of(200);
    assert_eq!(listed["value"][0]["name"], "s");
    assert_eq!(listed["value"][0]["received"], 1);
}

#[tokio::test]
async fn every_method_is_received_but_delete() {
    let stack = Stack::start().await;
    for method in ["POST", "GET", "PUT", "PATCH", "OPTIONS"] {
        assert_eq!(
            stack.own(method, "sinks/s", "x").await.status,
            200,
            "{method}"
        );
    }
    let listed = stack.own("GET", "sinks", "").await.json_of(200);
    assert_eq!(listed["value"][0]["received"], 5);
    assert_eq!(stack.own("DELETE", "sinks/s", "").await.status, 204);
    assert_eq!(stack.own("DELETE", "sinks/s", "").await.status, 404);
    let read = stack.own("GET", "sinks/s/requests", "").await.json_of(200);
    assert_eq!(read, json!({"requests": []}));
}

#[tokio::test]
async fn both_handshakes_are_answered() {
    let stack = Stack::start().await;
    let body = r#"[{"id":"1","data":{"validationCode":"512d"}}]"#;
    let mut request = own_request("POST", "sinks/s", body);
    request
        .headers_mut()
        .insert("aeg-event-type", "SubscriptionValidation".parse().unwrap());
    let answer = stack.ask(request).await;
    assert_eq!(answer.json_of(200), json!({"validationResponse": "512d"}));

    let mut request = own_request("OPTIONS", "sinks/s", "");
    request.headers_mut().insert(
        "webhook-request-origin",
        "eventgrid.azure.net".parse().unwrap(),
    );
    let answer = stack.ask(request).await;
    assert_eq!(
        answer.headers["webhook-allowed-origin"],
        "eventgrid.azure.net"
    );
}

#[tokio::test]
async fn a_wait_ends_with_the_request_it_waits_for() {
    let stack = Stack::start().await;
    let mut waiting = pin!(stack.own("GET", "sinks/s/wait?eventType=a.b&count=2", ""));
    assert!(is_waiting(waiting.as_mut()).await);
    stack.own("POST", "sinks/s", EVENT).await;
    stack
        .own("POST", "sinks/s", r#"[{"id":"8","eventType":"Other"}]"#)
        .await;
    assert!(is_waiting(waiting.as_mut()).await);
    stack.own("POST", "sinks/s", EVENT).await;
    let found = waiting.await.json_of(200);
    let numbers: Vec<_> = found["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["number"])
        .collect();
    assert_eq!(numbers, [1, 3]);

    // What is there already counts, unless it was seen.
    let again = stack
        .own("GET", "sinks/s/wait?id=7&after=1", "")
        .await
        .json_of(200);
    assert_eq!(again["requests"][0]["number"], 3);
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_over() {
    let stack = Stack::start().await;
    stack.own("POST", "sinks/s", EVENT).await;
    let mut waiting = pin!(stack.own("GET", "sinks/s/wait?id=other&timeoutSeconds=10", ""));
    assert!(is_waiting(waiting.as_mut()).await);
    stack
        .clock
        .turn_to(stack.clock.now() + Duration::from_millis(9_999));
    assert!(is_waiting(waiting.as_mut()).await);
    stack
        .clock
        .turn_to(stack.clock.now() + Duration::from_millis(1));
    assert_eq!(
        waiting.await.json_of(404),
        json!({"error": {"code": "WaitTimedOut",
            "message": "0 of 1 matching requests arrived at sink 's' within 10 s; it received 1 in all."}})
    );
    let long = stack
        .own("GET", "sinks/s/wait?timeoutSeconds=121", "")
        .await;
    assert_eq!(long.json_of(400)["error"]["code"], "BadRequest");
}

#[tokio::test]
async fn a_sink_fails_as_often_as_it_is_told() {
    let stack = Stack::start().await;
    let told = stack
        .own("PUT", "sinks/s/behaviour", r#"{"status":503,"times":2}"#)
        .await;
    let expected =
        json!({"status": 503, "delayMs": 0, "hang": false, "handshake": "answer", "times": 2});
    assert_eq!(told.json_of(200), expected);
    for status in [503, 503, 200] {
        assert_eq!(stack.own("POST", "sinks/s", EVENT).await.status, status);
    }
    let bad = stack
        .own("PUT", "sinks/s/behaviour", r#"{"status":99}"#)
        .await;
    assert_eq!(
        bad.json_of(400)["error"]["message"],
        "'status' must be from 200 to 599."
    );
}

#[tokio::test]
async fn a_delay_takes_as_long_as_the_clock_says() {
    let stack = Stack::start().await;
    stack
        .own(
            "PUT",
            "sinks/s/behaviour",
            r#"{"status":202,"delayMs":40000}"#,
        )
        .await;
    let mut asking = pin!(stack.own("POST", "sinks/s", EVENT));
    assert!(is_waiting(asking.as_mut()).await);
    stack
        .clock
        .turn_to(stack.clock.now() + Duration::from_secs(40));
    assert_eq!(asking.await.status, 202);
}

#[tokio::test]
async fn who_hangs_is_let_go_when_the_behaviour_changes() {
    let stack = Stack::start().await;
    for change in [
        ("PUT", "sinks/s/behaviour", "{}"),
        ("DELETE", "sinks/s", ""),
    ] {
        stack
            .own("PUT", "sinks/s/behaviour", r#"{"hang":true}"#)
            .await;
        let mut asking = pin!(stack.own("POST", "sinks/s", EVENT));
        assert!(is_waiting(asking.as_mut()).await);
        stack.own(change.0, change.1, change.2).await;
        assert_eq!(asking.await.status, 503);
    }
}

#[tokio::test]
async fn in_production_there_are_no_sinks() {
    let stack = Stack::start_as(Profile::Production).await;
    let token = stack.token().await;
    let request = Request::post("/_gridpost/v1/sinks/s")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(EVENT))
        .unwrap();
    assert_eq!(
        stack.ask(request).await.json_of(404)["error"]["code"],
        "NotFound"
    );
}
