//! Traces, sent to a collector: OTLP over HTTP, as JSON.
//!
//! Promise: nothing waits for a collector. Spans queue up to a bound and are dropped and counted beyond it; a collector
//! that fails is asked again a few times, then its spans are dropped and counted too; at the end what is queued is
//! sent once more. Values of the configured headers are secrets and never logged.
//! Not here: which spans there are (`grid::trace`).
//! Source: OpenTelemetry protocol 1.x, OTLP/HTTP.

mod otlp;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::{Either, select};
use gridpost_api::operations::TraceStatus;
use gridpost_grid::outbound::{self, Client, Endpoint, Outcome, Reach, Request};
use gridpost_grid::trace::{Span, Spans, Tracing};
use gridpost_model::Clock;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::config;
use crate::real::Supervisor;

/// Spans that wait for the collector: some seconds of a busy server, a few megabytes.
const QUEUE: usize = 8_192;

/// Spans in one request: a body of some 300 KB.
const BATCH: usize = 512;

/// How long a span waits for others, so that a quiet server does not send each by itself.
const LINGER: Duration = Duration::from_secs(1);

/// How often a batch is offered to a collector that is not well.
const ATTEMPTS: u32 = 4;

/// The pause after the first of them; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the last spans may take when the server stops.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Sends spans to a collector, or does nothing.
#[derive(Clone, Default)]
pub struct Telemetry(Option<Arc<Inner>>);

struct Inner {
    queue: Mutex<Option<mpsc::Sender<Span>>>,
    ratio: f64,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
    /// Told when everything was sent.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What became of spans.
#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

impl Telemetry {
    /// Starts sending, if the settings name a collector. `roots` are certificates to believe beside the system's.
    ///
    /// # Errors
    /// The settings name no usable collector, or the file of headers cannot be read.
    pub fn start(
        settings: &config::Telemetry,
        roots: Vec<Vec<u8>>,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> anyhow::Result<Self> {
        let Some(base) = settings.endpoint() else {
            return Ok(Self::default());
        };
        // The operator names the collector, so it may be anywhere.
        let rules = outbound::Settings {
            reach: Reach {
                loopback: true,
                private: true,
                link_local: false,
            },
            plain_http: true,
            extra_roots: roots,
            ..outbound::Settings::default()
        };
        let client = Client::new(&rules, Arc::clone(&clock)).context("preparing for traces")?;
        let endpoint = client
            .endpoint(&format!("{}/v1/traces", base.trim_end_matches('/')))
            .with_context(|| format!("telemetry.endpoint {base:?}"))?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let (ending, ended) = oneshot::channel();
        let counts = Arc::new(Counts::default());
        let shipper = Shipper {
            client,
            endpoint,
            headers: headers(settings.headers_file())?,
            service_name: settings.service_name.clone(),
            clock: Arc::clone(&clock),
            counts: Arc::clone(&counts),
            is_well: true,
        };
        supervisor.spawn("telemetry", Box::pin(run(spans, shipper, ending)));
        Ok(Self(Some(Arc::new(Inner {
            queue: Mutex::new(Some(queue)),
            ratio: settings.sampling_ratio(),
            counts,
            clock,
            ended: Mutex::new(Some(ended)),
        }))))
    }

    /// What the router hands its spans to.
    pub fn tracing(&self) -> Tracing {
        match &self.0 {
            Some(inner) => Tracing::to(Arc::clone(inner) as Arc<dyn Spans>),
            None => Tracing::default(),
        }
    }

    /// What became of spans so far.
    pub fn status(&self) -> TraceStatus {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.0
            .as_ref()
            .map(|inner| TraceStatus {
                exported: number(&inner.counts.exported),
                dropped: number(&inner.counts.dropped),
                refused: number(&inner.counts.refused),
            })
            .unwrap_or_default()
    }

    /// Takes no more spans, and waits a little until those there are were sent.
    pub async fn close(&self) {
        let Some(inner) = &self.0 else { return };
        drop(inner.queue.lock().take());
        let ended = inner.ended.lock().take();
        let Some(ended) = ended else { return };
        let limit = inner.clock.sleep_until(inner.clock.now() + LAST_SPANS);
        if let Either::Right(_) = select(ended, limit).await {
            warn!("the collector of traces did not take the last spans in time");
        }
    }
}

impl Spans for Inner {
    fn ratio(&self) -> f64 {
        self.ratio
    }

    fn take(&self, span: Span) {
        let taken = self
            .queue
            .lock()
            .as_ref()
            .is_some_and(|queue| queue.try_send(span).is_ok());
        if !taken {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads headers, one `name: value` a line.
fn headers(file: Option<&Path>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let Some(file) = file else {
        return Ok(headers);
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("reading telemetry.headers_file {}", file.display()))?;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        // The line itself is not shown: it may be a secret.
        let wrong = || format!("{}, line {number}: not `name: value`", file.display());
        let (name, value) = line.split_once(':').with_context(wrong)?;
        let name: HeaderName = name.trim().parse().with_context(wrong)?;
        let mut value: HeaderValue = value.trim().parse().with_context(wrong)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    ensure!(headers.len() < 64, "{} has too many lines", file.display());
    Ok(headers)
}

/// Sends what is queued until nobody can queue any more.
async fn run(mut spans: mpsc::Receiver<Span>, mut shipper: Shipper, ending: oneshot::Sender<()>) {
    let mut batch = Vec::with_capacity(BATCH);
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        shipper.gather(&mut spans, &mut batch).await;
        shipper.ship(&batch, &spans).await;
        batch.clear();
    }
    // Whoever waited may have gone.
    let _ = ending.send(());
}

struct Shipper {
    client: Client,
    endpoint: Endpoint,
    headers: HeaderMap,
    service_name: String,
    clock: Arc<dyn Clock>,
    counts: Arc<Counts>,
    /// Whether the collector took the last batch.
    is_well: bool,
}

/// What the collector said.
enum Answer {
    /// It took the spans but for so many.
    Taken(u64),
    /// It will never take them.
    Refused(String),
    /// It may take them later.
    Later(String),
}

impl Shipper {
    /// Waits for more spans, but not for long.
    async fn gather(&self, spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
        let mut linger = self.clock.doze_until(self.clock.now() + LINGER);
        while batch.len() < BATCH && !spans.is_closed() {
            let room = BATCH - batch.len();
            let more = std::pin::pin!(spans.recv_many(batch, room));
            match select(more, &mut linger).await {
                Either::Left((0, _)) | Either::Right(_) => return,
                Either::Left(_) => (),
            }
        }
    }

    async fn ship(&mut self, batch: &[Span], spans: &mpsc::Receiver<Span>) {
        let body: Bytes = otlp::request(&self.service_name, batch).into();
        let all = batch.len() as u64;
        for attempt in 1.. {
            match self.offer(body.clone()).await {
                Answer::Taken(rejected) => {
                    let rejected = rejected.min(all);
                    self.counts
                        .exported
                        .fetch_add(all - rejected, Ordering::Relaxed);
                    self.counts.refused.fetch_add(rejected, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.is_well, true) {
                        info!("the collector of traces takes spans again");
                    }
                    return;
                }
                Answer::Refused(why) => {
                    self.counts.refused.fetch_add(all, Ordering::Relaxed);
                    self.complain(&why);
                    return;
                }
                // When the server stops there is no time for another attempt.
                Answer::Later(why) if attempt == ATTEMPTS || spans.is_closed() => {
                    self.counts.dropped.fetch_add(all, Ordering::Relaxed);
                    self.complain(&why);
                    return;
                }
                Answer::Later(_) => {
                    let pause = PAUSE * 2_u32.pow(attempt - 1);
                    self.clock.doze_until(self.clock.now() + pause).await;
                }
            }
        }
    }

    async fn offer(&self, body: Bytes) -> Answer {
        let request = Request {
            method: Method::POST,
            endpoint: self.endpoint.clone(),
            headers: self.headers.clone(),
            body,
        };
        match self.client.send(request).await {
            Outcome::Failed(failure) => Answer::Later(failure.to_string()),
            Outcome::Answered(response) => match response.status.as_u16() {
                200..=299 => Answer::Taken(otlp::rejected(&response.body)),
                status @ (429 | 502 | 503 | 504) => Answer::Later(format!("it answers {status}")),
                status => Answer::Refused(format!("it answers {status}")),
            },
        }
    }

    /// Says once that the collector is not well, not for every batch.
    fn complain(&mut self, why: &str) {
        if std::mem::replace(&mut self.is_well, false) {
            let endpoint = &self.endpoint;
            warn!("the collector of traces at {endpoint:?} does not take spans: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(text: &str) -> anyhow::Result<HeaderMap> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        headers(Some(file.path()))
    }

    fn span() -> Span {
        Span {
            context: gridpost_model::TraceContext::sampled([1; 16], [1; 8]),
            parent: None,
            kind: gridpost_grid::trace::Kind::Server,
            name: "publish".into(),
            began: gridpost_model::Timestamp::EPOCH,
            ended: gridpost_model::Timestamp::EPOCH,
            attributes: Vec::new(),
            links: Vec::new(),
            failure: None,
        }
    }

    #[tokio::test]
    async fn spans_beyond_the_bound_and_for_a_collector_that_is_not_there_are_counted() {
        let file = "[telemetry]\nendpoint = 'http://127.0.0.1:1'\n".to_owned();
        let file = Some(("own.toml".into(), file));
        let config = config::Config::resolve(file, &|_| None, &config::Flags::default()).unwrap();
        let clock = gridpost_sim::VirtualClock::at(gridpost_model::Timestamp::EPOCH);
        let supervisor = Supervisor::of_this_runtime();
        let telemetry =
            Telemetry::start(&config.telemetry, Vec::new(), Arc::new(clock), &supervisor).unwrap();
        let spans = telemetry.0.clone().unwrap();
        // Nobody takes any yet: this task has not waited.
        for _ in 0..QUEUE + 5 {
            spans.take(span());
        }
        assert_eq!(telemetry.status().dropped, 5);
        telemetry.close().await;
        assert_eq!(telemetry.status().dropped, QUEUE as u64 + 5);
        assert_eq!(telemetry.status().exported, 0);
        spans.take(span());
        assert_eq!(telemetry.status().dropped, QUEUE as u64 + 6);
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let headers = read("Authorization: Bearer s3cret\n\nx-tenant:one\n").unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-tenant"], "one");
        assert!(!format!("{headers:?}").contains("s3cret"));
        let error = read("x: 1\ns3cret\n").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
