//! Visits of a validation URL, and what operators ask.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::manager::{HOST, Manager, serve_sink};
use crate::stack::{Answer, Stack};

const ES: &str = "/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/dev/providers/Microsoft.EventGrid/eventSubscriptions/es1";

async fn visit(stack: &Stack, method: &str, target: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", HOST)
        .body(Body::empty());
    stack.ask(request.unwrap()).await
}

/// A subscription whose endpoint took the question and did not answer it; the URL it was given.
async fn unanswered(stack: &Stack, manager: &Manager<'_>) -> String {
    let sink = serve_sink(stack, "s").await;
    let silent = json!({"handshake": "withhold"}).to_string();
    assert!(
        stack
            .own("PUT", "sinks/s/behaviour", &silent)
            .await
            .status
            .is_success()
    );
    let body = json!({"properties": {
        "destination": {"endpointType": "WebHook", "properties": {"endpointUrl": sink}},
    }});
    let made = manager.put(ES, body).await;
    assert_eq!(
        made["properties"]["provisioningState"],
        "AwaitingManualAction"
    );
    let asked = stack.own("GET", "sinks/s/requests", "").await.json_of(200);
    let url = asked["requests"][0]["body"][0]["data"]["validationUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    url.strip_prefix(&format!("http://{HOST}"))
        .unwrap()
        .to_owned()
}

async fn state(manager: &Manager<'_>) -> String {
    manager.get(ES).await["properties"]["provisioningState"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn event_grid_4_1_a_visit_confirms_and_a_look_does_not() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let url = unanswered(&stack, &manager).await;

    let awaited = manager.ask("GET", ES, Value::Null).await;
    assert_eq!(awaited.headers["retry-after"], "2");

    assert!(visit(&stack, "HEAD", &url).await.status.is_success());
    assert_eq!(state(&manager).await, "AwaitingManualAction");

    let page = visit(&stack, "GET", &url).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("'es1' is validated"), "{}", page.text);
    assert_eq!(state(&manager).await, "Succeeded");
    let awaited = manager.ask("GET", ES, Value::Null).await;
    assert!(!awaited.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn who_waits_for_a_visit_is_listed_with_the_reason_and_the_url() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    unanswered(&stack, &manager).await;

    let listed = async || {
        stack
            .own("GET", "handshakes/awaiting", "")
            .await
            .json_of(200)
    };
    let one = &listed().await["value"][0];
    assert_eq!(one["subscription"], "es1");
    assert_eq!(one["until"], "2026-11-22T00:37:55Z");
    let because = one["because"].as_str().unwrap();
    assert!(because.contains("validationResponse"), "{because}");
    let url = one["validationUrl"].as_str().unwrap();
    let url = url.strip_prefix(&format!("http://{HOST}")).unwrap();

    assert_eq!(visit(&stack, "GET", url).await.status, 200);
    assert_eq!(state(&manager).await, "Succeeded");
    assert_eq!(listed().await["value"], json!([]));
}

#[tokio::test]
async fn a_visit_without_the_token_changes_nothing() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let url = unanswered(&stack, &manager).await;
    let (path, _) = url.split_once('?').unwrap();
    for target in [
        path.to_owned(),
        format!("{path}?token=guess"),
        "/eventsubscriptions/x/validate?token=1".into(),
    ] {
        assert_eq!(visit(&stack, "GET", &target).await.status, 404, "{target}");
    }
    assert_eq!(state(&manager).await, "AwaitingManualAction");
}

#[tokio::test]
async fn operators_see_life_readiness_and_numbers() {
    let stack = Stack::start().await;
    assert_eq!(visit(&stack, "GET", "/livez").await.text, "ok\n");
    assert_eq!(visit(&stack, "GET", "/readyz").await.text, "ready\n");
    let page = visit(&stack, "GET", "/metrics").await;
    assert_eq!(
        page.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for name in [
        "gridpost_pending_deliveries{state=\"fresh\"} 0",
        "gridpost_store_healthy 1",
        "gridpost_sms_received_total 0",
        "process_resident_memory_bytes 0",
        "gridpost_broken_invariants_total 0",
    ] {
        assert!(
            page.text.contains(&format!("\n{name}\n")),
            "{name}:\n{}",
            page.text
        );
    }
}
