//! Signing in otherwise than with a secret.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gridpost_api::Profile;
use gridpost_model::Clock as _;
use gridpost_model::role::READER;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::manager::{HOST, SUBSCRIPTION};
use crate::stack::{Answer, Stack};

const CLIENT: &str = "33333333-3333-4333-8333-333333333333";
const MINE: &str = "/_gridpost/v1/principals/33333333-3333-4333-8333-333333333333/credentials";
const PASSWORD: &str = "open+sesame";

/// Somebody's key, with a certificate of their own.
struct Holder {
    pair: rcgen::KeyPair,
    certificate: String,
}

impl Holder {
    fn new() -> Self {
        Self::within(1975, 4096)
    }

    /// Whose certificate is valid from the first day of one year until that of another.
    fn within(first: i32, end: i32) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["app".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(first, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(end, 1, 1);
        let certificate = parameters.self_signed(&pair).unwrap().pem();
        Self { pair, certificate }
    }

    fn sign(&self, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
    }

    fn keys(&self) -> Value {
        let point = self.pair.public_key_raw();
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])}]})
    }
}

async fn send(stack: &Stack, request: http::request::Builder, body: String) -> Answer {
    stack
        .ask(request.header("host", HOST).body(Body::from(body)).unwrap())
        .await
}

async fn ask_token(stack: &Stack, form: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    send(stack, Request::post("/adfs/oauth2/token"), body).await
}

async fn register(stack: &Stack, name: &str, body: Value) -> Answer {
    let request = Request::put(format!("{MINE}/{name}"))
        .header("authorization", format!("Bearer {}", stack.token().await));
    send(stack, request, body.to_string()).await
}

async fn with_assertion(stack: &Stack, assertion: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion),
        ("scope", "https://management.azure.com/.default"),
    ];
    ask_token(stack, &form).await
}

/// Whether a token opens Resource Manager.
async fn opens(stack: &Stack, token: &Value) -> u16 {
    let request = Request::get(format!("{SUBSCRIPTION}?api-version=2022-12-01")).header(
        "authorization",
        format!("Bearer {}", token.as_str().unwrap()),
    );
    send(stack, request, String::new()).await.status.as_u16()
}

fn number(answer: &Answer, status: u16) -> u64 {
    answer.json_of(status)["error_codes"][0].as_u64().unwrap()
}

/// What the holder of a certificate says, but for this.
fn of_holder(now: i64, change: &Value) -> Value {
    let mut claims = json!({
        "iss": CLIENT, "sub": CLIENT, "aud": format!("http://{HOST}/adfs/oauth2/token"),
        "exp": now as f64 + 600.25, "nbf": now,
    });
    let all = claims.as_object_mut().unwrap();
    all.extend(change.as_object().unwrap().clone());
    claims
}

#[tokio::test]
async fn an_assertion_that_was_written_for_another_server_opens_nothing_here() {
    let stack = Stack::start().await;
    let holder = Holder::new();
    let body = json!({"certificate": holder.certificate});
    register(&stack, "laptop", body).await.json_of(201);
    let now = stack.clock.wall().seconds();
    let signed = |audience: &str| holder.sign(&of_holder(now, &json!({ "aud": audience })));
    for path in ["/adfs/oauth2/token", "/t/oauth2/v2.0/token", "/t/v2.0"] {
        let assertion = signed(&format!("http://{HOST}{path}"));
        with_assertion(&stack, &assertion).await.json_of(200);
    }
    for rest in [
        "0/adfs/oauth2/token",
        ".evil.example/t/oauth2/token",
        "@evil.example/t/oauth2/token",
        "/t/evil/oauth2/token",
        "/oauth2/token",
        "/t/other/v2.0",
        "/t/oauth2/token/",
    ] {
        let assertion = signed(&format!("http://{HOST}{rest}"));
        let refused = with_assertion(&stack, &assertion).await;
        assert_eq!(number(&refused, 401), 700_023, "{rest}");
    }
}

#[tokio::test]
async fn a_certificate_opens_nothing_before_its_time_nor_after() {
    let stack = Stack::start().await;
    let now = stack.clock.wall().seconds();
    for (first, end, expected) in [(2025, 2030, 200), (2027, 2030, 401), (2020, 2026, 401)] {
        let holder = Holder::within(first, end);
        let body = json!({"certificate": holder.certificate});
        register(&stack, "one", body).await;
        let assertion = holder.sign(&of_holder(now, &json!({})));
        let answer = with_assertion(&stack, &assertion).await;
        assert_eq!(answer.status, expected, "{first} to {end}: {answer:?}");
    }
}

#[tokio::test]
async fn what_has_a_private_key_in_it_is_not_taken() {
    let stack = Stack::start().await;
    let holder = Holder::new();
    let both = holder.pair.serialize_pem() + &holder.certificate;
    let mut keys = holder.keys();
    keys["keys"][0]["d"] = json!("AAAA");
    for body in [
        json!({ "certificate": both }),
        json!({"issuer": "https://ci.example", "subject": "s", "keys": keys}),
    ] {
        let refused = register(&stack, "mine", body).await.json_of(400);
        let said = refused["error"]["message"].as_str().unwrap();
        assert!(said.contains("private"), "{said}");
    }
    let mut keys = holder.keys();
    keys["keys"][0]["use"] = json!("enc");
    let body = json!({"issuer": "https://ci.example", "subject": "s", "keys": keys});
    assert_eq!(register(&stack, "mine", body).await.status, 400);
}

#[tokio::test]
async fn management_1_3_the_holder_of_a_registered_certificate_signs_in() {
    let stack = Stack::start().await;
    let (holder, other) = (Holder::new(), Holder::new());
    let now = stack.clock.wall().seconds();
    let claims = |change: Value| of_holder(now, &change);
    let good = holder.sign(&claims(json!({})));
    assert_eq!(
        number(&with_assertion(&stack, &good).await, 401),
        700_027,
        "not registered yet"
    );
    let made = register(&stack, "laptop", json!({"certificate": holder.certificate})).await;
    assert_eq!(made.json_of(201)["kind"], "certificate");

    let granted = with_assertion(&stack, &good).await.json_of(200);
    assert_eq!(opens(&stack, &granted["access_token"]).await, 200);
    let table = [
        (other.sign(&claims(json!({}))), 700_027),
        (
            holder.sign(&claims(
                json!({"aud": "https://login.example/oauth2/token"}),
            )),
            700_023,
        ),
        (holder.sign(&claims(json!({"exp": now - 301}))), 700_024),
        (holder.sign(&claims(json!({"nbf": now + 302}))), 700_024),
        (holder.sign(&claims(json!({"exp": null}))), 700_024),
        (holder.sign(&claims(json!({"sub": "another"}))), 700_211),
        (unsigned(&claims(json!({})), "HS256"), 700_027),
    ];
    for (at, (assertion, expected)) in table.iter().enumerate() {
        let refused = with_assertion(&stack, assertion).await;
        assert_eq!(number(&refused, 401), *expected, "row {at}: {refused:?}");
    }
    for malformed in ["x", &unsigned(&claims(json!({})), "none")] {
        assert_eq!(
            number(&with_assertion(&stack, malformed).await, 400),
            50_027
        );
    }
}

/// A token whose signature is an empty text.
fn unsigned(claims: &Value, algorithm: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.",
        part(&json!({"alg": algorithm, "typ": "JWT"})),
        part(claims)
    )
}

#[tokio::test]
async fn management_1_3_a_token_of_a_trusted_issuer_signs_in() {
    let stack = Stack::start().await;
    let (issuer, other) = (Holder::new(), Holder::new());
    let now = stack.clock.wall().seconds();
    let body =
        json!({"issuer": "https://ci.example", "subject": "repo:shop:main", "keys": issuer.keys()});
    assert_eq!(
        register(&stack, "build", body).await.json_of(201)["kind"],
        "federated"
    );
    let claims = |iss: &str, sub: &str, aud: &str| json!({"iss": iss, "sub": sub, "aud": aud, "exp": now + 60});
    let usual = "api://AzureADTokenExchange";
    let good = claims("https://ci.example", "repo:shop:main", usual);
    let granted = with_assertion(&stack, &issuer.sign(&good))
        .await
        .json_of(200);
    assert_eq!(opens(&stack, &granted["access_token"]).await, 200);
    let table = [
        (
            issuer.sign(&claims("https://evil.example", "repo:shop:main", usual)),
            700_211,
        ),
        (
            issuer.sign(&claims("https://ci.example", "repo:shop:other", usual)),
            700_213,
        ),
        (
            issuer.sign(&claims(
                "https://ci.example",
                "repo:shop:main",
                "api://other",
            )),
            700_212,
        ),
        (other.sign(&good), 50_013),
    ];
    for (at, (assertion, expected)) in table.iter().enumerate() {
        let refused = with_assertion(&stack, assertion).await;
        assert_eq!(number(&refused, 401), *expected, "row {at}: {refused:?}");
    }
}

#[tokio::test]
async fn a_credential_is_registered_by_somebody_who_signed_in() {
    let stack = Stack::start().await;
    let body = json!({"certificate": Holder::new().certificate}).to_string();
    for request in [
        Request::put(format!("{MINE}/mine")),
        Request::get(MINE),
        Request::delete(format!("{MINE}/mine")),
    ] {
        assert_eq!(
            send(&stack, request, body.clone()).await.status,
            401,
            "in development too"
        );
    }
    for body in [
        json!({}),
        json!({"certificate": "x"}),
        json!({"issuer": "a", "subject": "b", "keys": {"keys": []}}),
        // Whoever checks a token with such a key could write it.
        json!({"issuer": "a", "subject": "b", "keys": {"keys": [{"kty": "oct", "k": "AAAA"}]}}),
    ] {
        assert_eq!(
            register(&stack, "mine", body.clone()).await.status,
            400,
            "{body}"
        );
    }
    let good = json!({"certificate": Holder::new().certificate});
    for at in 0..20 {
        assert_eq!(
            register(&stack, &format!("c{at}"), good.clone())
                .await
                .status,
            201
        );
    }
    assert_eq!(register(&stack, "c0", good.clone()).await.status, 200);
    assert_eq!(register(&stack, "one-more", good).await.status, 409);
    let token = format!("Bearer {}", stack.token().await);
    let remove = || Request::delete(format!("{MINE}/C0")).header("authorization", &token);
    assert_eq!(send(&stack, remove(), String::new()).await.status, 204);
    assert_eq!(send(&stack, remove(), String::new()).await.status, 404);
    let list = Request::get(MINE).header("authorization", &token);
    let listed = send(&stack, list, String::new()).await.json_of(200);
    assert_eq!(listed["value"].as_array().unwrap().len(), 19);
}

#[tokio::test]
async fn management_2_3_a_name_and_a_password_sign_in_and_are_refreshed() {
    let stack = Stack::start().await;
    let client = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
    let scope = format!("http://{HOST}/.default offline_access openid profile");
    let form = |name, password| {
        [
            ("grant_type", "password"),
            ("client_id", client),
            ("username", name),
            ("password", password),
            ("scope", &*scope),
        ]
    };
    let password = PASSWORD.replace('+', " ");
    let of_client = format!("{CLIENT}@localhost");
    for name in ["admin@localhost", &of_client, CLIENT] {
        let granted = ask_token(&stack, &form(name, &password)).await.json_of(200);
        assert_eq!(opens(&stack, &granted["access_token"]).await, 200, "{name}");
        let id = granted["id_token"]
            .as_str()
            .unwrap()
            .split('.')
            .nth(1)
            .unwrap();
        let id: Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(id).unwrap()).unwrap();
        assert_eq!(
            (&id["preferred_username"], &id["aud"]),
            (&json!(name), &json!(client))
        );
        assert!(granted["client_info"].is_string());
    }
    for (name, password) in [
        ("admin@localhost", "wrong"),
        ("nobody@localhost", &password),
    ] {
        let refused = ask_token(&stack, &form(name, password)).await;
        assert_eq!(number(&refused, 400), 50_126);
        assert_eq!(refused.json()["error"], "invalid_grant");
    }

    let granted = ask_token(&stack, &form("admin@localhost", &password))
        .await
        .json();
    let refresh = granted["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(
        opens(&stack, &granted["refresh_token"]).await,
        401,
        "it opens nothing by itself"
    );
    let again = |token| {
        [
            ("grant_type", "refresh_token"),
            ("client_id", client),
            ("refresh_token", token),
            ("scope", &*scope),
        ]
    };
    let granted = ask_token(&stack, &again(&refresh)).await.json_of(200);
    assert_eq!(opens(&stack, &granted["access_token"]).await, 200);
    let access = granted["access_token"].as_str().unwrap();
    assert_eq!(
        number(&ask_token(&stack, &again(access)).await, 400),
        700_082,
        "a token for calls refreshes nothing"
    );
    stack
        .clock
        .turn_to(stack.clock.wall() + std::time::Duration::from_secs(24 * 3600));
    assert_eq!(
        number(&ask_token(&stack, &again(&refresh)).await, 400),
        700_082
    );
}

/// A principal of its own with one secret beside the one it has, and the form that signs it in with that.
async fn with_secret(stack: &Stack, body: &str) -> (String, String) {
    stack.introduce("app", &[(READER, SUBSCRIPTION)]).await;
    let path = "/_gridpost/v1/principals/app/secrets";
    let owner = format!("Bearer {}", stack.token().await);
    let request = Request::post(path).header("authorization", owner);
    let made = send(stack, request, body.to_owned()).await.json_of(201);
    let secrets = made["secrets"].as_array().unwrap();
    let id = secrets.last().unwrap()["id"].as_str().unwrap().to_owned();
    (id, made["clientSecret"].as_str().unwrap().to_owned())
}

async fn by_password(stack: &Stack, secret: &str) -> Value {
    let form = [
        ("grant_type", "password"),
        ("client_id", "x"),
        ("username", "app"),
        ("password", secret),
        ("scope", "https://management.azure.com/.default"),
    ];
    ask_token(stack, &form).await.json_of(200)
}

async fn refresh(stack: &Stack, granted: &Value) -> Answer {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "x"),
        ("refresh_token", granted["refresh_token"].as_str().unwrap()),
        ("scope", "https://management.azure.com/.default"),
    ];
    ask_token(stack, &form).await
}

#[tokio::test]
async fn whoever_signed_in_signs_in_again_after_a_day_however_often_tokens_were_refreshed() {
    let stack = Stack::start().await;
    let hour = std::time::Duration::from_secs(3600);
    let begun = stack.clock.wall();
    let (_, secret) = with_secret(&stack, "").await;
    let mut granted = by_password(&stack, &secret).await;
    for passed in 1..24 {
        stack.clock.turn_to(begun + hour * passed);
        granted = refresh(&stack, &granted).await.json_of(200);
        assert_eq!(opens(&stack, &granted["access_token"]).await, 200);
    }
    stack.clock.turn_to(begun + hour * 24);
    assert_eq!(number(&refresh(&stack, &granted).await, 400), 700_082);
}

#[tokio::test]
async fn refresh_tokens_end_with_the_secret_they_came_from_and_no_other() {
    let stack = Stack::start().await;
    let (id, secret) = with_secret(&stack, "").await;
    let granted = by_password(&stack, &secret).await;
    let of_other = by_password(&stack, "open sesame").await;
    let again = refresh(&stack, &granted).await.json_of(200);
    assert!(stack.grid.remove_secret("app", &id).await.unwrap());
    for granted in [&granted, &again] {
        let refused = refresh(&stack, granted).await;
        assert_eq!(number(&refused, 400), 50_173, "{refused:?}");
    }
    refresh(&stack, &of_other).await.json_of(200);

    let (_, short) = with_secret(&stack, r#"{"expiresIn":"1h"}"#).await;
    let granted = by_password(&stack, &short).await;
    refresh(&stack, &granted).await.json_of(200);
    let hour = std::time::Duration::from_secs(3600);
    stack.clock.turn_to(stack.clock.wall() + hour);
    assert_eq!(number(&refresh(&stack, &granted).await, 400), 50_173);
    assert!(stack.grid.delete_principal("app").await.unwrap());
    assert_eq!(number(&refresh(&stack, &of_other).await, 400), 50_173);
}

#[tokio::test]
async fn a_code_whose_secret_was_taken_away_before_it_is_redeemed_opens_nothing() {
    let stack = Stack::start().await;
    let (id, secret) = with_secret(&stack, "").await;
    let begin = Request::post("/adfs/oauth2/devicecode");
    let begun = send(&stack, begin, "client_id=x".into()).await.json_of(200);
    let user_code = begun["user_code"].as_str().unwrap();
    let form = format!("user_code={user_code}&username=app&password={secret}");
    let approved = send(&stack, Request::post("/devicelogin"), form).await;
    assert_eq!(approved.status, 200);
    assert!(stack.grid.remove_secret("app", &id).await.unwrap());
    let redeem = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "x"),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    assert_eq!(number(&ask_token(&stack, &redeem).await, 400), 50_173);
}

#[tokio::test]
async fn nobody_is_given_a_token_by_which_tokens_are_refreshed() {
    let stack = Stack::start().await;
    let secret = PASSWORD.replace('+', " ");
    for (name, audience) in [
        ("resource", "urn:gridpost:refresh"),
        ("scope", "urn:gridpost:refresh"),
        ("scope", "urn:gridpost:refresh/.default"),
    ] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            ("client_secret", &secret),
            (name, audience),
        ];
        let refused = ask_token(&stack, &form).await;
        assert_eq!(number(&refused, 400), 500_011, "{audience}");
    }
    let identity = "/metadata/identity/oauth2/token?resource=urn:gridpost:refresh";
    let request = Request::get(identity).header("metadata", "true");
    let refused = send(&stack, request, String::new()).await;
    assert_eq!(number(&refused, 400), 500_011);
}

/// What a token says of its principal.
fn said(token: &Value) -> Value {
    let claims = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn however_somebody_signs_in_only_their_own_roles_count() {
    let stack = Stack::start().await;
    stack.introduce("App", &[(READER, SUBSCRIPTION)]).await;
    let issuer = Holder::new();
    let body = json!({"issuer": "https://ci.example", "subject": "s", "keys": issuer.keys()});
    let credential = "/_gridpost/v1/principals/app/credentials/build";
    let put =
        |token: &str| Request::put(credential).header("authorization", format!("Bearer {token}"));
    let owner = stack.token().await;
    let made = send(&stack, put(&owner), body.to_string()).await;
    assert_eq!(made.status, 201);

    let now = stack.clock.wall().seconds();
    let assertion = issuer.sign(&json!({
        "iss": "https://ci.example", "sub": "s", "aud": "api://AzureADTokenExchange", "exp": now + 60,
    }));
    let scope = ("scope", "https://management.azure.com/.default");
    let with_password = [
        ("grant_type", "password"),
        ("client_id", "x"),
        ("username", "APP@localhost"),
        ("password", "open sesame"),
        scope,
    ];
    let federated = [
        ("grant_type", "client_credentials"),
        ("client_id", "APP"),
        ("client_assertion", &assertion),
        scope,
    ];
    let by_password = ask_token(&stack, &with_password).await.json_of(200);
    let refresh = by_password["refresh_token"].as_str().unwrap();
    let refreshed = [
        ("grant_type", "refresh_token"),
        ("client_id", "x"),
        ("refresh_token", refresh),
        scope,
    ];
    for form in [&with_password[..], &federated, &refreshed] {
        let token = ask_token(&stack, form).await.json_of(200)["access_token"].clone();
        let claims = said(&token);
        assert_eq!(
            (&claims["appid"], &claims["oid"]),
            (&json!("App"), &json!("App"))
        );
        assert_eq!(opens(&stack, &token).await, 200);
        let token = token.as_str().unwrap();
        let group = format!("{SUBSCRIPTION}/resourceGroups/mine?api-version=2022-12-01");
        let change = Request::put(group).header("authorization", format!("Bearer {token}"));
        let refused = send(&stack, change, json!({"location": "local"}).to_string()).await;
        assert_eq!(refused.status, 403);
        // Nor is there another way to sign in to be made by who may not.
        let another = send(&stack, put(token), body.to_string()).await;
        assert_eq!(another.status, 403);
    }
}

#[tokio::test]
async fn management_2_3_a_device_waits_until_somebody_approves() {
    let stack = Stack::start().await;
    let begun = send(
        &stack,
        Request::post("/adfs/oauth2/devicecode"),
        "client_id=x".into(),
    )
    .await
    .json_of(200);
    let (device, user) = (
        begun["device_code"].as_str().unwrap(),
        begun["user_code"].as_str().unwrap(),
    );
    assert!(begun["message"].as_str().unwrap().contains(user));
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "x"),
        ("device_code", device),
    ];
    assert_eq!(
        ask_token(&stack, &poll).await.json_of(400)["error"],
        "authorization_pending"
    );
    let page = send(
        &stack,
        Request::get("/devicelogin?code=%3Cscript%3E"),
        String::new(),
    )
    .await;
    assert!(
        page.text.contains("<form") && !page.text.contains("<script"),
        "{page:?}"
    );
    let approve = |password: &str| format!("user_code={user}&username=admin&password={password}");
    let refused = send(&stack, Request::post("/devicelogin"), approve("wrong")).await;
    assert_eq!(refused.status, 401);
    assert_eq!(ask_token(&stack, &poll).await.status, 400);
    assert_eq!(
        send(&stack, Request::post("/devicelogin"), approve(PASSWORD))
            .await
            .status,
        200
    );
    let granted = ask_token(&stack, &poll).await.json_of(200);
    assert!(granted["refresh_token"].is_string());
    assert_eq!(
        ask_token(&stack, &poll).await.json_of(400)["error"],
        "bad_verification_code"
    );
}

#[tokio::test]
async fn management_2_5_local_programs_have_a_managed_identity_in_development() {
    let imds = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com";
    let service = "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fmanagement.azure.com";
    let stack = Stack::start().await;
    let secret = PASSWORD.replace('+', " ");
    let marked = |path: &str| Request::get(path).header("metadata", "true");
    let good = [
        marked(imds),
        Request::get(service).header("x-identity-header", &secret),
        Request::get(service).header("secret", &secret),
        marked(&format!("{imds}&client_id={CLIENT}")),
    ];
    for request in good {
        let granted = send(&stack, request, String::new()).await.json_of(200);
        assert_eq!(
            (&granted["expires_in"], &granted["client_id"]),
            (&json!("3599"), &json!(CLIENT))
        );
        assert_eq!(opens(&stack, &granted["access_token"]).await, 200);
    }
    let shell = Request::post("/msi/token").header("metadata", "true");
    let body = "resource=https%3A%2F%2Fmanagement.azure.com".to_owned();
    assert_eq!(send(&stack, shell, body).await.status, 200);
    let bad = [
        (Request::get(imds), 400),
        (marked(imds).header("x-forwarded-for", "10.0.0.1"), 400),
        (marked(imds).header("origin", "https://example.com"), 400),
        (marked(imds).header("host", "rebound.example"), 400),
        (marked("/metadata/identity/oauth2/token"), 400),
        (marked(&format!("{imds}&client_id=other")), 400),
        (
            Request::get(service).header("x-identity-header", "wrong"),
            401,
        ),
    ];
    for (request, status) in bad {
        assert_eq!(send(&stack, request, String::new()).await.status, status);
    }
    let stack = Stack::start_as(Profile::Production).await;
    assert_eq!(send(&stack, marked(imds), String::new()).await.status, 400);
}
