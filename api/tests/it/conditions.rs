//! What holds for every resource: conditions, headers, asking whether it is there, filters by tag.

use axum::body::Body;
use gridpost_model::Clock as _;
use http::Request;
use serde_json::{Value, json};

use crate::manager::{HOST, Manager, SUBSCRIPTION};
use crate::stack::{Answer, Stack};

const NOTHING: Value = Value::Null;
const TOPIC: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders";

async fn ask(manager: &Manager<'_>, method: &str, header: (&str, &str), body: Value) -> Answer {
    ask_of(manager, method, TOPIC, header, body).await
}

async fn ask_of(
    manager: &Manager<'_>,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: Value,
) -> Answer {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{SUBSCRIPTION}{path}?api-version=2025-02-15"))
        .header("host", HOST)
        .header("authorization", format!("Bearer {}", manager.token))
        .header(header.0, header.1)
        .body(Body::from(text))
        .unwrap();
    manager.stack.ask(request).await
}

async fn with_topic(stack: &Stack) -> Manager<'_> {
    let manager = Manager::sign_in(stack).await;
    let group = json!({"location": "local", "tags": {"Team": "shop"}});
    manager.put("/resourceGroups/rg1", group).await;
    manager
        .put(TOPIC, json!({"location": "local", "tags": {"a": "b"}}))
        .await;
    manager
}

#[tokio::test]
async fn management_4_a_resource_group_is_changed_if_it_is_as_it_was_read() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let group = "/resourceGroups/rg1";
    let read = manager.ask("GET", group, NOTHING).await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    let condition = ("if-match", tag.as_str());
    let body = json!({"tags": {"Team": "other"}});
    let first = ask_of(&manager, "PATCH", group, condition, body.clone()).await;
    assert_ne!(first.headers["etag"], tag.as_str());
    first.json_of(200);
    for (method, body) in [("PATCH", &body), ("DELETE", &NOTHING)] {
        let second = ask_of(&manager, method, group, condition, body.clone()).await;
        assert_eq!(second.status, 412, "{method}");
    }
    let body = json!({"location": "local"});
    let made = ask_of(&manager, "PUT", group, ("if-none-match", "*"), body).await;
    assert_eq!(made.status, 412);
}

#[tokio::test]
async fn management_4_of_two_who_read_the_same_one_changes_it() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let read = manager.ask("GET", TOPIC, NOTHING).await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    stack
        .clock
        .turn_to(stack.clock.wall() + std::time::Duration::from_secs(1));

    let body = json!({"tags": {"a": "c"}});
    let first = ask(&manager, "PATCH", ("if-match", &tag), body.clone()).await;
    assert!(first.status.is_success(), "{first:?}");
    let second = ask(&manager, "PATCH", ("if-match", &tag), body).await;
    assert_eq!(second.json_of(412)["error"]["code"], "PreconditionFailed");
    let deleted = ask(&manager, "DELETE", ("if-match", &tag), NOTHING).await;
    assert_eq!(deleted.status, 412);

    let shown = first.headers["etag"].to_str().unwrap();
    let deleted = ask(&manager, "DELETE", ("if-match", shown), NOTHING).await;
    assert_eq!(deleted.status, 204, "what a change shows is what is read");
    let again = ask(&manager, "DELETE", ("if-match", "*"), NOTHING).await;
    assert_eq!(again.status, 412, "there is nothing to match");
}

#[tokio::test]
async fn management_4_a_resource_can_be_made_only_if_there_is_none() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let body = json!({"location": "local"});
    let refused = ask(&manager, "PUT", ("if-none-match", "*"), body.clone()).await;
    assert_eq!(refused.status, 412);
    manager.ask("DELETE", TOPIC, NOTHING).await;
    let made = ask(&manager, "PUT", ("if-none-match", "*"), body).await;
    assert_eq!(made.status, 201);
}

#[tokio::test]
async fn management_4_every_answer_has_identifiers_and_says_what_is_left() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let own = ("x-ms-client-request-id", "mine");
    let read = ask(&manager, "GET", own, NOTHING).await;
    assert_eq!(read.headers["x-ms-request-id"].len(), 36);
    assert_eq!(read.headers["x-ms-correlation-request-id"].len(), 36);
    let reads = "x-ms-ratelimit-remaining-subscription-reads";
    assert_eq!(read.headers[reads], "11999");
    assert!(
        !read.headers.contains_key("x-ms-client-request-id"),
        "it was not asked for"
    );
    let refused = manager.ask("PUT", TOPIC, json!("text")).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.headers["x-ms-request-id"].len(), 36);
    let writes = "x-ms-ratelimit-remaining-subscription-writes";
    assert!(refused.headers.contains_key(writes));
}

#[tokio::test]
async fn management_3_a_head_request_asks_whether_a_resource_is_there() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let there = manager.ask("HEAD", TOPIC, NOTHING).await;
    assert_eq!((there.status.as_u16(), there.text.as_str()), (204, ""));
    manager.ask("DELETE", TOPIC, NOTHING).await;
    assert_eq!(manager.ask("HEAD", TOPIC, NOTHING).await.status, 404);
}

#[tokio::test]
async fn management_3_groups_and_resources_are_listed_by_tag() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    for (list, filter, names) in [
        (
            "resourcegroups",
            "tagName%20eq%20%27team%27%20and%20tagValue%20eq%20%27shop%27",
            json!(["rg1"]),
        ),
        ("resourcegroups", "tagName%20eq%20%27none%27", json!([])),
        (
            "resources",
            "tagName%20eq%20%27a%27%20and%20tagValue%20eq%20%27b%27",
            json!(["orders"]),
        ),
        (
            "resources",
            "tagName%20eq%20%27a%27%20and%20tagValue%20eq%20%27c%27",
            json!([]),
        ),
    ] {
        let found = manager.get(&format!("/{list}?$filter={filter}")).await;
        let all = found["value"].as_array().unwrap().iter();
        let found: Vec<_> = all.map(|one| one["name"].clone()).collect();
        assert_eq!(json!(found), names, "{list} {filter}");
    }
    let expanded = manager
        .get("/resources?$expand=createdTime,provisioningState&$filter=name%20eq%20%27orders%27")
        .await;
    assert_eq!(expanded["value"][0]["provisioningState"], "Succeeded");
    assert!(expanded["value"][0]["createdTime"].is_string());
}
