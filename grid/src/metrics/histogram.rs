//! How long things took, in a fixed number of buckets.
//!
//! Promise: noting a duration is a search among twelve bounds and two additions; the bounds never change while the
//! process lives, so what was read once can be compared with what is read later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of a histogram's buckets, ascending. A last bucket takes what is above.
pub type Bounds = [Duration; BOUNDS];

/// Enough to tell a fast disk from a slow one and a slow endpoint from a dead one, few enough to have for every
/// event subscription.
const BOUNDS: usize = 12;

const fn millis<const N: usize>(list: [u64; N]) -> [Duration; N] {
    let mut bounds = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        bounds[index] = Duration::from_millis(list[index]);
        index += 1;
    }
    bounds
}

/// Accepting a batch: one forced write, more when the disk is slow.
pub(super) static PUBLISH: Bounds =
    millis([1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000]);

/// One attempt: at most the time limit of an answer.
pub(super) static PROCESSING: Bounds = millis([
    1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 30_000,
]);

/// From acceptance to delivery: milliseconds when all is well, a day when the destination was down for one.
pub(super) static DELIVERY: Bounds = millis([
    5, 10, 50, 100, 500, 1_000, 10_000, 60_000, 600_000, 3_600_000, 21_600_000, 86_400_000,
]);

/// Durations, counted by bucket.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    counts: [u64; BOUNDS + 1],
    sum: Duration,
}

impl Histogram {
    pub(super) const fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            counts: [0; BOUNDS + 1],
            sum: Duration::ZERO,
        }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.counts[bucket(self.bounds, took)] += 1;
        self.sum += took;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// Each bound with the number of durations up to it; no bound stands for all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        bounds.zip(counts)
    }

    /// How many durations were noted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The same, noted by many at once.
#[derive(Debug)]
pub(super) struct SharedHistogram {
    bounds: &'static Bounds,
    counts: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl SharedHistogram {
    pub(super) fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; BOUNDS + 1],
            sum_ns: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, took: Duration) {
        self.counts[bucket(self.bounds, took)].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Histogram {
        Histogram {
            bounds: self.bounds,
            counts: std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)),
        }
    }
}

fn bucket(bounds: &Bounds, took: Duration) -> usize {
    bounds.partition_point(|bound| *bound < took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_that_it_fits_into() {
        let mut histogram = Histogram::new(&PROCESSING);
        for took in [0, 5, 6, 40_000].map(Duration::from_millis) {
            histogram.record(took);
        }
        let found: Vec<_> = histogram.cumulative().collect();
        assert_eq!(found[0], (Some(Duration::from_millis(1)), 1));
        // A bound belongs to its own bucket.
        assert_eq!(found[1], (Some(Duration::from_millis(5)), 2));
        assert_eq!(found[2], (Some(Duration::from_millis(10)), 3));
        assert_eq!(found[11], (Some(Duration::from_secs(30)), 3));
        assert_eq!(found[12], (None, 4));
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.sum(), Duration::from_millis(40_011));
    }

    #[test]
    fn a_shared_histogram_reads_as_one_that_was_filled_alone() {
        let shared = SharedHistogram::new(&PUBLISH);
        let mut alone = Histogram::new(&PUBLISH);
        for took in [1, 3, 3, 9_000].map(Duration::from_millis) {
            shared.record(took);
            alone.record(took);
        }
        let read = shared.read();
        assert!(read.cumulative().eq(alone.cumulative()));
        assert_eq!(read.sum(), alone.sum());
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [&PUBLISH, &PROCESSING, &DELIVERY] {
            assert!(bounds.is_sorted_by(|one, next| one < next));
        }
    }
}
