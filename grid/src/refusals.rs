//! Handshakes that failed, for whoever asks afterwards.
//!
//! Promise: the newest of them can be read until the process ends, bounded in number; what was secret is masked in them
//! already (`transcript`).
//! Not here: handshakes that wait for a visit (`confirm`).

use std::collections::VecDeque;
use std::sync::Arc;

use gridpost_model::{ResourceId, Timestamp};
use parking_lot::Mutex;

use crate::Grid;
use crate::transcript::Transcript;

/// How many are kept: a transcript has two exchanges at most, so about 10 KB.
pub const MOST_KEPT: usize = 100;

/// One failed handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedHandshake {
    /// When it failed.
    pub at: Timestamp,
    /// The resource that was subscribed to.
    pub source: ResourceId,
    /// The event subscription that was not made or changed.
    pub name: String,
    /// What was said.
    pub transcript: Transcript,
}

/// The newest of them, the newest last.
#[derive(Default)]
pub(crate) struct FailedHandshakes(Mutex<VecDeque<Arc<FailedHandshake>>>);

impl FailedHandshakes {
    pub(crate) fn keep(&self, one: FailedHandshake) {
        let mut all = self.0.lock();
        if all.len() >= MOST_KEPT {
            all.pop_front();
        }
        all.push_back(Arc::new(one));
    }
}

impl Grid {
    /// The failed handshakes of a source, of an event subscription's name, or all; the newest first.
    pub fn failed_handshakes(
        &self,
        source: Option<&ResourceId>,
        name: Option<&str>,
    ) -> Vec<Arc<FailedHandshake>> {
        let all = self.0.registry.failed_handshakes.0.lock();
        all.iter()
            .rev()
            .filter(|one| source.is_none_or(|source| one.source == *source))
            .filter(|one| name.is_none_or(|name| one.name.eq_ignore_ascii_case(name)))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let all = FailedHandshakes::default();
        for at in 0..MOST_KEPT + 1 {
            all.keep(FailedHandshake {
                at: Timestamp::EPOCH,
                source: "/subscriptions/s".parse().unwrap(),
                name: at.to_string(),
                transcript: Transcript::default(),
            });
        }
        let kept = all.0.lock();
        assert_eq!(kept.len(), MOST_KEPT);
        assert_eq!(kept[0].name, "1");
    }
}
