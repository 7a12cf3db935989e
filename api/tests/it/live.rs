//! `GET /chat/live` as server-sent events, and chat for pages of other origins.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::chat::Somebody;
use crate::stack::Stack;

/// The server-sent events of one answer.
struct Lines {
    body: BodyDataStream,
    rest: String,
}

impl Lines {
    async fn of(stack: &Stack, who: &Somebody) -> Self {
        let request = Request::get("/chat/live")
            .header("authorization", format!("Bearer {}", who.token))
            .body(Body::empty())
            .unwrap();
        let response = stack.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body().into_data_stream();
        let rest = String::new();
        Self { body, rest }
    }

    /// The next one that is no comment: its name and its data.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((line, rest)) = self.rest.split_once("\n\n") {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.rest = rest;
                let Some(event) = line.strip_prefix("event: ") else {
                    continue;
                };
                let (name, data) = event.split_once("\ndata: ").unwrap();
                return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
            }
            let chunk = self.body.next().await?.unwrap();
            self.rest += std::str::from_utf8(&chunk).unwrap();
        }
    }
}

#[tokio::test]
async fn a_stream_begins_ready_tells_and_says_why_it_ends() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let mut lines = Lines::of(&stack, &bob).await;
    let (name, ready) = lines.next().await.unwrap();
    assert_eq!((&*name, &ready["user"]), ("ready", &json!(bob.id)));
    let thread = stack.thread(&alice, &[&bob]).await;
    let said = stack.say(&alice, &thread, "hello").await;
    assert_eq!(lines.next().await.unwrap().0, "event");
    let (_, event) = lines.next().await.unwrap();
    assert_eq!(event["data"]["messageId"], said);

    stack.clock.turn_to(stack.clock_end(&ready));
    let (name, end) = lines.next().await.unwrap();
    assert_eq!((&*name, &end["code"]), ("end", &json!("TokenExpired")));
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_with_the_server() {
    let stack = Stack::start().await;
    let bob = stack.somebody("chat").await;
    let mut lines = Lines::of(&stack, &bob).await;
    lines.next().await.unwrap();
    stack.closing.begin();
    let (name, end) = lines.next().await.unwrap();
    assert_eq!((&*name, &end["code"]), ("end", &json!("ServerClosing")));
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn of_two_events_for_one_coming_one_is_told() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let carol = stack.somebody("chat").await;
    let thread = stack.thread(&alice, &[&bob]).await;
    let mut lines = Lines::of(&stack, &bob).await;
    lines.next().await.unwrap();
    let path = format!("threads/{thread}/participants/:add");
    let body = json!({"participants": [crate::chat::participant(&carol)]});
    stack.chat(&alice, "POST", &path, &body).await.json_of(201);
    let (_, event) = lines.next().await.unwrap();
    let kind = event["eventType"].as_str().unwrap();
    assert!(kind.ends_with("ChatParticipantAddedToThreadWithUser"));
    // Its twin of 2020 is not told, so the message is next.
    stack.say(&alice, &thread, "welcome").await;
    let (_, event) = lines.next().await.unwrap();
    let kind = event["eventType"].as_str().unwrap();
    assert!(kind.ends_with("ChatMessageReceived"), "{kind}");
}

#[tokio::test]
async fn whoever_may_not_listen_is_told_why() {
    let stack = Stack::start().await;
    let caller = stack.somebody("voip").await;
    let get = |token: &str| {
        Request::get("/chat/live")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap()
    };
    let refused = stack.ask(get(&caller.token)).await;
    assert_eq!(refused.json_of(403)["error"]["code"], "Forbidden");
    let handshake = Request::get("/socket.io/1")
        .header("x-skypetoken", &caller.token)
        .body(Body::empty())
        .unwrap();
    stack.ask(handshake).await.json_of(403);
    stack.ask(get("x.y.z")).await.json_of(401);
    let bare = Request::get("/chat/live").body(Body::empty()).unwrap();
    stack.ask(bare).await.json_of(401);
}

#[tokio::test]
async fn pages_of_other_origins_may_call_chat() {
    let stack = Stack::start().await;
    let asked = Request::options("/chat/threads?api-version=2025-03-15")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        )
        .body(Body::empty())
        .unwrap();
    let answer = stack.ask(asked).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let allowed = &answer.headers["access-control-allow-headers"];
    assert_eq!(allowed, "authorization,content-type");
    let call = Request::get("/chat/threads?api-version=2025-03-15")
        .header("origin", "https://app.example")
        .body(Body::empty())
        .unwrap();
    let refused = stack.ask(call).await;
    assert_eq!(refused.headers["access-control-allow-origin"], "*");
    refused.json_of(401);
}

impl Stack {
    /// A moment behind the one that a `ready` names.
    fn clock_end(&self, ready: &Value) -> gridpost_model::Timestamp {
        let end: gridpost_model::Timestamp = ready["expiresOn"].as_str().unwrap().parse().unwrap();
        end + Duration::from_secs(1)
    }
}
