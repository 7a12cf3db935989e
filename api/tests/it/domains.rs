//! Topics and domains as their managers and publishers see them: codes, shapes, both forms of every subscription.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::manager::{HOST, Manager, Row, SUBSCRIPTION, serve_sink, walk};
use crate::stack::Stack;

const NOTHING: Value = Value::Null;
const EG: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid";
const DOMAIN: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/domains/shop";
const BOOKS: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/domains/shop/topics/books";
const TOPIC: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders";

async fn with_group(stack: &Stack) -> Manager<'_> {
    let manager = Manager::sign_in(stack).await;
    let group = json!({"location": "local"});
    manager.put("/resourceGroups/rg1", group).await;
    manager
}

fn to(url: &str) -> Value {
    json!({"properties": {"destination": {
        "endpointType": "WebHook", "properties": {"endpointUrl": url}}}})
}

fn names(list: &Value) -> Vec<&str> {
    let all = list["value"].as_array().unwrap();
    all.iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect()
}

async fn publish(stack: &Stack, domain: &Value, key: &str, event: Value) -> u16 {
    let endpoint = domain["properties"]["endpoint"].as_str().unwrap();
    let path = endpoint.strip_prefix("http://127.0.0.1:8480").unwrap();
    let request = Request::post(format!("{path}?api-version=2018-01-01"))
        .header("host", HOST)
        .header("aeg-sas-key", key)
        .header("content-type", "application/json")
        .body(Body::from(json!([event]).to_string()))
        .unwrap();
    stack.ask(request).await.status.as_u16()
}

#[tokio::test]
async fn management_5_domains_have_their_codes() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let keys = format!("{DOMAIN}/regenerateKey");
    let (keys, list_keys) = (keys.leak() as &'static str, format!("{DOMAIN}/listKeys"));
    let topics: &'static str = format!("{DOMAIN}/topics").leak();
    let links: &'static str = format!("{DOMAIN}/privateEndpointConnections").leak();
    let rows = vec![
        Row("GET", DOMAIN, NOTHING, 404),
        Row("PUT", BOOKS, NOTHING, 404),
        Row("GET", topics, NOTHING, 404),
        Row("PUT", DOMAIN, json!({}), 201),
        Row("PUT", DOMAIN, json!({"location": "local"}), 201),
        Row("PUT", DOMAIN, json!({"location": "mars"}), 409),
        Row("GET", DOMAIN, NOTHING, 200),
        Row("PATCH", DOMAIN, json!({"tags": {"a": "b"}}), 200),
        Row("POST", DOMAIN, NOTHING, 405),
        Row("POST", list_keys.leak(), NOTHING, 200),
        Row("POST", keys, json!({"keyName": "Key2"}), 200),
        Row("POST", keys, json!({"keyName": "key3"}), 400),
        Row("GET", links, NOTHING, 200),
        Row("PUT", BOOKS, NOTHING, 201),
        Row("PUT", BOOKS, NOTHING, 201),
        Row("GET", BOOKS, NOTHING, 200),
        Row("PATCH", BOOKS, json!({}), 405),
        Row("GET", topics, NOTHING, 200),
        Row("DELETE", BOOKS, NOTHING, 204),
        Row("DELETE", BOOKS, NOTHING, 204),
        Row("GET", BOOKS, NOTHING, 404),
        Row(
            "GET",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/domains",
            NOTHING,
            200,
        ),
        Row(
            "GET",
            "/providers/Microsoft.EventGrid/domains",
            NOTHING,
            200,
        ),
        Row("DELETE", DOMAIN, NOTHING, 204),
        Row("DELETE", DOMAIN, NOTHING, 204),
    ];
    walk(&manager, rows).await;
}

#[tokio::test]
async fn management_5_1_a_domain_shows_what_it_was_given() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let body = json!({
        "tags": {"team": "shop"}, "sku": {"name": "Basic"}, "identity": {"type": "None"},
        "properties": {
            "inputSchema": "eventgridschema", "disableLocalAuth": true,
            "publicNetworkAccess": "enabled", "minimumTlsVersionAllowed": "1.1",
            "inboundIpRules": [{"ipMask": "127.0.0.0/8", "action": "allow"}],
            "autoDeleteTopicWithLastSubscription": false, "dataResidencyBoundary": "withinregion",
        },
    });
    let shown = manager.put(DOMAIN, body).await;
    assert_eq!(shown["id"], format!("{SUBSCRIPTION}{DOMAIN}"));
    assert_eq!(shown["type"], "Microsoft.EventGrid/domains");
    let mut properties = shown["properties"].clone();
    let metric_id = properties["metricResourceId"].take();
    assert_eq!(metric_id.as_str().unwrap().len(), 36);
    assert_eq!(
        properties,
        json!({
            "provisioningState": "Succeeded", "metricResourceId": null,
            "endpoint": "http://127.0.0.1:8480/domains/shop/api/events",
            "inputSchema": "EventGridSchema", "disableLocalAuth": true,
            "publicNetworkAccess": "Enabled", "minimumTlsVersionAllowed": "1.1",
            "inboundIpRules": [{"ipMask": "127.0.0.0/8", "action": "Allow"}],
            "autoCreateTopicWithFirstSubscription": true,
            "autoDeleteTopicWithLastSubscription": false,
            "dataResidencyBoundary": "WithinRegion",
        })
    );
    let patch = json!({"properties": {"inboundIpRules": [], "publicNetworkAccess": "Disabled"}});
    let patched = manager.ask("PATCH", DOMAIN, patch).await.json_of(200);
    assert_eq!(patched["properties"]["inboundIpRules"], json!([]));
    assert_eq!(patched["properties"]["publicNetworkAccess"], "Disabled");
    assert_eq!(patched["properties"]["disableLocalAuth"], true);
    assert_eq!(patched["properties"]["metricResourceId"], metric_id);
    assert_eq!(patched["tags"], json!({"team": "shop"}));
}

#[tokio::test]
async fn management_5_1_what_a_topic_cannot_be_is_refused_by_name() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let mapping = json!({"inputSchemaMappingType": "Json", "properties": {
        "eventType": {"sourceField": "kind"}}});
    let custom = json!({"inputSchema": "CustomEventSchema", "inputSchemaMapping": mapping});
    let made = manager.put(TOPIC, json!({"properties": custom})).await;
    let shown = &made["properties"]["inputSchemaMapping"]["properties"];
    assert_eq!(shown["eventType"]["sourceField"], "kind");

    // A mapping without the topic does not do for a domain, and a schema stays what it was.
    let table = [
        (DOMAIN, custom.clone(), "properties.inputSchemaMapping"),
        (
            TOPIC,
            json!({"inputSchema": "EventGridSchema"}),
            "properties.inputSchema",
        ),
        (
            TOPIC,
            json!({"inboundIpRules": [{"ipMask": "everywhere"}]}),
            "properties.inboundIpRules",
        ),
    ];
    for (path, properties, field) in table {
        let refused = manager
            .ask("PUT", path, json!({"properties": properties}))
            .await;
        assert_eq!(
            refused.json_of(400)["error"]["target"],
            field,
            "{refused:?}"
        );
    }
    let identity = json!({"identity": {"type": "SystemAssigned"}});
    let refused = manager.ask("PUT", TOPIC, identity).await;
    assert!(!refused.status.is_success(), "{refused:?}");
    let link = format!("{TOPIC}/privateEndpointConnections");
    assert_eq!(manager.get(&link).await, json!({"value": []}));
    for resource in [TOPIC, DOMAIN] {
        let one = format!("{resource}/privateEndpointConnections/one");
        for path in [&link, &one] {
            assert_eq!(manager.ask("PUT", path, json!({})).await.status, 501);
        }
        assert_eq!(manager.ask("GET", &one, NOTHING).await.status, 404);
    }
    // Nothing said of the schema keeps it.
    let again = manager.put(TOPIC, json!({"tags": {"a": "b"}})).await;
    assert_eq!(again["properties"]["inputSchema"], "CustomEventSchema");
}

#[tokio::test]
async fn management_5_subscriptions_of_a_domain_answer_in_every_form() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "shop").await;
    manager.put(DOMAIN, json!({})).await;
    let extension = "providers/Microsoft.EventGrid/eventSubscriptions";
    let nested = format!("{BOOKS}/eventSubscriptions/es1");
    let made = manager.put(&nested, to(&sink)).await;
    assert_eq!(made["id"], format!("{SUBSCRIPTION}{nested}"));
    assert_eq!(
        made["type"],
        "Microsoft.EventGrid/domains/topics/eventSubscriptions"
    );
    assert_eq!(
        made["properties"]["topic"],
        format!("{SUBSCRIPTION}{BOOKS}")
    );
    assert_eq!(
        names(&manager.get(&format!("{DOMAIN}/topics")).await),
        ["books"]
    );

    let other = format!("{BOOKS}/{extension}/es1");
    let read = manager.get(&other).await;
    assert_eq!(read["id"], format!("{SUBSCRIPTION}{other}"));
    assert_eq!(read["type"], "Microsoft.EventGrid/eventSubscriptions");
    let whole = format!("{DOMAIN}/{extension}/all");
    let made = manager.ask("PUT", &whole, to(&sink)).await.json_of(201);
    assert_eq!(
        made["properties"]["topic"],
        format!("{SUBSCRIPTION}{DOMAIN}")
    );
    let whole = format!("{DOMAIN}/eventSubscriptions/all");
    let shown = manager.get(&whole).await;
    assert_eq!(
        shown["type"],
        "Microsoft.EventGrid/domains/eventSubscriptions"
    );

    for (path, expected) in [
        (format!("{DOMAIN}/eventSubscriptions"), vec!["all"]),
        (format!("{DOMAIN}/{extension}"), vec!["all"]),
        (format!("{BOOKS}/eventSubscriptions"), vec!["es1"]),
        (format!("{BOOKS}/{extension}"), vec!["es1"]),
        (format!("{EG}/eventSubscriptions"), vec!["all", "es1"]),
        (
            format!("{EG}/topicTypes/Microsoft.EventGrid.Domains/eventSubscriptions"),
            vec!["all", "es1"],
        ),
        (
            format!("{EG}/topicTypes/Microsoft.EventGrid.Topics/eventSubscriptions"),
            vec![],
        ),
        (
            format!("{EG}/locations/local/eventSubscriptions?$filter=contains(name,'es')&$top=5"),
            vec!["es1"],
        ),
        (format!("{EG}/locations/mars/eventSubscriptions"), vec![]),
    ] {
        assert_eq!(names(&manager.get(&path).await), expected, "{path}");
    }
    let url = manager
        .ask("POST", &format!("{nested}/getFullUrl"), NOTHING)
        .await
        .json_of(200);
    assert_eq!(url["endpointUrl"], sink);
    let patch = json!({"labels": ["one"]});
    assert_eq!(manager.ask("PATCH", &whole, patch).await.status, 201);

    assert_eq!(manager.ask("DELETE", &nested, NOTHING).await.status, 204);
    assert_eq!(manager.ask("GET", BOOKS, NOTHING).await.status, 404);
    assert_eq!(manager.ask("DELETE", DOMAIN, NOTHING).await.status, 204);
    assert_eq!(manager.ask("GET", &whole, NOTHING).await.status, 404);
    assert_eq!(manager.ask("DELETE", &whole, NOTHING).await.status, 204);
}

#[tokio::test]
async fn a_long_list_of_topics_comes_in_pages() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    manager.put(DOMAIN, json!({})).await;
    for number in 0..105 {
        manager
            .put(&format!("{DOMAIN}/topics/topic-{number:03}"), NOTHING)
            .await;
    }
    let first = manager.get(&format!("{DOMAIN}/topics")).await;
    assert_eq!(names(&first).len(), 100);
    let next = first["nextLink"].as_str().unwrap();
    let target = next.strip_prefix("http://127.0.0.1:8480").unwrap();
    let second = manager.raw("GET", target, NOTHING).await.json_of(200);
    assert_eq!(names(&second)[0], "topic-100");
    assert_eq!((names(&second).len(), second.get("nextLink")), (5, None));
    let found = format!("{DOMAIN}/topics?$filter=name eq 'topic-007'").replace(' ', "%20");
    assert_eq!(names(&manager.get(&found).await), ["topic-007"]);
}

#[tokio::test]
async fn event_grid_2_8_what_is_published_to_a_domain_carries_the_id_of_its_topic() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "shop").await;
    let domain = manager.put(DOMAIN, json!({})).await;
    let subscription = format!("{BOOKS}/eventSubscriptions/es1");
    manager.put(&subscription, to(&sink)).await;
    let keys = manager
        .ask("POST", &format!("{DOMAIN}/listKeys"), NOTHING)
        .await
        .json_of(200);
    let key = keys["key1"].as_str().unwrap();
    let event = |id: &str, topic: &str| {
        json!({"id": id, "topic": topic, "subject": "s", "eventType": "Shop.Ordered",
            "eventTime": "2026-11-22T00:00:00Z", "dataVersion": "1", "data": {}})
    };
    for (id, topic) in [("1", "books"), ("2", "toys")] {
        assert_eq!(publish(&stack, &domain, key, event(id, topic)).await, 200);
    }
    assert_eq!(
        publish(&stack, &domain, "d3Jvbmc=", event("3", "books")).await,
        401
    );
    stack.settle().await;
    let seen = stack
        .own("GET", "sinks/shop/requests", "")
        .await
        .json_of(200);
    let text = seen.to_string();
    let stamped = format!("{SUBSCRIPTION}{BOOKS}");
    assert!(text.contains(&stamped), "{text}");
    assert!(!text.contains("topics/toys"), "{text}");
}
