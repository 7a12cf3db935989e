//! What a webhook subscription may ask for, as management clients write and read it.

use serde_json::{Value, json};

use crate::manager::{Manager, serve_sink};
use crate::stack::Stack;

const ES: &str = "/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/dev/providers/Microsoft.EventGrid/eventSubscriptions/es1";

/// What `az` sends, with our own property.
fn asking(url: &str) -> Value {
    json!({"endpointType": "WebHook", "properties": {
        "endpointUrl": url, "maxEventsPerBatch": 10, "preferredBatchSizeInKilobytes": 128,
        "deliveryAttributeMappings": [
            {"name": "X-A", "type": "Static", "properties": {"value": "v1", "isSecret": true}},
            {"name": "X-B", "type": "Dynamic", "properties": {"sourceField": "data.x"}},
        ],
        "gridpostSigningSecret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }})
}

#[tokio::test]
async fn event_grid_3_3_secrets_are_told_by_their_own_calls_only() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let made = manager
        .put(ES, json!({"properties": {"destination": asking(&sink)}}))
        .await;
    let shown = &made["properties"]["destination"]["properties"];
    assert_eq!(
        *shown,
        json!({
            "endpointBaseUrl": sink, "maxEventsPerBatch": 10, "preferredBatchSizeInKilobytes": 128,
            "deliveryAttributeMappings": [
                {"name": "X-A", "type": "Static", "properties": {"value": null, "isSecret": true}},
                {"name": "X-B", "type": "Dynamic", "properties": {"sourceField": "data.x"}},
            ],
        })
    );
    let told = || async {
        manager
            .ask("POST", &format!("{ES}/getDeliveryAttributes"), Value::Null)
            .await
            .json_of(200)
    };
    let mut expected = asking(&sink)["properties"]["deliveryAttributeMappings"].clone();
    assert_eq!(told().await, json!({"value": expected}));

    // What GET showed is sent back, and one more thing with it.
    let mut back = made["properties"]["destination"].clone();
    back["properties"]["maxEventsPerBatch"] = json!(20);
    let changed = manager
        .ask("PATCH", ES, json!({"destination": back}))
        .await
        .json_of(201);
    let shown = &changed["properties"]["destination"]["properties"];
    assert_eq!(shown["maxEventsPerBatch"], 20);
    assert_eq!(shown["preferredBatchSizeInKilobytes"], 128);
    assert_eq!(told().await, json!({"value": expected}));

    // A patch that names no attributes leaves them, as `az … update` expects.
    expected[0]["properties"]["value"] = json!("v2");
    for attributes in [json!({"deliveryAttributeMappings": expected}), json!({})] {
        let patch = json!({"destination": {"endpointType": "WebHook", "properties": attributes}});
        manager.ask("PATCH", ES, patch).await.json_of(201);
        assert_eq!(told().await, json!({"value": expected}));
    }
}

#[tokio::test]
async fn event_grid_3_3_what_cannot_be_asked_for_is_refused_by_its_name() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let fixed = |name: &str| json!([{"name": name, "type": "Static", "properties": {"value": "v", "isSecret": false}}]);
    let table = [
        (json!({"maxEventsPerBatch": 5001}), "maxEventsPerBatch"),
        (
            json!({"preferredBatchSizeInKilobytes": 0}),
            "preferredBatchSizeInKilobytes",
        ),
        (
            json!({"deliveryAttributeMappings": fixed("aeg-x")}),
            "deliveryAttributeMappings",
        ),
        (
            json!({"deliveryAttributeMappings": fixed("Host")}),
            "deliveryAttributeMappings",
        ),
        (
            json!({"azureActiveDirectoryTenantId": "t"}),
            "azureActiveDirectoryApplicationIdOrUri",
        ),
        (
            json!({"gridpostSigningSecret": "short"}),
            "gridpostSigningSecret",
        ),
    ];
    for (more, property) in table {
        let mut properties = json!({"endpointUrl": sink});
        let all = properties.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        let destination = json!({"endpointType": "WebHook", "properties": properties});
        let body = json!({"properties": {"destination": destination}});
        let refused = manager.ask("PUT", ES, body).await.json_of(400);
        assert_eq!(refused["error"]["code"], "InvalidRequest", "{refused}");
        assert_eq!(
            refused["error"]["target"],
            format!("destination.properties.{property}"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn event_grid_5_8_the_handshake_of_a_protected_endpoint_has_a_token_that_opens_nothing_here()
{
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let destination = json!({"endpointType": "WebHook", "properties": {
        "endpointUrl": sink, "azureActiveDirectoryTenantId": "t",
        "azureActiveDirectoryApplicationIdOrUri": "api://hook",
    }});
    manager
        .put(ES, json!({"properties": {"destination": destination}}))
        .await;
    let asked = stack.own("GET", "sinks/s/requests", "").await.json_of(200);
    let header = asked["requests"][0]["headers"]["authorization"].clone();
    let token = header.as_str().unwrap().strip_prefix("Bearer ").unwrap();
    let theirs = Manager {
        stack: &stack,
        token: token.to_owned(),
    };
    assert_eq!(theirs.ask("GET", ES, Value::Null).await.status, 401);
}
