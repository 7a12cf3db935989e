//! The directory, as far as `az` asks it. Who may ask is in `access.txt`.

use gridpost_model::role::READER;
use http::StatusCode;
use serde_json::{Value, json};

use crate::manager::{Manager, SUBSCRIPTION};
use crate::stack::{CLIENT, Stack};

const IDS: &str = "//v1.0/directoryObjects/getByIds";

#[tokio::test]
async fn principals_are_found_by_client_object_and_name() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    stack.introduce("app", &[(READER, SUBSCRIPTION)]).await;
    for (path, expected) in [
        ("//v1.0/servicePrincipals", vec!["app", CLIENT]),
        (
            "//v1.0/servicePrincipals?$filter=appId%20eq%20'APP'",
            vec!["app"],
        ),
        (
            "//v1.0/servicePrincipals?$filter=startswith(displayName,'Some')",
            vec!["app", CLIENT],
        ),
        (
            "//v1.0/servicePrincipals?$filter=displayName%20eq%20'some'",
            vec![],
        ),
        ("//v1.0/servicePrincipals?$filter=appId%20eq%20'x'", vec![]),
        (
            "//v1.0/users?$filter=userPrincipalName%20eq%20'a@b'",
            vec![],
        ),
    ] {
        let found = manager.get(path).await;
        let mut clients: Vec<&str> = found["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["appId"].as_str().unwrap())
            .collect();
        clients.sort_unstable_by_key(|client| *client == CLIENT);
        assert_eq!(clients, expected, "{path}");
    }
    let one = manager.get("//v1.0/servicePrincipals/app").await;
    assert_eq!(one["displayName"], "somebody");
    let asked = manager.ask("POST", IDS, json!({"ids": ["APP", "unknown"], "types": []}));
    let found = asked.await.json_of(200);
    assert_eq!(found["value"][0]["id"], "app");
    assert_eq!(found["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_answered_is_said_in_the_shape_of_graph() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let many: Vec<&str> = vec!["x"; 1_001];
    for (method, path, body, status, code) in [
        (
            "GET",
            "//v1.0/servicePrincipals?$filter=tags/any()",
            Value::Null,
            400,
            "Request_BadRequest",
        ),
        (
            "GET",
            "//v1.0/servicePrincipals/nobody",
            Value::Null,
            404,
            "Request_ResourceNotFound",
        ),
        ("POST", IDS, json!({"ids": "x"}), 400, "Request_BadRequest"),
        ("POST", IDS, json!({"ids": many}), 400, "Request_BadRequest"),
        ("POST", IDS, json!({"ids": ["x".repeat(70_000)]}), 413, ""),
        (
            "POST",
            "//v1.0/applications",
            json!({}),
            501,
            "NotSupported",
        ),
    ] {
        let answer = manager.ask(method, path, body).await;
        let said = answer.json_of(status);
        assert!(
            code.is_empty() || said["error"]["code"] == code,
            "{path}: {said}"
        );
    }
    let nobody = Manager {
        stack: &stack,
        token: "none".to_owned(),
    };
    let refused = nobody.ask("GET", "//v1.0/users", Value::Null).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}
