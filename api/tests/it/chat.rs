//! Chat on the wire: what is answered, and what is refused with which body.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::stack::{Answer, Stack};

const VERSION: &str = "api-version=2025-03-15";
const IDENTITIES: &str = "/identities?api-version=2023-10-01";

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Somebody {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Stack {
    pub(crate) async fn somebody(&self, scope: &str) -> Somebody {
        let body = json!({"createTokenWithScopes": [scope]}).to_string();
        let made = self.signed("POST", IDENTITIES, &body).await.json_of(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Somebody {
            id: text(&made["identity"]["id"]),
            token: text(&made["accessToken"]["token"]),
        }
    }

    /// Below `/chat/`; `path` may have a query of its own.
    pub(crate) async fn chat(
        &self,
        who: &Somebody,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let glue = if path.contains('?') { '&' } else { '?' };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/chat/{path}{glue}{VERSION}"))
            .header("host", "localhost:8480")
            .header("authorization", format!("Bearer {}", who.token))
            .body(Body::from(body))
            .unwrap();
        self.ask(request).await
    }

    /// A thread of these people, its id escaped as clients escape it.
    pub(crate) async fn thread(&self, who: &Somebody, others: &[&Somebody]) -> String {
        let people: Vec<_> = others.iter().map(|one| participant(one)).collect();
        let body = json!({"topic": "plans", "participants": people});
        let made = self.chat(who, "POST", "threads", &body).await.json_of(201);
        escaped(made["chatThread"]["id"].as_str().unwrap())
    }

    pub(crate) async fn say(&self, who: &Somebody, thread: &str, text: &str) -> String {
        let path = format!("threads/{thread}/messages");
        let said = self
            .chat(who, "POST", &path, &json!({"content": text}))
            .await;
        said.json_of(201)["id"].as_str().unwrap().to_owned()
    }
}

fn escaped(id: &str) -> String {
    id.replace(':', "%3A").replace('@', "%40")
}

pub(crate) fn identifier(one: &Somebody) -> Value {
    json!({"rawId": one.id, "communicationUser": {"id": one.id}})
}

pub(crate) fn participant(one: &Somebody) -> Value {
    json!({"communicationIdentifier": identifier(one), "displayName": "Somebody"})
}

#[tokio::test]
async fn section_7_only_who_said_it_changes_it() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let thread = stack.thread(&alice, &[&bob]).await;
    let said = stack.say(&bob, &thread, "mine").await;
    let path = format!("threads/{thread}/messages/{said}");
    let words = json!({"content": "yours"});
    stack
        .chat(&alice, "PATCH", &path, &words)
        .await
        .json_of(403);
    stack
        .chat(&alice, "DELETE", &path, &Value::Null)
        .await
        .json_of(403);
    let system = stack
        .chat(
            &bob,
            "GET",
            &format!("threads/{thread}/messages"),
            &Value::Null,
        )
        .await;
    let system = system.json_of(200)["value"][1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("threads/{thread}/messages/{system}");
    stack
        .chat(&alice, "PATCH", &path, &words)
        .await
        .json_of(403);
}

#[tokio::test]
async fn section_7_a_thread_and_its_messages_read_as_clients_expect() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let asked = json!({
        "topic": "plans",
        "participants": [
            {"communicationIdentifier": identifier(&bob), "displayName": "Bob", "shareHistoryTime": "1970-01-01T00:00:00Z"},
            {"communicationIdentifier": {"rawId": "4:+14255550123", "phoneNumber": {"value": "+14255550123"}}},
        ],
        "metadata": {"color": "red"},
        "retentionPolicy": {"kind": "threadCreationDate", "deleteThreadAfterDays": 60},
    });
    let made = stack.chat(&alice, "POST", "threads", &asked).await;
    let location = made.headers["location"].to_str().unwrap().to_owned();
    let made = made.json_of(201);
    let thread = &made["chatThread"];
    assert!(location.ends_with(&format!(
        "/chat/threads/{}",
        escaped(thread["id"].as_str().unwrap())
    )));
    assert_eq!(thread["topic"], "plans");
    assert_eq!(
        thread["createdByCommunicationIdentifier"],
        identifier(&alice)
    );
    assert_eq!(thread["metadata"], asked["metadata"]);
    assert_eq!(thread["retentionPolicy"], asked["retentionPolicy"]);
    assert_eq!(made["invalidParticipants"][0]["code"], "403");
    assert_eq!(made["invalidParticipants"][0]["target"], "4:+14255550123");

    let thread = escaped(thread["id"].as_str().unwrap());
    let words = json!({"content": "<b>hi</b>", "type": "html", "senderDisplayName": "Alice", "metadata": {"k": "v"}});
    let said = stack
        .chat(
            &alice,
            "POST",
            &format!("threads/{thread}/messages"),
            &words,
        )
        .await;
    let said = said.json_of(201)["id"].as_str().unwrap().to_owned();
    let path = format!("threads/{thread}/messages/{said}");
    let mut message = stack
        .chat(&bob, "GET", &path, &Value::Null)
        .await
        .json_of(200);
    assert!(message["createdOn"].take().is_string());
    assert_eq!(
        message,
        json!({
            "id": said, "type": "html", "sequenceId": "3", "version": said, "createdOn": null,
            "content": {"message": "<b>hi</b>"}, "senderDisplayName": "Alice",
            "senderCommunicationIdentifier": identifier(&alice), "metadata": {"k": "v"},
        })
    );
    stack
        .chat(
            &alice,
            "PATCH",
            &path,
            &json!({"content": "ho", "metadata": {"k": null}}),
        )
        .await;
    let message = stack
        .chat(&bob, "GET", &path, &Value::Null)
        .await
        .json_of(200);
    assert_eq!(message["content"]["message"], "ho");
    assert!(message["editedOn"].is_string() && message.get("metadata").is_none());
    stack.chat(&alice, "DELETE", &path, &Value::Null).await;
    let message = stack
        .chat(&bob, "GET", &path, &Value::Null)
        .await
        .json_of(200);
    assert!(message["deletedOn"].is_string() && message.get("content").is_none());

    let receipts = format!("threads/{thread}/readReceipts");
    stack
        .chat(&bob, "POST", &receipts, &json!({"chatMessageId": said}))
        .await;
    let listed = stack
        .chat(&alice, "GET", &receipts, &Value::Null)
        .await
        .json_of(200);
    assert_eq!(listed["value"][0]["chatMessageId"], said);
    assert_eq!(
        listed["value"][0]["senderCommunicationIdentifier"],
        identifier(&bob)
    );
    let people = format!("threads/{thread}/participants");
    let listed = stack
        .chat(&alice, "GET", &people, &Value::Null)
        .await
        .json_of(200);
    assert_eq!(listed["value"].as_array().unwrap().len(), 2);
    let threads = stack
        .chat(&bob, "GET", "threads", &Value::Null)
        .await
        .json_of(200);
    assert_eq!(threads["value"][0]["topic"], "plans");
    assert!(threads["value"][0]["lastMessageReceivedOn"].is_string());
}

#[tokio::test]
async fn section_4_links_lead_through_every_list() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(stack.somebody("chat").await);
    }
    let others: Vec<_> = others.iter().collect();
    for _ in 0..3 {
        stack.thread(&alice, &[]).await;
    }
    let thread = stack.thread(&alice, &others).await;
    let mut last = String::new();
    for word in ["one", "two", "three"] {
        last = stack.say(&alice, &thread, word).await;
    }
    for reader in &others {
        let path = format!("threads/{thread}/readReceipts");
        stack
            .chat(reader, "POST", &path, &json!({"chatMessageId": last}))
            .await;
    }
    let lists = [
        ("threads".to_owned(), 4),
        (format!("threads/{thread}/messages"), 5),
        (format!("threads/{thread}/participants"), 7),
        (format!("threads/{thread}/readReceipts"), 6),
    ];
    for (list, rows) in lists {
        let mut path = format!("{list}?maxPageSize=2");
        let mut found = Vec::new();
        loop {
            let page = stack
                .chat(&alice, "GET", &path, &Value::Null)
                .await
                .json_of(200);
            let items = page["value"].as_array().unwrap();
            assert!(items.len() <= 2, "{list}");
            found.extend(items.iter().map(Value::to_string));
            let Some(next) = page["nextLink"].as_str() else {
                break;
            };
            let below = next.split_once("localhost:8480/chat/").unwrap().1;
            assert!(
                below.contains("maxPageSize=2") && below.contains(VERSION),
                "{next}"
            );
            path = below.replace(&format!("&{VERSION}"), "");
        }
        let all: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), all.len()), (rows, rows), "{list}");
    }
}

#[tokio::test]
async fn section_7_bad_values_are_refused_with_their_reason() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let thread = stack.thread(&alice, &[]).await;
    let messages = format!("threads/{thread}/messages");
    let at = |below: &str| format!("threads/{thread}/{below}");
    let table = [
        (
            "POST",
            "threads".into(),
            json!({"topic": " "}),
            400,
            "topic must not be empty.",
        ),
        (
            "POST",
            "threads".into(),
            json!({}),
            400,
            "missing field `topic`",
        ),
        (
            "POST",
            "threads".into(),
            json!({"topic": "x".repeat(251)}),
            400,
            "at most 250 characters",
        ),
        (
            "POST",
            "threads".into(),
            json!({"topic": "t", "retentionPolicy": {"kind": "threadCreationDate", "deleteThreadAfterDays": 91}}),
            400,
            "30 to 90",
        ),
        (
            "POST",
            "threads".into(),
            json!({"topic": "t", "retentionPolicy": {"kind": "never"}}),
            400,
            "retentionPolicy.kind",
        ),
        (
            "POST",
            "threads".into(),
            json!({"topic": "t", "participants": vec![participant(&alice); 201]}),
            400,
            "At most 200",
        ),
        (
            "POST",
            messages.clone(),
            json!({"content": ""}),
            400,
            "content must not be empty.",
        ),
        (
            "POST",
            messages.clone(),
            json!({"content": "x".repeat(28 * 1024 + 1)}),
            400,
            "28672 bytes",
        ),
        (
            "POST",
            messages.clone(),
            json!({"content": "x", "type": "video"}),
            400,
            "unknown variant `video`",
        ),
        (
            "POST",
            messages.clone(),
            json!({"content": "x", "metadata": {"k": "v".repeat(1024)}}),
            400,
            "1024 bytes",
        ),
        (
            "GET",
            format!("{messages}?maxPageSize=0"),
            Value::Null,
            400,
            "at least 1",
        ),
        (
            "GET",
            format!("{messages}?maxPageSize=x"),
            Value::Null,
            400,
            "'maxPageSize' cannot be read",
        ),
        (
            "GET",
            format!("{messages}?startTime=yesterday"),
            Value::Null,
            400,
            "'startTime' cannot be read",
        ),
        (
            "GET",
            at("messages/1"),
            Value::Null,
            404,
            "The chat message does not exist.",
        ),
        (
            "GET",
            at("messages/first"),
            Value::Null,
            404,
            "The chat message does not exist.",
        ),
        (
            "POST",
            at("readReceipts"),
            json!({"chatMessageId": "7"}),
            404,
            "The chat message does not exist.",
        ),
        (
            "POST",
            at("participants/:add"),
            json!({"participants": []}),
            400,
            "at least one",
        ),
        ("POST", at("participants/:remove"), json!({}), 400, "rawId"),
        (
            "POST",
            at("participants/:remove"),
            json!({"rawId": "8:acs:nobody"}),
            400,
            "is not in the chat thread",
        ),
        (
            "POST",
            at("participants/:ban"),
            json!({}),
            404,
            "':add' and ':remove'",
        ),
        (
            "GET",
            "threads/19%3Anone%40thread.v2".into(),
            Value::Null,
            404,
            "The chat thread does not exist.",
        ),
        ("POST", at("images"), json!({}), 501, "docs/parity.md"),
    ];
    for (method, path, body, status, reason) in table {
        let answer = stack.chat(&alice, method, &path, &body).await;
        let error = answer.json_of(status);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{method} {path}: {message}");
    }
}

#[tokio::test]
async fn section_7_every_dated_version_is_spoken() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    for version in [
        "2021-03-07",
        "2021-09-07",
        "2023-11-07",
        "2024-03-07",
        "2025-03-15",
        "2025-04-02-preview",
    ] {
        let request = Request::get(format!("/chat/threads?api-version={version}"))
            .header("host", "localhost:8480")
            .header("authorization", format!("Bearer {}", alice.token))
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            stack.ask(request).await.json_of(200),
            json!({"value": []}),
            "{version}"
        );
    }
}

#[tokio::test]
async fn section_4_a_creation_asked_for_twice_is_answered_twice_and_made_once() {
    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let ask = || {
        Request::post(format!("/chat/threads?{VERSION}"))
            .header("host", "localhost:8480")
            .header("authorization", format!("Bearer {}", alice.token))
            .header(
                "repeatability-request-id",
                "1f1e2d3c-0000-4000-8000-00000000abcd",
            )
            .body(Body::from(json!({"topic": "once"}).to_string()))
            .unwrap()
    };
    let first = stack.ask(ask()).await;
    assert_eq!(first.headers["repeatability-result"], "accepted");
    let first = first.json_of(201);
    assert_eq!(stack.ask(ask()).await.json_of(201), first);
}
