//! The publishers of a measurement: closed loops that keep a number of requests in flight, and an open loop of a set rate.
//!
//! Promise: a latency is counted from when the request should have left, so a slow server cannot hide its own delay.
//! Not here: what is measured with them (`cases`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::stopwatch;

/// Where and what to publish.
#[derive(Clone)]
pub(super) struct Target {
    /// The server's address.
    pub(super) address: SocketAddr,
    /// The request path with its query.
    pub(super) path: String,
    /// Headers that every request carries (the access key).
    pub(super) headers: Vec<(&'static str, String)>,
    /// Makes one request body of that many events.
    pub(super) body: Body,
}

/// How a request body is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// An array of Event Grid events of about 1 KB each.
    Events {
        /// How many in one request.
        batch: usize,
    },
    /// An inbound text with that recipient, as `/_gridpost/v1/sms/receive` takes it.
    InboundText,
    /// A chat message.
    ChatMessage,
}

/// What the publishers saw.
pub(super) struct Published {
    /// Events whose request was answered 2xx.
    pub(super) accepted: u64,
    /// Requests that were answered otherwise or broke.
    pub(super) refused: u64,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    /// Request latencies in microseconds.
    pub(super) latency: Histogram<u64>,
}

/// When a closed loop stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After that much time.
    Elapsed(Duration),
    /// After that many events.
    Events(u64),
}

/// Keeps `connections` requests in flight until the end.
pub(super) async fn closed_loop(target: &Target, connections: usize, until: Until) -> Published {
    let started = stopwatch::nanos();
    let stop = Arc::new(AtomicBool::new(false));
    let quota = Arc::new(AtomicU64::new(match until {
        Until::Events(events) => events,
        Until::Elapsed(_) => u64::MAX,
    }));
    let mut publishers = JoinSet::new();
    for _ in 0..connections {
        publishers.spawn(publisher(
            target.clone(),
            Arc::clone(&stop),
            Arc::clone(&quota),
        ));
    }
    if let Until::Elapsed(span) = until {
        stopwatch::pause(span).await;
        stop.store(true, Ordering::Relaxed);
    }
    let mut total = Published::none();
    while let Some(part) = publishers.join_next().await {
        total.add(&part.unwrap_or_else(|_| Published::none()));
    }
    total.elapsed = stopwatch::since(started);
    total
}

/// Sends `per_second` requests for `span`, whether or not earlier ones were answered.
pub(super) async fn open_loop(target: &Target, per_second: f64, span: Duration) -> Published {
    const LANES: u32 = 32;
    let started = stopwatch::nanos();
    let mut publishers = JoinSet::new();
    for lane in 0..LANES {
        let interval = f64::from(LANES) / per_second;
        let offset = interval * f64::from(lane) / f64::from(LANES);
        publishers.spawn(paced_publisher(
            target.clone(),
            started,
            Duration::from_secs_f64(interval),
            Duration::from_secs_f64(offset),
            span,
        ));
    }
    let mut total = Published::none();
    while let Some(part) = publishers.join_next().await {
        total.add(&part.unwrap_or_else(|_| Published::none()));
    }
    total.elapsed = stopwatch::since(started);
    total
}

impl Published {
    pub(super) fn none() -> Self {
        Self {
            accepted: 0,
            refused: 0,
            elapsed: Duration::ZERO,
            latency: histogram(),
        }
    }

    fn add(&mut self, part: &Self) {
        self.accepted += part.accepted;
        self.refused += part.refused;
        let merged = self.latency.add(&part.latency);
        debug_assert!(merged.is_ok(), "histograms of one shape");
    }
}

/// A histogram of microseconds up to two minutes, three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 3).expect("the bounds are valid")
}

async fn publisher(target: Target, stop: Arc<AtomicBool>, quota: Arc<AtomicU64>) -> Published {
    let mut seen = Published::none();
    let batch = target.body.events();
    let Some(mut connection) = Connection::open(&target).await else {
        seen.refused += 1;
        return seen;
    };
    while !stop.load(Ordering::Relaxed) {
        let taken = quota.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(batch)
        });
        if taken.is_err() {
            break;
        }
        connection.publish(stopwatch::nanos(), &mut seen).await;
    }
    seen
}

async fn paced_publisher(
    target: Target,
    started: u64,
    interval: Duration,
    offset: Duration,
    span: Duration,
) -> Published {
    let mut seen = Published::none();
    let Some(mut connection) = Connection::open(&target).await else {
        seen.refused += 1;
        return seen;
    };
    let mut due = offset;
    while due < span {
        // A timer rings up to a millisecond late, which is not the server's doing. A request that has to wait for
        // the one before it is.
        let moment = started + nanos(due);
        let on_time = stopwatch::nanos() <= moment;
        stopwatch::pause_until(moment).await;
        let counted_from = if on_time { stopwatch::nanos() } else { moment };
        connection.publish(counted_from, &mut seen).await;
        due += interval;
    }
    seen
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// One connection to the server, kept.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
    host: String,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Option<Self> {
        let stream = TcpStream::connect(target.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        super::spawn(async move {
            // The end of the connection shows in the sender.
            let _ = connection.await;
        });
        Some(Self {
            sender,
            target: target.clone(),
            host: target.address.to_string(),
        })
    }

    async fn publish(&mut self, due: u64, seen: &mut Published) {
        match self.send(due).await {
            Some(status) if status.is_success() => seen.accepted += self.target.body.events(),
            Some(_) => seen.refused += 1,
            None => {
                seen.refused += 1;
                if let Some(fresh) = Self::open(&self.target).await {
                    *self = fresh;
                }
            }
        }
        let waited = u64::try_from(stopwatch::since(due).as_micros()).unwrap_or(u64::MAX);
        seen.latency.saturating_record(waited.max(1));
    }

    async fn send(&mut self, due: u64) -> Option<StatusCode> {
        let path = self.target.path.clone();
        let body = self.target.body.make(due);
        let (status, _) = self.exchange(Method::POST, &path, body).await?;
        Some(status)
    }

    /// One request with the target's headers; `None` when the connection broke.
    pub(super) async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Option<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json");
        for (name, value) in &self.target.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).ok()?;
        self.sender.ready().await.ok()?;
        let response = self.sender.send_request(request).await.ok()?;
        let status = response.status();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, body))
    }
}

/// The `id` of a measured event: twenty digits, the nanosecond it should have left.
pub(super) const STAMP_DIGITS: usize = 20;

impl Body {
    fn events(self) -> u64 {
        match self {
            Self::Events { batch } => batch as u64,
            Self::InboundText | Self::ChatMessage => 1,
        }
    }

    fn make(self, due: u64) -> Bytes {
        match self {
            Self::Events { batch } => events(batch, due),
            Self::InboundText => format!(
                "{{\"from\":\"+15551230000\",\"to\":\"{}\",\"message\":\"{due:020}\"}}",
                super::subject::NUMBER
            )
            .into(),
            Self::ChatMessage => format!("{{\"content\":\"{due:020}\"}}").into(),
        }
    }
}

fn events(batch: usize, due: u64) -> Bytes {
    // About 1,000 bytes an event, as in the reference's measurements.
    const PADDING: &str = concat!(
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
        "7f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d8467f3a9c0e51b2d846",
    );
    let mut body = String::with_capacity(batch * 1024);
    for index in 0..batch {
        body.push(if index == 0 { '[' } else { ',' });
        body.push_str("{\"id\":\"");
        body.push_str(&format!("{due:020}"));
        body.push_str(
            "\",\"subject\":\"thread/measured/sender/one\",\"eventType\":\"Gridpost.Measured\",",
        );
        body.push_str(
            "\"eventTime\":\"2026-01-01T00:00:00Z\",\"dataVersion\":\"1.0\",\"data\":{\"pad\":\"",
        );
        body.push_str(PADDING);
        body.push_str("\"}}");
    }
    body.push(']');
    body.into()
}
