//! What there is to compare with: a relay that stores nothing, built from the same HTTP stack.
//!
//! It answers as soon as the event is in a bounded queue, and 64 dispatchers post it on with the headers that a delivery
//! has. So it costs what the two HTTP hops cost, and promises nothing. It comes in two shapes: the raw relay, as
//! anybody would write it and as the goals were set against, and a lean one, tuned as far as it goes.
//! Source: reference performance 2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use gridpost_model::Clock as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::certificates;
use crate::config::{Config, Flags};
use crate::drain::StopSignals;
use crate::listener::Port;
use crate::real::{Supervisor, SystemClock};

/// Dispatchers of the relay, as in the reference's measurements.
const DISPATCHERS: usize = 64;
/// Events that may wait for a dispatcher; a full queue holds the publisher back.
const QUEUE: usize = 10_000;

/// How a relay is built behind its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// One queue that all dispatchers take from, and one client with a pool of connections.
    Pooled,
    /// A queue and a connection for each dispatcher: the least that two hops can cost with this stack.
    Lean,
}

/// Serves the relay with the server's own listener.
pub(super) async fn serve(
    listen: SocketAddr,
    endpoint: SocketAddr,
    shape: Shape,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let identity =
        certificates::Folder::of(folder.path()).ready(SystemClock::default().now(), &[])?;
    let config = Config::load(&Flags::default())?;
    let port = Port::take(listen)?;
    let serving = port.serve(
        router(endpoint, shape),
        identity.into_tls()?,
        &config.listener,
        &Supervisor::of_this_runtime(),
    );
    let stopped = StopSignals::listen()?.next().await;
    tracing::debug!("the relay ends: {stopped}");
    serving.close(Duration::ZERO).await;
    Ok(())
}

fn router(endpoint: SocketAddr, shape: Shape) -> Router {
    let relay = Relay {
        queues: match shape {
            Shape::Pooled => vec![pooled(endpoint)],
            Shape::Lean => (0..DISPATCHERS).map(|_| lean(endpoint)).collect(),
        },
        next: AtomicUsize::new(0),
    };
    Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route("/relay", post(accept))
        .with_state(Arc::new(relay))
}

/// The queues, filled in turn.
struct Relay {
    queues: Vec<mpsc::Sender<Bytes>>,
    next: AtomicUsize,
}

async fn accept(State(relay): State<Arc<Relay>>, body: Bytes) -> StatusCode {
    let turn = relay.next.fetch_add(1, Ordering::Relaxed) % relay.queues.len();
    match relay.queues[turn].send(body).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn pooled(endpoint: SocketAddr) -> mpsc::Sender<Bytes> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    for _ in 0..DISPATCHERS {
        super::spawn(dispatch_pooled(
            Arc::clone(&receiver),
            client.clone(),
            endpoint,
        ));
    }
    sender
}

async fn dispatch_pooled(
    events: Arc<Mutex<mpsc::Receiver<Bytes>>>,
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: SocketAddr,
) {
    let (url, host) = (format!("http://{endpoint}/"), endpoint.to_string());
    loop {
        let next = events.lock().await.recv().await;
        let Some(body) = next else { return };
        while let Some(request) = request(&url, &host, body.clone()) {
            let answered = async {
                client
                    .request(request)
                    .await?
                    .into_body()
                    .collect()
                    .await
                    .map_err(anyhow::Error::from)
            };
            if answered.await.is_ok() {
                break;
            }
            super::stopwatch::pause(Duration::from_millis(10)).await;
        }
    }
}

fn lean(endpoint: SocketAddr) -> mpsc::Sender<Bytes> {
    let (sender, receiver) = mpsc::channel(QUEUE / DISPATCHERS);
    super::spawn(dispatch_lean(receiver, endpoint));
    sender
}

async fn dispatch_lean(mut events: mpsc::Receiver<Bytes>, endpoint: SocketAddr) {
    let host = endpoint.to_string();
    let mut connection = None;
    while let Some(body) = events.recv().await {
        while forward(&mut connection, endpoint, &host, body.clone())
            .await
            .is_none()
        {
            connection = None;
            super::stopwatch::pause(Duration::from_millis(10)).await;
        }
    }
}

async fn forward(
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    endpoint: SocketAddr,
    host: &str,
    body: Bytes,
) -> Option<()> {
    if connection.is_none() {
        *connection = Some(connect(endpoint).await?);
    }
    let sender = connection.as_mut()?;
    let request = request("/", host, body)?;
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    response.into_body().collect().await.ok()?;
    Some(())
}

fn request(target: &str, host: &str, body: Bytes) -> Option<Request<Full<Bytes>>> {
    Request::post(target)
        .header("host", host)
        .header("content-type", "application/json; charset=utf-8")
        .header("aeg-event-type", "Notification")
        .header("aeg-subscription-name", "ONE")
        .header("aeg-delivery-count", "0")
        .header("aeg-metadata-version", "1")
        .header("aeg-data-version", "1.0")
        .header("aeg-output-event-id", "00000000000000000000")
        .body(Full::new(body))
        .ok()
}

async fn connect(endpoint: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(endpoint).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    super::spawn(async move {
        // The end of the connection shows in the sender.
        let _ = connection.await;
    });
    Some(sender)
}
