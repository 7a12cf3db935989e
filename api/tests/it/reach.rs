//! What one resource has to do with another, and who has a say in that.

use std::sync::Arc;

use axum::Json;
use gridpost_model::Role;
use gridpost_model::role::{CONTRIBUTOR, READER};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::manager::{Manager, SUBSCRIPTION};
use crate::stack::Stack;

const NOTHING: Value = Value::Null;
const TOPIC: &str = "/resourceGroups/g/providers/Microsoft.EventGrid/topics/orders";
const ACCOUNT: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/other/providers/Microsoft.Storage/storageAccounts/acct";

async fn with_topic(stack: &Stack) -> Manager<'_> {
    let manager = Manager::sign_in(stack).await;
    for group in ["/resourceGroups/g", "/resourceGroups/other"] {
        manager.put(group, json!({"location": "local"})).await;
    }
    manager.put(TOPIC, json!({"location": "local"})).await;
    manager
}

async fn app<'a>(stack: &'a Stack, roles: &[(&Role, &str)]) -> Manager<'a> {
    stack.introduce("app", roles).await;
    let token = stack.token_as("app", "https://management.azure.com/.default");
    let token = token.await;
    Manager { stack, token }
}

fn subscription(destination: &Value, dead_letter: &Value) -> Value {
    json!({"properties": {"destination": destination, "deadLetterDestination": dead_letter}})
}

#[tokio::test]
async fn section_3_3_who_subscribes_needs_a_say_in_what_is_written_to() {
    let stack = Stack::start().await;
    with_topic(&stack).await;
    let contributor = Role::find("EventGrid Contributor").unwrap();
    let app = app(&stack, &[(contributor, SUBSCRIPTION)]).await;
    let one = format!("{TOPIC}/eventSubscriptions/es1");
    let queue = json!({"endpointType": "StorageQueue", "properties": {"resourceId": ACCOUNT, "queueName": "events"}});
    let bus =
        "/subscriptions/s/resourceGroups/o/providers/Microsoft.ServiceBus/namespaces/n/queues/q";
    let bus = json!({"endpointType": "ServiceBusQueue", "properties": {"resourceId": bus}});
    let dead = json!({"endpointType": "StorageBlob", "properties": {"resourceId": ACCOUNT, "blobContainerName": "dead"}});
    let hook =
        json!({"endpointType": "WebHook", "properties": {"endpointUrl": "http://127.0.0.1:1/"}});
    let storage = "Microsoft.Storage/storageAccounts/write";
    let table = [
        (subscription(&queue, &NOTHING), storage),
        (
            subscription(&bus, &NOTHING),
            "Microsoft.ServiceBus/namespaces/queues/write",
        ),
        (subscription(&hook, &dead), storage),
    ];
    for (body, action) in &table {
        let refused = app.ask("PUT", &one, body.clone()).await.json_of(403);
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains(action), "{message}");
    }
    // Nobody else than the endpoint is asked, and this one does not answer.
    let body = subscription(&hook, &NOTHING);
    app.ask("PUT", &one, body).await.json_of(400);
    // With a say in it, what is refused is that the configuration does not know it.
    stack.introduce("app", &[(CONTRIBUTOR, ACCOUNT)]).await;
    let body = subscription(&queue, &dead);
    let refused = app.ask("PUT", &one, body).await.json_of(400);
    assert!(refused.to_string().contains("configur"), "{refused}");
}

#[tokio::test]
async fn section_3_3_a_patch_needs_a_say_in_what_it_names() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let sink = crate::manager::serve_sink(&stack, "s").await;
    let one = format!("{TOPIC}/eventSubscriptions/es1");
    let hook = json!({"endpointType": "WebHook", "properties": {"endpointUrl": sink}});
    manager.put(&one, subscription(&hook, &NOTHING)).await;
    let contributor = Role::find("EventGrid Contributor").unwrap();
    let app = app(&stack, &[(contributor, SUBSCRIPTION)]).await;
    for body in [
        json!({"destination": {"endpointType": "StorageQueue", "properties": {"resourceId": ACCOUNT, "queueName": "events"}}}),
        json!({"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {"resourceId": ACCOUNT, "blobContainerName": "dead"}}}),
    ] {
        app.ask("PATCH", &one, body).await.json_of(403);
    }
    app.ask("PATCH", &one, json!({"labels": ["a"]}))
        .await
        .json_of(201);
}

#[tokio::test]
async fn every_page_of_a_list_needs_a_right_to_read_at_the_scope_listed() {
    let stack = Stack::start().await;
    with_topic(&stack).await;
    let topic = format!("{SUBSCRIPTION}{TOPIC}");
    let app = app(&stack, &[(READER, &topic)]).await;
    let lists = [
        "eventSubscriptions",
        "topicTypes/Microsoft.EventGrid.Topics/eventSubscriptions",
        "locations/local/eventSubscriptions",
        "locations/local/topicTypes/Microsoft.EventGrid.Topics/eventSubscriptions",
        "topics",
        "domains",
        "systemTopics",
    ];
    for list in lists {
        for above in ["", "/resourceGroups/g"] {
            for page in ["", "?$top=1&$skiptoken=1"] {
                let path = format!("{above}/providers/Microsoft.EventGrid/{list}{page}");
                app.ask("GET", &path, NOTHING).await.json_of(403);
            }
        }
    }
    let everywhere = "//providers/Microsoft.EventGrid/eventSubscriptions?$skiptoken=1";
    app.ask("GET", everywhere, NOTHING).await.json_of(403);
    app.get(&format!("{TOPIC}/eventSubscriptions?$skiptoken=1"))
        .await;
}

#[tokio::test]
async fn nothing_is_left_in_a_group_that_goes() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let communication = "/resourceGroups/g/providers/Microsoft.Communication";
    let (acs, mail) = (
        format!("{communication}/communicationServices/acs"),
        format!("{communication}/emailServices/mail"),
    );
    let service = json!({"properties": {"dataLocation": "Europe"}});
    let place = json!({"location": "local"});
    let second = TOPIC.replace("orders", "second");
    let (one, other, topic, tagged, placed, gone) = tokio::join!(
        manager.ask("PUT", &acs, service.clone()),
        manager.ask("PUT", &mail, service.clone()),
        manager.ask("PUT", &second, place.clone()),
        manager.ask("PATCH", "/resourceGroups/g", json!({"tags": {"a": "b"}})),
        manager.ask("PUT", "/resourceGroups/g", place.clone()),
        manager.ask("DELETE", "/resourceGroups/g", NOTHING),
    );
    assert_eq!(gone.status, 200);
    for made in [one, other, topic, tagged, placed] {
        assert!(
            [200, 201, 404, 409].contains(&made.status.as_u16()),
            "{made:?}"
        );
    }
    let left = manager.get("/resources").await;
    assert!(!left.to_string().contains("resourceGroups/g/"), "{left}");
    manager
        .ask("GET", "/resourceGroups/g", NOTHING)
        .await
        .json_of(404);
}

#[tokio::test]
async fn nothing_is_made_in_a_group_that_is_going_and_it_waits_for_what_is_being_made() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let id = format!("{SUBSCRIPTION}/resourceGroups/g").parse().unwrap();
    let closed = stack.grid.close_group(&id).await;
    let communication = "/resourceGroups/G/providers/Microsoft.Communication";
    let role = "8e3af657-0000-4000-8000-2fe8c4bcb635";
    let place = json!({"location": "local"});
    for (method, path) in [
        ("PUT", format!("{communication}/communicationServices/acs")),
        ("PUT", format!("{communication}/emailServices/mail")),
        ("PUT", TOPIC.replace("orders", "second")),
        ("PUT", TOPIC.replace("topics/orders", "domains/shop")),
        ("PUT", TOPIC.replace("topics/orders", "systemTopics/st1")),
        (
            "PUT",
            format!("{TOPIC}/providers/Microsoft.Authorization/roleAssignments/{role}"),
        ),
        ("PUT", "/resourceGroups/g".to_owned()),
        ("PATCH", "/resourceGroups/g".to_owned()),
    ] {
        let refused = manager.ask(method, &path, place.clone()).await;
        let error = refused.json_of(409)["error"].take();
        assert_eq!(error["code"], "ResourceGroupBeingDeleted", "{path}");
    }
    drop(closed);
    let making = stack.grid.enter_group(&id).unwrap();
    let deleting = manager.ask("DELETE", "/resourceGroups/g", NOTHING);
    let mut deleting = std::pin::pin!(deleting);
    // It has begun to wait when nobody may enter any more.
    while stack.grid.enter_group(&id).is_ok() {
        tokio::select! {
            biased;
            _ = &mut deleting => panic!("it did not wait"),
            () = tokio::task::yield_now() => (),
        }
    }
    drop(making);
    assert_eq!(deleting.await.status, 200);
}

/// A webhook that tells when it is asked, and agrees when it is told to.
async fn slow_hook(asked: Arc<Notify>, agree: Arc<Notify>) -> String {
    let answer = move |body: Json<Value>| async move {
        asked.notify_one();
        agree.notified().await;
        Json(json!({"validationResponse": body[0]["data"]["validationCode"]}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

#[tokio::test]
async fn a_subscription_is_not_left_on_a_resource_that_went_while_its_endpoint_was_asked() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let acs = "/resourceGroups/g/providers/Microsoft.Communication/communicationServices/acs";
    let service = json!({"properties": {"dataLocation": "Europe"}});
    manager.put(acs, service).await;
    let (asked, agree) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let url = slow_hook(Arc::clone(&asked), Arc::clone(&agree)).await;
    let hook = json!({"endpointType": "WebHook", "properties": {"endpointUrl": url}});
    let one = format!("{acs}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
    let deleted = async {
        asked.notified().await;
        let deleted = manager.ask("DELETE", acs, NOTHING).await;
        agree.notify_one();
        deleted
    };
    let subscribed = manager.ask("PUT", &one, subscription(&hook, &NOTHING));
    let (subscribed, deleted) = tokio::join!(subscribed, deleted);
    assert_eq!(deleted.status, 200);
    assert_eq!(subscribed.status, 404, "{}", subscribed.text);
    for list in ["systemTopics", "eventSubscriptions"] {
        let path = format!("/providers/Microsoft.EventGrid/{list}");
        assert_eq!(manager.get(&path).await["value"], json!([]), "{list}");
    }
}

#[tokio::test]
async fn a_tag_too_many_is_refused_everywhere() {
    let stack = Stack::start().await;
    let manager = with_topic(&stack).await;
    let tags: Value = (0..51)
        .map(|number| (format!("t{number}"), "x".into()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let communication = "/resourceGroups/g/providers/Microsoft.Communication";
    for path in [
        "/resourceGroups/g",
        TOPIC,
        &TOPIC.replace("topics/orders", "domains/shop"),
        &TOPIC.replace("topics/orders", "systemTopics/st1"),
        &format!("{communication}/communicationServices/acs"),
        &format!("{communication}/emailServices/mail"),
    ] {
        for method in ["PUT", "PATCH"] {
            let body = json!({"location": "local", "tags": tags, "properties": {"dataLocation": "Europe"}});
            let refused = manager.ask(method, path, body).await;
            let exists = method == "PUT" || path == TOPIC || path == "/resourceGroups/g";
            if exists {
                let refused = refused.json_of(400);
                assert!(refused.to_string().contains("50 tags"), "{path} {refused}");
            } else {
                assert!(!refused.status.is_success(), "{path}");
            }
        }
    }
}
