//! Identifiers of texts: `Outgoing_<yyyyMMddHHmmss><guid>` and `Incoming_...`, as in the documented samples.

use std::fmt;

use gridpost_model::{Chance, Timestamp};
use serde::{Deserialize, Serialize};

/// The identifier of one text. Opaque to clients; also the identifier of the event that tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Box<str>);

impl MessageId {
    /// A fresh identifier of a text we send.
    pub fn outgoing(now: Timestamp, chance: &dyn Chance) -> Self {
        Self::fresh("Outgoing", now, chance)
    }

    /// A fresh identifier of a text we receive.
    pub fn incoming(now: Timestamp, chance: &dyn Chance) -> Self {
        Self::fresh("Incoming", now, chance)
    }

    fn fresh(way: &str, now: Timestamp, chance: &dyn Chance) -> Self {
        let text = format!("{way}_{}{}", compact(now), chance.uuid());
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `yyyyMMddHHmmss`, by arithmetic: this stands on the path of every text.
fn compact(moment: Timestamp) -> String {
    let seconds = moment.seconds();
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros;

    impl Chance for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn an_identifier_has_the_form_of_the_samples() {
        let now = "2020-09-18T00:27:45.32Z".parse().unwrap();
        let id = MessageId::incoming(now, &Zeros);
        assert_eq!(
            id.as_str(),
            "Incoming_2020091800274500000000-0000-4000-8000-000000000000"
        );
        let sample = "Incoming_20200918002745d29ebbea-3341-4466-9690-0a03af35228e";
        assert_eq!(id.as_str().len(), sample.len());
    }

    #[test]
    fn dates_by_arithmetic_are_the_dates_of_the_calendar() {
        for day in (-200_000..900_000).step_by(37) {
            let moment = Timestamp::from_seconds(day * 86_400 + 45_296);
            if (0..=9999).contains(&civil(day).0) {
                assert_eq!(compact(moment), moment.format("%Y%m%d%H%M%S"), "{day}");
            }
        }
    }
}
