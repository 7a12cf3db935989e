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
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::MaxDeliveryAttemptsExceeded,
        Self::TimeToLiveExceeded,
        Self::UndeliverableDueToHttpBadRequest,
        Self::UndeliverableDueToHttpUnauthorized,
        Self::UndeliverableDueToHttpForbidden,
        Self::UndeliverableDueToHttpRequestEntityTooLarge,
    ];

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
    /// A destination that has no statuses said it in its own way.
    Said(Outcome),
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
        Answer::Said(said) => rule_of_resource(said),
        Answer::Status(_) => seconds(10),
    }
}

/// The rules of destinations that are resources: unlike a webhook's, a refused signature may be put right meanwhile.
fn rule_of_resource(said: Outcome) -> Rule {
    let seconds = |count| Rule::NotBefore(Duration::from_secs(count));
    match said {
        Outcome::BadRequest => Rule::Terminal(Reason::UndeliverableDueToHttpBadRequest),
        Outcome::Forbidden => Rule::Terminal(Reason::UndeliverableDueToHttpForbidden),
        Outcome::PayloadTooLarge => {
            Rule::Terminal(Reason::UndeliverableDueToHttpRequestEntityTooLarge)
        }
        Outcome::Unauthorized | Outcome::NotFound => seconds(5 * 60),
        Outcome::Busy => seconds(30),
        _ => seconds(10),
    }
}

/// The longest pause that an answer may ask for: no event lives longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause that a `Retry-After` header asks for: seconds, or a date. Anything else asks for none.
pub fn asked_pause(retry_after: &str, now: Timestamp) -> Duration {
    let text = retry_after.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Timestamp::from_http_date(text).map_or(Duration::ZERO, |then| then.since(now)),
    };
    pause.min(LONGEST_PAUSE)
}

/// Decides what follows an attempt. `asked` is the pause the answer itself asked for, a lower bound like that of its
/// status; `jitter` is drawn evenly from 0 to 1. Time to live is not looked at here: the service notices it only when
/// the next attempt is due.
pub fn judge(
    policy: &RetryPolicy,
    attempt: Attempt,
    answer: Answer,
    asked: Duration,
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
    let due = scheduled(attempt, now).max(now + least.max(asked));
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

/// Why an attempt is due when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reckoning {
    /// Which rule decided.
    pub by: DueBy,
    /// What was added by chance.
    pub jitter: Duration,
}

/// Which rule decided when an attempt is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueBy {
    /// A step of the schedule: so long after the first attempt.
    Step(Duration),
    /// The schedule has ended: so long after the last attempt.
    Beyond(Duration),
    /// The outcome asks for at least so long after the last attempt, which is later than the schedule.
    Least(Duration),
    /// The answer itself asked for more: so long after the last attempt, what chance added included.
    Asked(Duration),
}

/// Tells why [`judge`] said that the next attempt is due then. Pure; takes what `judge` took.
pub fn reckon(attempt: Attempt, answer: Answer, now: Timestamp, due: Timestamp) -> Reckoning {
    let step = scheduled(attempt, now);
    let least = match rule(answer) {
        Rule::NotBefore(least) => least,
        Rule::Terminal(_) => Duration::ZERO,
    };
    let is_step = SCHEDULE
        .iter()
        .any(|offset| attempt.first + *offset == step);
    let (base, by) = if step < now + least {
        (now + least, DueBy::Least(least))
    } else if is_step {
        (step, DueBy::Step(step.since(attempt.first)))
    } else {
        (step, DueBy::Beyond(BEYOND))
    };
    let jitter = due.since(base);
    // No more than this comes from chance. A row keeps times to the microsecond only.
    let limit = jitter_of(base.since(now), 1.0) + Duration::from_millis(1);
    if limit < jitter {
        return Reckoning {
            by: DueBy::Asked(due.since(now)),
            jitter: Duration::ZERO,
        };
    }
    Reckoning { by, jitter }
}

fn jitter_of(delay: Duration, jitter: f64) -> Duration {
    let most = delay.mul_f64(JITTER_SHARE).min(JITTER_LIMIT);
    most.mul_f64(jitter.clamp(0.0, 1.0))
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
            Duration::ZERO,
            now,
            0.0,
        )
    }

    #[test]
    fn section_5_2_an_answer_asks_for_a_pause_and_gets_no_shorter_one() {
        let now = Timestamp::from_http_date("Sun, 22 Nov 2026 00:00:00 GMT").unwrap();
        let table = [
            ("120", 120),
            (" 7 ", 7),
            ("Sun, 22 Nov 2026 00:01:30 GMT", 90),
            ("Sun, 22 Nov 2020 00:01:30 GMT", 0),
            ("99999999999", 86_400),
            ("-1", 0),
            ("soon", 0),
        ];
        for (text, seconds) in table {
            assert_eq!(
                asked_pause(text, now),
                Duration::from_secs(seconds),
                "{text}"
            );
        }
        let due_after = |asked| {
            let attempt = Attempt {
                number: 1,
                first: START,
            };
            let policy = RetryPolicy::default();
            judge(&policy, attempt, Answer::Status(503), asked, START, 0.0)
        };
        let due = |seconds| Verdict::Retry {
            due: after(seconds),
        };
        assert_eq!(due_after(Duration::from_secs(120)), due(120));
        assert_eq!(due_after(Duration::from_secs(5)), due(30));
        let attempt = Attempt {
            number: 1,
            first: START,
        };
        let refused = judge(
            &RetryPolicy::default(),
            attempt,
            Answer::Status(400),
            LONGEST_PAUSE,
            START,
            0.0,
        );
        assert!(matches!(refused, Verdict::GiveUp(_)));
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
            (Answer::Said(Outcome::TimedOut), 10),
        ];
        for (answer, seconds) in table {
            let expected = Verdict::Retry {
                due: after(seconds),
            };
            assert_eq!(judged(1, answer, START), expected, "{answer:?}");
        }
    }

    #[test]
    fn section_5_2_resources_have_rules_of_their_own() {
        let table = [
            (Outcome::Unauthorized, 300),
            (Outcome::NotFound, 300),
            (Outcome::Busy, 30),
            (Outcome::TimedOut, 10),
            (Outcome::SocketError, 10),
            (Outcome::GenericError, 10),
        ];
        for (outcome, seconds) in table {
            let expected = Verdict::Retry {
                due: after(seconds),
            };
            assert_eq!(
                judged(1, Answer::Said(outcome), START),
                expected,
                "{outcome}"
            );
        }
        for outcome in [
            Outcome::BadRequest,
            Outcome::Forbidden,
            Outcome::PayloadTooLarge,
        ] {
            let verdict = judged(1, Answer::Said(outcome), START);
            assert!(matches!(verdict, Verdict::GiveUp(_)), "{outcome}");
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
                judged(made, Answer::Said(Outcome::TimedOut), now),
                Verdict::Retry { due: after(step) }
            );
            now = after(step);
        }
        assert_eq!(
            judged(12, Answer::Said(Outcome::TimedOut), now),
            Verdict::Retry { due: now + BEYOND }
        );
    }

    #[test]
    fn section_5_3_steps_that_have_passed_are_skipped() {
        let late = after(400);
        assert_eq!(
            judged(2, Answer::Said(Outcome::TimedOut), late),
            Verdict::Retry { due: after(600) }
        );
    }

    #[test]
    fn section_5_3_a_step_just_ahead_is_not_nearer_than_the_least_delay() {
        let now = after(58);
        assert_eq!(
            judged(3, Answer::Said(Outcome::TimedOut), now),
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
                Duration::ZERO,
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
            match judge(
                &RetryPolicy::default(),
                attempt,
                Answer::Said(Outcome::TimedOut),
                Duration::ZERO,
                now,
                jitter,
            ) {
                Verdict::Retry { due } => due,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(due(1, START, 1.0), after(11));
        assert_eq!(due(10, after(21_600), 1.0), after(43_200 + 30));
        assert!(after(10) <= due(1, START, 0.5) && due(1, START, 0.5) <= after(11));
        // The bound is drawn within, too: what failed together does not come back together.
        assert_eq!(due(10, after(21_600), 0.5), after(43_200 + 15));
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

    #[test]
    fn a_due_moment_is_reckoned_as_it_was_judged() {
        let reckoned = |number, answer, now| {
            let attempt = Attempt {
                number,
                first: START,
            };
            match judge(
                &RetryPolicy::default(),
                attempt,
                answer,
                Duration::ZERO,
                now,
                1.0,
            ) {
                Verdict::Retry { due } => reckon(attempt, answer, now, due),
                other => panic!("{other:?}"),
            }
        };
        let seconds = Duration::from_secs;
        let step = reckoned(2, Answer::Status(500), after(12));
        assert_eq!(step.by, DueBy::Step(seconds(30)));
        assert_eq!(step.jitter, Duration::from_millis(1_800));
        let least = reckoned(1, Answer::Status(404), START);
        assert_eq!(least.by, DueBy::Least(seconds(300)));
        let attempt = Attempt {
            number: 1,
            first: START,
        };
        let asked = reckon(attempt, Answer::Status(503), START, after(120));
        assert_eq!(asked.by, DueBy::Asked(seconds(120)));
        let beyond = reckoned(12, Answer::Said(Outcome::TimedOut), after(90_000));
        assert_eq!(beyond.by, DueBy::Beyond(BEYOND));
        assert_eq!(beyond.jitter, JITTER_LIMIT);
    }
}
