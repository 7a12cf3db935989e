//! A Resource Manager client that has signed in.

use axum::body::Body;
use http::Request;
use serde_json::Value;

use crate::stack::{Answer, Stack};

pub(crate) const SUBSCRIPTION: &str = "/subscriptions/22222222-2222-4222-8222-222222222222";
pub(crate) const HOST: &str = "127.0.0.1:8480";

pub(crate) struct Manager<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) token: String,
}

impl<'a> Manager<'a> {
    pub(crate) async fn sign_in(stack: &'a Stack) -> Self {
        Self {
            stack,
            token: stack.token().await,
        }
    }

    /// Asks for a path of the subscription, `{S}`; a path that begins with `//` is one of the tenant.
    /// A body of `null` is none.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let path = match path.strip_prefix('/') {
            Some(tenant) if tenant.starts_with('/') => tenant.to_owned(),
            _ => format!("{SUBSCRIPTION}{path}"),
        };
        let between = if path.contains('?') { '&' } else { '?' };
        self.raw(
            method,
            &format!("{path}{between}api-version=2025-02-15"),
            body,
        )
        .await
    }

    /// Asks for a target as it stands.
    pub(crate) async fn raw(&self, method: &str, target: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", HOST)
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::from(body))
            .unwrap();
        self.stack.ask(request).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        let answer = self.ask("PUT", path, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        answer.json()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, Value::Null).await.json_of(200)
    }
}

/// One row of a table of codes.
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Value,
    pub(crate) u16,
);

/// Asks row after row, and checks the codes.
pub(crate) async fn walk(manager: &Manager<'_>, rows: Vec<Row>) {
    for Row(method, path, body, status) in rows {
        let answer = manager.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

/// Serves the stack on a free port, so that its own deliveries reach its sinks; gives the address of a sink.
pub(crate) async fn serve_sink(stack: &Stack, name: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = stack.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/_gridpost/v1/sinks/{name}")
}
