//! The store's and the process's condition, and what became of traces, for `/readyz` and `/metrics`.

use std::fs;
use std::time::Duration;

use gridpost_api::operations::{ProcessStatus, StoreStatus, TraceStatus, Watch};
use gridpost_store::{Health, Store};

use crate::telemetry::Telemetry;

/// Watches one store and the process it is in.
pub struct ProcessWatch {
    store: Store,
    telemetry: Telemetry,
}

impl ProcessWatch {
    /// A watch on that store, and on what becomes of traces.
    pub fn new(store: Store, telemetry: Telemetry) -> Self {
        Self { store, telemetry }
    }
}

impl Watch for ProcessWatch {
    fn store(&self) -> StoreStatus {
        let status = self.store.status();
        StoreStatus {
            trouble: match status.health {
                Health::Healthy => None,
                Health::NoSpace => Some("the disk is full".to_owned()),
                Health::Failed(why) => Some(why.to_string()),
            },
            journal_bytes: status.journal_bytes,
            segments: status.segments,
            syncs: status.syncs,
            written_bytes: status.written_bytes,
            batches: status.batches,
            checkpoint_age: status.checkpoint_age,
        }
    }

    fn traces(&self) -> TraceStatus {
        self.telemetry.status()
    }

    fn process(&self) -> ProcessStatus {
        ProcessStatus {
            resident_bytes: resident_bytes().unwrap_or_default(),
            cpu: cpu().unwrap_or_default(),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * rustix::param::page_size() as u64)
}

fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold spaces; the numbers follow.
    let mut numbers = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let user: u64 = numbers.next()?.parse().ok()?;
    let system: u64 = numbers.next()?.parse().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(
        (user + system) * 1000 / ticks_per_second.max(1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(cpu().is_some());
    }
}
