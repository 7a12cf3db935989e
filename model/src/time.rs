//! Moments and the clock that tells them.
//!
//! Promise: a `Timestamp` is UTC, has the resolution of the wire (100 ns) and writes itself as the services do.
//! Not here: real clocks (`server`) and the virtual one (`sim`).

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, counted in ticks of 100 ns since 1970-01-01T00:00:00Z.
///
/// Its text form is RFC 3339 with as many fraction digits as needed, at most seven, and `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const TICKS_PER_SECOND: i64 = 10_000_000;

/// The text is not a date-time with a zone, or lies outside the years 1 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date-time with a time zone: {0:?}")]
pub struct BadTimestamp(pub String);

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Self = Self(0);
    /// Later than every moment that is ever computed with.
    pub const FAR_FUTURE: Self = Self(i64::MAX / 2);

    /// A moment from ticks of 100 ns since 1970.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// Ticks of 100 ns since 1970.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// A moment from whole milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 10_000)
    }

    /// Whole milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(10_000)
    }

    /// A moment from whole seconds since 1970.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds * TICKS_PER_SECOND)
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SECOND)
    }

    /// How long ago `earlier` was; zero when it is not in the past.
    pub fn since(self, earlier: Self) -> Duration {
        let ticks = u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0);
        Duration::from_nanos(ticks.saturating_mul(100))
    }

    /// The moment as `jiff` writes it; years outside its range become its nearest end.
    fn civil(self) -> jiff::Timestamp {
        let seconds = self.0.div_euclid(TICKS_PER_SECOND);
        let nanos = i32::try_from(self.0.rem_euclid(TICKS_PER_SECOND) * 100).unwrap_or(0);
        jiff::Timestamp::new(seconds, nanos).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The form of HTTP headers: `Sun, 22 Nov 2026 00:27:55 GMT`.
    pub fn http_date(self) -> String {
        self.format("%a, %d %b %Y %H:%M:%S GMT")
    }

    /// The form of service messages: `3/10/2021 9:02:56 PM` (no padding, 12-hour clock).
    pub fn us_date(self) -> String {
        self.format("%-m/%-d/%Y %-I:%M:%S %p")
    }

    /// The moment in UTC by a `strftime` pattern.
    pub fn format(self, pattern: &str) -> String {
        self.civil().strftime(pattern).to_string()
    }

    /// Reads the form of HTTP headers (RFC 1123).
    ///
    /// # Errors
    /// The text is not of that form.
    pub fn from_http_date(text: &str) -> Result<Self, BadTimestamp> {
        jiff::fmt::rfc2822::parse(text)
            .map(|zoned| Self::from_jiff(zoned.timestamp()))
            .map_err(|_| BadTimestamp(text.to_owned()))
    }

    fn from_jiff(moment: jiff::Timestamp) -> Self {
        Self(i64::try_from(moment.as_nanosecond().div_euclid(100)).unwrap_or(i64::MAX / 2))
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        text.parse::<jiff::Timestamp>()
            .map(Self::from_jiff)
            .map_err(|_| BadTimestamp(text.to_owned()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let ticks = ticks_of(span);
        Self(self.0.saturating_add(ticks).min(Self::FAR_FUTURE.0))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        let ticks = ticks_of(span);
        Self(self.0.saturating_sub(ticks))
    }
}

fn ticks_of(span: Duration) -> i64 {
    i64::try_from(span.as_nanos() / 100).unwrap_or(i64::MAX)
}

/// The text is not a span of time of fixed length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a span of time: {0:?}; write it as ISO 8601 (PT1H30M, P1D), in words (1h 30m) or as seconds (90)"
)]
pub struct BadSpan(pub String);

/// Reads a span of time: ISO 8601 (`PT1H30M`, `P1D`), words (`1h 30m`, `2 days`) or seconds (`90`, `0.5`). A day has
/// 24 hours.
///
/// # Errors
/// The text is none of these, is negative, or speaks of months or years, whose lengths differ.
pub fn read_span(text: &str) -> Result<Duration, BadSpan> {
    let bad = || BadSpan(text.to_owned());
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| bad());
    }
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let span = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| bad())?;
    span.try_into().map_err(|_| bad())
}

/// A span of time as ISO 8601 writes it, in hours and less: `PT36H`.
pub fn write_span(span: Duration) -> String {
    jiff::SignedDuration::try_from(span).map_or_else(
        |_| jiff::SignedDuration::MAX.to_string(),
        |span| span.to_string(),
    )
}

/// A future that ends when a clock has reached a moment.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from. The only source of it below `server`.
pub trait Clock: Send + Sync + 'static {
    /// The present moment; never goes backwards.
    fn now(&self) -> Timestamp;

    /// Ends once `now` has reached `moment`; at once when it already has.
    fn sleep_until(&self, moment: Timestamp) -> Sleep;

    /// As `sleep_until`, for work that no moment hangs on, such as sending on what was measured: whoever moves the
    /// clock by hand does not stop at it, and it ends when the clock is moved beyond it.
    fn doze_until(&self, moment: Timestamp) -> Sleep {
        self.sleep_until(moment)
    }

    /// The moment that the clocks of others show. It differs from `now` only while time was moved on by hand. What
    /// others date by their own clocks (signatures, tokens, certificates) is judged by this.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Ends after so long by the clocks of others: how long a peer may take passes as it does for the peer, however
    /// this clock is moved by hand. What it is compared with is `wall`.
    fn linger(&self, span: Duration) -> Sleep {
        self.doze_until(self.now() + span)
    }

    /// What moves this clock on by hand, when it can be moved.
    fn hands(&self) -> Option<&dyn Hands> {
        None
    }
}

/// What moves a clock on by hand: hold it, turn it from alarm to alarm, let it go on.
///
/// Whoever holds the clock must release it, whatever happens.
pub trait Hands: Send + Sync {
    /// Stops the clock where it is, and makes sure that no restart shows a moment before `target` once it was shown.
    ///
    /// # Errors
    /// Somebody else holds it, or the target could not be written down; the clock goes on then.
    fn hold(&self, target: Timestamp) -> Result<(), NotHeld>;

    /// Shows `moment` and wakes who waited for it. A moment in the past changes nothing.
    fn turn_to(&self, moment: Timestamp);

    /// Lets the clock go on from what it shows.
    fn release(&self);

    /// The earliest moment after now that somebody waits for, dozers aside.
    fn next_alarm(&self) -> Option<Timestamp>;

    /// Whether everybody whose moment has come has noticed.
    fn is_noticed(&self) -> bool;

    /// How far it is ahead of the clocks of others.
    fn ahead(&self) -> Duration;

    /// Waits in real time, for those who were woken.
    fn rest(&self, span: Duration) -> Sleep;
}

/// The clock cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// By somebody else at the same time.
    #[error("the clock is being moved by somebody else")]
    Busy,
    /// Because it would go back at the next start.
    #[error("how far the clock is moved could not be written down: {0}")]
    NotKept(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_with_seven_digits() {
        let text = "2020-09-18T00:22:20.2855749Z";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
    }

    #[test]
    fn trailing_zeros_are_not_written() {
        let moment: Timestamp = "2020-09-18T00:27:45.320Z".parse().unwrap();
        assert_eq!(moment.to_string(), "2020-09-18T00:27:45.32Z");
    }

    #[test]
    fn a_time_without_a_zone_is_refused() {
        assert!("2020-09-18T00:27:45".parse::<Timestamp>().is_err());
    }

    #[test]
    fn http_dates_round_trip() {
        let text = "Sun, 22 Nov 2026 00:27:55 GMT";
        assert_eq!(Timestamp::from_http_date(text).unwrap().http_date(), text);
    }

    #[test]
    fn service_messages_use_the_american_form() {
        let moment: Timestamp = "2021-03-10T21:02:56Z".parse().unwrap();
        assert_eq!(moment.us_date(), "3/10/2021 9:02:56 PM");
    }

    #[test]
    fn spans_are_read_in_every_notation() {
        let hours = |count: u64| Ok(Duration::from_secs(count * 3600));
        assert_eq!(read_span("PT1H"), hours(1));
        assert_eq!(read_span("1h"), hours(1));
        assert_eq!(read_span("P1DT1H"), hours(25));
        assert_eq!(read_span("2 days"), hours(48));
        assert_eq!(read_span("3600"), hours(1));
        assert_eq!(read_span("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "soon", "-PT1H", "-1", "P1M", "P1Y", "NaN", "1e300"] {
            assert!(read_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        assert_eq!(write_span(Duration::from_secs(36 * 3600)), "PT36H");
        for text in ["PT0S", "PT1H30M", "PT0.25S"] {
            assert_eq!(write_span(read_span(text).unwrap()), text);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let far = Timestamp::FAR_FUTURE + Duration::MAX;
        assert_eq!(far, Timestamp::FAR_FUTURE);
        assert_eq!(
            Timestamp::EPOCH.since(Timestamp::from_seconds(5)),
            Duration::ZERO
        );
    }
}
