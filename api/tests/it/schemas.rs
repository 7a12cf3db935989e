//! The three input schemas from the publisher to the endpoint, and who may publish from where.
//!
//! Source: reference event-grid 1, 2.1, 2.6, 2.8.

use std::net::IpAddr;

use axum::body::Body;
use gridpost_api::origin::{Caller, Scheme};
use http::Request;
use serde_json::{Value, json};

use crate::manager::{HOST, Manager, SUBSCRIPTION, serve_sink};
use crate::stack::{Answer, Stack};

const EG: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid";
const CLOUD_EVENT: &str = r#"{ "specversion":"1.0", "id":"c-1","source":"/shop","type":"Shop.Ordered","subject":null,"n":1.50,"data":{"a":"\u00e9"} }"#;

/// A topic or domain of this name and properties, with its key.
struct Shop<'a> {
    stack: &'a Stack,
    manager: Manager<'a>,
    id: String,
    endpoint: String,
    key: String,
}

impl<'a> Shop<'a> {
    async fn open(stack: &'a Stack, name: &str, properties: Value) -> Self {
        let manager = Manager::sign_in(stack).await;
        manager
            .put("/resourceGroups/rg1", json!({"location": "local"}))
            .await;
        let id = format!("{EG}/{name}");
        let made = manager.put(&id, json!({"properties": properties})).await;
        let endpoint = made["properties"]["endpoint"].as_str().unwrap();
        let endpoint = endpoint.split(HOST).nth(1).unwrap().to_owned();
        let keys = manager
            .ask("POST", &format!("{id}/listKeys"), Value::Null)
            .await;
        let key = keys.json_of(200)["key1"].as_str().unwrap().to_owned();
        Self {
            stack,
            manager,
            id,
            endpoint,
            key,
        }
    }

    /// Subscribes a sink of the same name.
    async fn subscribe(&self, scope: &str, name: &str, schema: Option<&str>) -> Answer {
        let url = serve_sink(self.stack, name).await;
        let body = json!({"properties": {
            "destination": {"endpointType": "WebHook", "properties": {"endpointUrl": url}},
            "eventDeliverySchema": schema,
        }});
        self.manager
            .ask("PUT", &format!("{scope}/eventSubscriptions/{name}"), body)
            .await
    }

    async fn publish(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.publish_from(None, headers, body).await
    }

    async fn publish_from(
        &self,
        caller: Option<IpAddr>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::post(&self.endpoint)
            .header("host", HOST)
            .header("aeg-sas-key", &self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(address) = caller {
            let scheme = Scheme::Http;
            request = request.extension(Caller { address, scheme });
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.stack.ask(request).await
    }

    /// The first notification of a sink.
    async fn delivered(&self, sink: &str) -> Value {
        let wait = format!("sinks/{sink}/wait?count=1");
        let found = self.stack.own("GET", &wait, "").await.json_of(200);
        found["requests"][0].clone()
    }
}

fn is_refused(answer: &Answer, status: u16, detail: &str, message: &str) {
    let refused = answer.json_of(status);
    assert_eq!(refused["error"]["details"][0]["code"], detail);
    let text = refused["error"]["message"].as_str().unwrap();
    assert!(text.starts_with(message), "{text}");
}

#[tokio::test]
async fn section_1_2_a_cloud_event_arrives_as_it_was_published_in_every_mode() {
    let stack = Stack::start().await;
    let cloud = json!({"inputSchema": "CloudEventSchemaV1_0"});
    let shop = Shop::open(&stack, "topics/clouds", cloud).await;
    let made = shop.subscribe(&shop.id, "es1", None).await.json_of(201);
    assert_eq!(
        made["properties"]["eventDeliverySchema"],
        "CloudEventSchemaV1_0"
    );
    let structured = [(
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    )];
    assert_eq!(shop.publish(&structured, CLOUD_EVENT).await.status, 200);

    let request = shop.delivered("es1").await;
    assert_eq!(
        request["headers"]["content-type"],
        "application/cloudevents+json; charset=utf-8"
    );
    assert_eq!(request["headers"]["aeg-metadata-version"], "1.0");
    assert_eq!(request["headers"]["aeg-output-event-id"], "c-1");
    assert_eq!(request["bodyBytes"], CLOUD_EVENT.len());
    assert_eq!(
        request["body"],
        serde_json::from_str::<Value>(CLOUD_EVENT).unwrap()
    );

    let batched = [("content-type", "application/cloudevents-batch+json")];
    let batch = format!("[{CLOUD_EVENT}]");
    assert_eq!(shop.publish(&batched, &batch).await.status, 200);
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "c-2"),
        ("ce-source", "/shop"),
        ("ce-type", "Shop.Ordered"),
    ];
    assert_eq!(shop.publish(&binary, "{\"a\":1}").await.status, 200);
    let sent = "sinks/es1/wait?count=1&id=c-2";
    let found = stack.own("GET", sent, "").await.json_of(200);
    assert_eq!(found["requests"][0]["body"]["data"], json!({"a": 1}));

    let plain = [("content-type", "text/plain")];
    is_refused(
        &shop.publish(&plain, CLOUD_EVENT).await,
        415,
        "InvalidContentType",
        "The Content-Type header is either missing",
    );
}

#[tokio::test]
async fn section_1_4_custom_events_arrive_in_the_schema_that_is_asked_for() {
    let stack = Stack::start().await;
    let mapping = json!({"inputSchemaMappingType": "Json", "properties": {
        "id": {"sourceField": "meta.id"},
        "eventType": {"sourceField": "kind", "defaultValue": "Shop.Other"},
        "subject": {"defaultValue": "none"},
        "dataVersion": {"defaultValue": "1.0"},
    }});
    let custom = json!({"inputSchema": "CustomEventSchema", "inputSchemaMapping": mapping});
    let shop = Shop::open(&stack, "topics/own", custom).await;
    for (name, schema) in [
        ("event-grid", "EventGridSchema"),
        ("cloud", "CloudEventSchemaV1_0"),
        ("custom", "CustomInputSchema"),
    ] {
        let made = shop.subscribe(&shop.id, name, Some(schema)).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let own = json!({"meta": {"id": "7"}, "kind": "Shop.Ordered", "price": 1.5});
    assert_eq!(
        shop.publish(&[], &json!([own]).to_string()).await.status,
        200
    );

    let as_event_grid = shop.delivered("event-grid").await["body"][0].clone();
    assert_eq!(
        (&as_event_grid["id"], &as_event_grid["eventType"]),
        (&json!("7"), &json!("Shop.Ordered"))
    );
    assert_eq!(as_event_grid["topic"], format!("{SUBSCRIPTION}{}", shop.id));
    assert_eq!(as_event_grid["data"], own);
    let as_cloud = shop.delivered("cloud").await["body"].clone();
    assert_eq!(
        (&as_cloud["type"], &as_cloud["data"]),
        (&json!("Shop.Ordered"), &own)
    );
    assert_eq!(shop.delivered("custom").await["body"], json!([own]));

    is_refused(
        &shop.publish(&[], "{}").await,
        400,
        "InputJsonInvalid",
        "This resource is configured to receive event in 'CustomInputEvent' schema.",
    );
}

#[tokio::test]
async fn section_1_4_pairs_of_schemas_that_do_not_exist_are_refused() {
    let stack = Stack::start().await;
    let cloud = json!({"inputSchema": "CloudEventSchemaV1_0"});
    let clouds = Shop::open(&stack, "topics/clouds", cloud).await;
    let plain = Shop::open(&stack, "topics/plain", json!({})).await;
    let table = [
        (&clouds, "EventGridSchema", "CloudEventSchemaV1_0"),
        (&clouds, "CustomInputSchema", "CloudEventSchemaV1_0"),
        (&plain, "CustomInputSchema", "EventGridSchema"),
    ];
    for (shop, delivery, input) in table {
        let answer = shop.subscribe(&shop.id, "es1", Some(delivery)).await;
        assert_eq!(
            answer.json_of(400)["error"]["message"],
            format!(
                "The specified EventDeliverySchema value \"{delivery}\" cannot be used in combination with the topic's input schema of {input}"
            )
        );
    }
}

#[tokio::test]
async fn section_2_8_in_a_domain_the_source_of_a_cloud_event_is_its_topic() {
    let stack = Stack::start().await;
    let cloud = json!({"inputSchema": "CloudEventSchemaV1_0"});
    let shop = Shop::open(&stack, "domains/shop", cloud).await;
    let books = format!("{}/topics/books", shop.id);
    let made = shop.subscribe(&books, "books", None).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(shop.subscribe(&shop.id, "all", None).await.status, 201);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let of = |topic: &str| CLOUD_EVENT.replace("/shop", topic);
    let batch = format!("[{},{}]", of("toys"), of("books"));
    assert_eq!(shop.publish(&headers, &batch).await.status, 200);
    let request = shop.delivered("books").await;
    assert_eq!(request["body"]["source"], "books");
    stack
        .own("GET", "sinks/all/wait?count=2", "")
        .await
        .json_of(200);

    is_refused(
        &shop
            .publish(&headers, &format!("[{}]", of("https://example.com")))
            .await,
        400,
        "InputJsonInvalid",
        "Required property 'topic' needs to either be a full resource id or should be just the name of the domain topic. Found: https://example.com",
    );
}

#[tokio::test]
async fn section_2_1_options_names_the_schema_of_the_resource() {
    let stack = Stack::start().await;
    for (name, schema, shown) in [
        ("topics/clouds", "CloudEventSchemaV1_0", "CloudEventV10"),
        ("domains/plain", "EventGridSchema", "EventGridEvent"),
    ] {
        let shop = Shop::open(&stack, name, json!({"inputSchema": schema})).await;
        let request = Request::options(&shop.endpoint)
            .header("host", HOST)
            .header("aeg-sas-key", &shop.key);
        let answer = stack.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.headers["aeg-input-event-schema"], shown);
    }
}

#[tokio::test]
async fn section_2_6_network_rules_come_before_credentials() {
    let stack = Stack::start().await;
    let rules = json!({"inboundIpRules": [{"ipMask": "203.0.113.0/24", "action": "Allow"}]});
    let shop = Shop::open(&stack, "topics/walled", rules).await;
    let event = json!([{
        "id": "1", "subject": "s", "eventType": "t", "eventTime": "2026-11-22T00:00:00Z",
    }])
    .to_string();
    let from = async |address: &str| {
        let address = address.parse().unwrap();
        shop.publish_from(Some(address), &[], &event).await
    };
    assert_eq!(from("203.0.113.9").await.status, 200);
    assert_eq!(from("::ffff:203.0.113.9").await.status, 200);
    is_refused(
        &from("198.51.100.1").await,
        403,
        "ClientIPRejected",
        "Publishing to 127.0.0.1:8480 by client 198.51.100.1 is rejected due to IpAddress filtering rules.",
    );
    assert_eq!(shop.publish(&[], &event).await.status, 403);

    let closed = json!({"properties": {"publicNetworkAccess": "Disabled"}});
    shop.manager
        .ask("PATCH", &shop.id, closed)
        .await
        .json_of(200);
    assert_eq!(from("203.0.113.9").await.status, 403);
}
