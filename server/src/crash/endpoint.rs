//! The webhook that everything is sent to. It answers the handshake, notes what arrives, refuses what is named to be
//! refused, and can fail the first attempt of some.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::ledger::{Ledger, name_of};
use super::talk::is_of_chat;

/// What a name begins with when the endpoint refuses it for good.
pub(super) const REFUSED: &str = "refused-";

/// What a name begins with when the endpoint fails its first attempt.
pub(super) const FAILING: &str = "failing-";

/// A webhook on a port of its own.
pub(super) struct Endpoint {
    address: SocketAddr,
}

impl Endpoint {
    pub(super) async fn open(ledger: Arc<Ledger>, fails: bool) -> anyhow::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                // A connection belongs to the life of the server that opened it.
                let (ledger, life) = (Arc::clone(&ledger), ledger.life());
                tokio::spawn(async move {
                    let answer =
                        service_fn(|request| answer(request, Arc::clone(&ledger), life, fails));
                    // The server's death ends its connections; nothing is to be done about it.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        Ok(Self { address })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

async fn answer(
    request: Request<Incoming>,
    ledger: Arc<Ledger>,
    life: u32,
    fails: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_handshake = request
        .headers()
        .get("aeg-event-type")
        .is_some_and(|kind| kind == "SubscriptionValidation");
    let Ok(body) = request.into_body().collect().await else {
        return Ok(said(StatusCode::BAD_REQUEST, &Value::Null));
    };
    let events: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    if is_handshake {
        let code = &events[0]["data"]["validationCode"];
        return Ok(said(StatusCode::OK, &json!({ "validationResponse": code })));
    }
    let mut status = StatusCode::OK;
    for event in events.as_array().map_or(&[][..], Vec::as_slice) {
        if is_of_chat(event) {
            ledger.talk.arrive(event, life);
            continue;
        }
        let name = name_of(event);
        if name.starts_with(REFUSED) {
            status = StatusCode::BAD_REQUEST;
        } else if fails && name.starts_with(FAILING) && ledger.is_first_attempt(&name) {
            status = StatusCode::SERVICE_UNAVAILABLE;
        } else {
            ledger.arrive(name, life);
        }
    }
    Ok(said(status, &Value::Null))
}

fn said(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
