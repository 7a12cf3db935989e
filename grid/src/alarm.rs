//! One alarm clock for all lanes.
//!
//! Promise: a lane is rung at or soon after the moment it asked for. However many lanes wait, one task does, on one
//! timer.

use std::collections::BTreeSet;

use gridpost_model::subscription::LaneId;
use gridpost_model::{Clock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who is to be rung when.
#[derive(Default)]
pub(crate) struct Alarm {
    moments: Mutex<BTreeSet<(Timestamp, LaneId)>>,
    earlier: Notify,
}

impl Alarm {
    /// Rings the lane then.
    pub(crate) fn set(&self, at: Timestamp, lane: LaneId) {
        let mut moments = self.moments.lock();
        let is_earlier = moments.first().is_none_or(|(first, _)| at < *first);
        moments.insert((at, lane));
        drop(moments);
        if is_earlier {
            self.earlier.notify_one();
        }
    }

    /// Waits until somebody is to be rung, and returns who.
    pub(crate) async fn next(&self, clock: &dyn Clock) -> Vec<LaneId> {
        loop {
            let now = clock.now();
            let due = self.due(now);
            if !due.is_empty() {
                return due;
            }
            let first = self.moments.lock().first().map(|(first, _)| *first);
            match first {
                None => self.earlier.notified().await,
                Some(first) => tokio::select! {
                    () = clock.sleep_until(first) => (),
                    () = self.earlier.notified() => (),
                },
            }
        }
    }

    fn due(&self, now: Timestamp) -> Vec<LaneId> {
        let mut moments = self.moments.lock();
        let later = moments.split_off(&(now, LaneId(u64::MAX)));
        let due = std::mem::replace(&mut *moments, later);
        due.into_iter().map(|(_, lane)| lane).collect()
    }
}
