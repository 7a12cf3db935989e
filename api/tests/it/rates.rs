//! Rate limits on the wire: how many calls pass, and what the next one is answered.

use std::time::Duration;

use gridpost_comms::RateLimits;
use serde_json::{Value, json};

use crate::chat::{Somebody, identifier, participant};
use crate::stack::{Answer, Stack};

const LIMITED: RateLimits = RateLimits {
    chat: true,
    identity: true,
    multiplier: 1,
};

/// A refusal as clients know it: they wait as many seconds as the header says.
fn check_refusal(answer: &Answer, seconds: &str) {
    let body = json!({"error": {"code": "TooManyRequests", "message": "Rate limit exceeded."}});
    assert_eq!(answer.json_of(429), body);
    assert_eq!(answer.headers["retry-after"], seconds);
}

impl Stack {
    async fn try_say(&self, who: &Somebody, thread: &str) -> Answer {
        let path = format!("threads/{thread}/messages");
        self.chat(who, "POST", &path, &json!({"content": "words"}))
            .await
    }

    async fn say_often(&self, who: &Somebody, thread: &str, times: usize) {
        for _ in 0..times {
            self.try_say(who, thread).await.json_of(201);
        }
    }
}

#[tokio::test]
async fn section_7_a_thread_takes_10_messages_in_10_seconds_and_30_in_a_minute() {
    let stack = Stack::start_limited(LIMITED).await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let thread = stack.thread(&alice, &[&bob]).await;
    let stranger = stack.somebody("chat").await;
    for _ in 0..20 {
        // Whoever is not in the thread uses nothing up.
        stack.try_say(&stranger, &thread).await.json_of(403);
    }
    // Sending, editing and deleting are counted together, for all members.
    let said = stack.say(&bob, &thread, "hello").await;
    let message = format!("threads/{thread}/messages/{said}");
    let edit = json!({"content": "hello!"});
    assert_eq!(stack.chat(&bob, "PATCH", &message, &edit).await.status, 204);
    let gone = stack.chat(&bob, "DELETE", &message, &Value::Null).await;
    assert_eq!(gone.status, 204);
    stack.say_often(&alice, &thread, 7).await;
    check_refusal(&stack.try_say(&bob, &thread).await, "10");
    let other = stack.thread(&alice, &[]).await;
    stack.say_often(&alice, &other, 10).await;

    stack.advance(Duration::from_millis(9_500)).await;
    check_refusal(&stack.try_say(&bob, &thread).await, "1");
    stack.advance(Duration::from_millis(500)).await;
    stack.say_often(&bob, &thread, 10).await;
    stack.advance(Duration::from_secs(10)).await;
    stack.say_often(&alice, &thread, 10).await;
    check_refusal(&stack.try_say(&alice, &thread).await, "40");
    stack.advance(Duration::from_secs(40)).await;
    stack.say_often(&alice, &thread, 1).await;
}

#[tokio::test]
async fn section_7_every_call_of_chat_has_its_limit() {
    let stack = Stack::start_limited(LIMITED).await;
    let (alice, bob) = (stack.somebody("chat").await, stack.somebody("chat").await);
    let thread = stack.thread(&alice, &[&bob]).await;
    let said = stack.say(&alice, &thread, "hello").await;
    let at = |below: &str| format!("threads/{thread}{below}");
    let topic = json!({"topic": "mine"});
    let receipt = json!({"chatMessageId": said});
    let more = json!({"participants": [participant(&bob)]});
    let table = [
        // One thread was created already.
        ("POST", "threads".to_owned(), topic.clone(), 9),
        ("PATCH", at(""), topic, 5),
        ("GET", "threads".to_owned(), Value::Null, 50),
        ("GET", at(&format!("/messages/{said}")), Value::Null, 50),
        ("GET", at("/messages"), Value::Null, 50),
        ("GET", at("/participants"), Value::Null, 10),
        ("POST", at("/participants/:add"), more, 10),
        ("GET", at("/readReceipts"), Value::Null, 5),
        ("POST", at("/readReceipts"), receipt, 10),
        ("POST", at("/typing"), json!({}), 5),
    ];
    for (method, path, body, passing) in table {
        for number in 0..passing {
            let answer = stack.chat(&alice, method, &path, &body).await;
            assert!(answer.status.is_success(), "{method} {path} {number}");
        }
        check_refusal(&stack.chat(&alice, method, &path, &body).await, "10");
    }
    // Counted together with one of the above.
    check_refusal(
        &stack.chat(&alice, "GET", &at(""), &Value::Null).await,
        "10",
    );
    let whom = identifier(&bob);
    let path = at("/participants/:remove");
    check_refusal(&stack.chat(&alice, "POST", &path, &whom).await, "10");
    // What another user does is counted for itself, unless the limit is the thread's.
    let path = at("/readReceipts");
    stack
        .chat(&bob, "GET", &path, &Value::Null)
        .await
        .json_of(200);
    for number in 0..5 {
        let typed = stack.chat(&bob, "POST", &at("/typing"), &json!({})).await;
        assert_eq!(typed.status, 200, "{number}");
    }
}

#[tokio::test]
async fn section_7_ten_threads_are_deleted_in_10_seconds_by_one_user() {
    let stack = Stack::start_limited(LIMITED).await;
    let alice = stack.somebody("chat").await;
    let mut threads = Vec::new();
    for _ in 0..11 {
        stack.advance(Duration::from_secs(1)).await;
        threads.push(stack.thread(&alice, &[]).await);
    }
    for thread in &threads[..10] {
        let path = format!("threads/{thread}");
        let deleted = stack.chat(&alice, "DELETE", &path, &Value::Null).await;
        assert_eq!(deleted.status, 204);
    }
    let path = format!("threads/{}", threads[10]);
    check_refusal(
        &stack.chat(&alice, "DELETE", &path, &Value::Null).await,
        "10",
    );
}

#[tokio::test]
async fn section_5_a_resource_makes_1000_identities_and_ends_500_in_30_seconds() {
    const VERSION: &str = "api-version=2023-10-01";
    let stack = Stack::start_limited(LIMITED).await;
    let (id, target) = {
        let alice = stack.somebody("chat").await;
        let escaped = alice.id.replace(':', "%3A");
        (alice.id, format!("/identities/{escaped}"))
    };
    let issue = format!("{target}/:issueAccessToken?{VERSION}");
    let revoke = format!("{target}/:revokeAccessTokens?{VERSION}");
    let delete = format!("{target}?{VERSION}");
    let scopes = json!({"scopes": ["chat"]}).to_string();
    let table = [
        ("POST", format!("/identities?{VERSION}"), "", 1000),
        ("POST", issue, &*scopes, 1000),
        ("POST", revoke, "", 500),
        ("DELETE", delete, "", 500),
    ];
    for (method, target, body, passing) in table {
        for _ in 0..passing {
            let answer = stack.signed(method, &target, body).await;
            assert!(answer.status.is_success(), "{method} {target} {answer:?}");
        }
        check_refusal(&stack.signed(method, &target, body).await, "30");
    }
    // Another resource has limits of its own, and another window opens.
    let other = stack.make("other").await;
    let made = stack
        .comms
        .create_identity(&other, Default::default())
        .await;
    assert!(made.is_ok());
    stack.advance(Duration::from_secs(30)).await;
    let gone = stack
        .signed("DELETE", &format!("{target}?{VERSION}"), "")
        .await;
    assert_eq!(gone.status, 204, "{id}");
}

#[tokio::test]
async fn limits_are_multiplied_and_are_off_unless_they_are_asked_for() {
    let stack = Stack::start_limited(RateLimits {
        multiplier: 2,
        ..LIMITED
    })
    .await;
    let alice = stack.somebody("chat").await;
    let thread = stack.thread(&alice, &[]).await;
    stack.say_often(&alice, &thread, 20).await;
    check_refusal(&stack.try_say(&alice, &thread).await, "10");

    let stack = Stack::start().await;
    let alice = stack.somebody("chat").await;
    let thread = stack.thread(&alice, &[]).await;
    stack.say_often(&alice, &thread, 31).await;
}
