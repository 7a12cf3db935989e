//! Every metric there is: its name, kind and labels, and what it tells.
//!
//! Promise: nothing is on the page that is not here, and the table in docs/operations.md is this list: a test compares
//! them. A metric of the service has its name in Prometheus spelling: `eventgrid_`, the words in snake case, `_total`
//! for `Count` and `_seconds` for `InMs`, and the service's dimensions as labels.
//! Not here: the values (`super`), how they are written (`super::page`).
//! Source: reference event-grid 8.1.

/// What a metric's value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, from zero at the start of the process.
    Counter,
    /// How it is now.
    Gauge,
    /// Durations by bucket.
    Histogram,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    /// The service's name, when it has this metric.
    pub(super) azure: Option<&'static str>,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal $($azure:literal)?;)*) => {
        $(pub(super) const $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
            azure: [$(Some($azure),)? None][0],
        };)*

        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    PUBLISH_SUCCESS = Counter "eventgrid_publish_success_total" ["source"]
        "Events accepted." "PublishSuccessCount";
    PUBLISH_FAIL = Counter "eventgrid_publish_fail_total" ["source", "error_type", "error"]
        "Publish requests refused, by the name of their status and the reason." "PublishFailCount";
    PUBLISH_LATENCY = Histogram "eventgrid_publish_success_latency_seconds" ["source"]
        "How long accepting a batch took." "PublishSuccessLatencyInMs";
    UNMATCHED = Counter "eventgrid_unmatched_event_total" ["source"]
        "Events that nobody wanted." "UnmatchedEventCount";
    MATCHED = Counter "eventgrid_matched_event_total" ["source", "event_subscription_name"]
        "Events that a subscription wanted." "MatchedEventCount";
    DELIVERY_SUCCESS = Counter "eventgrid_delivery_success_total" ["source", "event_subscription_name"]
        "Deliveries that the destination acknowledged." "DeliverySuccessCount";
    ATTEMPT_FAIL = Counter "eventgrid_delivery_attempt_fail_total"
        ["source", "event_subscription_name", "error", "error_type"]
        "Attempts that failed." "DeliveryAttemptFailCount";
    PROCESSING = Histogram "eventgrid_destination_processing_duration_seconds" ["source", "event_subscription_name"]
        "How long the destination took, by attempts." "DestinationProcessingDurationInMs";
    DEAD_LETTERED = Counter "eventgrid_dead_lettered_total"
        ["source", "event_subscription_name", "dead_letter_reason"]
        "Deliveries that became dead letters." "DeadLetteredCount";
    DROPPED = Counter "eventgrid_dropped_event_total" ["source", "event_subscription_name", "drop_reason"]
        "Deliveries that went with their subscription, and dead letters that came into no blob, were too old or too many." "DroppedEventCount";
    FILTERS_EVALUATED = Counter "eventgrid_advanced_filter_evaluation_total" ["source", "event_subscription_name"]
        "Advanced filters evaluated." "AdvancedFilterEvaluationCount";

    ACCEPTED = Counter "gridpost_events_accepted_total" ["source"] "Events accepted.";
    NOT_STORED = Counter "gridpost_events_not_stored_total" ["source"] "Events that the store did not take.";
    EVENTS_UNMATCHED = Counter "gridpost_events_unmatched_total" ["source"] "Events that nobody wanted.";
    ACCEPT_SECONDS = Counter "gridpost_accept_seconds_total" ["source"] "Time spent accepting, over all batches.";
    EVENTS_MATCHED = Counter "gridpost_events_matched_total" ["source", "subscription"]
        "Events that a subscription wanted.";
    DELIVERIES = Counter "gridpost_deliveries_total" ["source", "subscription"]
        "Deliveries that the endpoint acknowledged.";
    RETRIED = Counter "gridpost_deliveries_retried_total" ["source", "subscription"]
        "Attempts that are tried again.";
    DELIVERY_LATENCY = Histogram "gridpost_delivery_latency_seconds" ["source", "subscription"]
        "From acceptance to delivery.";
    ATTEMPT_SECONDS = Counter "gridpost_attempt_seconds_total" ["source", "subscription"]
        "Time that endpoints took, over all attempts.";
    ATTEMPTS_FAILED = Counter "gridpost_attempts_failed_total" ["source", "subscription", "error"]
        "Attempts that failed.";
    DEAD_LETTERS = Counter "gridpost_dead_letters_total" ["source", "subscription", "reason"]
        "Deliveries that were given up.";
    DELIVERIES_DROPPED = Counter "gridpost_deliveries_dropped_total" ["source", "subscription"]
        "Deliveries of deleted subscriptions.";
    LANE_FRESH = Gauge "gridpost_lane_fresh" ["source", "subscription"]
        "Deliveries in memory that were never tried.";
    LANE_IN_FLIGHT = Gauge "gridpost_lane_in_flight" ["source", "subscription"] "Attempts under way.";
    LANE_WAITING = Gauge "gridpost_lane_waiting" ["source", "subscription"] "Deliveries that are due later.";
    LANE_BEHIND = Gauge "gridpost_lane_behind" ["source", "subscription"]
        "Whether more is in the journal than in memory.";
    LANE_PROBATION = Gauge "gridpost_lane_probation" ["source", "subscription"]
        "Whether the endpoint is being left alone.";
    LANE_OLDEST = Gauge "gridpost_lane_oldest_undelivered_seconds" ["source", "subscription"]
        "Age of the oldest open delivery.";
    PENDING = Gauge "gridpost_pending_deliveries" ["state"] "Deliveries that are not settled.";
    SHOWN_TOGETHER = Gauge "gridpost_metrics_shown_together" ["kind"]
        "Sources and event subscriptions whose numbers are under `other`.";

    SMS_ACCEPTED = Counter "gridpost_sms_accepted_total" [] "Messages accepted for sending.";
    SMS_RECEIVED = Counter "gridpost_sms_received_total" [] "Messages received from handsets.";
    SMS_DELIVERED = Counter "gridpost_sms_delivered_total" [] "Messages reported as delivered.";
    SMS_FAILED = Counter "gridpost_sms_failed_total" [] "Messages reported as failed.";

    STORE_HEALTHY = Gauge "gridpost_store_healthy" [] "Whether writes are accepted.";
    JOURNAL_BYTES = Gauge "gridpost_journal_bytes" [] "Journal on disk.";
    JOURNAL_SEGMENTS = Gauge "gridpost_journal_segments" [] "Segments on disk.";
    JOURNAL_SYNCS = Counter "gridpost_journal_syncs_total" [] "Forced writes.";
    JOURNAL_WRITTEN = Counter "gridpost_journal_written_bytes_total" [] "Bytes written.";
    JOURNAL_BATCHES = Counter "gridpost_journal_batches_total" [] "Group commits.";
    CHECKPOINT_AGE = Gauge "gridpost_checkpoint_age_seconds" [] "Age of the checkpoint.";
    TRACE_SPANS = Counter "gridpost_trace_spans_total" ["outcome"]
        "Spans that a collector took, that were dropped because it could not, that it did not want.";
    BROKEN_INVARIANTS = Counter "gridpost_broken_invariants_total" [] "Expected to stay at zero.";

    RESIDENT = Gauge "process_resident_memory_bytes" [] "Resident memory.";
    CPU = Counter "process_cpu_seconds_total" [] "Processor time used.";
    OPEN_FILES = Gauge "process_open_fds" [] "Open files and sockets.";
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: &str = include_str!("../../../docs/operations.md");

    /// The rule that the documentation gives.
    fn prometheus_name(azure: &str) -> String {
        let (words, unit) = azure
            .strip_suffix("Count")
            .map(|words| (words, "total"))
            .or_else(|| azure.strip_suffix("InMs").map(|words| (words, "seconds")))
            .unwrap();
        let mut name = "eventgrid".to_owned();
        for letter in words.chars() {
            if letter.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        format!("{name}_{unit}")
    }

    #[test]
    fn section_8_1_every_metric_of_the_basic_tier_is_there_under_its_name() {
        let documented = [
            "PublishSuccessCount",
            "PublishFailCount",
            "PublishSuccessLatencyInMs",
            "UnmatchedEventCount",
            "MatchedEventCount",
            "DeliverySuccessCount",
            "DeliveryAttemptFailCount",
            "DestinationProcessingDurationInMs",
            "DeadLetteredCount",
            "DroppedEventCount",
            "AdvancedFilterEvaluationCount",
        ];
        let found: Vec<_> = ALL.iter().filter_map(|metric| metric.azure).collect();
        assert_eq!(found, documented);
        for metric in ALL {
            match metric.azure {
                Some(azure) => assert_eq!(metric.name, prometheus_name(azure)),
                None => assert!(!metric.name.starts_with("eventgrid_"), "{}", metric.name),
            }
        }
    }

    fn row(metric: &Metric) -> String {
        let labels: Vec<_> = metric.labels.iter().map(|one| format!("`{one}`")).collect();
        let azure = metric.azure.unwrap_or_default();
        let (name, kind) = (metric.name, metric.kind.as_str());
        format!(
            "| `{name}` | {kind} | {} | {azure} | {} |",
            labels.join(", "),
            metric.help
        )
    }

    #[test]
    fn the_table_in_the_documentation_is_this_list() {
        const HEAD: &str = "| name | kind | labels | the service's name | what it tells |";
        let rows: Vec<_> = ALL.iter().map(|metric| row(metric)).collect();
        let table = OPERATIONS
            .split_once(HEAD)
            .map(|(_, rest)| rest)
            .unwrap_or_default();
        let found: Vec<_> = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(
            found,
            rows,
            "docs/operations.md should have this table:\n\n{HEAD}\n|---|---|---|---|---|\n{}\n",
            rows.join("\n")
        );
    }
}
