//! What there is to compare with: a relay that stores nothing, built from the same HTTP stack.
//!
//! It answers as soon as the event is in a bounded queue, and 64 dispatchers post it on, each over a connection of its
//! own, with the headers that a delivery has. So it costs what the two HTTP hops cost, and promises nothing.

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
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::certificates;
use crate::config::{Config, Flags};
use crate::drain::StopSignals;
use crate::listener::Port;
use crate::real::{Supervisor, SystemClock};

/// Dispatchers of the relay, as in the reference's measurements.
const DISPATCHERS: usize = 64;
/// Events that may wait for a dispatcher; a full queue holds the publisher back.
const QUEUE: usize = 10_000;

/// Serves the relay with the server's own listener.
pub(super) async fn serve(listen: SocketAddr, endpoint: SocketAddr) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let identity = certificates::Folder::of(folder.path()).ready(SystemClock::default().now())?;
    let config = Config::load(&Flags::default())?;
    let port = Port::take(listen)?;
    let serving = port.serve(
        router(endpoint),
        identity.into_tls()?,
        &config.listener,
        &Supervisor::of_this_runtime(),
    );
    let stopped = StopSignals::listen()?.next().await;
    tracing::debug!("the relay ends: {stopped}");
    serving.close(Duration::ZERO).await;
    Ok(())
}

fn router(endpoint: SocketAddr) -> Router {
    let queues = (0..DISPATCHERS).map(|_| {
        let (sender, receiver) = mpsc::channel(QUEUE / DISPATCHERS);
        super::spawn(dispatch(receiver, endpoint));
        sender
    });
    let relay = Relay {
        queues: queues.collect(),
        next: AtomicUsize::new(0),
    };
    Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route("/relay", post(accept))
        .with_state(Arc::new(relay))
}

/// A queue for each dispatcher, filled in turn: no lock stands between a request and its dispatcher.
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

async fn dispatch(mut events: mpsc::Receiver<Bytes>, endpoint: SocketAddr) {
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
    let request = Request::post("/")
        .header("host", host)
        .header("content-type", "application/json; charset=utf-8")
        .header("aeg-event-type", "Notification")
        .header("aeg-subscription-name", "ONE")
        .header("aeg-delivery-count", "0")
        .header("aeg-metadata-version", "1")
        .header("aeg-data-version", "1.0")
        .header("aeg-output-event-id", "00000000000000000000")
        .body(Full::new(body))
        .ok()?;
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    response.into_body().collect().await.ok()?;
    Some(())
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
