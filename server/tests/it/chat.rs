//! Chat over the whole server, from a call to the endpoints that hear of it.

use std::collections::BTreeSet;

use gridpost::credentials::COMMUNICATION_RESOURCE;
use gridpost_store::ReadLimit;
use http::Method;
use serde_json::{Value, json};

use crate::world::{World, seconds};

const RECEIVED: &str = "Microsoft.Communication.ChatMessageReceived";
const RECEIVED_IN_THREAD: &str = "Microsoft.Communication.ChatMessageReceivedInThread";
const VERSION: &str = "api-version=2025-03-15";

impl World {
    /// So many users: the id of each, and a token of the first.
    async fn make_users(&self, count: usize) -> (Vec<String>, String) {
        let keys = self.client().connection_string().await.unwrap();
        let (mut ids, mut token) = (Vec::new(), String::new());
        for number in 0..count {
            let wanted = match number {
                0 => json!({ "createTokenWithScopes": ["chat"] }),
                _ => json!({}),
            };
            let made = self
                .client()
                .signed(
                    &keys,
                    &self.now().http_date(),
                    "/identities?api-version=2023-10-01",
                    &wanted,
                )
                .await
                .unwrap();
            ids.push(made["identity"]["id"].as_str().unwrap().to_owned());
            if let Some(given) = made["accessToken"]["token"].as_str() {
                token = given.to_owned();
            }
        }
        (ids, token)
    }

    async fn post(&self, token: &str, below: &str, body: &Value) -> Value {
        let path = format!("/chat/{below}?{VERSION}");
        let answer = self
            .client()
            .as_user(token, Method::POST, &path, Some(body));
        answer.await.unwrap()
    }

    /// A thread of the one with the token and these people.
    async fn make_thread(&self, token: &str, others: &[String]) -> String {
        let body = json!({ "topic": "plans", "participants": participants(others) });
        let made = self.post(token, "threads", &body).await;
        let id = made["chatThread"]["id"].as_str().unwrap();
        id.replace(':', "%3A").replace('@', "%40")
    }
}

fn participants(ids: &[String]) -> Vec<Value> {
    let participant = |id: &String| json!({ "communicationIdentifier": { "rawId": id } });
    ids.iter().map(participant).collect()
}

#[tokio::test]
async fn section_2_a_message_to_250_members_is_250_events_of_one_transaction() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let filter = json!({ "includedEventTypes": [RECEIVED, RECEIVED_IN_THREAD] });
    world
        .subscribe(
            COMMUNICATION_RESOURCE,
            "all",
            &endpoint,
            json!({ "filter": filter }),
        )
        .await;
    // At most 200 people are named in one call, and the creator is one more.
    let (ids, token) = world.make_users(250).await;
    let thread = world.make_thread(&token, &ids[1..200]).await;
    let added = json!({ "participants": participants(&ids[200..]) });
    let path = format!("threads/{thread}/participants/:add");
    assert_eq!(world.post(&token, &path, &added).await, json!({}));
    world.settle().await;

    let before = world.server().store().tail();
    let path = format!("threads/{thread}/messages");
    let said = world
        .post(&token, &path, &json!({ "content": "to all" }))
        .await;
    let limit = ReadLimit {
        events: 1_000,
        kept_bytes: 64 << 20,
        scanned_bytes: 64 << 20,
    };
    let read = world
        .server()
        .store()
        .read_events(before, limit, &mut |_| true);
    let events = read.unwrap().events;
    let of = |kind: &str| {
        events
            .iter()
            .filter(|one| &*one.event.event_type == kind)
            .count()
    };
    assert_eq!(
        (of(RECEIVED), of(RECEIVED_IN_THREAD), events.len()),
        (249, 1, 250)
    );
    // Nothing else was going on, so what was committed together was one transaction.
    let commits: BTreeSet<_> = events.iter().map(|one| one.next).collect();
    assert_eq!(commits.len(), 1);

    world.settle().await;
    let heard = endpoint.notifications();
    assert_eq!(heard.len(), 250);
    let recipients: BTreeSet<&str> = heard
        .iter()
        .filter_map(|one| one.body[0]["data"]["recipientId"].as_str())
        .collect();
    assert_eq!(recipients, ids[1..].iter().map(String::as_str).collect());
    for one in &heard {
        assert_eq!(one.body[0]["data"]["messageId"], said["id"]);
    }
}

#[tokio::test]
async fn rate_limits_are_a_setting() {
    let world = World::start_with(&[("GRIDPOST_RATE_LIMITS_CHAT", "true")]).await;
    let (_, token) = world.make_users(1).await;
    let thread = world.make_thread(&token, &[]).await;
    let path = format!("threads/{thread}/messages");
    let words = json!({ "content": "words" });
    for _ in 0..10 {
        world.post(&token, &path, &words).await;
    }
    let one_more = format!("/chat/{path}?{VERSION}");
    let refused = world
        .client()
        .as_user(&token, Method::POST, &one_more, Some(&words))
        .await
        .unwrap_err();
    assert!(
        refused.error.to_string().contains("429"),
        "{}",
        refused.error
    );
    world.advance(seconds(10)).await;
    world.post(&token, &path, &words).await;
}
