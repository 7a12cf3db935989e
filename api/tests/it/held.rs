//! Calls of users whose body comes late, or is of no use.

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, join, stream};
use gridpost_api::Profile;
use gridpost_model::role::{OWNER, READER};
use http::Request;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::chat::Somebody;
use crate::manager::SUBSCRIPTION;
use crate::stack::{Answer, Stack, own_request};

fn request(who: &Somebody, method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("/chat/{path}?api-version=2025-03-15"))
        .header("host", "localhost:8480")
        .header("authorization", format!("Bearer {}", who.token))
        .body(body)
        .unwrap()
}

impl Stack {
    /// A call that is let in, and whose body comes only once its user's tokens are revoked.
    async fn revoked_amid(&self, who: &Somebody, method: &str, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let (begun, has_begun) = oneshot::channel();
        let (revoked, is_revoked) = oneshot::channel();
        let late = async move {
            begun.send(()).unwrap();
            is_revoked.await.unwrap();
            Ok::<_, std::io::Error>(body)
        };
        let late = Body::from_stream(stream::once(late));
        let meanwhile = async {
            has_begun.await.unwrap();
            let revoke = format!(
                "/identities/{}/:revokeAccessTokens?api-version=2023-10-01",
                who.id
            );
            assert_eq!(self.signed("POST", &revoke, "").await.status, 204);
            revoked.send(()).unwrap();
        };
        join!(self.ask(request(who, method, path, late)), meanwhile).0
    }
}

#[tokio::test]
async fn a_token_revoked_before_the_body_came_opens_nothing() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let thread = stack.thread(&alice, &[&bob]).await;
    let path = format!("threads/{thread}/messages");
    let words = json!({"content": "too late"});
    let late = stack.revoked_amid(&bob, "POST", &path, &words).await;
    assert_eq!(late.json_of(401)["error"]["code"], "Unauthorized");
    let carol = stack.somebody("chat").await;
    let thread = stack.thread(&alice, &[&carol]).await;
    let path = format!("threads/{thread}/messages");
    let late = stack.revoked_amid(&carol, "GET", &path, &json!({})).await;
    assert_eq!(late.json_of(401)["error"]["code"], "Unauthorized");
}

#[tokio::test]
async fn an_owner_who_was_deleted_before_the_body_came_gets_nobodys_secret() {
    let stack = Stack::start().await;
    for who in ["rogue", "victim"] {
        stack.introduce(who, &[(OWNER, "/")]).await;
    }
    let token = stack.token_as("rogue", "https://management.azure.com/.default");
    let token = token.await;
    let (begun, has_begun) = oneshot::channel();
    let (deleted, is_deleted) = oneshot::channel();
    let late = Body::from_stream(stream::once(async move {
        begun.send(()).unwrap();
        is_deleted.await.unwrap();
        Ok::<_, std::io::Error>("{}")
    }));
    let request = Request::post("/_gridpost/v1/principals/victim/secrets")
        .header("host", "localhost:8480")
        .header("authorization", format!("Bearer {token}"))
        .body(late)
        .unwrap();
    let meanwhile = async {
        has_begun.await.unwrap();
        stack.grid.delete_principal("rogue").await.unwrap();
        deleted.send(()).unwrap();
    };
    let (answer, ()) = join!(stack.ask(request), meanwhile);
    answer.json_of(401);
    let victim = stack.grid.principal("victim").unwrap();
    assert_eq!(victim.secrets.len(), 1);
}

/// A handset texts.
async fn text(stack: &Stack) {
    let body = r#"{"from":"+15555550123","to":"+15555550100","message":"hello"}"#;
    let mut request = own_request("POST", "sms/receive", body);
    let token = format!("Bearer {}", stack.token().await);
    let headers = request.headers_mut();
    headers.insert("authorization", token.parse().unwrap());
    stack.ask(request).await.json_of(202);
}

#[tokio::test]
async fn whose_role_was_taken_away_hears_of_no_further_event() {
    let stack = Stack::start_as(Profile::Production).await;
    stack.introduce("reader", &[(READER, SUBSCRIPTION)]).await;
    let token = stack.token_as("reader", "https://management.azure.com/.default");
    let request = Request::get("/_gridpost/v1/events")
        .header("host", "localhost:8480")
        .header("authorization", format!("Bearer {}", token.await))
        .body(Body::empty())
        .unwrap();
    let answer = stack.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut told = answer.into_body().into_data_stream();
    text(&stack).await;
    let first = told.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("accepted"));
    stack.grid.delete_principal("reader").await.unwrap();
    text(&stack).await;
    assert!(told.next().await.is_none());
}

#[tokio::test]
async fn a_stranger_is_answered_when_its_body_was_sent() {
    let stack = Stack::start().await;
    let stranger = Somebody {
        id: String::new(),
        token: "nonsense".into(),
    };
    let (sent, is_sent) = oneshot::channel();
    let pieces = stream::repeat(Bytes::from_static(b"0123456789")).take(1000);
    let end = stream::once(async move {
        sent.send(()).unwrap();
        Bytes::new()
    });
    let body = Body::from_stream(pieces.chain(end).map(Ok::<_, std::io::Error>));
    let answer = stack.ask(request(&stranger, "POST", "threads", body)).await;
    answer.json_of(401);
    assert!(is_sent.await.is_ok());
}

#[tokio::test]
async fn a_body_that_is_late_broken_or_too_large_is_told_apart() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let failing = |kind: std::io::ErrorKind| {
        Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::from(kind))]))
    };
    let table = [
        (failing(std::io::ErrorKind::TimedOut), 408, "RequestTimeout"),
        (
            failing(std::io::ErrorKind::UnexpectedEof),
            400,
            "BadRequest",
        ),
        (
            Body::from(vec![b' '; (1 << 20) + 1]),
            413,
            "RequestEntityTooLarge",
        ),
    ];
    for (body, status, code) in table {
        let answer = stack.ask(request(&alice, "POST", "threads", body)).await;
        assert_eq!(answer.json_of(status)["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_nul_in_an_id_is_an_id_of_nothing() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let words = json!({"content": "words", "topic": "words"});
    for (method, path) in [
        ("GET", "threads/a%00b"),
        ("PATCH", "threads/a%00b"),
        ("DELETE", "threads/a%00b"),
        ("GET", "threads/a%00b/messages"),
        ("POST", "threads/a%00b/messages"),
        ("GET", "threads/a%00b/messages/1"),
    ] {
        let body = if method == "GET" {
            &Value::Null
        } else {
            &words
        };
        stack.chat(&alice, method, path, body).await.json_of(404);
    }
    let named = json!({"customId": "a\0b"}).to_string();
    let identities = "/identities?api-version=2023-10-01";
    stack.signed("POST", identities, &named).await.json_of(400);
}

#[tokio::test]
async fn an_array_is_no_request() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let thread = stack.thread(&alice, &[&bob]).await;
    let messages = format!("threads/{thread}/messages");
    let add = format!("threads/{thread}/participants/:add");
    let table = [
        ("POST", "threads", json!(["topic", [], {}, null])),
        ("POST", &messages, json!(["words", null, null, null])),
        ("POST", &add, json!({"participants": [[{"rawId": bob.id}]]})),
        ("POST", &format!("threads/{thread}/typing"), json!([null])),
    ];
    for (method, path, body) in table {
        let refused = stack.chat(&alice, method, path, &body).await.json_of(400);
        assert_eq!(refused["error"]["code"], "BadRequest");
    }
    let issue = format!(
        "/identities/{}/:issueAccessToken?api-version=2023-10-01",
        bob.id
    );
    let body = json!([["chat"], null]).to_string();
    stack.signed("POST", &issue, &body).await.json_of(400);
}

#[tokio::test]
async fn what_the_router_refuses_has_the_body_of_the_surface() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let refused = stack.chat(&alice, "GET", "threads/%ff", &Value::Null).await;
    let refused = refused.json_of(400);
    assert_eq!(refused["error"]["code"], "BadRequest");
    let refused = stack.chat(&alice, "PUT", "threads/a", &Value::Null).await;
    assert!(refused.headers["allow"].to_str().unwrap().contains("PATCH"));
    assert_eq!(refused.json_of(405)["error"]["code"], "MethodNotAllowed");
}
