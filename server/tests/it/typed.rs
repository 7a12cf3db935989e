//! Commands about principals, the audit log and ids that nobody expects, as they are typed.

use http::Method;
use serde_json::Value;

use crate::cli::{gridpost, json};
use crate::world::World;

const HERE: &str = "/subscriptions/22222222-2222-4222-8222-222222222222";

fn printed(world: &World, arguments: &[&str]) -> String {
    let output = gridpost(world.server().data(), arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_whose_role_could_not_be_assigned_is_shown_with_its_secret() {
    let world = World::start().await;
    let nowhere = format!("{HERE}/resourceGroups/nowhere");
    let create = [
        "principal",
        "create",
        "--role",
        "Reader",
        "--scope",
        &nowhere,
    ];
    let words = [&create[..], &["--output", "json"]].concat();
    let output = gridpost(world.server().data(), &words);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let secret = made["clientSecret"].as_str().unwrap();
    assert!(!secret.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    let id = made["objectId"].as_str().unwrap();
    assert!(said.contains("was made") && said.contains(id), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_one_segment_whatever_stands_in_it() {
    let world = World::start().await;
    let data = world.server().data();
    let made = json(&gridpost(
        data,
        &["principal", "create", "--output", "json"],
    ));
    let client = made["clientId"].as_str().unwrap();
    let shown = || {
        json(&gridpost(
            data,
            &["principal", "show", client, "--output", "json"],
        ))
    };
    let secret = shown()["secrets"][0]["id"].as_str().unwrap().to_owned();
    let sly = format!("{client}/secrets/{secret}");
    let output = gridpost(data, &["principal", "delete", &sly]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(shown()["secrets"].as_array().unwrap().len(), 1);
    for words in [
        ["topic", "show", "-n", "a b"],
        ["topic", "show", "-n", "a?b"],
    ] {
        let output = gridpost(data, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_who_did_what_are_in_short_words() {
    let world = World::start().await;
    printed(
        &world,
        &[
            "principal",
            "create",
            "--display-name",
            "shop",
            "--role",
            "Reader",
        ],
    );
    printed(&world, &["topic", "create", "-n", "orders"]);
    world
        .manage(
            Method::POST,
            &format!("{HERE}/resourceGroups/gridpost/providers/Microsoft.EventGrid/topics/orders/listKeys"),
            Value::Null,
        )
        .await;
    let assignments = printed(&world, &["role", "assignment", "list"]);
    let row = assignments
        .lines()
        .find(|line| line.contains("shop"))
        .unwrap();
    let words: Vec<&str> = row.split("  ").filter(|word| !word.is_empty()).collect();
    assert_eq!(words.len(), 3, "{assignments}");
    assert_eq!(words[2].trim(), "the subscription", "{assignments}");

    let log = printed(&world, &["audit"]);
    let row = log.lines().find(|line| line.contains("listKeys")).unwrap();
    assert!(
        row.starts_with("2026-11-22 00:0") && row.contains("gridpost/topics/orders "),
        "{log}"
    );
    assert!(!log.contains(HERE) && !log.contains("Microsoft."), "{log}");
    assert!(log.lines().all(|line| line.chars().count() <= 120), "{log}");
    let json = json(&gridpost(
        world.server().data(),
        &["audit", "--output", "json"],
    ));
    let scope = json["value"][0]["scope"].as_str().unwrap();
    assert!(scope.starts_with(HERE), "{json}");

    let principals = printed(&world, &["principal", "list"]);
    assert!(principals.contains(" 2026-11-22 00:0"), "{principals}");
}

const ACCOUNT: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Storage/storageAccounts/shop";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_subscription_of_a_queue_gets_another_queue_without_saying_so_again() {
    let handlers = format!(
        "[[handlers.storage]]\nresource_id = '{ACCOUNT}'\nconnection_string = 'AccountName=shop;AccountKey=c2VjcmV0;\
         BlobEndpoint=http://127.0.0.1:9/shop;QueueEndpoint=http://127.0.0.1:9/shop'\n"
    );
    let world = World::start_with_file(&handlers).await;
    let data = world.server().data();
    printed(&world, &["topic", "create", "-n", "orders"]);
    let queue = |name: &str| format!("{ACCOUNT}/queueServices/default/queues/{name}");
    let (one, other) = (queue("one"), queue("other"));
    let verb = |verb: &'static str| {
        [
            "topic",
            "event-subscription",
            verb,
            "--topic-name",
            "orders",
            "-n",
            "work",
            "--output",
            "json",
        ]
    };
    let words = ["--endpoint", &one, "--endpoint-type", "storagequeue"];
    json(&gridpost(data, &[&verb("create")[..], &words].concat()));
    let words = ["--endpoint", &other];
    let changed = json(&gridpost(data, &[&verb("update")[..], &words].concat()));
    let destination = &changed["properties"]["destination"];
    assert_eq!(destination["endpointType"], "StorageQueue");
    assert_eq!(destination["properties"]["queueName"], "other");

    let words = ["--endpoint-type", "webhook"];
    let dropped = gridpost(data, &[&verb("update")[..], &words].concat());
    assert_eq!(dropped.status.code(), Some(2), "{dropped:?}");
    world.settle().await;
}
