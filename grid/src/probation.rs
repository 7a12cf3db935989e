//! Leaving a destination alone that keeps failing.
//!
//! Promise: while a destination is on probation nothing is sent to it; when probation ends one event probes it, and
//! only a destination that answers is sent more.
//! Not here: when a single event is tried again (`retry`).
//! Source: reference event-grid 5.4.

use std::time::Duration;

use gridpost_model::Timestamp;

use crate::retry::Outcome;

/// How many failures in a row put a destination on probation: the service's own example.
const FAILURES_IN_A_ROW: u32 = 10;

/// How a destination has been doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probation {
    /// It is sent whatever is due.
    Trusted {
        /// Failures since the last success.
        failures: u32,
    },
    /// It is left alone.
    Left {
        /// Until then.
        until: Timestamp,
        /// Whether one event is under way to see how it does.
        probing: bool,
    },
}

impl Default for Probation {
    fn default() -> Self {
        Self::Trusted { failures: 0 }
    }
}

/// Whether something may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// As much as there is.
    Free,
    /// One event; call [`Probation::probe`] when it is taken.
    Probe,
    /// Nothing until then.
    NotBefore(Timestamp),
    /// Nothing until the probe under way has ended.
    Probing,
}

impl Probation {
    /// Whether something may be sent now.
    pub fn permit(self, now: Timestamp) -> Permit {
        match self {
            Self::Trusted { .. } => Permit::Free,
            Self::Left { probing: true, .. } => Permit::Probing,
            Self::Left { until, .. } if now < until => Permit::NotBefore(until),
            Self::Left { .. } => Permit::Probe,
        }
    }

    /// The probe is taken.
    pub fn probe(&mut self) {
        if let Self::Left { probing, .. } = self {
            *probing = true;
        }
    }

    /// The probe was not sent after all.
    pub fn probe_given_up(&mut self) {
        if let Self::Left { probing, .. } = self {
            *probing = false;
        }
    }

    /// An attempt ended. Returns whether the destination has just been put on probation, or kept there.
    pub fn learn(&mut self, outcome: Outcome, now: Timestamp) -> bool {
        let Some(length) = length(outcome) else {
            *self = Self::default();
            return false;
        };
        match self {
            Self::Trusted { failures } => {
                *failures += 1;
                if *failures < FAILURES_IN_A_ROW {
                    return false;
                }
            }
            // An attempt from before probation began says nothing new.
            Self::Left { probing: false, .. } => return false,
            Self::Left { .. } => (),
        }
        *self = Self::Left {
            until: now + length,
            probing: false,
        };
        true
    }

    /// Whether the last attempt succeeded.
    pub fn is_healthy(self) -> bool {
        self == Self::Trusted { failures: 0 }
    }
}

/// How long a destination is left alone. `None` when the outcome speaks of the event rather than the destination.
fn length(outcome: Outcome) -> Option<Duration> {
    use Outcome::{
        Aborted, BadRequest, Busy, Delivered, Forbidden, GenericError, NotFound, PayloadTooLarge,
        Probation, ResolutionError, SocketError, TimedOut, Unauthorized,
    };
    match outcome {
        Delivered | BadRequest | PayloadTooLarge | Probation => None,
        Busy | TimedOut | GenericError => Some(Duration::from_secs(10)),
        SocketError | Aborted => Some(Duration::from_secs(30)),
        NotFound | ResolutionError | Unauthorized | Forbidden => Some(Duration::from_secs(300)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn on_probation(outcome: Outcome) -> Probation {
        let mut probation = Probation::default();
        for count in 1..=10 {
            assert_eq!(probation.learn(outcome, NOW), count == 10);
        }
        probation
    }

    #[test]
    fn section_5_4_each_outcome_has_its_length() {
        let table = [
            (Outcome::Busy, 10),
            (Outcome::TimedOut, 10),
            (Outcome::SocketError, 30),
            (Outcome::NotFound, 300),
            (Outcome::ResolutionError, 300),
            (Outcome::Unauthorized, 300),
            (Outcome::Forbidden, 300),
        ];
        for (outcome, seconds) in table {
            let until = NOW + Duration::from_secs(seconds);
            assert_eq!(
                on_probation(outcome),
                Probation::Left {
                    until,
                    probing: false
                }
            );
        }
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let mut probation = Probation::default();
        for _ in 0..9 {
            probation.learn(Outcome::Busy, NOW);
        }
        probation.learn(Outcome::Delivered, NOW);
        assert!(!probation.learn(Outcome::Busy, NOW));
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut probation = on_probation(Outcome::Busy);
        let end = NOW + Duration::from_secs(10);
        assert_eq!(probation.permit(NOW), Permit::NotBefore(end));
        assert_eq!(probation.permit(end), Permit::Probe);
        probation.probe();
        assert_eq!(probation.permit(end), Permit::Probing);
        assert!(probation.learn(Outcome::Busy, end));
        assert_eq!(
            probation.permit(end),
            Permit::NotBefore(end + Duration::from_secs(10))
        );
        let later = end + Duration::from_secs(10);
        probation.probe();
        assert!(!probation.learn(Outcome::Delivered, later));
        assert_eq!(probation.permit(later), Permit::Free);
    }

    #[test]
    fn attempts_from_before_do_not_lengthen_it() {
        let mut probation = on_probation(Outcome::Busy);
        let before = probation;
        assert!(!probation.learn(Outcome::Busy, NOW + Duration::from_secs(5)));
        assert_eq!(probation, before);
    }
}
