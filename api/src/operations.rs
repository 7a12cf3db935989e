//! What operators and their tools ask: alive, ready, and the numbers.
//!
//! Promise: asking costs no disk access and needs no credential; names of resources are shown, keys and contents never.
//! Not here: counting (`grid::metrics`, `comms::metrics`), the store's and the process's condition (`Watch`, which
//! `server` implements).

use std::fmt::{Display, Write as _};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gridpost_grid::metrics::{LaneMetrics, TopicMetrics};
use http::{StatusCode, header};

use crate::{Parts, Shared};

/// How the store and the process are doing. Implemented by `server`, because nothing here may know the store.
pub trait Watch: Send + Sync + 'static {
    /// The store's condition at this moment.
    fn store(&self) -> StoreStatus;
    /// The process's condition at this moment.
    fn process(&self) -> ProcessStatus;
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

/// `/livez`, `/readyz`, `/metrics`.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Ready means that an event would be accepted now.
async fn ready(State(parts): State<Shared>) -> Response {
    match parts.watch.store().trouble {
        None => "ready\n".into_response(),
        Some(trouble) => {
            let text = format!("not ready: the store does not accept writes: {trouble}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn metrics(State(parts): State<Shared>) -> Response {
    let mut page = Page::default();
    page.grid(&parts);
    page.comms(&parts);
    page.store(&parts.watch.store());
    page.process(&parts.watch.process());
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], page.0).into_response()
}

/// A page in the Prometheus text format.
#[derive(Default)]
struct Page(String);

/// The labels of a sample, in order.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// A metric: its name, what it tells, and where its value stands.
type Family<'a, T> = (&'a str, &'a str, fn(&T) -> f64);

impl Page {
    fn grid(&mut self, parts: &Parts) {
        let metrics = parts.grid.metrics();
        self.topics(&metrics.topics);
        self.lanes(&metrics.lanes);
        let pending = parts.grid.pending();
        self.begin(
            "gridpost_pending_deliveries",
            "gauge",
            "Deliveries that are not settled.",
        );
        let states = [
            ("fresh", pending.fresh),
            ("held", pending.held),
            ("in_flight", pending.in_flight),
            ("waiting", pending.waiting),
        ];
        for (state, number) in states {
            self.sample("gridpost_pending_deliveries", &[("state", state)], number);
        }
        self.begin(
            "gridpost_broken_invariants_total",
            "counter",
            "Expected to stay at zero.",
        );
        let broken = gridpost_model::broken_invariants();
        self.sample("gridpost_broken_invariants_total", &[], broken);
    }

    fn topics(&mut self, topics: &[TopicMetrics]) {
        let families: [Family<'_, TopicMetrics>; 4] = [
            ("gridpost_events_accepted_total", "Events accepted.", |t| {
                t.publish_success as f64
            }),
            (
                "gridpost_events_not_stored_total",
                "Events that the store did not take.",
                |t| t.publish_fail as f64,
            ),
            (
                "gridpost_events_unmatched_total",
                "Events that nobody wanted.",
                |t| t.unmatched as f64,
            ),
            (
                "gridpost_accept_seconds_total",
                "Time spent accepting, over all batches.",
                |t| t.publish_success_latency.as_secs_f64(),
            ),
        ];
        for (name, help, value) in families {
            self.begin(name, "counter", help);
            for topic in topics {
                self.sample(name, &[("source", topic.source.as_str())], value(topic));
            }
        }
    }

    fn lanes(&mut self, lanes: &[LaneMetrics]) {
        let counters: [Family<'_, LaneMetrics>; 5] = [
            (
                "gridpost_events_matched_total",
                "Events that a subscription wanted.",
                |l| l.counts.matched as f64,
            ),
            (
                "gridpost_deliveries_total",
                "Deliveries that the endpoint acknowledged.",
                |l| l.counts.delivered as f64,
            ),
            (
                "gridpost_deliveries_retried_total",
                "Attempts that are tried again.",
                |l| l.counts.retried as f64,
            ),
            (
                "gridpost_deliveries_dropped_total",
                "Deliveries of deleted subscriptions.",
                |l| l.counts.dropped as f64,
            ),
            (
                "gridpost_attempt_seconds_total",
                "Time that endpoints took, over all attempts.",
                |l| l.counts.processing.as_secs_f64(),
            ),
        ];
        self.of_lanes("counter", lanes, &counters);
        let gauges: [Family<'_, LaneMetrics>; 6] = [
            (
                "gridpost_lane_fresh",
                "Deliveries in memory that were never tried.",
                |l| l.fresh as f64,
            ),
            ("gridpost_lane_in_flight", "Attempts under way.", |l| {
                l.in_flight as f64
            }),
            (
                "gridpost_lane_waiting",
                "Deliveries that are due later.",
                |l| l.waiting as f64,
            ),
            (
                "gridpost_lane_behind",
                "Whether more is in the journal than in memory.",
                |l| f64::from(u8::from(l.behind)),
            ),
            (
                "gridpost_lane_probation",
                "Whether the endpoint is being left alone.",
                |l| f64::from(u8::from(l.probation)),
            ),
            (
                "gridpost_lane_oldest_undelivered_seconds",
                "Age of the oldest open delivery.",
                |l| l.oldest_undelivered.unwrap_or_default().as_secs_f64(),
            ),
        ];
        self.of_lanes("gauge", lanes, &gauges);
        self.by_cause(
            "gridpost_attempts_failed_total",
            "Attempts that failed.",
            "error",
            lanes,
            |l| &l.counts.failed,
        );
        self.by_cause(
            "gridpost_dead_letters_total",
            "Deliveries that were given up.",
            "reason",
            lanes,
            |l| &l.counts.dead_lettered,
        );
    }

    fn of_lanes(
        &mut self,
        kind: &str,
        lanes: &[LaneMetrics],
        families: &[Family<'_, LaneMetrics>],
    ) {
        for (name, help, value) in families {
            self.begin(name, kind, help);
            for lane in lanes {
                self.sample(name, &labels_of(lane), value(lane));
            }
        }
    }

    fn by_cause(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        lanes: &[LaneMetrics],
        counts: impl Fn(&LaneMetrics) -> &std::collections::BTreeMap<&'static str, u64>,
    ) {
        self.begin(name, "counter", help);
        for lane in lanes {
            for (cause, number) in counts(lane) {
                let [source, subscription] = labels_of(lane);
                self.sample(name, &[source, subscription, (label, cause)], *number);
            }
        }
    }

    fn comms(&mut self, parts: &Parts) {
        let counts = parts.comms.metrics();
        let families = [
            (
                "gridpost_sms_accepted_total",
                "Messages accepted for sending.",
                counts.sms_accepted,
            ),
            (
                "gridpost_sms_received_total",
                "Messages received from handsets.",
                counts.sms_received,
            ),
            (
                "gridpost_sms_delivered_total",
                "Messages reported as delivered.",
                counts.sms_delivered,
            ),
            (
                "gridpost_sms_failed_total",
                "Messages reported as failed.",
                counts.sms_failed,
            ),
        ];
        for (name, help, value) in families {
            self.begin(name, "counter", help);
            self.sample(name, &[], value);
        }
    }

    fn store(&mut self, store: &StoreStatus) {
        let healthy = u8::from(store.trouble.is_none());
        self.single(
            "gridpost_store_healthy",
            "gauge",
            "Whether writes are accepted.",
            healthy,
        );
        let bytes = store.journal_bytes;
        self.single("gridpost_journal_bytes", "gauge", "Journal on disk.", bytes);
        self.single(
            "gridpost_journal_segments",
            "gauge",
            "Segments on disk.",
            store.segments,
        );
        self.single(
            "gridpost_journal_syncs_total",
            "counter",
            "Forced writes.",
            store.syncs,
        );
        let written = store.written_bytes;
        self.single(
            "gridpost_journal_written_bytes_total",
            "counter",
            "Bytes written.",
            written,
        );
        self.single(
            "gridpost_journal_batches_total",
            "counter",
            "Group commits.",
            store.batches,
        );
        let age = store.checkpoint_age.as_secs_f64();
        self.single(
            "gridpost_checkpoint_age_seconds",
            "gauge",
            "Age of the checkpoint.",
            age,
        );
    }

    fn process(&mut self, process: &ProcessStatus) {
        let resident = process.resident_bytes;
        self.single(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            resident,
        );
        let cpu = process.cpu.as_secs_f64();
        self.single(
            "process_cpu_seconds_total",
            "counter",
            "Processor time used.",
            cpu,
        );
        self.single(
            "process_open_fds",
            "gauge",
            "Open files and sockets.",
            process.open_files,
        );
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.begin(name, kind, help);
        self.sample(name, &[], value);
    }

    // Writing into a `String` cannot fail.
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(text));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

fn labels_of(lane: &LaneMetrics) -> [(&str, &str); 2] {
    [
        ("source", lane.source.as_str()),
        ("subscription", &lane.subscription),
    ]
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.begin("a_total", "counter", "All of a.");
        page.sample("a_total", &[("x", "q\"\\"), ("y", "2")], 3);
        page.sample("b", &[], 1.5);
        assert_eq!(
            page.0,
            "# HELP a_total All of a.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\",y=\"2\"} 3\nb 1.5\n"
        );
    }
}
