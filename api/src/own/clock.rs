//! The clock: what it shows, and moving it on.
//!
//! Promise: between the old time and the new one everything happens in its order and at its moment: the clock is held,
//! turned from alarm to alarm, and turned on only when what the last alarm began has ended or waits for time itself.
//! Not here: how a clock is held and turned (`model::time::Hands`).

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use gridpost_grid::Pending;
use gridpost_model::Timestamp;
use gridpost_model::time::{Hands, NotHeld, read_span, write_span};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, read_json};
use crate::{Parts, Profile, Shared};

/// How far one call goes at most. Whoever means more has most likely written the wrong unit.
const SPAN_LIMIT: Duration = Duration::from_secs(3_653 * 24 * 3600);

/// How long, in real time, the clock stands still for an attempt under way, when nobody says. An endpoint on this
/// machine answers well within it; one that never answers costs it once per attempt.
const PATIENCE: Duration = Duration::from_millis(250);

/// The longest that can be asked for: an attempt is waited for no longer in any case.
const PATIENCE_LIMIT: Duration = Duration::from_secs(30);

/// How long, in real time, a call takes at most: clients give up soon after.
const CALL_LIMIT: Duration = Duration::from_secs(25);

/// How often we look, in real time, whether what was woken has come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// In how many looks in a row nothing must be under way: one task's end may be the next one's beginning.
const QUIET_LOOKS: u32 = 3;

/// The clock, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClockOut {
    now: Timestamp,
    /// What the clocks of others show.
    wall: Timestamp,
    /// The difference.
    ahead: String,
    /// Whether it can be moved on.
    movable: bool,
    /// The next moment at which something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_alarm: Option<Timestamp>,
}

/// Shows the clock.
pub(super) async fn show(State(parts): State<Shared>) -> Json<ClockOut> {
    Json(shown(&parts))
}

fn shown(parts: &Parts) -> ClockOut {
    let hands = parts.clock.hands();
    ClockOut {
        now: parts.clock.now(),
        wall: parts.clock.wall(),
        ahead: write_span(hands.map_or(Duration::ZERO, Hands::ahead)),
        movable: hands.is_some(),
        next_alarm: hands.and_then(Hands::next_alarm),
    }
}

/// Exactly one of `by` and `to`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    by: Option<Span>,
    to: Option<Timestamp>,
    patience: Option<Span>,
    within: Option<Span>,
}

/// A span of time as text or as seconds.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Span {
    Seconds(f64),
    Text(String),
}

impl Span {
    pub(super) fn read(&self) -> Result<Duration, Problem> {
        let span = match self {
            Self::Seconds(seconds) => read_span(&seconds.to_string()),
            Self::Text(text) => read_span(text),
        };
        span.map_err(|error| Problem::bad_request(format!("This is {error}.")))
    }
}

impl Asked {
    fn target(&self, now: Timestamp) -> Result<Timestamp, Problem> {
        let target = match (&self.by, self.to) {
            (Some(by), None) => now + by.read()?,
            (None, Some(to)) => to,
            _ => {
                return Err(Problem::bad_request(
                    "The body has either 'by', a span of time, or 'to', a moment.",
                ));
            }
        };
        if target < now {
            return Err(Problem::bad_request(format!(
                "The clock shows {now} and does not go back."
            )));
        }
        if SPAN_LIMIT < target.since(now) {
            return Err(Problem::bad_request(
                "The clock moves by at most 3,653 days in one call.",
            ));
        }
        Ok(target)
    }

    /// How long, in real time, the clock stands still for an attempt.
    fn patience(&self) -> Result<Duration, Problem> {
        let beyond = "'patience' is at most 30 seconds of real time.";
        real_time(self.patience.as_ref(), PATIENCE, PATIENCE_LIMIT, beyond)
    }

    /// How long, in real time, the call may take.
    fn within(&self) -> Result<Duration, Problem> {
        let beyond = "'within' is at most 25 seconds of real time.";
        real_time(self.within.as_ref(), CALL_LIMIT, CALL_LIMIT, beyond)
    }
}

fn real_time(
    asked: Option<&Span>,
    usual: Duration,
    limit: Duration,
    beyond: &'static str,
) -> Result<Duration, Problem> {
    match asked.map(Span::read).transpose()? {
        Some(span) if limit < span => Err(Problem::bad_request(beyond)),
        span => Ok(span.unwrap_or(usual)),
    }
}

/// Moves the clock on, and answers when it has arrived.
pub(super) async fn advance(
    State(parts): State<Shared>,
    body: Bytes,
) -> Result<Json<ClockOut>, Problem> {
    if parts.profile == Profile::Production {
        return Err(Problem::forbidden(
            "The clock is moved in the development profile only; in production it is this machine's.",
        ));
    }
    let Some(hands) = parts.clock.hands() else {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotSupported",
            "The clock that this server was started with cannot be moved.",
        ));
    };
    let asked: Asked = read_json(&body)?;
    let (patience, within) = (asked.patience()?, asked.within()?);
    let target = asked.target(parts.clock.now())?;
    let held = Held::take(hands, target)?;
    let walk = Walk {
        parts: &parts,
        hands: held.0,
        patience,
        within,
        ends: parts.clock.wall() + within,
    };
    walk.to(target).await?;
    // The answer tells the target, not some microseconds after it.
    let arrived = shown(&parts);
    drop(held);
    Ok(Json(arrived))
}

/// The right to move the clock; it goes on by itself when this ends, also when the caller hangs up.
struct Held<'a>(&'a dyn Hands);

impl<'a> Held<'a> {
    fn take(hands: &'a dyn Hands, target: Timestamp) -> Result<Self, Problem> {
        match hands.hold(target) {
            Ok(()) => Ok(Self(hands)),
            Err(error @ NotHeld::Busy) => {
                Err(Problem::conflict(format!("Nothing was changed: {error}.")))
            }
            Err(error @ NotHeld::NotKept(_)) => Err(Problem::not_stored(&error)),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// One way from a moment to a later one.
struct Walk<'a> {
    parts: &'a Parts,
    hands: &'a dyn Hands,
    patience: Duration,
    within: Duration,
    /// When, in real time, we give up.
    ends: Timestamp,
}

impl Walk<'_> {
    async fn to(&self, target: Timestamp) -> Result<(), Problem> {
        self.settle().await;
        while let Some(alarm) = self.hands.next_alarm().filter(|alarm| *alarm < target) {
            if self.ends < self.parts.clock.wall() {
                return Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ClockOnItsWay",
                    format!(
                        "So much happens on the way that the clock has come no further than {} within {} s. Call again to go on.",
                        self.parts.clock.now(),
                        self.within.as_secs_f64(),
                    ),
                ));
            }
            self.hands.turn_to(alarm);
            self.settle().await;
        }
        self.hands.turn_to(target);
        self.settle().await;
        Ok(())
    }

    /// Waits until nothing is under way but what waits for time to pass, or until patience with it has ended.
    async fn settle(&self) {
        let mut before = self.under_way();
        let mut since = self.parts.clock.wall();
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            self.hands.rest(LOOK_EVERY).await;
            let under_way = self.under_way();
            let now = self.parts.clock.wall();
            quiet = if under_way.is_nothing() { quiet + 1 } else { 0 };
            if under_way != before {
                (before, since) = (under_way, now);
            } else if self.patience < now.since(since) {
                return;
            }
            if self.ends < now {
                return;
            }
        }
    }

    fn under_way(&self) -> UnderWay {
        UnderWay {
            pending: self.parts.grid.pending(),
            waits_for_time: self.parts.sinks.waiting_for_time()
                + self.parts.grid.faults().waiting_for_time(),
            comms: self.parts.comms.is_busy(),
            noticed: self.hands.is_noticed(),
        }
    }
}

/// What has begun and not ended.
#[derive(PartialEq)]
struct UnderWay {
    pending: Pending,
    /// Attempts that we know to end by time alone.
    waits_for_time: u64,
    comms: bool,
    noticed: bool,
}

impl UnderWay {
    fn is_nothing(&self) -> bool {
        let pending = Pending {
            // Sinks and faults hold deliveries and handshakes alike.
            in_flight: (self.pending.in_flight + self.pending.exchanges)
                .saturating_sub(self.waits_for_time),
            ..self.pending
        };
        pending.is_quiet() && !self.comms && self.noticed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Asked {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_target_is_a_span_or_a_moment_and_never_in_the_past() {
        let now = Timestamp::from_seconds(1_000);
        let target = |body: &str| asked(body).target(now).map(Timestamp::seconds).ok();
        assert_eq!(target(r#"{"by":"PT1H"}"#), Some(4_600));
        assert_eq!(target(r#"{"by":90}"#), Some(1_090));
        assert_eq!(target(r#"{"to":"1970-01-01T01:00:00Z"}"#), Some(3_600));
        assert_eq!(target(r#"{"to":"1970-01-01T00:00:00Z"}"#), None);
        assert_eq!(target(r#"{"by":"P4000D"}"#), None);
        assert_eq!(target(r#"{"by":-1}"#), None);
        assert_eq!(target("{}"), None);
        assert_eq!(target(r#"{"by":1,"to":"1970-01-01T01:00:00Z"}"#), None);
    }

    #[test]
    fn patience_has_a_limit() {
        let patience = |body: &str| asked(body).patience().ok();
        assert_eq!(patience("{}"), Some(PATIENCE));
        assert_eq!(
            patience(r#"{"patience":"2s"}"#),
            Some(Duration::from_secs(2))
        );
        assert_eq!(patience(r#"{"patience":31}"#), None);
        let within = |body: &str| asked(body).within().ok();
        assert_eq!(within("{}"), Some(CALL_LIMIT));
        assert_eq!(within(r#"{"within":"1s"}"#), Some(Duration::from_secs(1)));
        assert_eq!(within(r#"{"within":26}"#), None);
    }

    #[test]
    fn attempts_that_end_by_time_alone_are_not_waited_for() {
        let mut under_way = UnderWay {
            pending: Pending {
                in_flight: 2,
                waiting: 7,
                ..Pending::default()
            },
            waits_for_time: 2,
            comms: false,
            noticed: true,
        };
        assert!(under_way.is_nothing());
        under_way.pending.in_flight = 3;
        assert!(!under_way.is_nothing());
        under_way.pending.in_flight = 2;
        under_way.pending.exchanges = 1;
        assert!(!under_way.is_nothing(), "a handshake is waited for");
        under_way.waits_for_time = 3;
        under_way.noticed = false;
        assert!(!under_way.is_nothing());
    }
}
