//! What a lane says to the operator about the trouble that its destination has.
//!
//! Promise: an endpoint that goes on probation or comes back is one line; dead letters are at most one line a minute for
//! each event subscription, with their number. What is counted within the minute is told with the next trouble after it.
//! Not here: what is counted for ever (`metrics`), what becomes of each event (`tail`).

use std::time::Duration;

use gridpost_model::Timestamp;
use tracing::{info, warn};

use super::Lane;
use crate::retry::{Outcome, Reason};

/// An operator reads a line a minute; a destination may refuse thousands of events in it.
const PAUSE: Duration = Duration::from_secs(60);

/// Dead letters that were not told of yet.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    untold: u64,
    reason: Option<Reason>,
    told: Option<Timestamp>,
}

/// How many dead letters there were since the last line, and the reason of the newest.
pub(super) type Lost = Option<(u64, Reason)>;

impl Remarks {
    /// Counts a dead letter.
    pub(super) fn count(&mut self, reason: Reason) {
        self.untold += 1;
        self.reason = Some(reason);
    }

    /// What is to be told now, which counts as told.
    pub(super) fn due(&mut self, now: Timestamp) -> Lost {
        let reason = self.reason?;
        if self.told.is_some_and(|told| now < told + PAUSE) {
            return None;
        }
        self.told = Some(now);
        self.reason = None;
        Some((std::mem::take(&mut self.untold), reason))
    }
}

impl Lane {
    pub(super) fn remark_lost(&self, lost: Lost) {
        let Some((count, reason)) = lost else { return };
        let name = &*self.plan.load().name;
        let (events, became) = match count {
            1 => ("an event".to_owned(), "a dead letter"),
            _ => (format!("{count} events"), "dead letters"),
        };
        warn!(
            subscription = name,
            events.dead_lettered = count,
            "{events} could not be delivered to {name} and became {became} ({}); see `gridpost dead-letter list`",
            reason.as_str()
        );
    }

    pub(super) fn remark_probation(&self, outcome: Outcome, until: Timestamp) {
        let name = &*self.plan.load().name;
        warn!(
            subscription = name,
            "the endpoint of {name} failed too often in a row, last with {outcome}, and is left alone until {until}; then \
             one event probes it"
        );
    }

    pub(super) fn remark_return(&self) {
        let name = &*self.plan.load().name;
        info!(
            subscription = name,
            "the endpoint of {name} takes events again"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Reason = Reason::UndeliverableDueToHttpBadRequest;

    #[test]
    fn the_first_dead_letter_is_told_at_once_and_the_next_ones_by_the_minute() {
        let at = |seconds: i64| Timestamp::from_seconds(1_000 + seconds);
        let mut remarks = Remarks::default();
        assert_eq!(remarks.due(at(0)), None, "nothing was lost");
        remarks.count(REFUSED);
        assert_eq!(remarks.due(at(0)), Some((1, REFUSED)));
        for second in 1..60 {
            remarks.count(REFUSED);
            assert_eq!(remarks.due(at(second)), None);
        }
        assert_eq!(remarks.due(at(60)), Some((59, REFUSED)));
        assert_eq!(remarks.due(at(600)), None, "all was told");
    }
}
