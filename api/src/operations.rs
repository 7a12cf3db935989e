//! What operators and their tools ask: alive, ready, and the numbers.
//!
//! Promise: asking costs no disk access and needs no credential; names of resources are shown, keys and contents never.
//! Not here: counting (`grid::metrics`, `comms::metrics`), the store's and the process's condition (`Watch`, which
//! `server` implements), the names (`catalogue`).

mod catalogue;
mod page;
mod renderings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gridpost_comms::Metrics as CommsMetrics;
use gridpost_grid::Pending;
use gridpost_grid::metrics::{LaneMetrics, Metrics, Refusals, TopicMetrics};
use http::{StatusCode, header};

use crate::Parts;
use crate::routes::Routes;
use catalogue::Metric;
use page::Page;
use renderings::Renderings;

/// How the store and the process are doing. Implemented by `server`, because nothing here may know the store.
pub trait Watch: Send + Sync + 'static {
    /// The store's condition at this moment.
    fn store(&self) -> StoreStatus;
    /// The process's condition at this moment.
    fn process(&self) -> ProcessStatus;
    /// What became of traces so far. Nothing, unless they are collected.
    fn traces(&self) -> TraceStatus {
        TraceStatus::default()
    }
}

/// What became of spans since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceStatus {
    /// The collector took them.
    pub exported: u64,
    /// There were too many, or the collector was not there.
    pub dropped: u64,
    /// The collector did not want them.
    pub refused: u64,
}

/// The store's condition.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// Why writes are refused just now, in words; `None` when they are not.
    pub trouble: Option<String>,
    /// Bytes of journal on disk.
    pub journal_bytes: u64,
    /// Segments of journal on disk.
    pub segments: u64,
    /// Forced writes since the start.
    pub syncs: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Group commits since the start.
    pub batches: u64,
    /// Since when changes await a checkpoint.
    pub checkpoint_age: Duration,
}

/// The process's condition.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessStatus {
    /// Memory in use.
    pub resident_bytes: u64,
    /// Processor time used.
    pub cpu: Duration,
    /// Open files and sockets.
    pub open_files: u64,
}

/// In the extensions of an answer whose body all who ask for it share: holding it for one more reader costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

/// `/livez`, `/readyz`, `/metrics`.
pub fn routes() -> Routes {
    let renderings = Arc::new(Renderings::default());
    let metrics = move |State(parts): State<crate::Shared>| {
        let renderings = Arc::clone(&renderings);
        async move { metrics(&parts, &renderings).await }
    };
    Routes::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Ready means that an event would be accepted now.
async fn ready(State(parts): State<crate::Shared>) -> Response {
    match parts.watch.store().trouble {
        None => "ready\n".into_response(),
        Some(trouble) => {
            let text = format!("not ready: the store does not accept writes: {trouble}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// The name under which numbers are shown that are not shown by name. No resource is called so.
const OTHER: &str = "other";

/// The source of what named none that there is.
const UNKNOWN: &str = "unknown";

async fn metrics(parts: &Parts, renderings: &Renderings) -> Response {
    let page = renderings.page(|| numbers(parts)).await;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let mut response = ([(header::CONTENT_TYPE, content_type)], page).into_response();
    response.extensions_mut().insert(Shared);
    response
}

fn numbers(parts: &Parts) -> String {
    let mut page = Page::default();
    write_router(&mut page, &parts.grid.metrics(), &parts.grid.pending());
    write_comms(&mut page, &parts.comms.metrics());
    write_store(&mut page, &parts.watch.store());
    page.single(
        &catalogue::BROKEN_INVARIANTS,
        gridpost_model::broken_invariants(),
    );
    write_traces(&mut page, &parts.watch.traces());
    write_process(&mut page, &parts.watch.process());
    page.text
}

/// A metric and where its value stands.
type Value<T> = (Metric, fn(&T) -> f64);

fn write_router(page: &mut Page, metrics: &Metrics, pending: &Pending) {
    write_topics(page, metrics);
    write_lanes(page, &metrics.lanes);
    page.begin(&catalogue::PENDING);
    let states = [
        ("fresh", pending.fresh),
        ("held", pending.held),
        ("in_flight", pending.in_flight),
        ("waiting", pending.waiting),
    ];
    for (state, number) in states {
        page.sample(&catalogue::PENDING, &[state], number);
    }
    page.begin(&catalogue::SHOWN_TOGETHER);
    let topics = metrics.topics.iter().filter_map(|one| one.stands_for);
    let lanes = metrics.lanes.iter().filter_map(|one| one.stands_for);
    for (kind, number) in [
        ("source", topics.sum::<u64>()),
        ("event_subscription", lanes.sum()),
    ] {
        page.sample(&catalogue::SHOWN_TOGETHER, &[kind], number);
    }
}

fn write_topics(page: &mut Page, metrics: &Metrics) {
    let numbers: [Value<TopicMetrics>; 6] = [
        (catalogue::PUBLISH_SUCCESS, |t| t.publish_success as f64),
        (catalogue::UNMATCHED, |t| t.unmatched as f64),
        (catalogue::ACCEPTED, |t| t.publish_success as f64),
        (catalogue::NOT_STORED, |t| t.not_stored as f64),
        (catalogue::EVENTS_UNMATCHED, |t| t.unmatched as f64),
        (catalogue::ACCEPT_SECONDS, |t| {
            t.publish_success_latency.sum().as_secs_f64()
        }),
    ];
    for (metric, value) in &numbers {
        page.begin(metric);
        for topic in &metrics.topics {
            page.sample(metric, &[topic_label(topic)], value(topic));
        }
    }
    page.begin(&catalogue::PUBLISH_LATENCY);
    for topic in &metrics.topics {
        let histogram = &topic.publish_success_latency;
        page.histogram(
            &catalogue::PUBLISH_LATENCY,
            &[topic_label(topic)],
            histogram,
        );
    }
    write_refusals(page, metrics);
    write_dropped(page, metrics);
}

fn write_refusals(page: &mut Page, metrics: &Metrics) {
    page.begin(&catalogue::PUBLISH_FAIL);
    let mut write = |source: &str, refusals: &Refusals| {
        for ((error, error_type), number) in refusals {
            page.sample(
                &catalogue::PUBLISH_FAIL,
                &[source, error_type, error],
                number,
            );
        }
    };
    for topic in &metrics.topics {
        write(topic_label(topic), &topic.refused);
    }
    write(UNKNOWN, &metrics.refused_nowhere);
}

fn write_dropped(page: &mut Page, metrics: &Metrics) {
    page.begin(&catalogue::DROPPED);
    for topic in &metrics.topics {
        for ((subscription, reason), number) in &topic.dropped {
            let labels = [topic_label(topic), subscription, reason];
            page.sample(&catalogue::DROPPED, &labels, number);
        }
    }
    for (reason, number) in &metrics.dropped_nowhere {
        page.sample(&catalogue::DROPPED, &[UNKNOWN, UNKNOWN, reason], number);
    }
    page.begin(&catalogue::DELIVERIES_DROPPED);
    for topic in &metrics.topics {
        let mut by_name: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
        for ((subscription, _), number) in &topic.dropped {
            *by_name.entry(subscription).or_default() += number;
        }
        for (subscription, number) in by_name {
            let labels = [topic_label(topic), subscription];
            page.sample(&catalogue::DELIVERIES_DROPPED, &labels, number);
        }
    }
}

fn topic_label(topic: &TopicMetrics) -> &str {
    match topic.stands_for {
        None => topic.source.as_str(),
        Some(_) => OTHER,
    }
}

fn write_lanes(page: &mut Page, lanes: &[LaneMetrics]) {
    let numbers: [Value<LaneMetrics>; 13] = [
        (catalogue::MATCHED, |l| l.counts.matched as f64),
        (catalogue::DELIVERY_SUCCESS, |l| l.counts.delivered as f64),
        (catalogue::FILTERS_EVALUATED, |l| {
            l.counts.filters_evaluated as f64
        }),
        (catalogue::EVENTS_MATCHED, |l| l.counts.matched as f64),
        (catalogue::DELIVERIES, |l| l.counts.delivered as f64),
        (catalogue::RETRIED, |l| l.counts.retried as f64),
        (catalogue::ATTEMPT_SECONDS, |l| {
            l.counts.processing.sum().as_secs_f64()
        }),
        (catalogue::LANE_FRESH, |l| l.fresh as f64),
        (catalogue::LANE_IN_FLIGHT, |l| l.in_flight as f64),
        (catalogue::LANE_WAITING, |l| l.waiting as f64),
        (catalogue::LANE_BEHIND, |l| f64::from(u8::from(l.behind))),
        (catalogue::LANE_PROBATION, |l| {
            f64::from(u8::from(l.probation))
        }),
        (catalogue::LANE_OLDEST, |l| {
            l.oldest_undelivered.unwrap_or_default().as_secs_f64()
        }),
    ];
    for (metric, value) in &numbers {
        page.begin(metric);
        for lane in lanes {
            page.sample(metric, &lane_labels(lane), value(lane));
        }
    }
    for metric in [&catalogue::PROCESSING, &catalogue::DELIVERY_LATENCY] {
        let of_attempts = metric.name == catalogue::PROCESSING.name;
        page.begin(metric);
        for lane in lanes {
            let histogram = if of_attempts {
                &lane.counts.processing
            } else {
                &lane.counts.latency
            };
            page.histogram(metric, &lane_labels(lane), histogram);
        }
    }
    write_causes(page, lanes);
}

fn write_causes(page: &mut Page, lanes: &[LaneMetrics]) {
    let failed: fn(&LaneMetrics) -> &BTreeMap<&'static str, u64> = |lane| &lane.counts.failed;
    let dead: fn(&LaneMetrics) -> &BTreeMap<&'static str, u64> = |lane| &lane.counts.dead_lettered;
    let families = [
        (&catalogue::ATTEMPT_FAIL, failed),
        (&catalogue::ATTEMPTS_FAILED, failed),
        (&catalogue::DEAD_LETTERED, dead),
        (&catalogue::DEAD_LETTERS, dead),
    ];
    for (metric, counts) in families {
        page.begin(metric);
        for lane in lanes {
            let [source, subscription] = lane_labels(lane);
            for (cause, number) in counts(lane) {
                let labels = [source, subscription, *cause, error_type(cause)];
                page.sample(metric, &labels[..metric.labels.len()], number);
            }
        }
    }
}

/// `ErrorType` of a failed attempt: whether there was an answer. The service does not document its values.
fn error_type(error: &str) -> &'static str {
    match error {
        "TimedOut" => "Timeout",
        "SocketError" | "ResolutionError" | "Aborted" => "Connection",
        "Probation" => "Probation",
        _ => "Response",
    }
}

fn lane_labels(lane: &LaneMetrics) -> [&str; 2] {
    match lane.stands_for {
        None => [lane.source.as_str(), &lane.subscription],
        Some(_) => [OTHER, OTHER],
    }
}

fn write_comms(page: &mut Page, counts: &CommsMetrics) {
    page.single(&catalogue::SMS_ACCEPTED, counts.sms_accepted);
    page.single(&catalogue::SMS_RECEIVED, counts.sms_received);
    page.single(&catalogue::SMS_DELIVERED, counts.sms_delivered);
    page.single(&catalogue::SMS_FAILED, counts.sms_failed);
}

fn write_store(page: &mut Page, store: &StoreStatus) {
    page.single(&catalogue::STORE_HEALTHY, u8::from(store.trouble.is_none()));
    page.single(&catalogue::JOURNAL_BYTES, store.journal_bytes);
    page.single(&catalogue::JOURNAL_SEGMENTS, store.segments);
    page.single(&catalogue::JOURNAL_SYNCS, store.syncs);
    page.single(&catalogue::JOURNAL_WRITTEN, store.written_bytes);
    page.single(&catalogue::JOURNAL_BATCHES, store.batches);
    page.single(
        &catalogue::CHECKPOINT_AGE,
        store.checkpoint_age.as_secs_f64(),
    );
}

fn write_traces(page: &mut Page, traces: &TraceStatus) {
    page.begin(&catalogue::TRACE_SPANS);
    for (outcome, number) in [
        ("exported", traces.exported),
        ("dropped", traces.dropped),
        ("refused", traces.refused),
    ] {
        page.sample(&catalogue::TRACE_SPANS, &[outcome], number);
    }
}

fn write_process(page: &mut Page, process: &ProcessStatus) {
    page.single(&catalogue::RESIDENT, process.resident_bytes);
    page.single(&catalogue::CPU, process.cpu.as_secs_f64());
    page.single(&catalogue::OPEN_FILES, process.open_files);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_metric_of_the_catalogue_once() {
        let mut page = Page::default();
        write_router(&mut page, &Metrics::default(), &Pending::default());
        write_comms(&mut page, &CommsMetrics::default());
        write_store(&mut page, &StoreStatus::default());
        page.single(&catalogue::BROKEN_INVARIANTS, 0);
        write_traces(&mut page, &TraceStatus::default());
        write_process(&mut page, &ProcessStatus::default());
        let mut begun = page.begun.clone();
        begun.sort_unstable();
        let mut all: Vec<_> = catalogue::ALL.iter().map(|metric| metric.name).collect();
        all.sort_unstable();
        assert_eq!(begun, all);
    }
}
