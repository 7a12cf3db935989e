//! Publishing, as publishers see it.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use http::Request;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::manager::{HOST, Manager, serve_sink};
use crate::stack::{Answer, Stack};

const TOPIC: &str = "/resourceGroups/rg1/providers/Microsoft.EventGrid/topics/orders";
const ENDPOINT: &str = "/topics/orders/api/events";

/// Header names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

struct Publisher<'a> {
    stack: &'a Stack,
    key: String,
}

impl<'a> Publisher<'a> {
    async fn start(stack: &'a Stack) -> Self {
        let manager = Manager::sign_in(stack).await;
        manager
            .put("/resourceGroups/rg1", json!({"location": "local"}))
            .await;
        manager.put(TOPIC, json!({})).await;
        let keys = manager
            .ask("POST", &format!("{TOPIC}/listKeys"), Value::Null)
            .await;
        let key = keys.json_of(200)["key1"].as_str().unwrap().to_owned();
        Self { stack, key }
    }

    async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.stack
            .ask(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn publish(&self, target: &str, body: &str) -> Answer {
        self.send("POST", target, &[("aeg-sas-key", &self.key)], body)
            .await
    }
}

fn event(id: &str) -> Value {
    json!({
        "id": id, "subject": "orders/1", "eventType": "Shop.Ordered",
        "eventTime": "2026-11-22T00:00:00Z", "data": {"n": 1}, "dataVersion": "1.0",
    })
}

fn batch() -> String {
    json!([event("1")]).to_string()
}

#[tokio::test]
async fn event_grid_2_6_accepted_is_200_with_nothing_in_it() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    for target in [
        "/topics/orders/api/events?api-version=2018-01-01",
        "/Topics/ORDERS/api/Events/",
        ENDPOINT,
    ] {
        let answer = publisher.publish(target, &batch()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (200, ""),
            "{target}"
        );
        assert_eq!(answer.headers["api-supported-versions"], "2018-01-01");
        assert!(answer.headers.contains_key("x-ms-request-id"));
    }
}

#[tokio::test]
async fn an_event_reaches_the_endpoint_as_it_was_published() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    let manager = Manager::sign_in(&stack).await;
    let sink = serve_sink(&stack, "s").await;
    let body = json!({"properties": {
        "destination": {"endpointType": "WebHook", "properties": {"endpointUrl": sink}},
        "filter": {"subjectBeginsWith": "ORDERS/"},
    }});
    manager
        .put(&format!("{TOPIC}/eventSubscriptions/es1"), body)
        .await;

    let answer = publisher
        .publish(ENDPOINT, &json!([event("1"), event("2")]).to_string())
        .await;
    assert_eq!(answer.status, 200);

    for number in [1, 2] {
        let wait = format!("sinks/s/wait?eventType=Shop.Ordered&count={number}");
        let found = stack.own("GET", &wait, "").await.json_of(200);
        let delivered = &found["requests"][number - 1]["body"][0];
        assert_eq!(delivered["data"], json!({"n": 1}), "{found}");
        assert_eq!(
            delivered["topic"],
            format!("/subscriptions/22222222-2222-4222-8222-222222222222{TOPIC}")
        );
        assert_eq!(delivered["metadataVersion"], "1");
    }
}

#[tokio::test]
async fn event_grid_2_3_credentials_are_told_apart() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    let bearer = format!("Bearer {}", stack.token().await);
    let key = publisher.key.clone();
    let well_formed = BASE64_STANDARD.encode("another key");
    let table: &[(Headers<'_>, u16, &str, &str)] = &[
        (
            &[],
            401,
            "Unauthorized",
            "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key.",
        ),
        (
            &[("aeg-sas-key", "")],
            400,
            "InvalidSas",
            "Request must have a value for aeg-sas-key.",
        ),
        (
            &[("aeg-sas-key", "no base64!")],
            401,
            "Unauthorized",
            "The request authorization key is not authorized for 127.0.0.1:8480. This is due to the reason: The input is not a valid Base-64 string",
        ),
        (
            &[("aeg-sas-key", &well_formed)],
            401,
            "Unauthorized",
            "The request authorization key is not authorized for 127.0.0.1:8480.",
        ),
        (
            &[("aeg-sas-token", "sure")],
            400,
            "InvalidSas",
            "Invalid key in aeg-sas-token. Valid format :r=",
        ),
        (
            &[("authorization", "Basic x")],
            401,
            "Unauthorized",
            "Request has an unsupported Authorization scheme (must be SharedAccessSignature or Bearer).",
        ),
        (
            &[("authorization", "Bearer x")],
            401,
            "Unauthorized",
            "Unable to read access token.",
        ),
    ];
    for (headers, status, detail, message) in table {
        let refused = publisher
            .send("POST", ENDPOINT, headers, &batch())
            .await
            .json_of(*status);
        assert_eq!(
            refused["error"]["details"][0]["code"], *detail,
            "{headers:?}"
        );
        let text = refused["error"]["message"].as_str().unwrap();
        assert!(text.starts_with(message), "{text}");
        assert!(text.ends_with(" (UTC)' to our forums for assistance or raise a support ticket."));
    }
    for key in [key.clone(), escaped(&key, "", "+", false)] {
        let by_query = format!("{ENDPOINT}?aeg-sas-key={key}");
        let answer = publisher.send("POST", &by_query, &[], &batch()).await;
        assert_eq!(answer.status, 200, "{by_query}");
    }
    let by_token = &[("authorization", bearer.as_str())];
    assert_eq!(
        publisher
            .send("POST", ENDPOINT, by_token, &batch())
            .await
            .status,
        200
    );
}

/// What a client leaves as it is when it escapes.
fn escaped(text: &str, kept: &str, space: &str, lower_hex: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let letter = char::from(byte);
        if letter == ' ' {
            out.push_str(space);
        } else if letter.is_ascii_alphanumeric() || kept.contains(letter) {
            out.push(letter);
        } else if lower_hex {
            out.push_str(&format!("%{byte:02x}"));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A token as a client makes it that escapes so.
fn token(key: &str, resource: &str, expiry: &str, escape: impl Fn(&str) -> String) -> String {
    let signed = format!("r={}&e={}", escape(resource), escape(expiry));
    let key = BASE64_STANDARD.decode(key).unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(&key)
        .unwrap()
        .chain_update(&signed);
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    format!("{signed}&s={}", escape(&signature))
}

#[tokio::test]
async fn event_grid_2_4_the_tokens_of_every_client_are_accepted_in_both_headers() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    let endpoint = format!("http://{HOST}{ENDPOINT}");
    let with_version = format!("{endpoint}?apiVersion=2018-01-01");
    let key = publisher.key.as_str();
    let csharp = |text: &str| escaped(text, "-_.!*()", "+", true);
    let quote_plus = |text: &str| escaped(text, "_.-~", "+", false);
    let python = |text: &str| escaped(text, "_.-~()*!'", "%20", false);
    let javascript = |text: &str| escaped(text, "_.-~()*!'", "%20", false);
    let tokens = [
        token(key, &endpoint, "6/15/2027 6:20:15 PM", csharp),
        token(key, &endpoint, "2027-01-02T15:04:05.123456", quote_plus),
        token(key, &with_version, "2027-01-02 15:04:05+00:00", python),
        token(key, &with_version, "2027-01-02 15:04:05.5", python),
        token(key, &with_version, "1/1/2030 12:00:00 AM", javascript),
    ];
    for token in &tokens {
        let spelled = format!("SharedAccessSignature {token}");
        for header in [
            ("aeg-sas-token", token.as_str()),
            ("authorization", spelled.as_str()),
        ] {
            let answer = publisher.send("POST", ENDPOINT, &[header], &batch()).await;
            assert_eq!(answer.status, 200, "{token}: {answer:?}");
        }
    }
    let over = token(key, &endpoint, "11/1/2026 6:20:15 PM", csharp);
    let answer = publisher
        .send("POST", ENDPOINT, &[("aeg-sas-token", &over)], &batch())
        .await;
    let message = answer.json_of(401)["error"]["message"].to_string();
    assert!(message.contains("has expired"), "{message}");
}

#[tokio::test]
async fn event_grid_2_6_checks_happen_in_their_order() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    let large = " ".repeat(1_536_001);
    // Each row is wrong in more than one way; the first way counts.
    let none: &[(&str, &str)] = &[];
    let with_key = &[("aeg-sas-key", publisher.key.as_str())];
    let table = [
        (
            "POST",
            "/topics/nothing/api/events",
            none,
            large.as_str(),
            404,
            "NotFound",
            "ResourceNotFound",
        ),
        (
            "GET",
            ENDPOINT,
            none,
            "",
            405,
            "MethodNotAllowed",
            "MethodNotAllowed",
        ),
        (
            "POST",
            ENDPOINT,
            none,
            large.as_str(),
            401,
            "Unauthorized",
            "Unauthorized",
        ),
        (
            "POST",
            ENDPOINT,
            with_key,
            large.as_str(),
            413,
            "RequestEntityTooLarge",
            "PayloadTooLarge",
        ),
        (
            "POST",
            ENDPOINT,
            with_key,
            "",
            400,
            "BadRequest",
            "InputJsonInvalid",
        ),
        ("POST", "/", none, "[]", 404, "NotFound", "ResourceNotFound"),
    ];
    for (method, target, headers, body, status, code, detail) in table {
        let answer = publisher.send(method, target, headers, body).await;
        let refused = answer.json_of(status);
        assert_eq!(refused["error"]["code"], code, "{method} {target}");
        assert_eq!(
            refused["error"]["details"][0]["code"], detail,
            "{method} {target}"
        );
        assert_eq!(
            answer.headers["content-type"],
            "application/json; charset=utf-8"
        );
        if status == 405 {
            assert_eq!(answer.headers["allow"], "OPTIONS, POST");
        }
        if status == 413 {
            assert_eq!(
                refused["error"]["message"],
                "The maximum size (1536000) has been exceeded."
            );
        }
    }
    assert_eq!(
        publisher.send("HEAD", ENDPOINT, with_key, "").await.status,
        404
    );
}

#[tokio::test]
async fn a_batch_with_one_bad_event_is_refused_whole() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    let mut bad = event("2");
    bad["subject"] = Value::Null;
    let answer = publisher
        .publish(ENDPOINT, &json!([event("1"), bad]).to_string())
        .await;
    assert_eq!(answer.status, 400);
    let accepted: u64 = stack
        .grid
        .metrics()
        .topics
        .iter()
        .map(|topic| topic.publish_success)
        .sum();
    assert_eq!(accepted, 0);
}

#[tokio::test]
async fn event_grid_2_1_options_tells_the_schema() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    assert_eq!(
        publisher.send("OPTIONS", ENDPOINT, &[], "").await.status,
        401
    );
    let answer = publisher
        .send("OPTIONS", ENDPOINT, &[("aeg-sas-key", &publisher.key)], "")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["allow"], "POST,OPTIONS");
    assert_eq!(answer.headers["aeg-input-event-schema"], "EventGridEvent");
}

#[tokio::test]
async fn keys_do_not_open_a_topic_that_refuses_them() {
    let stack = Stack::start().await;
    let publisher = Publisher::start(&stack).await;
    let manager = Manager::sign_in(&stack).await;
    let closed = json!({"properties": {"disableLocalAuth": true}});
    manager.ask("PATCH", TOPIC, closed).await.json_of(200);
    assert_eq!(publisher.publish(ENDPOINT, &batch()).await.status, 401);
    let bearer = format!("Bearer {}", stack.token().await);
    let answer = publisher
        .send("POST", ENDPOINT, &[("authorization", &bearer)], &batch())
        .await;
    assert_eq!(answer.status, 200);
}
