//! Resources as a file: `gridpost apply` and `gridpost export`.

use std::fmt::Write as _;
use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use crate::cli::{gridpost, json};
use crate::world::World;

/// A file of that many topics, with that many event subscriptions each.
fn grid(topics: usize, subscriptions: usize, endpoint: &str) -> String {
    let mut text = String::new();
    for topic in 0..topics {
        writeln!(text, "[topics.topic-{topic}]").unwrap();
        for one in 0..subscriptions {
            writeln!(text, "[topics.topic-{topic}.eventSubscriptions.sub-{one}]").unwrap();
            writeln!(
                text,
                "endpoint = '{endpoint}'\nsubjectBeginsWith = 'orders/{one}/'"
            )
            .unwrap();
        }
    }
    text
}

fn written(world: &World, text: &str) -> String {
    let path: PathBuf = world.folder().join("grid.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Without TLS, so that another server reaches it as well.
fn sink(world: &World, name: &str) -> String {
    format!("http://{}/_gridpost/v1/sinks/{name}", world.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_time_nothing_is_written() {
    let world = World::start().await;
    let endpoint = world.webhook().await;
    let file = written(&world, &grid(20, 10, &endpoint.url()));
    let apply = |more: &[&str]| {
        let words = [&["apply", "-f", &file, "--output", "json"], more].concat();
        json(&gridpost(world.server().data(), &words))
    };

    let plan = apply(&["--dry-run"]);
    assert_eq!(plan["created"].as_array().unwrap().len(), 220);
    assert_eq!(endpoint.requests().len(), 0, "a plan asks nobody");
    let first = apply(&[]);
    assert_eq!(first["created"].as_array().unwrap().len(), 220);
    assert_eq!(first["failed"], json!([]));
    let handshakes = endpoint.requests().len();
    assert_eq!(handshakes, 200);

    world.settle().await;
    let journal = world.server().store().tail();
    let second = apply(&[]);
    assert_eq!(second["created"], json!([]));
    assert_eq!(second["changed"], json!([]));
    assert_eq!(
        second["unchanged"], 221,
        "the resource group is one of them"
    );
    assert_eq!(endpoint.requests().len(), handshakes);
    assert_eq!(world.server().store().tail(), journal, "nothing is written");
    world.settle().await;
}

/// One of everything that can be written.
fn everything(world: &World) -> String {
    format!(
        r#"
tags = {{ team = "shop" }}

[emailServices.mail]
dataLocation = "Germany"
tags = {{ team = "post" }}
[emailServices.mail.domains.AzureManagedDomain]
domainManagement = "AzureManaged"
[emailServices.mail.domains.AzureManagedDomain.senderUsernames.DoNotReply]
[emailServices.mail.domains."shop.example.com"]
domainManagement = "CustomerManaged"
userEngagementTracking = "Enabled"
verified = ["Domain", "spf"]
[emailServices.mail.domains."shop.example.com".senderUsernames.orders]
displayName = "Orders"
[emailServices.mail.domains."shop.example.com".suppressionLists.stopped]
listName = "orders"
[emailServices.mail.domains."shop.example.com".suppressionLists.stopped.suppressionListAddresses.6f9619ff-8b86-4011-b42d-00cf4fc964ff]
email = "bob@example.org"
notes = "asked to"
[emailServices.mail.domains."new.example.com"]
domainManagement = "CustomerManaged"

[communicationServices.acs1]
dataLocation = "Germany"
linkedDomains = [
    "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Communication/emailServices/mail/domains/shop.example.com",
]
tags = {{ gridpost-event-shape = "2020-09" }}
[communicationServices.acs1.smtpUsernames.printer]
username = "printer@shop.example.com"
entraApplicationId = "11111111-2222-4333-8444-555555555555"
tenantId = "22222222-2222-4333-8444-555555555555"
[communicationServices.acs1.eventSubscriptions.texts]
endpoint = "{0}"
includedEventTypes = ["Microsoft.Communication.SMSReceived"]
subjectBeginsWith = "phonenumber/1555"

[systemTopics.texts]
location = "global"
source = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/acs1"
topicType = "Microsoft.Communication.CommunicationServices"

[topics.orders]
tags = {{ team = "shop" }}
publicNetworkAccess = "enabled"
inboundIpRules = [{{ ipMask = "127.0.0.0/8" }}]
[topics.orders.eventSubscriptions.big]
endpoint = "{0}"
eventDeliverySchema = "CloudEventSchemaV1_0"
maxEventsPerBatch = 10
labels = ["a", "b"]
expirationTimeUtc = 2030-01-01
[topics.orders.eventSubscriptions.big.filter]
enableAdvancedFilteringOnArrays = true
advancedFilters = [
    {{ operatorType = "NumberGreaterThan", key = "data.k0", value = 100 }},
    {{ operatorType = "NumberGreaterThanOrEquals", key = "data.k1", value = 1.5 }},
    {{ operatorType = "NumberLessThan", key = "data.k2", value = -3 }},
    {{ operatorType = "NumberLessThanOrEquals", key = "data.k3", value = 9 }},
    {{ operatorType = "NumberIn", key = "data.k4", values = [1, 2.5] }},
    {{ operatorType = "NumberNotIn", key = "data.k5", values = [3] }},
    {{ operatorType = "NumberInRange", key = "data.k6", values = [[1, 5], [10, 20]] }},
    {{ operatorType = "NumberNotInRange", key = "data.k7", values = [[0.5, 0.75]] }},
    {{ operatorType = "BoolEquals", key = "data.k8", value = true }},
    {{ operatorType = "StringContains", key = "data.k9", values = ["a b", "é"] }},
    {{ operatorType = "StringNotContains", key = "data.k10", values = ["c"] }},
    {{ operatorType = "StringBeginsWith", key = "data.k11", values = ["d"] }},
    {{ operatorType = "StringNotBeginsWith", key = "data.k12", values = ["e"] }},
    {{ operatorType = "StringEndsWith", key = "data.k13", values = ["f"] }},
    {{ operatorType = "StringNotEndsWith", key = "data.k14", values = ["\"quoted\""] }},
    {{ operatorType = "StringIn", key = "data.k15", values = ["Berlin", "Paris"] }},
    {{ operatorType = "StringNotIn", key = "data.k16", values = ["g"] }},
    {{ operatorType = "IsNullOrUndefined", key = "data.k17" }},
    {{ operatorType = "IsNotNull", key = "data.k18" }},
]
[topics.orders.eventSubscriptions.big.retryPolicy]
maxDeliveryAttempts = 5
eventTimeToLiveInMinutes = 60
[[topics.orders.eventSubscriptions.big.deliveryAttributeMappings]]
name = "x-team"
type = "Static"
properties = {{ value = "ops" }}
[[topics.orders.eventSubscriptions.big.deliveryAttributeMappings]]
name = "x-total"
type = "Dynamic"
properties = {{ sourceField = "data.total" }}
[topics.orders.eventSubscriptions.plain]
endpoint = "{0}"
includedEventTypes = ["Shop.Ordered", "Shop.Paid"]
subjectBeginsWith = "orders/"
subjectEndsWith = ".json"
isSubjectCaseSensitive = true
preferredBatchSizeInKilobytes = 128
deadLetterEndpoint = "{1}/blobServices/default/containers/lost"
[topics.orders.eventSubscriptions.queued]
endpointType = "StorageQueue"
endpoint = "{1}/queueServices/default/queues/work"
queueMessageTimeToLiveInSeconds = 300

[topics.clouds]
inputSchema = "CloudEventSchemaV1_0"
[topics.clouds.eventSubscriptions.all]
endpoint = "{0}"

[topics.till]
inputSchema = "CustomEventSchema"
[topics.till.inputSchemaMapping.properties]
id = {{ sourceField = "receipt" }}
eventType = {{ defaultValue = "Paid" }}

[domains.shops]
autoDeleteTopicWithLastSubscription = false
disableLocalAuth = true
[domains.shops.eventSubscriptions.everywhere]
endpoint = "{0}"
[domains.shops.topics.berlin.eventSubscriptions.all]
endpoint = "{0}"
[domains.shops.topics.paris]
[domains.clouded]
inputSchema = "CloudEventSchemaV1_0"
[domains.clouded.topics.rome.eventSubscriptions.all]
endpoint = "{0}"

[resourceGroups.other.topics.elsewhere]
"#,
        sink(world, "all"),
        ACCOUNT,
    )
}

/// The setting that says where the account is. Nothing is delivered there.
fn storage() -> String {
    format!(
        "[[handlers.storage]]\nresource_id = '{ACCOUNT}'\nconnection_string = 'AccountName=shop;AccountKey=c2VjcmV0;\
         BlobEndpoint=http://127.0.0.1:9/shop;QueueEndpoint=http://127.0.0.1:9/shop'\n"
    )
}

const ACCOUNT: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Storage/storageAccounts/shop";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_what_apply_accepts_unchanged() {
    let world = World::start_with_file(&storage()).await;
    let data = world.server().data();
    let file = written(&world, &everything(&world));
    let made = gridpost(data, &["apply", "-f", &file, "--output", "json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["failed"], json!([]));
    let again = json(&gridpost(data, &["apply", "-f", &file, "--output", "json"]));
    assert_eq!(
        (&again["created"], &again["changed"]),
        (&json!([]), &json!([]))
    );

    let export = |data| String::from_utf8(gridpost(data, &["export"]).stdout).unwrap();
    let exported = export(data);
    for said in [
        "verified = [\n    \"Domain\",\n    \"SPF\",\n]",
        "suppressionListAddresses.6f9619ff-8b86-4011-b42d-00cf4fc964ff]",
        "linkedDomains = ",
        "smtpUsernames.printer]",
        "IsNullOrUndefined",
        "deadLetterEndpoint = ",
        "queueMessageTimeToLiveInSeconds = 300",
        "[domains.shops.topics.paris]",
        "gridpost-event-shape",
    ] {
        assert!(exported.contains(said), "{said} is not in {exported}");
    }
    let file = written(&world, &exported);
    let same = json(&gridpost(data, &["apply", "-f", &file, "--output", "json"]));
    assert_eq!(
        (&same["created"], &same["changed"]),
        (&json!([]), &json!([])),
        "{exported}"
    );

    let empty = World::start_with_file(&storage()).await;
    let told = json(&gridpost(
        empty.server().data(),
        &["apply", "-f", &file, "--output", "json"],
    ));
    assert_eq!(told["failed"], json!([]), "{exported}");
    assert_eq!(export(empty.server().data()), exported);
    world.settle().await;
    empty.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_fits_a_server_that_has_a_system_topic_of_its_own() {
    let (one, other) = (World::start().await, World::start().await);
    let text = format!(
        "[communicationServices.dev.eventSubscriptions.texts]\nendpoint = '{}'\n",
        sink(&one, "texts")
    );
    let file = written(&one, &text);
    let apply = |world: &World, file: &str| {
        let words = ["apply", "-f", file, "--output", "json"];
        json(&gridpost(world.server().data(), &words))
    };
    // Each has named the system topic of its development resource by chance.
    for world in [&one, &other] {
        apply(world, &file);
    }
    let exported = gridpost(one.server().data(), &["export"]).stdout;
    let exported = String::from_utf8(exported).unwrap();
    assert!(!exported.contains("systemTopics"), "{exported}");
    let changed = apply(&other, &written(&other, &exported));
    assert_eq!(changed["created"], json!([]), "{exported}");
    assert_eq!(changed["failed"], json!([]), "{exported}");
    for world in [one, other] {
        world.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_listed_and_the_rest_is_made() {
    let world = World::start().await;
    let text = format!(
        "[topics.good.eventSubscriptions.sub]\nendpoint = '{}'\n[topics.'bad name'.eventSubscriptions.sub]\nendpoint = 'https://h'\n",
        sink(&world, "good")
    );
    let file = written(&world, &text);
    let output = gridpost(
        world.server().data(),
        &["apply", "-f", &file, "--output", "json"],
    );
    assert_eq!(output.status.code(), Some(5));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["created"],
        json!(["topics.good", "topics.good.eventSubscriptions.sub"])
    );
    let failed = report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 2, "{report}");
    assert_eq!(failed[0]["line"], 3);
    assert_eq!(
        failed[1]["reason"],
        "`topics.\"bad name\"` could not be made"
    );
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_keeps_the_secrets_that_the_file_does_not_tell() {
    let world = World::start().await;
    let data = world.server().data();
    let endpoint = sink(&world, "hook");
    let apply = |text: &str| {
        let file = written(&world, text);
        json(&gridpost(data, &["apply", "-f", &file, "--output", "json"]))
    };
    let head = format!("[topics.topic.eventSubscriptions.sub]\nendpoint = '{endpoint}");
    let key = |value: &str| {
        format!(
            "deliveryAttributeMappings = [{{ name = 'x-key', type = 'Static', properties = {{ {value}isSecret = true }} }}]\n"
        )
    };
    apply(&format!("{head}?code=1'\n{}", key("value = 's3cret', ")));
    let changed = apply(&format!(
        "{head}'\nlabels = ['l']\nmaxEventsPerBatch = 5\n{}",
        key("")
    ));
    let paths: Vec<&Value> = changed["changed"][0]["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["property"])
        .collect();
    assert_eq!(
        paths,
        ["destination.properties.maxEventsPerBatch", "labels"]
    );

    let id = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.EventGrid/topics/topic/eventSubscriptions/sub";
    let url = world
        .manage(Method::POST, &format!("{id}/getFullUrl"), Value::Null)
        .await;
    assert_eq!(url["endpointUrl"], format!("{endpoint}?code=1"));
    let attributes = world
        .manage(
            Method::POST,
            &format!("{id}/getDeliveryAttributes"),
            Value::Null,
        )
        .await;
    assert_eq!(attributes["value"][0]["properties"]["value"], "s3cret");

    let told = apply(&format!(
        "{head}?code=2'\nlabels = ['l']\nmaxEventsPerBatch = 5\n{}",
        key("value = 'new', ")
    ));
    assert!(
        !told.to_string().contains("s3cret") && !told.to_string().contains("code="),
        "{told}"
    );
    assert_eq!(
        told["changed"][0]["differences"].as_array().unwrap().len(),
        2,
        "{told}"
    );
    world.settle().await;
}

#[test]
fn an_unknown_name_is_refused_with_its_line_and_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grid.toml");
    std::fs::write(
        &file,
        "[topics.t]\ninputSchma = 'x'\n[topics.topic.eventSubscription.s]\n[topic.u]\n",
    )
    .unwrap();
    let output = gridpost(folder.path(), &["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for (line, word) in [(2, "inputSchema"), (3, "eventSubscriptions"), (4, "topics")] {
        assert!(
            said.contains(&format!("grid.toml:{line}: "))
                && said.contains(&format!("did you mean `{word}`?")),
            "{said}"
        );
    }
}
