//! Resources by the command line, for people without `az`.

use serde_json::{Value, json};

use crate::cli::{gridpost, json};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_7_resources_are_managed_with_the_flags_of_az() {
    let world = World::start().await;
    let data = world.server().data();
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["--output", "json"]).collect();
        json(&gridpost(data, &words))
    };
    let sink = format!(
        "{}/_gridpost/v1/sinks/all?code=1",
        world.server().running().url
    );

    let topic = run("topic create -n orders --tags team=shop --inbound-ip-rules 127.0.0.0/8 allow");
    assert_eq!(
        topic["properties"]["inboundIpRules"],
        json!([{"ipMask": "127.0.0.0/8", "action": "Allow"}])
    );
    run("topic update -n orders --public-network-access disabled");
    let shown = run("topic show -n orders");
    assert_eq!(shown["properties"]["publicNetworkAccess"], "Disabled");
    assert_eq!(shown["tags"], json!({"team": "shop"}));
    let keys = run("topic key list -n orders");
    let new = run("topic key regenerate -n orders --key-name key1");
    assert_ne!(keys["key1"], new["key1"]);
    assert_eq!(keys["key2"], new["key2"]);

    run(
        "topic create -n till --input-schema customeventschema --input-mapping-fields id=receipt eventtype=kind --input-mapping-default-values eventtype=Paid",
    );
    let mapping = &run("topic show -n till")["properties"]["inputSchemaMapping"]["properties"];
    assert_eq!(
        mapping["eventType"],
        json!({"sourceField": "kind", "defaultValue": "Paid"})
    );

    run(&format!(
        "event-subscription create -n big --topic-name orders --endpoint {sink} --subject-begins-with orders/ \
         --advanced-filter data.n NumberInRange 1,5 10,20 --advanced-filter data.s StringIn a b \
         --delivery-attribute-mapping x-key static s3cret true --max-delivery-attempts 5 --event-ttl 60 --labels l1 l2"
    ));
    run(
        "event-subscription update -n big --topic-name orders --max-events-per-batch 10 --expiration-date 2030-01-01",
    );
    let shown = run(
        "event-subscription show -n big --topic-name orders --include-full-endpoint-url true --include-static-delivery-attribute-secret true",
    );
    let of = &shown["properties"];
    assert_eq!(
        of["destination"]["properties"]["endpointUrl"],
        sink.as_str()
    );
    assert_eq!(of["destination"]["properties"]["maxEventsPerBatch"], 10);
    assert_eq!(
        of["destination"]["properties"]["deliveryAttributeMappings"][0]["properties"]["value"],
        "s3cret"
    );
    assert_eq!(
        of["filter"]["advancedFilters"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(of["retryPolicy"]["maxDeliveryAttempts"], 5);
    assert!(
        of["expirationTimeUtc"]
            .as_str()
            .unwrap()
            .starts_with("2030-01-01")
    );

    run("domain create -n shops");
    run("domain topic create -n berlin --domain-name shops");
    let names = |listed: Value| -> Vec<Value> {
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone())
            .collect()
    };
    assert_eq!(
        names(run("domain topic list --domain-name shops")),
        ["berlin"]
    );
    run("communication create -n acs1 --data-location Germany");
    assert!(run("communication list-key -n acs1")["primaryConnectionString"].is_string());
    run(
        "system-topic create -n texts -l global --source /subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/acs1",
    );
    assert_eq!(names(run("system-topic list")), ["texts"]);
    assert_eq!(names(run("event-subscription list")), ["big"]);

    run("event-subscription delete -n big --topic-name orders");
    run("topic delete -n orders");
    assert_eq!(names(run("topic list -g gridpost")), ["till"]);
    let gone = gridpost(data, &["topic", "show", "-n", "orders"]);
    assert_eq!(gone.status.code(), Some(5));
    world.settle().await;
}

#[test]
fn shells_are_told_how_to_complete() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = gridpost(folder.path(), &["completion", shell]);
        assert!(script.status.success());
        assert!(
            String::from_utf8_lossy(&script.stdout).contains("event-subscription"),
            "{shell}"
        );
    }
}
