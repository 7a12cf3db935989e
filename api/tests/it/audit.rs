//! The audit log: what leaves a row, what stands in it, and who reads it.

use axum::body::Body;
use futures_util::FutureExt as _;
use gridpost_model::role::{CONTRIBUTOR, READER};
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::manager::{HOST, Manager, SUBSCRIPTION};
use crate::stack::{CLIENT, Stack, own_request};

const GROUP: &str = "/resourceGroups/g";
const TOPIC: &str = "/resourceGroups/g/providers/Microsoft.EventGrid/topics/orders";
const MANAGEMENT: &str = "https://management.azure.com/.default";

async fn log(stack: &Stack, query: &str) -> Vec<Value> {
    let page = stack.own("GET", &format!("audit?{query}"), "").await;
    page.json_of(200)["value"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_audit_log_tells_who_changed_what_and_shows_no_secret() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let body = json!({"location": "local"});
    manager.put("/resourceGroups/g", body.clone()).await;
    let topic = "/resourceGroups/g/providers/Microsoft.EventGrid/topics/orders";
    manager.put(topic, body).await;
    manager.get(topic).await;
    manager
        .ask("POST", &format!("{topic}/listKeys"), Value::Null)
        .await;
    let subscription = json!({"properties": {"destination": {
        "endpointType": "WebHook",
        "properties": {"endpointUrl": "http://127.0.0.1:1/hook?code=s3cret"},
    }}});
    let hook = format!("{topic}/eventSubscriptions/es1");
    let refused = manager.ask("PUT", &hook, subscription).await;
    assert_eq!(refused.status, 400, "{refused:?}");

    let rows = log(&stack, "").await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["action"].as_str().unwrap(),
                row["status"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Microsoft.EventGrid/topics/eventSubscriptions/write", 400),
            ("Microsoft.EventGrid/topics/listKeys/action", 200),
            ("Microsoft.EventGrid/topics/write", 201),
            (
                "Microsoft.Resources/subscriptions/resourceGroups/write",
                201
            ),
        ]
    );
    assert!(!Value::Array(rows.clone()).to_string().contains("s3cret"));
    assert_eq!(rows[0]["principal"], CLIENT);
    assert_eq!(rows[2]["scope"], format!("{SUBSCRIPTION}{topic}"));
    assert_eq!(rows[2]["request"], json!({"location": "local"}));
    // Of what was refused nothing is kept: it may be anything, anywhere.
    assert_eq!(rows[0].get("request"), None);
    assert_eq!(log(&stack, "outcome=refused").await.len(), 1);
    assert_eq!(log(&stack, "action=LISTKEYS").await.len(), 1);
}

#[tokio::test]
async fn the_audit_log_tells_what_roles_refused_and_what_our_own_rest_changed() {
    let stack = Stack::start().await;
    let made = stack.own("POST", "principals", r#"{"displayName":"ci"}"#);
    let made = made.await.json_of(201);
    let (client, secret) = (made["clientId"].as_str(), made["clientSecret"].as_str());
    let (client, secret) = (client.unwrap(), secret.unwrap());
    let form = format!(
        "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={MANAGEMENT}"
    );
    let request = Request::post("/adfs/oauth2/token")
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let granted = stack.ask(request).await.json_of(200);
    let token = granted["access_token"].as_str().unwrap();
    let request = Request::get("/_gridpost/v1/audit")
        .header("host", HOST)
        .header("authorization", format!("Bearer {token}"))
        .header("x-ms-correlation-request-id", "the-call")
        .body(Body::empty())
        .unwrap();
    let refused = stack.ask(request).await.json_of(403);
    assert_eq!(refused["error"]["code"], "AuthorizationFailed");
    let app = Manager {
        stack: &stack,
        token: token.to_owned(),
    };
    app.ask("GET", "/resources", Value::Null).await.json_of(403);

    let rows = log(&stack, "").await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(
        rows[0]["action"],
        "Microsoft.Resources/subscriptions/resources/read"
    );
    assert_eq!(rows[0]["code"], "AuthorizationFailed");
    assert_eq!(rows[1]["action"], "Gridpost/audit/read");
    assert_eq!(rows[1]["correlationId"], "the-call");
    assert_eq!(rows[1]["principal"], client);
    assert_eq!(
        rows[2]["action"],
        "Microsoft.Authorization/principals/write"
    );
    assert_eq!(rows[2]["principal"], "local caller");
    assert_eq!(rows[2]["request"], json!({"displayName": "ci"}));
    assert!(!Value::Array(rows).to_string().contains(secret));
    assert_eq!(log(&stack, "correlationId=the-call").await.len(), 1);
    let wrong = stack.own("GET", "audit?who=me", "").await;
    assert_eq!(wrong.status, 400);
}

async fn signed_in<'a>(stack: &'a Stack, who: &str) -> Manager<'a> {
    let token = stack.token_as(who, MANAGEMENT).await;
    Manager { stack, token }
}

/// A call of Resource Manager as the owner, with one header more.
async fn managed(stack: &Stack, method: &str, path: &str, header: (&str, &str)) -> Request<Body> {
    let token = stack.token().await;
    Request::builder()
        .method(method)
        .uri(format!("{SUBSCRIPTION}{path}?api-version=2025-02-15"))
        .header("host", HOST)
        .header("authorization", format!("Bearer {token}"))
        .header(header.0, header.1)
        .body(Body::from(r#"{"location":"local"}"#))
        .unwrap()
}

/// Begins a call and hangs up.
fn hang_up(stack: &Stack, request: Request<Body>) {
    let mut asked = Box::pin(stack.router.clone().oneshot(request));
    assert!((&mut asked).now_or_never().is_none());
}

async fn actions(stack: &Stack) -> Vec<String> {
    let rows = log(stack, "").await.into_iter();
    rows.map(|row| {
        let action = row["action"].as_str().unwrap();
        format!("{} {}", action.replace("Microsoft.", ""), row["status"])
    })
    .collect()
}

#[tokio::test]
async fn whoever_hangs_up_leaves_a_row_and_no_roles_all_the_same() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    manager.put(GROUP, json!({"location": "local"})).await;
    manager.put(TOPIC, json!({"location": "local"})).await;
    let scope = format!("{SUBSCRIPTION}{TOPIC}");
    stack.introduce("app", &[(READER, &scope)]).await;
    let delete = managed(&stack, "DELETE", TOPIC, ("x-a", "b")).await;
    hang_up(&stack, delete);
    let fault = r#"{"fault":"status","status":503}"#;
    hang_up(&stack, own_request("PUT", "faults/f", fault));
    let app = signed_in(&stack, "app").await;
    let token = format!("Bearer {}", app.token);
    let refused = Request::get(format!("{SUBSCRIPTION}{GROUP}?api-version=2025-02-15"))
        .header("host", HOST)
        .header("authorization", &token)
        .body(Body::empty())
        .unwrap();
    hang_up(&stack, refused);
    let mut own = own_request("GET", "principals", "");
    own.headers_mut()
        .insert("authorization", token.parse().unwrap());
    hang_up(&stack, own);
    stack.settle().await;
    stack.changes.ended().await;

    let mut told = actions(&stack).await;
    told.sort();
    assert_eq!(
        told,
        [
            "Authorization/principals/read 403",
            "EventGrid/topics/delete 204",
            "EventGrid/topics/write 201",
            "Gridpost/faults/write 201",
            "Resources/subscriptions/resourceGroups/read 403",
            "Resources/subscriptions/resourceGroups/write 201",
        ]
    );
    manager.put(TOPIC, json!({"location": "local"})).await;
    app.ask("GET", TOPIC, Value::Null).await.json_of(403);
}

#[tokio::test]
async fn who_has_no_role_is_refused_whatever_else_is_wrong() {
    let stack = Stack::start().await;
    stack.introduce("app", &[]).await;
    let target = format!("{SUBSCRIPTION}{TOPIC}");
    let app = signed_in(&stack, "app").await;
    for _ in 0..100 {
        let refused = app.raw("PUT", &target, json!({"location": "x"})).await;
        let refused = refused.json_of(403);
        assert_eq!(refused["error"]["code"], "AuthorizationFailed");
    }
    let manager = Manager::sign_in(&stack).await;
    let wrong = manager.raw("PUT", &target, json!({})).await.json_of(400);
    assert_eq!(wrong["error"]["code"], "MissingApiVersionParameter");
    // Of the one a bounded number, and the others' beside it.
    let of = async |who: &str| {
        log(&stack, &format!("principal={who}&limit=1000"))
            .await
            .len()
    };
    assert_eq!((of("app").await, of(CLIENT).await), (60, 1));
}

#[tokio::test]
async fn a_call_its_answer_and_its_row_have_one_correlation_id() {
    let stack = Stack::start().await;
    for header in [
        ("x-ms-correlation-request-id", "the-call"),
        ("x-ms-client-request-id", "of-the-client"),
        ("x-a", "b"),
    ] {
        let name = header.0;
        let mut own = own_request("PUT", "faults/f", r#"{"fault":"hang"}"#);
        let value = header.1.parse().unwrap();
        own.headers_mut().insert(name, value);
        for request in [managed(&stack, "PUT", GROUP, header).await, own] {
            let answer = stack.ask(request).await;
            assert!(answer.status.is_success(), "{answer:?}");
            let shown = answer.headers["x-ms-correlation-request-id"].clone();
            let shown = shown.to_str().unwrap();
            let newest = log(&stack, "limit=1").await;
            assert_eq!(newest[0]["correlationId"], shown);
        }
    }
    for id in ["the-call", "of-the-client"] {
        let found = log(&stack, &format!("correlationId={id}")).await;
        assert_eq!(found.len(), 2, "{id}");
    }
}

#[tokio::test]
async fn who_may_not_read_principals_does_not_read_of_them_in_the_log() {
    let stack = Stack::start().await;
    stack
        .own("POST", "principals", r#"{"displayName":"ci"}"#)
        .await;
    stack.own("PUT", "faults/f", r#"{"fault":"hang"}"#).await;
    let manager = Manager::sign_in(&stack).await;
    manager.put(GROUP, json!({"location": "local"})).await;
    let name = "8e3af657-0000-4000-8000-2fe8c4bcb635";
    let role = json!({"properties": {"roleDefinitionId": READER.id, "principalId": CLIENT}});
    let path = format!("//providers/Microsoft.Authorization/roleAssignments/{name}");
    manager.put(&path, role).await;
    let seen = async |who: &str, role, scope| {
        stack.introduce(who, &[(role, scope)]).await;
        let token = stack.token_as(who, MANAGEMENT).await;
        let request = Request::get("/_gridpost/v1/audit")
            .header("host", HOST)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        let page = stack.ask(request).await.json_of(200);
        page["value"].as_array().unwrap().len()
    };
    assert_eq!(seen("below", CONTRIBUTOR, SUBSCRIPTION).await, 2);
    assert_eq!(seen("above", READER, "/").await, 4);
    assert_eq!(log(&stack, "").await.len(), 4);
}

#[tokio::test]
async fn no_phone_number_and_no_text_is_in_the_log() {
    let stack = Stack::start().await;
    let script = r#"{"rules":[{"contains":"hello","reply":"goodbye"}]}"#;
    let put = stack.own("PUT", "handsets/+14255550123/script", script);
    assert!(put.await.status.is_success());
    stack.own("DELETE", "numbers/+15555550100", "").await;
    let rows = log(&stack, "").await;
    assert_eq!(rows[0]["scope"], "/_gridpost/v1/numbers/•••00");
    assert_eq!(rows[1]["scope"], "/_gridpost/v1/handsets/•••23/script");
    let text = Value::Array(rows).to_string();
    for private in ["1425", "1555", "hello", "goodbye"] {
        assert!(!text.contains(private), "{text}");
    }
}

#[tokio::test]
async fn a_question_is_no_change() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let body = json!({"name": "free", "type": "Microsoft.Communication/CommunicationServices"});
    let path = "/providers/Microsoft.Communication/checkNameAvailability";
    manager.ask("POST", path, body).await.json_of(200);
    assert!(log(&stack, "").await.is_empty());
}
