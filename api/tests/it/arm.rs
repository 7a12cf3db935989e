//! Resource Manager as its clients see it: the codes of the reference, both forms of a subscription, every spelling
//! of a path.

use axum::body::Body;
use gridpost_grid::intake::IntakeKind;
use http::Request;
use serde_json::{Value, json};

use crate::manager::{HOST, Manager, Row, SUBSCRIPTION, serve_sink, walk};
use crate::stack::Stack;

const NOTHING: Value = Value::Null;
const RG: &str = "/resourceGroups/rg1";
const DEV: &str =
    "/resourceGroups/gridpost/providers/Microsoft.Communication/communicationServices/dev";
const TOPIC: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders";
const SYSTEM_TOPIC: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/systemTopics/st1";

fn service() -> Value {
    json!({"location": "global", "properties": {"dataLocation": "United States"}})
}

fn group() -> Value {
    json!({"location": "local", "tags": {"a": "b"}})
}

fn hook(url: &str) -> Value {
    json!({"endpointType": "WebHook", "properties": {"endpointUrl": url}})
}

async fn with_group(stack: &Stack) -> Manager<'_> {
    let manager = Manager::sign_in(stack).await;
    manager.put(RG, group()).await;
    manager.put("/resourceGroups/gridpost", group()).await;
    manager
}

#[tokio::test]
async fn management_3_base_resources_have_their_codes() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    walk(
        &manager,
        vec![
            Row("GET", "//tenants", NOTHING, 200),
            Row("GET", "//subscriptions", NOTHING, 200),
            Row("GET", "", NOTHING, 200),
            Row("GET", "/locations", NOTHING, 200),
            Row("GET", "/providers", NOTHING, 200),
            Row("GET", "/providers/Microsoft.EventGrid", NOTHING, 200),
            Row(
                "POST",
                "/providers/Microsoft.Communication/register",
                NOTHING,
                200,
            ),
            Row("GET", "/providers/Microsoft.Nothing", NOTHING, 404),
            Row("HEAD", RG, NOTHING, 404),
            Row("GET", RG, NOTHING, 404),
            Row("PUT", RG, json!({}), 400),
            Row("PUT", RG, group(), 201),
            Row("PUT", RG, group(), 200),
            Row("PUT", RG, json!({"location": "elsewhere"}), 409),
            Row("HEAD", RG, NOTHING, 204),
            Row("GET", RG, NOTHING, 200),
            Row("PATCH", RG, json!({"tags": {"c": "d"}}), 200),
            Row("GET", "/resourcegroups", NOTHING, 200),
            Row("GET", "/resources", NOTHING, 200),
            Row("GET", "/resourceGroups/rg1/resources", NOTHING, 200),
            Row("POST", RG, NOTHING, 405),
            Row("DELETE", RG, NOTHING, 200),
            Row("DELETE", RG, NOTHING, 404),
            Row("GET", "/unheardOf", NOTHING, 404),
        ],
    )
    .await;
}

#[tokio::test]
async fn management_6_communication_services_have_their_codes() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let acs = "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices/acs1";
    let rows = vec![
        Row("GET", acs, NOTHING, 404),
        Row("PUT", acs, json!({"location": "global"}), 400),
        Row("PUT", acs, service(), 201),
        Row("PUT", acs, service(), 200),
        Row("GET", acs, NOTHING, 200),
        Row("PATCH", acs, json!({"tags": {"x": "y"}}), 200),
        Row(
            "PATCH",
            acs,
            json!({"tags": {"gridpost-event-shape": "1999"}}),
            400,
        ),
        Row(
            "POST",
            "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices/acs1/listKeys",
            NOTHING,
            200,
        ),
        Row(
            "POST",
            "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices/acs1/regenerateKey",
            json!({"keyType": "primary"}),
            200,
        ),
        Row(
            "POST",
            "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices/acs1/regenerateKey",
            json!({"keyType": "third"}),
            400,
        ),
        Row(
            "GET",
            "/providers/Microsoft.Communication/communicationServices",
            NOTHING,
            200,
        ),
        Row(
            "GET",
            "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices",
            NOTHING,
            200,
        ),
        Row("POST", acs, NOTHING, 405),
        Row(
            "PUT",
            "/resourceGroups/rg1/providers/Microsoft.Communication/registeredNumbers/e",
            service(),
            501,
        ),
        Row(
            "PUT",
            "/resourceGroups/none/providers/Microsoft.Communication/communicationServices/acs1",
            service(),
            404,
        ),
        Row("DELETE", acs, NOTHING, 200),
        Row("DELETE", acs, NOTHING, 204),
    ];
    walk(&manager, rows).await;
}

#[tokio::test]
async fn management_5_topics_have_their_codes() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    // The first is what `az` sends, the second what the SDK sends.
    let of_az = json!({
        "location": "local", "sku": {"name": "Basic"}, "identity": {"type": "None"},
        "kind": "Azure", "properties": {"inputSchema": "eventgridschema", "disableLocalAuth": false},
    });
    let of_sdk = json!({"properties": {"disableLocalAuth": false}});
    let cloud = json!({"properties": {"inputSchema": "CloudEventSchemaV1_0"}});
    let closed = json!({"properties": {"publicNetworkAccess": "disabled"}});
    let rows = vec![
        Row("GET", TOPIC, NOTHING, 404),
        Row("PUT", TOPIC, of_az, 201),
        Row("PUT", TOPIC, of_sdk, 201),
        Row("PUT", TOPIC, cloud, 400),
        Row("PUT", TOPIC, closed, 201),
        Row("GET", TOPIC, NOTHING, 200),
        Row("PATCH", TOPIC, json!({"tags": {"x": "y"}}), 200),
        Row("GET", "/providers/Microsoft.EventGrid/topics", NOTHING, 200),
        Row(
            "GET",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics?$top=100",
            NOTHING,
            200,
        ),
        Row(
            "POST",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders/listKeys",
            NOTHING,
            200,
        ),
        Row(
            "POST",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders/regenerateKey",
            json!({"keyName": "key2"}),
            200,
        ),
        Row(
            "PUT",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/namespaces/n",
            json!({}),
            501,
        ),
        Row(
            "GET",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/nonsense/d",
            NOTHING,
            404,
        ),
        Row("DELETE", TOPIC, NOTHING, 204),
        Row("DELETE", TOPIC, NOTHING, 204),
    ];
    walk(&manager, rows).await;
}

#[tokio::test]
async fn management_5_system_topics_and_topic_types_have_their_codes() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let source = format!("{SUBSCRIPTION}{DEV}");
    let body = json!({"location": "global", "properties": {
        "source": source, "topicType": "microsoft.communication.communicationservices",
    }});
    let unknown = json!({"location": "global", "properties": {
        "source": "/subscriptions/s/x/y", "topicType": "Microsoft.Communication.CommunicationServices",
    }});
    let types = "//providers/Microsoft.EventGrid/topicTypes";
    let rows = vec![
        Row("PUT", SYSTEM_TOPIC, unknown, 404),
        Row("PUT", SYSTEM_TOPIC, body, 201),
        Row("GET", SYSTEM_TOPIC, NOTHING, 200),
        Row("PATCH", SYSTEM_TOPIC, json!({"tags": {"x": "y"}}), 200),
        Row(
            "GET",
            "/providers/Microsoft.EventGrid/systemTopics",
            NOTHING,
            200,
        ),
        Row(
            "GET",
            "/resourceGroups/rg1/providers/Microsoft.EventGrid/systemTopics",
            NOTHING,
            200,
        ),
        Row("DELETE", SYSTEM_TOPIC, NOTHING, 204),
        Row("DELETE", SYSTEM_TOPIC, NOTHING, 204),
        Row("GET", types, NOTHING, 200),
        Row(
            "GET",
            "//providers/Microsoft.EventGrid/topicTypes/Microsoft.Communication.CommunicationServices",
            NOTHING,
            200,
        ),
        Row(
            "GET",
            "//providers/Microsoft.EventGrid/topicTypes/Microsoft.Communication.CommunicationServices/eventTypes",
            NOTHING,
            200,
        ),
        Row(
            "GET",
            "//providers/Microsoft.EventGrid/topicTypes/Microsoft.Storage.StorageAccounts",
            NOTHING,
            404,
        ),
        Row(
            "GET",
            "//providers/Microsoft.EventGrid/operations",
            NOTHING,
            200,
        ),
    ];
    walk(&manager, rows).await;
    let listed = manager
        .get(&format!("{DEV}/providers/Microsoft.EventGrid/eventTypes"))
        .await;
    assert_eq!(listed["value"].as_array().unwrap().len(), 56);
}

#[tokio::test]
async fn section_3_1_topics_and_domains_have_topic_types_and_say_which_event_types_they_know() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let domain = TOPIC.replace("/topics/", "/domains/");
    for source in [TOPIC.to_owned(), domain] {
        let types = format!("{source}/providers/Microsoft.EventGrid/eventTypes");
        manager.ask("GET", &types, NOTHING).await.json_of(404);
        manager.put(&source, json!({})).await;
        assert_eq!(manager.get(&types).await, json!({"value": []}));
        let info = json!({"kind": "Inline", "inlineEventTypes": {
            "Shop.Ordered": {"description": "An order", "displayName": "Ordered"},
        }});
        manager
            .put(&source, json!({"properties": {"eventTypeInfo": info}}))
            .await;
        let known = manager.get(&types).await;
        assert_eq!(known["value"][0]["name"], "Shop.Ordered");
        assert_eq!(known["value"][0]["properties"]["description"], "An order");
        let topic = format!("{source}/providers/Microsoft.EventGrid/extensionTopics/default");
        let found = manager.get(&topic).await;
        assert_eq!(found["properties"]["systemTopic"], NOTHING);
    }
    let types = "//providers/Microsoft.EventGrid/topicTypes";
    for name in ["Microsoft.EventGrid.Topics", "Microsoft.EventGrid.Domains"] {
        let one = format!("{types}/{}", name.to_lowercase());
        let found = manager.ask("GET", &one, NOTHING).await.json_of(200);
        assert_eq!(found["name"], name);
        let known = format!("{one}/eventTypes");
        let known = manager.ask("GET", &known, NOTHING).await.json_of(200);
        assert_eq!(known, json!({"value": []}));
    }
    let all = manager.ask("GET", types, NOTHING).await.json_of(200);
    assert_eq!(all["value"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn management_5_event_subscriptions_have_their_codes() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let path = format!("{DEV}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
    let body = json!({"properties": {"destination": hook(&sink)}});
    let action = |name: &str| format!("{path}/{name}");
    let codes = [
        ("GET", path.clone(), NOTHING, 404),
        ("PATCH", path.clone(), json!({"labels": []}), 404),
        ("PUT", path.clone(), json!({"properties": {}}), 400),
        ("PUT", path.clone(), body.clone(), 201),
        ("PUT", path.clone(), body, 201),
        ("GET", path.clone(), NOTHING, 200),
        ("PATCH", path.clone(), json!({"labels": ["l"]}), 201),
        (
            "PATCH",
            path.clone(),
            json!({"filter": {"advancedFilters": [{"key": "x"}]}}),
            400,
        ),
        ("POST", action("getFullUrl"), NOTHING, 200),
        ("POST", action("getDeliveryAttributes"), NOTHING, 200),
        ("DELETE", path.clone(), NOTHING, 204),
        ("DELETE", path.clone(), NOTHING, 204),
        // What hangs on nothing is gone with it.
        (
            "DELETE",
            format!("{TOPIC}/eventSubscriptions/es1"),
            NOTHING,
            204,
        ),
        (
            "GET",
            format!("{TOPIC}/eventSubscriptions/es1"),
            NOTHING,
            404,
        ),
    ];
    for (method, path, body, status) in codes {
        let answer = manager.ask(method, &path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_subscription_is_kept_once_and_echoed_in_the_form_asked_for() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    manager.put(TOPIC, json!({})).await;
    let nested = format!("{TOPIC}/eventSubscriptions/es1");
    let extension = format!("{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
    let body = json!({"properties": {"destination": hook(&format!("{sink}?code=s3cret"))}});

    let made = manager.put(&nested, body).await;
    assert_eq!(made["id"], format!("{SUBSCRIPTION}{nested}"));
    assert_eq!(
        made["type"],
        "Microsoft.EventGrid/topics/eventSubscriptions"
    );
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    let found = manager.get(&extension).await;
    assert_eq!(found["id"], format!("{SUBSCRIPTION}{extension}"));
    assert_eq!(found["type"], "Microsoft.EventGrid/eventSubscriptions");
    assert_eq!(found["properties"], made["properties"]);

    for list in [
        format!("{TOPIC}/eventSubscriptions"),
        format!("{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions"),
        "/providers/Microsoft.EventGrid/eventSubscriptions?$top=100".to_owned(),
        "/resourceGroups/rg1/providers/Microsoft.EventGrid/eventSubscriptions".to_owned(),
        "/providers/Microsoft.EventGrid/locations/local/eventSubscriptions".to_owned(),
        "/providers/Microsoft.EventGrid/topicTypes/Microsoft.EventGrid.Topics/eventSubscriptions"
            .to_owned(),
    ] {
        let listed = manager.get(&list).await;
        assert_eq!(listed["value"].as_array().unwrap().len(), 1, "{list}");
    }
    for list in [
        "/providers/Microsoft.EventGrid/locations/elsewhere/eventSubscriptions",
        "/resourceGroups/gridpost/providers/Microsoft.EventGrid/eventSubscriptions",
        "/providers/Microsoft.EventGrid/eventSubscriptions?$filter=contains(name,'zzz')",
    ] {
        assert_eq!(manager.get(list).await["value"], json!([]), "{list}");
    }
}

#[tokio::test]
async fn trap_31_the_query_of_an_endpoint_is_told_by_get_full_url_only() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let url = format!("{sink}?code=s3cret");
    let path = format!("{DEV}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
    let made = manager
        .put(&path, json!({"properties": {"destination": hook(&url)}}))
        .await;
    let shown = manager.get(&path).await;
    assert_eq!(
        shown["properties"]["destination"]["properties"]["endpointBaseUrl"],
        sink
    );
    assert!(!made.to_string().contains("s3cret") && !shown.to_string().contains("s3cret"));
    let full = manager
        .ask("POST", &format!("{path}/getFullUrl"), NOTHING)
        .await
        .json_of(200);
    assert_eq!(full, json!({"endpointUrl": url}));
}

#[tokio::test]
async fn a_subscription_on_a_communication_resource_implies_a_system_topic() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let path = format!("{DEV}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
    manager
        .put(&path, json!({"properties": {"destination": hook(&sink)}}))
        .await;
    let topics = manager
        .get("/providers/Microsoft.EventGrid/systemTopics")
        .await;
    let topic = topics["value"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        topics["value"][0]["properties"]["source"],
        format!("{SUBSCRIPTION}{DEV}")
    );
    let extension_topic = manager
        .raw(
            "GET",
            &format!(
                "/{}/providers/Microsoft.EventGrid/extensionTopics/default?api-version=1",
                format!("{SUBSCRIPTION}{DEV}").replace('/', "%2F")
            ),
            NOTHING,
        )
        .await
        .json_of(200);
    assert_eq!(extension_topic["properties"]["systemTopic"], topic);
    let below = topic.strip_prefix(SUBSCRIPTION).unwrap();
    let nested = manager
        .get(&format!("{below}/eventSubscriptions/ES1"))
        .await;
    assert_eq!(nested["id"], format!("{topic}/eventSubscriptions/es1"));
}

#[tokio::test]
async fn a_failed_handshake_refuses_the_subscription() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let path = format!("{DEV}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let body = json!({"properties": {"destination": hook(&format!("http://{address}/x"))}});
    let clock = stack.clock.clone();
    let turning = async {
        loop {
            tokio::task::yield_now().await;
            if let Some(next) = clock.next_alarm() {
                clock.turn_to(next);
            }
        }
    };
    let answer = tokio::select! {
        answer = manager.ask("PUT", &path, body) => answer,
        () = turning => unreachable!(),
    };
    let error = &answer.json_of(400)["error"];
    assert_eq!(error["code"], "Url validation");
    let exchanges = &error["additionalInfo"][0]["info"]["exchanges"];
    assert_eq!(exchanges[0]["method"], "POST", "{error}");
    assert_eq!(manager.ask("GET", &path, NOTHING).await.status, 404);

    let info = &error["additionalInfo"][0]["info"];
    let expected = info["expected"].as_str().unwrap();
    assert!(expected.contains("validationResponse"), "{info}");
    let list = |query: &str| format!("/_gridpost/v1/handshakes/failed{query}");
    let all = manager.raw("GET", &list("?name=ES1"), NOTHING).await;
    let kept = &all.json_of(200)["value"][0];
    for part in ["exchanges", "conclusion", "expected"] {
        assert_eq!(kept[part], info[part], "{part}");
    }
    let others = manager.raw("GET", &list("?name=es2"), NOTHING).await;
    assert_eq!(others.json_of(200)["value"], json!([]));
}

#[tokio::test]
async fn finding_8_a_path_is_understood_in_every_spelling() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let version = "?api-version=2021-10-15-preview";
    for path in [
        format!("{SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.EventGrid//topics/orders"),
        format!("{SUBSCRIPTION}/RESOURCEGROUPS/RG1/Providers/microsoft.eventgrid/Topics/Orders/"),
        format!("/{}", format!("{SUBSCRIPTION}{TOPIC}").replace('/', "%2F")),
    ] {
        let made = manager
            .raw("PUT", &format!("{path}{version}"), json!({}))
            .await
            .json_of(201);
        assert!(
            made["id"].as_str().unwrap().ends_with("/topics/orders"),
            "{path}: {made}"
        );
        assert_eq!(made["type"], "Microsoft.EventGrid/topics");
    }
    assert_eq!(
        stack
            .grid
            .entrances(IntakeKind::Topic, &gridpost_grid::scope::Scope::Everywhere)
            .len(),
        1
    );
}

#[tokio::test]
async fn a_call_without_a_token_or_a_version_is_refused() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let bare = |authorization: Option<&str>| {
        let mut request = Request::get("/subscriptions?api-version=1").header("host", HOST);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(Body::empty()).unwrap()
    };
    for (authorization, code) in [
        (None, "AuthenticationFailed"),
        (Some("Basic x"), "AuthenticationFailed"),
        (Some("Bearer x.y.z"), "InvalidAuthenticationToken"),
    ] {
        let answer = stack.ask(bare(authorization)).await;
        assert_eq!(answer.json_of(401)["error"]["code"], code);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.starts_with(&format!("Bearer authorization_uri=\"http://{HOST}/adfs\"")),
            "{challenge}"
        );
    }
    let answer = manager.raw("GET", "/subscriptions", NOTHING).await;
    assert_eq!(
        answer.json_of(400)["error"]["code"],
        "MissingApiVersionParameter"
    );
    let expired = stack.token().await;
    stack
        .clock
        .turn_to(gridpost_model::Clock::now(&stack.clock) + std::time::Duration::from_secs(3600));
    let answer = stack.ask(bare(Some(&format!("Bearer {expired}")))).await;
    assert_eq!(
        answer.json_of(401)["error"]["code"],
        "ExpiredAuthenticationToken"
    );
}

#[tokio::test]
async fn another_subscription_does_not_exist() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let answer = manager.raw(
        "GET",
        "/subscriptions/other/resourceGroups?api-version=1",
        NOTHING,
    );
    assert_eq!(
        answer.await.json_of(404)["error"]["code"],
        "SubscriptionNotFound"
    );
}

#[tokio::test]
async fn keys_and_endpoints_name_the_address_that_was_dialled() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let keys = manager
        .ask("POST", &format!("{DEV}/listKeys"), NOTHING)
        .await
        .json_of(200);
    let key = stack.dev().keys.first.reveal().to_owned();
    assert_eq!(
        keys["primaryConnectionString"],
        format!("endpoint=http://{HOST}/;accesskey={key}")
    );
    let topic = manager.put(TOPIC, json!({})).await;
    assert_eq!(
        topic["properties"]["endpoint"],
        format!("http://{HOST}/topics/orders/api/events")
    );
}

#[tokio::test]
async fn a_regenerated_key_replaces_the_one_that_was_named() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let before = manager
        .ask("POST", &format!("{DEV}/listKeys"), NOTHING)
        .await
        .json_of(200);
    let body = json!({"keyType": "Secondary"});
    let after = manager
        .ask("POST", &format!("{DEV}/regenerateKey"), body)
        .await
        .json_of(200);
    assert_eq!(after["primaryKey"], before["primaryKey"]);
    assert_ne!(after["secondaryKey"], before["secondaryKey"]);
}

#[tokio::test]
async fn names_are_taken_everywhere() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let check = async |name: &str| {
        let body = json!({"name": name, "type": "Microsoft.Communication/CommunicationServices"});
        let path = "/providers/Microsoft.Communication/checkNameAvailability";
        manager.ask("POST", path, body).await.json_of(200)
    };
    assert_eq!(check("fresh").await, json!({"nameAvailable": true}));
    assert_eq!(check("DEV").await["reason"], "AlreadyExists");
    assert_eq!(check("a b").await["reason"], "Invalid");
}

#[tokio::test]
async fn deleting_a_group_deletes_what_is_in_it() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    manager.put(TOPIC, json!({})).await;
    let acs = "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices/acs1";
    manager.put(acs, service()).await;
    for parent in [TOPIC, acs] {
        let path = format!("{parent}/providers/Microsoft.EventGrid/eventSubscriptions/es1");
        manager
            .put(&path, json!({"properties": {"destination": hook(&sink)}}))
            .await;
    }
    let listed = manager
        .get(
            "/resources?$filter=resourceGroup eq 'RG1'"
                .replace(' ', "%20")
                .as_str(),
        )
        .await;
    assert_eq!(listed["value"].as_array().unwrap().len(), 3, "{listed}");

    assert_eq!(manager.ask("DELETE", RG, NOTHING).await.status, 200);

    assert_eq!(
        manager
            .get("/providers/Microsoft.EventGrid/eventSubscriptions")
            .await["value"],
        json!([])
    );
    assert_eq!(
        manager
            .get("/providers/Microsoft.EventGrid/systemTopics")
            .await["value"],
        json!([])
    );
    assert_eq!(manager.ask("GET", TOPIC, NOTHING).await.status, 404);
    assert_eq!(manager.ask("GET", acs, NOTHING).await.status, 404);
    assert!(
        stack
            .comms
            .resource(&crate::stack::resource_id("dev"))
            .is_some()
    );
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    for name in ["aaa", "bbb", "ccc"] {
        let path = format!("/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/{name}");
        manager.put(&path, json!({})).await;
    }
    let first = manager
        .get("/providers/Microsoft.EventGrid/topics?$top=2")
        .await;
    assert_eq!(first["value"].as_array().unwrap().len(), 2);
    let next = first["nextLink"].as_str().unwrap();
    let target = next.strip_prefix(&format!("http://{HOST}")).unwrap();
    let second = manager.raw("GET", target, NOTHING).await.json_of(200);
    assert_eq!(second["value"].as_array().unwrap().len(), 1);
    assert_eq!(second["value"][0]["name"], "ccc");
    assert!(second.get("nextLink").is_none());
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let stack = Stack::start().await;
    let manager = with_group(&stack).await;
    let answer = manager.ask("PUT", TOPIC, json!("text")).await;
    assert_eq!(
        answer.json_of(400)["error"]["code"],
        "InvalidRequestContent"
    );
}
