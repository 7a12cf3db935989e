//! An endpoint of the test's own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use gridpost_model::{Clock as _, Timestamp};
use gridpost_sim::VirtualClock;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A webhook on a port of its own. Clones are the same webhook.
#[derive(Clone)]
pub(crate) struct Webhook {
    address: SocketAddr,
    scheme: &'static str,
    inner: Arc<Inner>,
}

struct Inner {
    clock: VirtualClock,
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Received>>,
}

#[derive(Clone, Copy)]
struct Behaviour {
    status: u16,
    answers_handshake: bool,
    is_silent: bool,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Timestamp,
    pub(crate) version: http::Version,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: Value,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn is_event(&self) -> bool {
        self.header("aeg-event-type") == "Notification"
    }
}

impl Webhook {
    pub(crate) async fn open(clock: VirtualClock) -> Self {
        Self::listen(clock, None).await
    }

    pub(crate) async fn open_secure(clock: VirtualClock, tls: TlsAcceptor) -> Self {
        Self::listen(clock, Some(tls)).await
    }

    async fn listen(clock: VirtualClock, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let behaviour = Mutex::new(Behaviour {
            status: 200,
            answers_handshake: true,
            is_silent: false,
        });
        let inner = Arc::new(Inner {
            clock,
            behaviour,
            received: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (inner, tls) = (Arc::clone(&serving), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                inner.serve(stream).await;
                            }
                        }
                        None => inner.serve(stream).await,
                    }
                });
            }
        });
        Self {
            address,
            scheme,
            inner,
        }
    }

    /// Answers events with that status from now on.
    pub(crate) fn answering(self, status: u16) -> Self {
        self.inner.behaviour.lock().status = status;
        self
    }

    /// Takes events from now on and never answers.
    pub(crate) fn silent(self) -> Self {
        self.inner.behaviour.lock().is_silent = true;
        self
    }

    /// Answers the handshake with 200 but without the code.
    pub(crate) fn withholding_the_code(self) -> Self {
        self.inner.behaviour.lock().answers_handshake = false;
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/hook", self.scheme, self.address)
    }

    /// All that came, handshakes and notices included.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.inner.received.lock().clone()
    }

    /// The requests that brought events.
    pub(crate) fn notifications(&self) -> Vec<Received> {
        self.requests()
            .into_iter()
            .filter(Received::is_event)
            .collect()
    }

    /// How often an event was brought.
    pub(crate) fn attempts(&self) -> usize {
        self.notifications().len()
    }

    /// The ids of the events that came, one for each time.
    pub(crate) fn ids(&self) -> Vec<String> {
        let of = |request: Received| {
            request.body[0]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.notifications().into_iter().map(of).collect()
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let answer = service_fn(move |request| Arc::clone(&self).answer(request));
        let _ = auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    }

    async fn answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let text = |value: &http::HeaderValue| Value::from(value.to_str().unwrap_or_default());
        let received = Received {
            at: self.clock.now(),
            version: head.version,
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let behaviour = *self.behaviour.lock();
        let mut response = http::Response::new(Full::default());
        if received.header("aeg-event-type") == "SubscriptionValidation"
            && behaviour.answers_handshake
        {
            let code = &received.body[0]["data"]["validationCode"];
            *response.body_mut() = Full::from(json!({ "validationResponse": code }).to_string());
        } else if received.method == "OPTIONS" && behaviour.answers_handshake {
            let origin = received.header("webhook-request-origin").parse().unwrap();
            response
                .headers_mut()
                .insert("webhook-allowed-origin", origin);
            response
                .headers_mut()
                .insert("webhook-allowed-rate", http::HeaderValue::from_static("*"));
        } else if received.is_event() {
            *response.status_mut() = http::StatusCode::from_u16(behaviour.status).unwrap();
        }
        let is_silent = behaviour.is_silent && received.is_event();
        self.received.lock().push(received);
        if is_silent {
            std::future::pending::<()>().await;
        }
        Ok(response)
    }
}
