//! `event-subscription` below topics, domains, domain topics and system topics, by the command line.

use serde_json::{Value, json};

use crate::cli::{gridpost, json};
use crate::world::World;

const DEVELOPMENT_RESOURCE: &str = gridpost::credentials::COMMUNICATION_RESOURCE;

/// Everything that hangs event subscriptions below itself: its command, its flags, the end of its path.
const PARENTS: [(&str, &str, &str); 4] = [
    (
        "topic event-subscription",
        "--topic-name orders",
        "/topics/orders",
    ),
    (
        "domain event-subscription",
        "--domain-name shops",
        "/domains/shops",
    ),
    (
        "domain topic event-subscription",
        "--domain-name shops --domain-topic-name berlin",
        "/domains/shops/topics/berlin",
    ),
    (
        "system-topic event-subscription",
        "--system-topic-name texts",
        "/systemTopics/texts",
    ),
];

async fn world_with_parents() -> World {
    let world = World::start().await;
    let data = world.server().data();
    for line in [
        "topic create -n orders",
        "domain create -n shops",
        "domain topic create -n berlin --domain-name shops",
        &format!("system-topic create -n texts -l global --source {DEVELOPMENT_RESOURCE}"),
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--output", "json"]).collect();
        json(&gridpost(data, &words));
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_made_listed_and_deleted_with_what_is_in_it() {
    let world = World::start().await;
    let data = world.server().data();
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["--output", "json"]).collect();
        json(&gridpost(data, &words))
    };
    let made = run("group create -n shop --tags team=orders");
    assert_eq!(made["tags"], json!({"team": "orders"}));
    assert_eq!(run("group show -n shop")["id"], made["id"]);
    run("topic create -n orders -g shop");
    let names = |listed: Value| -> Vec<String> {
        let all = listed.as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(run("group list")), ["gridpost", "shop"]);
    let as_az_does = gridpost(data, &["group", "list", "-o", "table"]);
    assert!(String::from_utf8_lossy(&as_az_does.stdout).starts_with("NAME"));
    run("group delete -n shop");
    assert_eq!(names(run("group list")), ["gridpost"]);
    assert_eq!(names(run("topic list")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_7_event_subscriptions_are_managed_below_their_topics_as_in_az() {
    let world = world_with_parents().await;
    let data = world.server().data();
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["--output", "json"]).collect();
        json(&gridpost(data, &words))
    };
    let table = |line: &str| {
        let output = gridpost(data, &line.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{line}");
        String::from_utf8(output.stdout).unwrap()
    };
    let sink = format!("{}/_gridpost/v1/sinks/all", world.server().running().url);

    for (command, of, path) in PARENTS {
        let made = run(&format!(
            "{command} create -n audit {of} -g gridpost --endpoint {sink}?code=1 --subject-begins-with a/ --labels l1 l2"
        ));
        let id = made["id"].as_str().unwrap();
        assert!(
            id.ends_with(&format!("{path}/eventSubscriptions/audit")),
            "{id}"
        );
        run(&format!(
            "{command} create -n second {of} --endpoint {sink}"
        ));

        let listed = run(&format!("{command} list {of}"));
        let names: Vec<&Value> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["name"])
            .collect();
        assert_eq!(names, ["audit", "second"], "{command}");
        assert_eq!(
            table(&format!("{command} list {of} -g gridpost")),
            format!(
                "NAME    RESOURCE GROUP  {head:width$}  STATE      ENDPOINT\n\
                 audit   gridpost        {source:width$}  Succeeded  {sink}\n\
                 second  gridpost        {source:width$}  Succeeded  {sink}\n",
                head = "SOURCE",
                source = source_of(path),
                width = source_of(path).len().max("SOURCE".len()),
            )
        );

        run(&format!(
            "{command} update -n audit {of} --subject-ends-with z --max-events-per-batch 7"
        ));
        let shown = run(&format!(
            "{command} show -n audit {of} --include-full-endpoint-url"
        ));
        let properties = &shown["properties"];
        assert_eq!(
            properties["filter"]["subjectBeginsWith"], "a/",
            "what is not said stays"
        );
        assert_eq!(properties["filter"]["subjectEndsWith"], "z");
        let destination = &properties["destination"]["properties"];
        assert_eq!(destination["maxEventsPerBatch"], 7);
        assert_eq!(destination["endpointUrl"], format!("{sink}?code=1"));
        let shown = table(&format!("{command} show -n audit {of}"));
        assert!(shown.starts_with("PROPERTY"), "{shown}");
        assert!(
            shown.contains("labels") && shown.contains("l1, l2"),
            "{shown}"
        );
        assert!(
            !shown.contains("code=1"),
            "a secret is not shown unasked: {shown}"
        );

        run(&format!("{command} delete -n second {of}"));
        let again = run(&format!("{command} delete -n second {of}"));
        assert!(
            again["deleted"].is_string(),
            "az says nothing about it either"
        );
        let gone = gridpost(
            data,
            &[
                &command.split(' ').collect::<Vec<_>>()[..],
                &["show", "-n", "second"],
                &of.split(' ').collect::<Vec<_>>(),
            ]
            .concat(),
        );
        assert_eq!(gone.status.code(), Some(5));
    }
    // They are the ones that all commands show, whichever path they were made by.
    assert_eq!(run("event-subscription list").as_array().unwrap().len(), 4);
    let texts = run(&format!(
        "event-subscription show -n audit --source-resource-id {DEVELOPMENT_RESOURCE}"
    ));
    assert_eq!(texts["properties"]["labels"], json!(["l1", "l2"]));
    world.settle().await;
}

/// The name of what the events come from.
fn source_of(path: &str) -> &str {
    match path {
        "/systemTopics/texts" => DEVELOPMENT_RESOURCE.rsplit('/').next().unwrap(),
        "/domains/shops/topics/berlin" => "shops/berlin",
        other => other.rsplit('/').next().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_is_not_named_or_not_there_is_said() {
    let world = world_with_parents().await;
    let data = world.server().data();
    for (command, of, _) in PARENTS {
        let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let run = |line: String| {
            let words = words(line);
            gridpost(data, &words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let flag = of.split(' ').find(|word| word.starts_with("--")).unwrap();
        let output = run(format!("{command} list"));
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(flag),
            "{command}"
        );
        let elsewhere = of
            .replace("orders", "none")
            .replace("shops", "none")
            .replace("texts", "none");
        let output = run(format!(
            "{command} create -n s {elsewhere} --endpoint https://example.org"
        ));
        assert_eq!(output.status.code(), Some(5), "{command}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("404 Not Found") && said.contains("was not found"),
            "{said}"
        );
    }
    world.settle().await;
}
