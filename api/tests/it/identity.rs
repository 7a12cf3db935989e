//! Identities and their tokens as clients see them.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gridpost_comms::identity::BadToken;
use gridpost_model::{Clock as _, Timestamp};
use http::Request;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::stack::{Answer, Signed, Stack};

const VERSION: &str = "api-version=2023-10-01";
const MINUTE: Duration = Duration::from_secs(60);
const ENTRA: &str = "/access/entra/:exchangeAccessToken?api-version=2025-03-02-preview";
const TEAMS: &str = "/teamsUser/:exchangeAccessToken?api-version=2023-10-01";
const CLIENT: &str = "33333333-3333-4333-8333-333333333333";

impl Stack {
    async fn create(&self, body: &str) -> Answer {
        self.signed("POST", &format!("/identities?{VERSION}"), body)
            .await
    }

    /// A user with a token of these scopes: both texts.
    async fn user(&self, scopes: &[&str]) -> (String, String) {
        let body = json!({"createTokenWithScopes": scopes}).to_string();
        let made = self.create(&body).await.json_of(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (
            text(&made["identity"]["id"]),
            text(&made["accessToken"]["token"]),
        )
    }

    /// A call below `/identities/{id}`, its id written as the synchronous clients do.
    async fn about(&self, method: &str, id: &str, below: &str, body: &str) -> Answer {
        let id = id.replace(':', "%3A");
        self.signed(method, &format!("/identities/{id}{below}?{VERSION}"), body)
            .await
    }

    async fn issue(&self, id: &str, body: &str) -> Answer {
        self.about("POST", id, "/:issueAccessToken", body).await
    }

    async fn by_token(&self, token: &str, target: &str, body: &str) -> Answer {
        let request = Request::post(target)
            .header("host", "localhost:8480")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.ask(request).await
    }
}

/// The payload as Python's clients read it: standard base64, then ASCII.
fn payload(token: &str) -> Value {
    let middle = token.split('.').nth(1).unwrap();
    let padded = format!("{middle}{}", "=".repeat((4 - middle.len() % 4) % 4));
    let bytes = BASE64_STANDARD.decode(padded).unwrap();
    assert!(bytes.is_ascii());
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn section_5_an_identity_is_made_with_or_without_a_token() {
    let stack = Stack::start().await;
    let resource = stack.dev().immutable_id.clone();
    for body in [
        "",
        "{}",
        "null",
        r#"{"createTokenWithScopes":null}"#,
        r#"{"createTokenWithScopes":[]}"#,
    ] {
        let answer = stack.create(body).await;
        assert_eq!(answer.headers["x-ms-client-request-id"], "the-request");
        let made = answer.json_of(201);
        let id = made["identity"]["id"].as_str().unwrap();
        let user = id.strip_prefix(&format!("8:acs:{resource}_")).unwrap();
        assert_eq!((user.len(), user.contains('_')), (36, false), "{id}");
        assert_eq!(made, json!({"identity": {"id": id}}));
    }
    let made = stack
        .create(r#"{"createTokenWithScopes":["chat","voip"],"expiresInMinutes":60}"#)
        .await
        .json_of(201);
    assert_eq!(made["accessToken"]["expiresOn"], "2026-11-22T01:27:55Z");
    assert!(made["accessToken"]["token"].is_string());
}

#[tokio::test]
async fn section_3_2_a_token_says_what_clients_read() {
    let stack = Stack::start().await;
    let resource = stack.dev().immutable_id.clone();
    let (id, token) = stack.user(&["voip", "chat"]).await;
    let mut said = payload(&token);
    assert!(said["seal"].take().is_string());
    let now = stack.clock.wall().seconds();
    assert_eq!(
        said,
        json!({
            "skypeid": id.strip_prefix("8:").unwrap(), "scp": 1792, "csi": now.to_string(),
            "exp": now + 86_400, "acsScope": "chat,voip", "resourceId": resource,
            "resourceLocation": "unitedstates", "iat": now, "seal": null,
        })
    );
}

#[tokio::test]
async fn trap_6_every_payload_is_the_same_in_both_alphabets() {
    let stack = Stack::start().await;
    for scopes in [
        &["chat"][..],
        &["voip", "chat"],
        &["chat.join"],
        &["chat.join.limited"],
        &["voip.join"],
    ] {
        for _ in 0..10 {
            let (_, token) = stack.user(scopes).await;
            let middle = token.split('.').nth(1).unwrap();
            assert!(!middle.contains(['-', '_']), "{middle}");
            payload(&token);
        }
    }
}

#[tokio::test]
async fn section_3_2_anybody_can_verify_a_token_with_the_published_keys() {
    let stack = Stack::start().await;
    let published = async || {
        let target = "/identities/.well-known/jwks.json";
        let request = Request::get(target).body(Body::empty()).unwrap();
        stack.ask(request).await.json_of(200)["keys"].clone()
    };
    assert_eq!(published().await, json!([]));
    let (_, token) = stack.user(&["chat"]).await;
    let keys = published().await;
    let key = &keys[0];
    assert_eq!(
        (&key["kty"], &key["alg"], &key["use"]),
        (&json!("EC"), &json!("ES256"), &json!("sig"))
    );
    let head = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    assert_eq!(head["kid"], key["kid"]);
    let part = |name: &str| key[name].as_str().unwrap();
    let verifying = DecodingKey::from_ec_components(part("x"), part("y")).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.validate_exp = false;
    assert!(jsonwebtoken::decode::<Value>(&token, &verifying, &rules).is_ok());
}

#[tokio::test]
async fn keys_rotate_and_what_the_old_one_signed_stays_good() {
    let stack = Stack::start().await;
    let (id, _) = stack.user(&["chat"]).await;
    stack
        .advance(Duration::from_secs(30 * 24 * 3600) - MINUTE)
        .await;
    let old = stack
        .issue(&id, r#"{"scopes":["chat"]}"#)
        .await
        .json_of(200);
    let old = old["token"].as_str().unwrap();
    stack.advance(MINUTE).await;
    let new = stack
        .issue(&id, r#"{"scopes":["chat"]}"#)
        .await
        .json_of(200);
    let new = new["token"].as_str().unwrap();
    assert_ne!(old.split('.').next(), new.split('.').next());
    assert_eq!(stack.comms.token_keys().len(), 2);
    for token in [old, new] {
        assert_eq!(stack.comms.user_of(token).unwrap().id.as_str(), id);
    }
    stack.advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(stack.comms.token_keys().len(), 1);
}

#[tokio::test]
async fn section_5_a_token_is_good_until_the_moment_it_expires() {
    let stack = Stack::start().await;
    let (id, _) = stack.user(&["chat"]).await;
    let issued = stack
        .issue(&id, r#"{"scopes":["chat.join"],"expiresInMinutes":60}"#)
        .await
        .json_of(200);
    let token = issued["token"].as_str().unwrap();
    let user = stack.comms.user_of(token).unwrap();
    assert_eq!(user.scopes.to_string(), "chat.join");
    assert_eq!(
        user.expires.to_string(),
        issued["expiresOn"].as_str().unwrap()
    );
    stack.clock.turn_to(user.expires - Duration::from_millis(1));
    assert!(stack.comms.user_of(token).is_ok());
    stack.clock.turn_to(user.expires);
    assert!(matches!(stack.comms.user_of(token), Err(BadToken::Expired)));
}

#[tokio::test]
async fn section_5_revoking_ends_earlier_tokens_and_no_later_ones() {
    let stack = Stack::start().await;
    let (id, first) = stack.user(&["chat"]).await;
    let (_, others) = stack.user(&["chat"]).await;
    let answer = stack.about("POST", &id, "/:revokeAccessTokens", "").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert!(matches!(
        stack.comms.user_of(&first),
        Err(BadToken::Revoked)
    ));
    // In the same instant: the clock has not moved.
    let again = stack
        .issue(&id, r#"{"scopes":["chat"],"expiresInMinutes":null}"#)
        .await
        .json_of(200);
    assert!(
        stack
            .comms
            .user_of(again["token"].as_str().unwrap())
            .is_ok()
    );
    assert!(stack.comms.user_of(&others).is_ok());
}

#[tokio::test]
async fn section_5_a_deleted_identity_is_gone_with_its_tokens() {
    let stack = Stack::start().await;
    let (id, token) = stack.user(&["chat"]).await;
    assert_eq!(stack.about("DELETE", &id, "", "").await.status, 204);
    assert!(matches!(
        stack.comms.user_of(&token),
        Err(BadToken::Revoked)
    ));
    let body = stack
        .issue(&id, r#"{"scopes":["chat"]}"#)
        .await
        .json_of(404);
    assert_eq!(body["error"]["code"], "IdentityNotFound");
    stack
        .about("POST", &id, "/:revokeAccessTokens", "")
        .await
        .json_of(404);
    stack.about("GET", &id, "", "").await.json_of(404);
    // A client whose answer got lost asks again.
    assert_eq!(stack.about("DELETE", &id, "", "").await.status, 204);
}

#[tokio::test]
async fn a_deleted_resource_takes_its_users_along() {
    let stack = Stack::start().await;
    let (_, token) = stack.user(&["chat"]).await;
    stack.comms.delete_resource(&stack.dev().id).await.unwrap();
    assert!(matches!(
        stack.comms.user_of(&token),
        Err(BadToken::Unknown)
    ));
}

#[tokio::test]
async fn section_5_bad_wishes_are_refused_with_their_reason() {
    let stack = Stack::start().await;
    let (id, _) = stack.user(&["chat"]).await;
    let (create, issue) = (
        format!("/identities?{VERSION}"),
        format!("/identities/{id}/:issueAccessToken?{VERSION}"),
    );
    let table = [
        (&create, r#"{"createTokenWithScopes":["talk"]}"#),
        (
            &create,
            r#"{"createTokenWithScopes":["chat"],"expiresInMinutes":59}"#,
        ),
        (
            &create,
            r#"{"createTokenWithScopes":["chat"],"expiresInMinutes":1441}"#,
        ),
        (&create, r#"{"expiresInMinutes":"60"}"#),
        (&create, r#"{"customId":""}"#),
        (&create, "[]"),
        (&issue, r#"{"scopes":[]}"#),
        (&issue, r#"{"scopes":null}"#),
        (&issue, r#"{"scopes":["Chat"]}"#),
        (&issue, r#"{"scopes":["chat"],"expiresInMinutes":-60}"#),
        (&issue, "{}"),
        (&issue, ""),
    ];
    for (target, body) in table {
        let refused = stack.signed("POST", target, body).await.json_of(400);
        assert_eq!(refused["error"]["code"], "BadRequest", "{body}");
        assert!(!refused["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn section_5_what_is_no_identity_of_the_resource_is_refused() {
    let stack = Stack::start().await;
    let (id, _) = stack.user(&["chat"]).await;
    let other = stack.make("other").await;
    let foreign = id.replace(&stack.dev().immutable_id, &other.immutable_id);
    let body = r#"{"scopes":["chat"]}"#;
    for (id, status) in [
        ("8:orgid:x", 400),
        ("nonsense", 400),
        (foreign.as_str(), 403),
    ] {
        for (method, below) in [
            ("POST", "/:issueAccessToken"),
            ("POST", "/:revokeAccessTokens"),
            ("DELETE", ""),
            ("GET", ""),
        ] {
            stack.about(method, id, below, body).await.json_of(status);
        }
    }
    let refused = stack.about("POST", &id, "/:fly", body).await.json_of(404);
    assert_eq!(refused["error"]["code"], "NotFound");
}

#[tokio::test]
async fn sections_2_and_3_identities_want_a_credential_and_a_version() {
    let stack = Stack::start().await;
    let bare = Request::post(format!("/identities?{VERSION}"))
        .body(Body::empty())
        .unwrap();
    let refused = stack.ask(bare).await;
    assert_eq!(refused.headers["www-authenticate"], "HMAC-SHA256");
    assert_eq!(refused.json_of(401)["error"]["code"], "Denied");
    let refused = stack.signed("POST", "/identities", "").await.json_of(400);
    assert_eq!(refused["error"]["code"], "ApiVersionUnspecified");
    for version in [
        "2021-03-07",
        "2022-06-01",
        "2022-10-01",
        "2025-04-01-preview",
    ] {
        let target = format!("/identities?api-version={version}");
        stack.signed("POST", &target, "").await.json_of(201);
    }
    let token = stack.token().await;
    stack
        .by_token(&token, &format!("/identities?{VERSION}"), "")
        .await
        .json_of(201);
    // A user is not a resource.
    let (_, user) = stack.user(&["chat", "voip"]).await;
    stack
        .by_token(&user, &format!("/identities?{VERSION}"), "")
        .await
        .json_of(401);
}

#[tokio::test]
async fn the_asynchronous_clients_write_the_id_without_escapes() {
    let stack = Stack::start().await;
    let (id, _) = stack.user(&["chat"]).await;
    let target = format!("/identities/{id}/:revokeAccessTokens?{VERSION}");
    assert_eq!(stack.signed("POST", &target, "").await.status, 204);
}

#[tokio::test]
async fn a_custom_id_leads_to_one_identity_until_that_is_deleted() {
    let stack = Stack::start().await;
    let body = r#"{"customId":"alice@contoso","createTokenWithScopes":["chat"]}"#;
    let first = stack.create(body).await.json_of(201);
    let again = stack.create(body).await.json_of(200);
    let id = first["identity"]["id"].as_str().unwrap();
    assert_eq!(first["identity"]["customId"], "alice@contoso");
    assert_eq!(again["identity"], first["identity"]);
    let shown = stack.about("GET", id, "", "").await.json_of(200);
    assert_eq!(
        shown,
        json!({"id": id, "customId": "alice@contoso", "externalId": "alice@contoso",
            "lastTokenIssuedAt": "2026-11-22T00:27:55Z"})
    );
    stack.about("DELETE", id, "", "").await;
    let new = stack
        .create(r#"{"externalId":"alice@contoso"}"#)
        .await
        .json_of(201);
    assert_ne!(new["identity"]["id"], id);
}

#[tokio::test]
async fn section_3_3_an_entra_token_is_exchanged_for_the_same_identity_each_time() {
    let stack = Stack::start().await;
    let entra = stack.token().await;
    let first = stack.by_token(&entra, ENTRA, "{}").await.json_of(200);
    let again = stack.by_token(&entra, ENTRA, "{}").await.json_of(200);
    assert_eq!(first["identity"], again["identity"]);
    let token = first["accessToken"]["token"].as_str().unwrap();
    let user = stack.comms.user_of(token).unwrap();
    assert_eq!(user.id.as_str(), first["identity"]["id"].as_str().unwrap());
    // No longer than the token it was given for.
    assert_eq!(user.expires, stack.clock.wall() + Duration::from_secs(3600));
    // A deleted one does not come back to life with its old tokens.
    stack.about("DELETE", user.id.as_str(), "", "").await;
    let new = stack.by_token(&entra, ENTRA, "{}").await.json_of(200);
    assert_ne!(new["identity"], first["identity"]);
    assert!(stack.comms.user_of(token).is_err());
}

#[tokio::test]
async fn section_3_3_only_an_entra_token_is_exchanged() {
    let stack = Stack::start().await;
    stack.signed("POST", ENTRA, "{}").await.json_of(401);
    stack.by_token("nonsense", ENTRA, "{}").await.json_of(401);
    let extension = "/access/teamsExtension/:exchangeAccessToken?api-version=2025-06-30";
    let refused = stack
        .by_token(&stack.token().await, extension, "{}")
        .await
        .json_of(501);
    assert_eq!(refused["error"]["code"], "NotSupported");
}

#[tokio::test]
async fn section_5_a_teams_users_token_is_exchanged() {
    let stack = Stack::start().await;
    let entra = stack.token().await;
    let body = |token: &str, app: &str, user: &str| {
        json!({"token": token, "appId": app, "userId": user}).to_string()
    };
    let given = stack
        .signed("POST", TEAMS, &body(&entra, CLIENT, CLIENT))
        .await
        .json_of(200);
    let token = given["token"].as_str().unwrap();
    assert_eq!(
        given["expiresOn"],
        (stack.clock.wall() + Duration::from_secs(3600)).to_string()
    );
    assert_eq!(payload(token)["skypeid"], format!("orgid:{CLIENT}"));
    assert_eq!(payload(token)["acsScope"], "chat,voip");
    let elsewhere = stack
        .token_for("https://management.azure.com/.default")
        .await;
    let table = [
        (body("nonsense", CLIENT, CLIENT), 401),
        (body(&elsewhere, CLIENT, CLIENT), 401),
        (body(&entra, "another", CLIENT), 400),
        (body(&entra, CLIENT, "another"), 400),
        ("{}".to_owned(), 400),
    ];
    for (body, status) in table {
        stack.signed("POST", TEAMS, &body).await.json_of(status);
    }
    let later = stack.clock.wall() + Duration::from_secs(3600);
    stack.clock.turn_to(later);
    let expired = body(&entra, CLIENT, CLIENT);
    stack.signed("POST", TEAMS, &expired).await.json_of(401);
}

#[tokio::test]
async fn a_token_that_was_touched_is_nobodys() {
    let stack = Stack::start().await;
    let (_, token) = stack.user(&["chat.join"]).await;
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut said = payload(&token);
    said["acsScope"] = "chat".into();
    parts[1] = BASE64_URL_SAFE_NO_PAD.encode(said.to_string());
    let widened = parts.join(".");
    let unsigned = format!(
        "{}.{}.",
        BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        parts[1]
    );
    for text in [
        widened.as_str(),
        unsigned.as_str(),
        "",
        "a.b.c",
        &token[1..],
    ] {
        assert!(
            matches!(stack.comms.user_of(text), Err(BadToken::Unknown)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_key_that_was_regenerated_makes_no_identities() {
    let stack = Stack::start().await;
    let old = stack.dev().keys.first.clone();
    let id = stack.dev().id.clone();
    stack
        .comms
        .regenerate_key(&id, gridpost_model::WhichKey::First)
        .await
        .unwrap();
    let target = format!("/identities?{VERSION}");
    let now: Timestamp = stack.clock.now();
    let request = Signed::new("POST", &target, "").by(&old, now);
    stack.ask(request).await.json_of(401);
}
