//! What follows an attempt: the retry schedule and the rules of each status, as tables.
//!
//! Promise: `judge` is pure; the same policy, attempt, answer, moment and jitter give the same verdict.
//! Not here: carrying a verdict out (`settle`), keeping away from a destination that keeps failing (`probation`).
//! Source: reference event-grid 5.2, 5.3, 5.7. Choices where it leaves one: docs/parity.md.

use std::fmt;
use std::time::Duration;

use gridpost_model::{RetryPolicy, Timestamp};
use serde::{Deserialize, Serialize};

use crate::outbound::Failure;

/// What the destination did, in the words of `lastDeliveryOutcome`. Source: reference event-grid 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It took the event.
    Delivered,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 408, or no answer in time.
    TimedOut,
    /// 413.
    PayloadTooLarge,
    /// 429 or 503.
    Busy,
    /// Any other answer.
    GenericError,
    /// The connection could not be made or broke, or TLS failed.
    SocketError,
    /// The host has no address, or none we may dial.
    ResolutionError,
    /// What came back was not HTTP.
    Aborted,
    /// Nothing was sent: the destination was being left alone.
    Probation,
}

impl Outcome {
    /// What an answer with this status means.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=204 => Self::Delivered,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            408 => Self::TimedOut,
            413 => Self::PayloadTooLarge,
            429 | 503 => Self::Busy,
            _ => Self::GenericError,
        }
    }

    /// What the lack of an answer means.
    pub fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Resolution | Failure::Forbidden(_) => Self::ResolutionError,
            Failure::Socket(_) | Failure::Tls(_) => Self::SocketError,
            Failure::Protocol(_) => Self::Aborted,
            Failure::TimedOut => Self::TimedOut,
            // Our own trouble: the endpoint was not asked.
            Failure::Token(_) => Self::GenericError,
            Failure::Handler { outcome, .. } => *outcome,
        }
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "Delivered",
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::TimedOut => "TimedOut",
            Self::PayloadTooLarge => "PayloadTooLarge",
            Self::Busy => "Busy",
            Self::GenericError => "GenericError",
            Self::SocketError => "SocketError",
            Self::ResolutionError => "ResolutionError",
            Self::Aborted => "Aborted",
            Self::Probation => "Probation",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `deadLetterReason`: why nothing more is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// `maxDeliveryAttempts` were made.
    MaxDeliveryAttemptsExceeded,
    /// The event outlived `eventTimeToLiveInMinutes`.
    TimeToLiveExceeded,
    /// 400.
    UndeliverableDueToHttpBadRequest,
    /// 401.
    UndeliverableDueToHttpUnauthorized,
    /// 403.
    UndeliverableDueToHttpForbidden,
    /// 413.
    UndeliverableDueToHttpRequestEntityTooLarge,
}

impl Reason {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxDeliveryAttemptsExceeded => "MaxDeliveryAttemptsExceeded",
            Self::TimeToLiveExceeded => "TimeToLiveExceeded",
            Self::UndeliverableDueToHttpBadRequest => "UndeliverableDueToHttpBadRequest",
            Self::UndeliverableDueToHttpUnauthorized => "UndeliverableDueToHttpUnauthorized",
            Self::UndeliverableDueToHttpForbidden => "UndeliverableDueToHttpForbidden",
            Self::UndeliverableDueToHttpRequestEntityTooLarge => {
                "UndeliverableDueToHttpRequestEntityTooLarge"
            }
        }
    }
}

/// Which attempt an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number; the first is 1.
    pub number: u32,
    /// When the first one began.
    pub first: Timestamp,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status.
    Status(u16),
    /// Nothing usable.
    None,
}

/// What we do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more: the event arrived.
    Delivered,
    /// Another attempt, not before then.
    Retry {
        /// When.
        due: Timestamp,
    },
    /// Nothing more: it becomes a dead letter.
    GiveUp(Reason),
}

/// When attempts are made, counted from the first one. Source: reference event-grid 5.3, read as trap 15 says.
const SCHEDULE: [Duration; 11] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(3 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(12 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];

/// The distance of attempts beyond the schedule.
const BEYOND: Duration = Duration::from_secs(12 * 60 * 60);

/// Jitter lengthens a delay by at most this share of it, and at most by [`JITTER_LIMIT`].
const JITTER_SHARE: f64 = 0.1;
const JITTER_LIMIT: Duration = Duration::from_secs(30);

/// What a failure asks for, whatever the schedule says.
enum Rule {
    Terminal(Reason),
    NotBefore(Duration),
}

/// The rules of each status. Source: reference event-grid 5.2, the recommended reading.
fn rule(answer: Answer) -> Rule {
    let seconds = |count| Rule::NotBefore(Duration::from_secs(count));
    match answer {
        Answer::Status(400) => Rule::Terminal(Reason::UndeliverableDueToHttpBadRequest),
        Answer::Status(401) => Rule::Terminal(Reason::UndeliverableDueToHttpUnauthorized),
        Answer::Status(403) => Rule::Terminal(Reason::UndeliverableDueToHttpForbidden),
        Answer::Status(404) => seconds(5 * 60),
        Answer::Status(408) => seconds(2 * 60),
        Answer::Status(413) => Rule::Terminal(Reason::UndeliverableDueToHttpRequestEntityTooLarge),
        Answer::Status(503) => seconds(30),
        Answer::Status(_) | Answer::None => seconds(10),
    }
}

/// Decides what follows an attempt. `jitter` is drawn evenly from 0 to 1. Time to live is not looked at here: the
/// service notices it only when the next attempt is due.
pub fn judge(
    policy: &RetryPolicy,
    attempt: Attempt,
    answer: Answer,
    now: Timestamp,
    jitter: f64,
) -> Verdict {
    if matches!(answer, Answer::Status(200..=204)) {
        return Verdict::Delivered;
    }
    let least = match rule(answer) {
        Rule::Terminal(reason) => return Verdict::GiveUp(reason),
        Rule::NotBefore(least) => least,
    };
    if policy.max_attempts <= attempt.number {
        return Verdict::GiveUp(Reason::MaxDeliveryAttemptsExceeded);
    }
    let due = scheduled(attempt, now).max(now + least);
    Verdict::Retry {
        due: due + jitter_of(due.since(now), jitter),
    }
}

/// The step of the schedule that follows this attempt. Steps that have already passed are skipped.
fn scheduled(attempt: Attempt, now: Timestamp) -> Timestamp {
    let made = usize::try_from(attempt.number.saturating_sub(1)).unwrap_or(usize::MAX);
    SCHEDULE
        .iter()
        .skip(made)
        .map(|offset| attempt.first + *offset)
        .find(|step| now < *step)
        .unwrap_or(now + BEYOND)
}

fn jitter_of(delay: Duration, jitter: f64) -> Duration {
    delay
        .mul_f64(JITTER_SHARE * jitter.clamp(0.0, 1.0))
        .min(JITTER_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000_000);

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn judged(number: u32, answer: Answer, now: Timestamp) -> Verdict {
        judge(
            &RetryPolicy::default(),
            Attempt {
                number,
                first: START,
            },
            answer,
            now,
            0.0,
        )
    }

    #[test]
    fn section_5_2_success_is_200_to_204_and_nothing_else() {
        for status in 100..600 {
            let delivered = judged(1, Answer::Status(status), START) == Verdict::Delivered;
            assert_eq!(delivered, (200..=204).contains(&status), "{status}");
        }
    }

    #[test]
    fn section_5_2_terminal_statuses_give_up_at_once_with_their_reason() {
        let table = [
            (400, "UndeliverableDueToHttpBadRequest"),
            (401, "UndeliverableDueToHttpUnauthorized"),
            (403, "UndeliverableDueToHttpForbidden"),
            (413, "UndeliverableDueToHttpRequestEntityTooLarge"),
        ];
        for (status, reason) in table {
            match judged(1, Answer::Status(status), START) {
                Verdict::GiveUp(found) => assert_eq!(found.as_str(), reason),
                other => panic!("{status}: {other:?}"),
            }
        }
    }

    #[test]
    fn section_5_2_each_status_has_its_least_delay() {
        let table = [
            (Answer::Status(404), 300),
            (Answer::Status(408), 120),
            (Answer::Status(503), 30),
            (Answer::Status(500), 10),
            (Answer::Status(429), 10),
            (Answer::Status(205), 10),
            (Answer::Status(302), 10),
            (Answer::None, 10),
        ];
        for (answer, seconds) in table {
            let expected = Verdict::Retry {
                due: after(seconds),
            };
            assert_eq!(judged(1, answer, START), expected, "{answer:?}");
        }
    }

    #[test]
    fn section_5_3_the_schedule_counts_from_the_first_attempt() {
        let steps = [
            10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400,
        ];
        let mut now = START;
        for (made, step) in (1..).zip(steps) {
            assert_eq!(
                judged(made, Answer::None, now),
                Verdict::Retry { due: after(step) }
            );
            now = after(step);
        }
        assert_eq!(
            judged(12, Answer::None, now),
            Verdict::Retry { due: now + BEYOND }
        );
    }

    #[test]
    fn section_5_3_steps_that_have_passed_are_skipped() {
        let late = after(400);
        assert_eq!(
            judged(2, Answer::None, late),
            Verdict::Retry { due: after(600) }
        );
    }

    #[test]
    fn section_5_3_a_step_just_ahead_is_not_nearer_than_the_least_delay() {
        let now = after(58);
        assert_eq!(
            judged(3, Answer::None, now),
            Verdict::Retry { due: after(68) }
        );
    }

    #[test]
    fn section_5_3_the_last_allowed_attempt_gives_up() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        let verdict = |number| {
            judge(
                &policy,
                Attempt {
                    number,
                    first: START,
                },
                Answer::Status(500),
                START,
                0.0,
            )
        };
        assert!(matches!(verdict(2), Verdict::Retry { .. }));
        assert_eq!(
            verdict(3),
            Verdict::GiveUp(Reason::MaxDeliveryAttemptsExceeded)
        );
    }

    #[test]
    fn section_5_3_jitter_is_small_and_never_hastens() {
        let due = |number, now, jitter| {
            let attempt = Attempt {
                number,
                first: START,
            };
            match judge(&RetryPolicy::default(), attempt, Answer::None, now, jitter) {
                Verdict::Retry { due } => due,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(due(1, START, 1.0), after(11));
        assert_eq!(due(10, after(21_600), 1.0), after(43_200 + 30));
        assert!(after(10) <= due(1, START, 0.5) && due(1, START, 0.5) <= after(11));
    }

    #[test]
    fn section_5_4_outcomes_have_the_names_of_the_service() {
        let table = [
            (400, "BadRequest"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (408, "TimedOut"),
            (413, "PayloadTooLarge"),
            (429, "Busy"),
            (500, "GenericError"),
            (503, "Busy"),
        ];
        for (status, name) in table {
            assert_eq!(Outcome::of_status(status).as_str(), name);
        }
        assert_eq!(Outcome::of_failure(&Failure::TimedOut), Outcome::TimedOut);
        assert_eq!(
            Outcome::of_failure(&Failure::Resolution),
            Outcome::ResolutionError
        );
    }
}
