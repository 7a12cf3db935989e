//! What a destination takes at once, and how often.
//!
//! Promise: values in, values out; the rate an endpoint allowed is kept over every minute, without a timer per request.
//! Source: reference event-grid 4.2 (rate), 5.5 (batches).

use std::time::Duration;

use gridpost_model::subscription::{AttributeValue, Batch, DeliveryAttribute};
use gridpost_model::{Destination, Timestamp};

/// What a destination takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Events in one request.
    pub(super) events: usize,
    /// The bytes they should not exceed; one larger event goes alone.
    pub(super) bytes: usize,
    /// How often it is sent to.
    pub(super) rate: Option<Rate>,
}

impl Terms {
    pub(super) fn of(destination: &Destination) -> Self {
        let (batch, attributes, per_minute) = match destination {
            Destination::WebHook(hook) => (hook.batch, &hook.attributes[..], hook.allowed_rate),
            Destination::AzureFunction(function) => {
                (function.batch, &function.attributes[..], None)
            }
            _ => (Batch::default(), &[][..], None),
        };
        // A header has one value; events that differ in it cannot share a request.
        let events = if attributes.iter().any(is_dynamic) {
            1
        } else {
            batch.max_events.max(1)
        };
        Self {
            events: usize::try_from(events).unwrap_or(usize::MAX),
            bytes: batch.preferred_bytes(),
            rate: per_minute.map(Rate::per_minute),
        }
    }
}

fn is_dynamic(attribute: &DeliveryAttribute) -> bool {
    matches!(attribute.value, AttributeValue::Dynamic { .. })
}

/// How late a request may be and still be made up for: what a timer's coarseness costs.
const SLACK: Duration = Duration::from_millis(10);

const MINUTE: Duration = Duration::from_secs(60);

/// Requests spread evenly over each minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    distance: Duration,
    next: Timestamp,
}

impl Rate {
    fn per_minute(requests: u32) -> Self {
        Self {
            distance: MINUTE / requests.max(1),
            next: Timestamp::EPOCH,
        }
    }

    /// The moment of the next request, when it has not come.
    pub(super) fn holds(&self, now: Timestamp) -> Option<Timestamp> {
        (now < self.next).then_some(self.next)
    }

    /// A request is made.
    pub(super) fn count(&mut self, now: Timestamp) {
        let late = now.since(self.next).min(SLACK);
        self.next = now + self.distance.saturating_sub(late);
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::subscription::WebHook;

    use super::*;

    #[test]
    fn section_4_2_requests_stay_within_the_allowed_rate() {
        for per_minute in [1, 120, 6_000] {
            let mut rate = Rate::per_minute(per_minute);
            let start = Timestamp::from_seconds(1_000);
            let (mut now, mut sent) = (start, 0);
            while now < start + MINUTE {
                if rate.holds(now).is_none() {
                    rate.count(now);
                    sent += 1;
                }
                // A timer that rings a little late.
                now = now + Duration::from_micros(700);
            }
            assert!(
                (per_minute * 9 / 10..=per_minute + 1).contains(&sent),
                "{sent} of {per_minute}"
            );
        }
    }

    #[test]
    fn an_idle_minute_is_not_saved_up() {
        let mut rate = Rate::per_minute(60);
        let start = Timestamp::from_seconds(1_000);
        rate.count(start);
        let later = start + MINUTE;
        assert_eq!(rate.holds(later), None);
        rate.count(later);
        assert!(rate.holds(later + Duration::from_millis(980)).is_some());
    }

    #[test]
    fn events_that_differ_in_a_header_go_alone() {
        let mut hook = WebHook {
            batch: Batch {
                max_events: 10,
                preferred_kilobytes: 64,
            },
            ..WebHook::new("https://example.com")
        };
        hook.attributes = vec![DeliveryAttribute::fixed("x", "v")];
        let terms = Terms::of(&Destination::WebHook(hook.clone()));
        assert_eq!((terms.events, terms.bytes), (10, 65_536));
        let taken = DeliveryAttribute::taken("x", "data.x");
        hook.attributes.push(taken);
        assert_eq!(Terms::of(&Destination::WebHook(hook)).events, 1);
    }
}
