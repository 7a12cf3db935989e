//! An HTTP endpoint on this machine that answers as a test tells it and remembers what it was sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::world::until;

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The validation URL that was offered, in whichever handshake.
    pub(crate) fn validation_url(&self) -> String {
        if self.method == Method::OPTIONS {
            return self.header("webhook-request-callback").to_owned();
        }
        self.json()[0]["data"]["validationUrl"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// What an endpoint answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status, headers and a body.
    Says(u16, Vec<(&'static str, &'static str)>, String),
    /// Nothing, ever.
    Hangs,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Says(status, Vec::new(), String::new())
    }

    /// What a well-behaved webhook answers to anything.
    pub(crate) fn agreeing(seen: &Seen) -> Self {
        if seen.method == Method::OPTIONS {
            return Self::Says(200, vec![("WebHook-Allowed-Origin", "*")], String::new());
        }
        if seen.header("aeg-event-type") != "SubscriptionValidation" {
            return Self::status(200);
        }
        let code = &seen.json()[0]["data"]["validationCode"];
        Self::Says(
            200,
            Vec::new(),
            format!(r#"{{"validationResponse":{code}}}"#),
        )
    }
}

type Behaviour = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// An endpoint that is up until the test ends.
pub(crate) struct Endpoint {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    behaviour: Arc<Mutex<Behaviour>>,
    connections: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) async fn start(behaviour: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(Arc::new(behaviour)));
        let endpoint = Self {
            port,
            seen,
            behaviour,
            connections: Arc::default(),
        };
        let (seen, behaviour) = (Arc::clone(&endpoint.seen), Arc::clone(&endpoint.behaviour));
        let connections = Arc::clone(&endpoint.connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (seen, behaviour) = (Arc::clone(&seen), Arc::clone(&behaviour));
                let service = service_fn(move |request| {
                    let (seen, behaviour) = (Arc::clone(&seen), Arc::clone(&behaviour));
                    async move { answer(request, &seen, &behaviour).await }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        endpoint
    }

    pub(crate) async fn agreeing() -> Self {
        Self::start(Reply::agreeing).await
    }

    pub(crate) fn answer(&self, behaviour: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.behaviour.lock() = Arc::new(behaviour);
    }

    /// How often somebody has connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?code=s3cret", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Waits until that many requests have arrived, and returns the last of them.
    pub(crate) async fn nth(&self, count: usize) -> Seen {
        until("the endpoint is called", || count <= self.seen.lock().len()).await;
        self.seen.lock()[count - 1].clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Seen>>,
    behaviour: &Mutex<Behaviour>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(Collected::to_bytes)
        .unwrap_or_default();
    let target = head.uri.to_string();
    let one = Seen {
        method: head.method,
        target,
        headers: head.headers,
        body,
    };
    let behaviour = Arc::clone(&behaviour.lock());
    let reply = behaviour(&one);
    seen.lock().push(one);
    match reply {
        Reply::Hangs => std::future::pending().await,
        Reply::Says(status, headers, body) => {
            let response = headers.iter().fold(
                Response::builder().status(status),
                |response, (name, value)| response.header(*name, *value),
            );
            Ok(response.body(Full::new(body.into())).unwrap())
        }
    }
}
