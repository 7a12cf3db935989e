//! Signing in, as clients do it.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Value, json};

use crate::manager::HOST;
use crate::stack::{Answer, Stack};

const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const GOOD: &str = "grant_type=client_credentials&client_id=33333333-3333-4333-8333-333333333333&client_secret=open+sesame&scope=http%3A%2F%2Fx%2F.default&client_info=1";

async fn ask(stack: &Stack, path: &str, form: String) -> Answer {
    let request = Request::post(path)
        .header("host", HOST)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    stack.ask(request).await
}

async fn get(stack: &Stack, path: &str) -> Value {
    let request = Request::get(path)
        .header("host", HOST)
        .body(Body::empty())
        .unwrap();
    stack.ask(request).await.json_of(200)
}

#[tokio::test]
async fn management_2_3_every_path_of_the_token_endpoint_answers() {
    let stack = Stack::start().await;
    for path in [
        "/adfs/oauth2/token",
        &format!("/{TENANT}/oauth2/v2.0/token"),
        "/adfs/oauth2/v2.0/token",
    ] {
        let granted = ask(&stack, path, GOOD.into()).await.json_of(200);
        assert_eq!(granted["token_type"], "Bearer", "{path}");
        assert_eq!(granted["expires_in"], 3599);
        assert_eq!(granted["ext_expires_in"], 3599);
        assert_eq!(
            granted["access_token"].as_str().unwrap().split('.').count(),
            3
        );
    }
}

#[tokio::test]
async fn management_2_3_refusals_have_the_numbers_of_the_service() {
    let stack = Stack::start().await;
    let table = [
        (
            GOOD.replace("sesame", "barley"),
            401,
            "invalid_client",
            7_000_215,
        ),
        (
            GOOD.replace("client_secret=open+sesame", "x=y"),
            401,
            "invalid_client",
            7_000_216,
        ),
        (
            GOOD.replace("client_secret", "client_assertion"),
            400,
            "invalid_request",
            50_027,
        ),
        (
            GOOD.replace("33333333-3", "44444444-4"),
            400,
            "unauthorized_client",
            700_016,
        ),
        (
            GOOD.replace("client_credentials", "implicit"),
            400,
            "unsupported_grant_type",
            70_003,
        ),
        (
            GOOD.replace("grant_type", "grant"),
            400,
            "invalid_request",
            900_144,
        ),
        (
            GOOD.replace("client_id", "id"),
            400,
            "invalid_request",
            900_144,
        ),
    ];
    for (form, status, error, number) in table {
        let refused = ask(&stack, "/adfs/oauth2/token", form.clone())
            .await
            .json_of(status);
        assert_eq!(refused["error"], error, "{form}");
        assert_eq!(refused["error_codes"], json!([number]), "{form}");
        let description = refused["error_description"].as_str().unwrap();
        assert!(
            description.starts_with(&format!("AADSTS{number}: ")),
            "{description}"
        );
        assert!(!refused.to_string().contains("barley"));
    }
}

#[tokio::test]
async fn management_2_1_metadata_has_the_shape_of_the_version() {
    let stack = Stack::start().await;
    let object = get(&stack, "/metadata/endpoints?api-version=2022-09-01").await;
    assert_eq!(
        object["authentication"]["loginEndpoint"],
        format!("http://{HOST}/adfs")
    );
    assert_eq!(
        object["authentication"]["audiences"],
        json!([format!("http://{HOST}")])
    );
    assert_eq!(object["resourceManager"], format!("http://{HOST}/"));
    let list = get(&stack, "//metadata/endpoints?api-version=2019-05-01").await;
    assert_eq!(list, json!([object]));
}

#[tokio::test]
async fn management_2_2_discovery_leads_to_the_token_endpoint_and_names_the_tenant() {
    let stack = Stack::start().await;
    let issuer = format!("http://{HOST}/{TENANT}/v2.0");
    for path in [
        "/adfs/.well-known/openid-configuration".to_owned(),
        "/adfs/localhost/v2.0/.well-known/openid-configuration".to_owned(),
        format!("/{TENANT}/v2.0/.well-known/openid-configuration"),
        "/organizations/v2.0/.well-known/openid-configuration".to_owned(),
    ] {
        let document = get(&stack, &path).await;
        assert_eq!(document["issuer"], issuer, "{path}");
        let below = |name: &str| {
            let url = document[name].as_str().unwrap();
            url.strip_prefix(&format!("http://{HOST}"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            ask(&stack, &below("token_endpoint"), GOOD.into())
                .await
                .status,
            200,
            "{path}"
        );
        assert_eq!(
            get(&stack, &below("jwks_uri")).await["keys"][0]["alg"],
            "ES256",
            "{path}"
        );
    }
}

#[tokio::test]
async fn issue_3_a_forged_host_does_not_become_the_issuer() {
    let stack = Stack::start().await;
    let issuers = async |host: &str| {
        let path = format!("/{TENANT}/oauth2/v2.0/token");
        let request = Request::post(path)
            .header("host", host)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(GOOD))
            .unwrap();
        let granted = stack.ask(request).await.json_of(200);
        let token = granted["access_token"].as_str().unwrap().to_owned();
        let claims = token.split('.').nth(1).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let path = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
        let request = Request::get(path)
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        let discovered = stack.ask(request).await.json_of(200);
        assert_eq!(claims["iss"], discovered["issuer"], "{host}");
        claims["iss"].as_str().unwrap().to_owned()
    };
    let own = issuers("localhost:8480").await;
    assert!(own.contains("//localhost:8480/"), "{own}");
    let forged = issuers("forged.example").await;
    assert_eq!(forged, issuers(HOST).await);
}

#[tokio::test]
async fn a_token_opens_the_surface_it_was_made_for_and_one_made_for_others_none() {
    let stack = Stack::start().await;
    let manager = crate::manager::Manager::sign_in(&stack).await;
    let group = "/resourceGroups/rg1";
    let topic = format!("{group}/providers/Microsoft.EventGrid/topics/orders");
    manager.put(group, json!({"location": "local"})).await;
    manager.put(&topic, json!({})).await;
    let ask = async |method: &str, target: &str, token: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", HOST)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        stack
            .ask(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    let event = r#"[{"id":"1","subject":"s","eventType":"t","eventTime":"2026-01-01T00:00:00Z"}]"#;
    let own = format!("http://{HOST}");
    let table = [
        ("https://management.azure.com", [200, 401, 401]),
        ("https://eventgrid.azure.net", [401, 200, 401]),
        ("https://communication.azure.com/", [401, 401, 400]),
        ("https://my-own-api.example", [401; 3]),
        ("https://localhost:1", [401; 3]),
        ("", [200, 200, 400]),
        (&own, [200, 200, 400]),
    ];
    for (audience, [manages, publishes, texts]) in table {
        let scope = match audience {
            "" => String::new(),
            _ => format!("{audience}/.default"),
        };
        let token = stack.token_for(&scope).await;
        let groups = "/subscriptions?api-version=2022-12-01";
        let managed = ask("GET", groups, &token, "").await;
        let published = ask("POST", "/topics/orders/api/events", &token, event).await;
        // A text without a sender: whoever is let in is told so.
        let texted = ask("POST", "/sms?api-version=2021-03-07", &token, "{}").await;
        let statuses = [&managed, &published, &texted].map(|answer| answer.status);
        assert_eq!(statuses, [manages, publishes, texts], "{audience}");
        if managed.status == 401 {
            let code = &managed.json_of(401)["error"]["code"];
            assert_eq!(code, "InvalidAuthenticationTokenAudience");
        }
    }
}

#[tokio::test]
async fn a_forged_host_makes_no_token_right() {
    let stack = Stack::start().await;
    let token = stack.token_for("https://my-own-api.example/.default").await;
    let request = Request::get("/subscriptions?api-version=2022-12-01")
        .header("host", "my-own-api.example")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(stack.ask(request).await.status, 401);
}
