//! The webhook of a measurement: answers at once, counts, and reads the send time out of each event.
//!
//! Not here: the built-in sink of the product (`api::sinks`), which keeps what it receives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::load::{STAMP_DIGITS, histogram};
use super::stopwatch;

/// What an endpoint does with a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200 at once.
    Accept,
    /// 500 at once, but for one in six: seldom failing ten times in a row, it is hardly put on probation, so every event
    /// is tried and waits for its next attempt.
    FailMost,
    /// Nothing, for ever.
    Hang,
}

/// One webhook on a port of its own.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// Where it listens.
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answers: Mutex<Answer>,
    withhold_code: AtomicBool,
    asked: AtomicU64,
    events: AtomicU64,
    last: AtomicU64,
    first: AtomicU64,
    latency: Mutex<Histogram<u64>>,
    changed: Notify,
}

impl Endpoint {
    /// Listens on a free loopback port.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = Self {
            address: listener.local_addr()?,
            state: Arc::new(State {
                answers: Mutex::new(Answer::Accept),
                withhold_code: AtomicBool::new(false),
                asked: AtomicU64::new(0),
                events: AtomicU64::new(0),
                last: AtomicU64::new(0),
                first: AtomicU64::new(0),
                latency: Mutex::new(histogram()),
                changed: Notify::new(),
            }),
        };
        let state = Arc::clone(&endpoint.state);
        super::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                super::spawn(serve(stream, Arc::clone(&state)));
            }
        });
        Ok(endpoint)
    }

    /// Changes what it does from now on.
    pub(super) fn answer(&self, answer: Answer) {
        *self.state.answers.lock() = answer;
    }

    /// Answers handshakes without the code, so that the subscription waits for a visit that never comes.
    pub(super) fn withhold_code(&self) {
        self.state.withhold_code.store(true, Ordering::Relaxed);
    }

    /// Events received and accepted since the last `reset`.
    pub(super) fn events(&self) -> u64 {
        self.state.events.load(Ordering::Relaxed)
    }

    /// When the first event came, as `stopwatch::nanos` tells; zero when none did.
    pub(super) fn first(&self) -> u64 {
        self.state.first.load(Ordering::Relaxed)
    }

    /// When the last event came.
    pub(super) fn last(&self) -> u64 {
        self.state.last.load(Ordering::Relaxed)
    }

    /// Publish to webhook, in microseconds.
    pub(super) fn latency(&self) -> Histogram<u64> {
        self.state.latency.lock().clone()
    }

    /// Forgets what was counted.
    pub(super) fn reset(&self) {
        self.state.events.store(0, Ordering::Relaxed);
        self.state.first.store(0, Ordering::Relaxed);
        self.state.last.store(0, Ordering::Relaxed);
        self.state.latency.lock().reset();
    }

    /// Waits until that many events came, or `limit` passed without one coming; whether they all came.
    pub(super) async fn received(&self, events: u64, limit: Duration) -> bool {
        loop {
            let before = self.events();
            if before >= events {
                return true;
            }
            let waited = stopwatch::nanos();
            while self.events() == before {
                let _ =
                    tokio::time::timeout(Duration::from_millis(20), self.state.changed.notified())
                        .await;
                if stopwatch::since(waited) > limit {
                    return false;
                }
            }
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A broken connection is the sender's to notice.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let handshake = request
        .headers()
        .get("aeg-event-type")
        .is_some_and(|kind| kind.as_bytes() == b"SubscriptionValidation");
    let body = request.into_body().collect().await?.to_bytes();
    if handshake {
        let withhold = state.withhold_code.load(Ordering::Relaxed);
        let code = if withhold { None } else { code_of(&body) };
        let reply = serde_json::json!({ "validationResponse": code }).to_string();
        return Ok(Response::new(Full::from(reply)));
    }
    let mut response = Response::new(Full::default());
    let answer = *state.answers.lock();
    match answer {
        Answer::Accept => state.count(&body),
        Answer::FailMost => {
            if !state
                .asked
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(6)
            {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }
        Answer::Hang => std::future::pending().await,
    }
    Ok(response)
}

impl State {
    fn count(&self, body: &[u8]) {
        let now = stopwatch::nanos();
        self.last.store(now, Ordering::Relaxed);
        let _ = self
            .first
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.events.fetch_add(events_in(body), Ordering::Relaxed);
        self.changed.notify_one();
        if let Some(sent) = stamp(body) {
            let micros = now.saturating_sub(sent) / 1_000;
            self.latency.lock().saturating_record(micros.max(1));
        }
    }
}

/// How many events there are in a request: a measured event has one `id`, at its start.
fn events_in(body: &[u8]) -> u64 {
    const SHORT: usize = 2_048;
    if body.len() < SHORT {
        return 1;
    }
    memchr::memmem::find_iter(body, b"{\"id\":\"")
        .count()
        .max(1) as u64
}

/// The send time: the digits at the start of the first event, `[{"id":"` or the text of a message.
fn stamp(body: &[u8]) -> Option<u64> {
    let at = body
        .windows(STAMP_DIGITS)
        .position(|part| part.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(&body[at..at + STAMP_DIGITS])
        .ok()?
        .parse()
        .ok()
}

fn code_of(body: &[u8]) -> Option<String> {
    let events: serde_json::Value = serde_json::from_slice(body).ok()?;
    events[0]["data"]["validationCode"]
        .as_str()
        .map(str::to_owned)
}
