//! What a page in a browser may call, and what it may not.

use axum::body::Body;
use http::Request;

use crate::stack::{Answer, Stack};

const PAGE: &str = "http://localhost:5173";

/// What a browser asks before it lets a page call.
async fn preflight(stack: &Stack, method: &str, path: &str) -> Answer {
    let request = Request::options(path)
        .header("host", "localhost:8480")
        .header("origin", PAGE)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization,content-type,x-ms-useragent",
        )
        .body(Body::empty())
        .unwrap();
    stack.ask(request).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    Some(answer.headers.get(name)?.to_str().unwrap())
}

#[tokio::test]
async fn a_page_from_anywhere_may_call_the_communication_services() {
    let stack = Stack::start().await;
    for (method, path) in [
        ("POST", "/chat/threads?api-version=2025-03-15"),
        ("PATCH", "/chat/threads/19%3Aa%40thread.v2"),
        ("POST", "/chat/threads/19%3Aa%40thread.v2/participants/:add"),
        ("GET", "/chat/config/realTimeNotifications"),
        ("POST", "/identities?api-version=2023-10-01"),
        ("POST", "/identities/8%3Aacs%3Ax/:issueAccessToken"),
        ("POST", "/sms?api-version=2021-03-07"),
        ("PATCH", "/rooms/1"),
        ("POST", "/v4/a"),
    ] {
        let answer = preflight(&stack, method, path).await;
        assert_eq!(answer.status, 204, "{path} {answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), Some("*"));
        let methods = header(&answer, "access-control-allow-methods").unwrap();
        assert!(methods.contains(method), "{methods}");
        assert_eq!(
            header(&answer, "access-control-allow-headers"),
            Some("authorization,content-type,x-ms-useragent")
        );
        assert_eq!(header(&answer, "access-control-max-age"), Some("7200"));
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
        assert_eq!(answer.text, "");
    }
}

#[tokio::test]
async fn a_page_may_read_every_answer_refusals_too() {
    let stack = Stack::start().await;
    let ask = async |token: Option<&str>| {
        let request = Request::get("/chat/threads?api-version=2025-03-15")
            .header("host", "localhost:8480")
            .header("origin", PAGE);
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        stack.ask(request.body(Body::empty()).unwrap()).await
    };
    let alice = stack.somebody("chat").await;
    for (answer, status) in [(ask(Some(&alice.token)).await, 200), (ask(None).await, 401)] {
        assert_eq!(answer.status, status);
        assert_eq!(header(&answer, "access-control-allow-origin"), Some("*"));
        assert_eq!(header(&answer, "access-control-expose-headers"), Some("*"));
    }
}

#[tokio::test]
async fn no_page_is_let_into_the_other_surfaces() {
    let stack = Stack::start().await;
    for path in [
        "/_gridpost/v1/info",
        "/_gridpost/v1/clock/advance",
        "/11111111-1111-4111-8111-111111111111/oauth2/v2.0/token",
        "/subscriptions?api-version=2022-12-01",
        "/topics/orders/api/events",
        "/metrics",
        "/",
    ] {
        let answer = preflight(&stack, "POST", path).await;
        let allowed = header(&answer, "access-control-allow-origin");
        assert_eq!(allowed, None, "{path} {answer:?}");
        let answer = stack
            .ask(
                Request::get(path)
                    .header("host", "localhost:8480")
                    .header("origin", PAGE)
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        let allowed = header(&answer, "access-control-allow-origin");
        assert_eq!(allowed, None, "{path} {answer:?}");
    }
}
