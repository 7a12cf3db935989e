//! Principals and their roles, as they are made and taken away.

use axum::body::Body;
use gridpost_model::Clock as _;
use gridpost_model::role::{CONTRIBUTOR, READER};
use http::Request;
use serde_json::{Value, json};

use crate::manager::{HOST, Manager, SUBSCRIPTION};
use crate::stack::{Answer, CLIENT, Stack, own_request, resource_id};

const NAME: &str = "8e3af657-0000-4000-8000-2fe8c4bcb635";

fn assignment(role: &str, principal: &str) -> Value {
    json!({"properties": {
        "roleDefinitionId": format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}"),
        "principalId": principal, "principalType": "ServicePrincipal",
    }})
}

fn path(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}")
}

async fn sign_in(stack: &Stack, client_id: &str, secret: &str) -> Answer {
    let form = format!(
        "grant_type=client_credentials&client_id={client_id}&client_secret={secret}&scope=https://management.azure.com/.default"
    );
    let request = Request::post("/adfs/oauth2/token")
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    stack.ask(request).await
}

/// Our own REST, as the owner.
async fn as_owner(stack: &Stack, method: &str, path: &str, body: &str) -> Answer {
    let mut request = own_request(method, path, body);
    let token = format!("Bearer {}", stack.token().await);
    let headers = request.headers_mut();
    headers.insert("authorization", token.parse().unwrap());
    stack.ask(request).await
}

/// A principal that was just made: its client id, its object id and its secret.
async fn made(stack: &Stack, body: &str) -> (String, String, String) {
    let made = stack.own("POST", "principals", body).await.json_of(201);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("clientId"), text("objectId"), text("clientSecret"))
}

#[tokio::test]
async fn a_principal_signs_in_with_the_secret_that_was_shown_once() {
    let stack = Stack::start().await;
    let (client, object, secret) = made(&stack, r#"{"displayName":"ci"}"#).await;
    assert_eq!(secret.len(), 40);
    assert_ne!(client, object);
    let granted = sign_in(&stack, &client, &secret).await.json_of(200);
    assert_eq!(granted["token_type"], "Bearer");
    for id in [&client, &object] {
        let shown = stack.own("GET", &format!("principals/{id}"), "").await;
        assert!(!shown.text.contains(&secret));
        let shown = shown.json_of(200);
        assert_eq!(shown["displayName"], "ci");
        assert_eq!(shown["secrets"][0]["hint"], &secret[..3]);
    }
    let listed = stack.own("GET", "principals", "").await;
    assert!(!listed.text.contains("digest") && !listed.text.contains(&secret));
    assert_eq!(listed.json_of(200)["value"].as_array().unwrap().len(), 2);

    let deleted = stack
        .own("DELETE", &format!("principals/{object}"), "")
        .await;
    assert_eq!(deleted.status, 204);
    let unknown = sign_in(&stack, &client, &secret).await.json_of(400);
    assert_eq!(unknown["error"], "unauthorized_client");
    let token = granted["access_token"].as_str().unwrap().to_owned();
    let gone = Manager {
        stack: &stack,
        token,
    };
    gone.ask("GET", "//tenants", Value::Null).await.json_of(401);
}

#[tokio::test]
async fn one_secret_is_exchanged_for_another_without_a_gap() {
    let stack = Stack::start().await;
    let (client, _, first) = made(&stack, "").await;
    let path = format!("principals/{client}/secrets");
    // A secret is a way to sign in, so that whoever makes one has signed in, in development too.
    let unsigned = stack.own("POST", &path, "").await;
    assert_eq!(unsigned.status, 401);
    let second = as_owner(&stack, "POST", &path, r#"{"expiresIn":"1h"}"#).await;
    let second = second.json_of(201);
    let second_secret = second["clientSecret"].as_str().unwrap().to_owned();
    let third = as_owner(&stack, "POST", &path, "").await.json_of(409);
    assert!(
        third["error"]["message"]
            .as_str()
            .unwrap()
            .contains("2 secrets")
    );
    for secret in [&first, &second_secret] {
        sign_in(&stack, &client, secret).await.json_of(200);
    }
    let id = second["secrets"][0]["id"].as_str().unwrap();
    let path = format!("{path}/{id}");
    assert_eq!(stack.own("DELETE", &path, "").await.status, 401);
    let deleted = as_owner(&stack, "DELETE", &path, "").await;
    assert_eq!(deleted.status, 204);
    let refused = sign_in(&stack, &client, &first).await.json_of(401);
    assert_eq!(refused["error_codes"], json!([7_000_215]));
    sign_in(&stack, &client, &second_secret).await.json_of(200);
    stack
        .clock
        .turn_to(stack.clock.now() + std::time::Duration::from_secs(3_600));
    let expired = sign_in(&stack, &client, &second_secret).await.json_of(401);
    assert_eq!(expired["error_codes"], json!([7_000_222]));
}

#[tokio::test]
async fn what_is_wrong_with_a_principal_is_said() {
    let stack = Stack::start().await;
    for (method, path, body, status) in [
        ("POST", "principals", r#"{"name":"x"}"#, 400),
        ("POST", "principals", r#"{"expiresIn":"soon"}"#, 400),
        ("GET", "principals/nobody", "", 404),
        ("DELETE", "principals/nobody", "", 404),
        ("POST", "principals/nobody/secrets", "", 404),
        ("DELETE", &format!("principals/{CLIENT}/secrets/x"), "", 404),
        ("DELETE", &format!("principals/{CLIENT}"), "", 409),
    ] {
        let answer = as_owner(&stack, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_role_is_assigned_as_az_does_and_counts_at_once() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let (client, object, secret) = made(&stack, "").await;
    let granted = sign_in(&stack, &client, &secret).await.json_of(200);
    let token = granted["access_token"].as_str().unwrap().to_owned();
    let app = Manager {
        stack: &stack,
        token,
    };
    app.ask("GET", "/resources", Value::Null).await.json_of(403);

    let found = manager
        .get("/providers/Microsoft.Authorization/roleDefinitions?$filter=roleName%20eq%20'Reader'")
        .await;
    let role = found["value"][0]["name"].as_str().unwrap();
    assert_eq!(role, READER.id);
    let body = assignment(role, &object);
    let assigned = manager.ask("PUT", &path("", NAME), body.clone()).await;
    let assigned = assigned.json_of(201);
    assert_eq!(assigned["id"], path(SUBSCRIPTION, NAME));
    assert_eq!(assigned["properties"]["scope"], SUBSCRIPTION);
    assert_eq!(assigned["properties"]["createdBy"], CLIENT);
    manager.ask("PUT", &path("", NAME), body).await.json_of(200);

    app.get("/resources").await;
    let refused = app.ask("PUT", "/resourceGroups/g", json!({"location": "l"}));
    let refused = refused.await.json_of(403);
    assert_eq!(refused["error"]["code"], "AuthorizationFailed");

    let gone = manager.ask("DELETE", &path("", NAME), Value::Null).await;
    assert_eq!(gone.json_of(200)["name"], NAME);
    let gone = manager.ask("DELETE", &path("", NAME), Value::Null).await;
    assert_eq!(gone.status, 204);
    app.ask("GET", "/resources", Value::Null).await.json_of(403);
}

#[tokio::test]
async fn assignments_are_listed_above_and_below_a_scope() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let body = json!({"location": "local"});
    manager.put("/resourceGroups/gridpost", body).await;
    let dev = resource_id("dev");
    stack
        .introduce(
            "app",
            &[(READER, SUBSCRIPTION), (CONTRIBUTOR, dev.as_str())],
        )
        .await;
    let scopes = async |scope: &str, filter: &str| -> Vec<String> {
        let list = format!("{scope}/providers/Microsoft.Authorization/roleAssignments?{filter}");
        let listed = manager.get(&list).await;
        let mut scopes: Vec<String> = listed["value"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["properties"]["principalId"] == "app")
            .map(|one| one["properties"]["scope"].as_str().unwrap().to_owned())
            .collect();
        scopes.sort();
        scopes
    };
    let both = [SUBSCRIPTION, dev.as_str()];
    let group = "/resourceGroups/gridpost";
    assert_eq!(scopes(group, "").await, both);
    assert_eq!(scopes(group, "$filter=atScope()").await, [SUBSCRIPTION]);
    let other = scopes("/resourceGroups/other", "$filter=principalId%20eq%20'APP'");
    assert_eq!(other.await, [SUBSCRIPTION]);
    assert_eq!(scopes("", "$filter=assignedTo('nobody')").await, [""; 0]);
    let wrong = "/providers/Microsoft.Authorization/roleAssignments?$filter=x";
    manager.ask("GET", wrong, Value::Null).await.json_of(400);
}

#[tokio::test]
async fn assignments_that_cannot_be_are_refused_in_the_service_s_words() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    stack.introduce("app", &[]).await;
    let reader = assignment(READER.id, "app");
    manager.put(&path("", NAME), reader.clone()).await;
    let other = NAME.replace("0000", "0001");
    let nobody = assignment(READER.id, "nobody");
    let condition = json!({"properties": {
        "roleDefinitionId": READER.id, "principalId": "app", "condition": "@Resource[x]",
    }});
    let changed = assignment(CONTRIBUTOR.id, "app");
    let group = path("/resourceGroups/none", &other);
    for (path, body, status, code) in [
        (path("", &other), &reader, 409, "RoleAssignmentExists"),
        (
            path("", NAME),
            &changed,
            409,
            "RoleAssignmentUpdateNotPermitted",
        ),
        (path("", &other), &nobody, 400, "PrincipalNotFound"),
        (path("", "name"), &reader, 400, "InvalidRoleAssignmentId"),
        (path("", &other), &condition, 400, "InvalidRequest"),
        (group, &reader, 404, "ResourceGroupNotFound"),
    ] {
        let refused = manager.ask("PUT", &path, body.clone()).await;
        let refused = refused.json_of(status);
        assert_eq!(refused["error"]["code"], code, "{path}");
    }
}

#[tokio::test]
async fn a_deleted_resource_takes_its_roles_with_it() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let body = json!({"location": "local"});
    manager.put("/resourceGroups/g", body.clone()).await;
    let topic = "/resourceGroups/g/providers/Microsoft.EventGrid/topics/orders";
    manager.put(topic, body.clone()).await;
    let scope = format!("{SUBSCRIPTION}{topic}");
    stack.introduce("app", &[(READER, &scope)]).await;
    let token = stack.token_as("app", "https://management.azure.com/.default");
    let app = Manager {
        stack: &stack,
        token: token.await,
    };
    app.get(topic).await;
    manager.ask("DELETE", topic, Value::Null).await;
    manager.put(topic, body).await;
    app.ask("GET", topic, Value::Null).await.json_of(403);
}

#[tokio::test]
async fn a_scope_that_is_no_resource_id_is_not_taken_for_everything() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let (_, object, _) = made(&stack, "").await;
    let scope = format!("{SUBSCRIPTION}/resourceGroups/g%01");
    for (method, body) in [
        ("PUT", assignment(READER.id, &object)),
        ("GET", Value::Null),
        ("DELETE", Value::Null),
    ] {
        let target = format!("{}?api-version=2022-04-01", path(&scope, NAME));
        let answer = manager.raw(method, &target, body).await;
        assert_eq!(answer.status, 404, "{method}: {}", answer.text);
    }
    let all = manager
        .get("//providers/Microsoft.Authorization/roleAssignments")
        .await;
    assert!(!all.to_string().contains(NAME));
}
