//! One measurement: load on a subject until everything accepted has arrived, as a row of the report.
//!
//! Promise: the subject is warm before the clock starts, and a measurement in which something did not arrive fails.
//! Not here: what is measured, and what it is held against (`cases`).

use std::time::Duration;

use anyhow::ensure;

use super::cases::{Bench, PATIENCE};
use super::endpoint::Endpoint;
use super::load::{Body, Published, Target, Until, closed_loop, open_loop};
use super::report::{Latency, Row};
use super::stopwatch;
use super::subject::{Subject, Usage};

/// How long a case runs before it is measured: until connections stand and the store's first spares are made.
const WARM_UP: Duration = Duration::from_secs(3);

impl Bench<'_> {
    /// Full load for the span of the run, until everything accepted has arrived.
    pub(super) async fn saturate(
        &self,
        case: &str,
        subject: &Subject,
        target: &Target,
        endpoint: &Endpoint,
        concurrency: usize,
        copies: u64,
    ) -> anyhow::Result<Row> {
        super::report_step(&format!("{case}, c={concurrency}"));
        let warm = closed_loop(target, concurrency, Until::Elapsed(WARM_UP)).await;
        ensure!(warm.accepted > 0, "{case}: nothing was accepted");
        endpoint.received(warm.accepted * copies, PATIENCE).await;
        endpoint.reset();
        let (began, before) = (stopwatch::nanos(), subject.usage()?);
        let published = closed_loop(target, concurrency, Until::Elapsed(self.args.span())).await;
        let all = endpoint
            .received(published.accepted * copies, PATIENCE)
            .await;
        ensure!(
            all,
            "{case}: {} of {} deliveries arrived",
            endpoint.events(),
            published.accepted * copies
        );
        let delivered = Delivered::by(endpoint, began);
        Ok(row(
            case,
            concurrency,
            batch_of(target),
            &published,
            &delivered,
            before,
            subject.usage()?,
        ))
    }

    pub(super) async fn pace(
        &self,
        case: &str,
        subject: &Subject,
        target: &Target,
        endpoint: &Endpoint,
        per_second: f64,
        span: Duration,
    ) -> anyhow::Result<Row> {
        super::report_step(&format!("{case} ({per_second:.0}/s)"));
        open_loop(target, per_second, Duration::from_secs(1)).await;
        stopwatch::pause(Duration::from_millis(200)).await;
        endpoint.reset();
        let (began, before) = (stopwatch::nanos(), subject.usage()?);
        let published = open_loop(target, per_second, span).await;
        endpoint.received(published.accepted, PATIENCE).await;
        let delivered = Delivered::by(endpoint, began);
        Ok(row(
            case,
            32,
            batch_of(target),
            &published,
            &delivered,
            before,
            subject.usage()?,
        ))
    }
}

pub(super) struct Delivered {
    events: u64,
    elapsed: Duration,
    latency: Latency,
}

impl Delivered {
    pub(super) fn none() -> Self {
        Self {
            events: 0,
            elapsed: Duration::from_secs(1),
            latency: Latency::default(),
        }
    }

    fn by(endpoint: &Endpoint, began: u64) -> Self {
        Self {
            events: endpoint.events(),
            elapsed: Duration::from_nanos(endpoint.last().saturating_sub(began)),
            latency: Latency::from(&endpoint.latency()),
        }
    }
}

pub(super) fn row(
    case: &str,
    concurrency: usize,
    events_a_request: usize,
    published: &Published,
    delivered: &Delivered,
    before: Usage,
    after: Usage,
) -> Row {
    let accepted = published.accepted.max(1) as f64;
    let payload = accepted * 1_000.0;
    Row {
        case: case.to_owned(),
        concurrency,
        events_a_request,
        accepted_per_second: accepted / published.elapsed.as_secs_f64(),
        delivered_per_second: delivered.events as f64 / delivered.elapsed.as_secs_f64().max(1e-9),
        publish: Latency::from(&published.latency),
        delivery: delivered.latency,
        cpu_us_per_event: (after.cpu - before.cpu).as_secs_f64() * 1e6 / accepted,
        peak_memory_mb: after.peak_bytes as f64 / 1e6,
        written_per_payload_byte: (after.written_bytes - before.written_bytes) as f64 / payload,
        refused: published.refused,
    }
}

fn batch_of(target: &Target) -> usize {
    match target.body {
        Body::Events { batch } => batch,
        Body::InboundText | Body::ChatMessage => 1,
    }
}

/// The row in the middle by deliveries a second.
pub(super) fn median(mut rows: Vec<Row>) -> Row {
    rows.sort_by(|one, other| {
        one.delivered_per_second
            .total_cmp(&other.delivered_per_second)
    });
    rows.swap_remove(rows.len() / 2)
}
