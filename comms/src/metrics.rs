//! The numbers of the communication services. Each counts what was committed since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Comms;
use crate::sms::status::StatusCode;

/// What one transaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    pub(crate) fn ended(&mut self, code: StatusCode) {
        if code.is_delivered() {
            self.delivered += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// The counters.
#[derive(Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    received: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    ignored: AtomicU64,
}

impl Counters {
    pub(crate) fn accepted(&self, messages: usize) {
        self.accepted.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, tally: &Tally) {
        self.received.fetch_add(tally.received, Ordering::Relaxed);
        self.delivered.fetch_add(tally.delivered, Ordering::Relaxed);
        self.failed.fetch_add(tally.failed, Ordering::Relaxed);
        self.ignored.fetch_add(tally.ignored, Ordering::Relaxed);
    }
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Recipients answered 202, repetitions included.
    pub sms_accepted: u64,
    /// Inbound texts taken in.
    pub sms_received: u64,
    /// Messages that ended delivered.
    pub sms_delivered: u64,
    /// Messages that ended otherwise.
    pub sms_failed: u64,
    /// Reports for messages that had ended or were forgotten.
    pub sms_reports_ignored: u64,
}

impl Comms {
    /// The numbers, now.
    pub fn metrics(&self) -> Metrics {
        let counters = &self.0.metrics;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            sms_accepted: read(&counters.accepted),
            sms_received: read(&counters.received),
            sms_delivered: read(&counters.delivered),
            sms_failed: read(&counters.failed),
            sms_reports_ignored: read(&counters.ignored),
        }
    }
}
