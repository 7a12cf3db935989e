//! Numbers with a known behaviour: `+1 555 555 xxxx`, where the last four digits tell what happens.
//!
//! Promise: pure; a number behaves the same at every time and in every installation. The table for people is
//! docs/sms.md, and a test compares the two. Every other number simply works, the mission's 15555555555 included.

use std::time::Duration;

use gridpost_model::PhoneNumber;

use crate::sms::carrier::Admission;
use crate::sms::status::StatusCode;

/// What stands before the four digits.
const PREFIX: &str = "1555555";

/// How long a text takes to a handset and its report back. Long enough to see `Pending`, short enough to wait for.
pub const USUAL_DELAY: Duration = Duration::from_millis(100);

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The text is not even taken.
    Refuses(Admission),
    /// The text ends so, after this many attempts; the report comes this long after the last of them.
    Ends {
        /// How.
        code: StatusCode,
        /// How many attempts it takes.
        attempts: u32,
        /// How long the report takes.
        delay: Duration,
    },
    /// The text arrives; nobody reports it.
    Silent,
    /// The text arrives; the report is followed by another one.
    ReportsTwice {
        /// What the second report says.
        then: StatusCode,
    },
}

impl Behaviour {
    /// Arrives, and the report is back soon.
    pub const USUAL: Self = Self::ends(StatusCode::Delivered);

    const fn ends(code: StatusCode) -> Self {
        Self::Ends {
            code,
            attempts: 1,
            delay: USUAL_DELAY,
        }
    }

    /// What this number does.
    pub fn of(number: &PhoneNumber) -> Self {
        let last_four = number
            .digits()
            .strip_prefix(PREFIX)
            .filter(|rest| rest.len() == 4);
        last_four
            .and_then(|digits| digits.parse().ok())
            .map_or(Self::USUAL, Self::of_last_four)
    }

    fn of_last_four(digits: u16) -> Self {
        match digits {
            400 => Self::Refuses(Admission::InvalidNumber),
            429 => Self::Refuses(Admission::TooManyRequests),
            503 => Self::Refuses(Admission::Unavailable),
            2001 => Self::ReportsTwice {
                then: StatusCode::Delivered,
            },
            2002 => Self::ReportsTwice {
                then: StatusCode::Unreachable,
            },
            2102..=2109 => Self::Ends {
                code: StatusCode::Delivered,
                attempts: u32::from(digits - 2100),
                delay: USUAL_DELAY,
            },
            3001..=3999 => Self::Ends {
                code: StatusCode::Delivered,
                attempts: 1,
                delay: Duration::from_secs(u64::from(digits - 3000)),
            },
            5002 => Self::Silent,
            code => StatusCode::of_number(code).map_or(Self::USUAL, Self::ends),
        }
    }

    /// Whether the text reaches the handset.
    pub fn arrives(self) -> bool {
        match self {
            Self::Refuses(_) => false,
            Self::Ends { code, .. } => code.is_delivered(),
            Self::Silent | Self::ReportsTwice { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: &str) -> Behaviour {
        Behaviour::of(&number.parse().unwrap())
    }

    #[test]
    fn ordinary_numbers_simply_work() {
        for number in [
            "+15555555555",
            "+15555550100",
            "+15555550199",
            "+4915112345678",
            "34567",
        ] {
            assert_eq!(of(number), Behaviour::USUAL, "{number}");
        }
    }

    #[test]
    fn the_last_four_digits_name_the_code() {
        assert_eq!(
            of("+15555554004"),
            Behaviour::ends(StatusCode::NoSuchNumber)
        );
        assert_eq!(of("+15555559999"), Behaviour::ends(StatusCode::Unknown));
        assert_eq!(of("+15555555002"), Behaviour::Silent);
        assert_eq!(
            of("+15555550429"),
            Behaviour::Refuses(Admission::TooManyRequests)
        );
        assert_eq!(of("+15555552000"), Behaviour::USUAL);
    }

    #[test]
    fn delays_and_attempts_are_in_the_number() {
        let delay = Duration::from_secs(75);
        let code = StatusCode::Delivered;
        assert_eq!(
            of("+15555553075"),
            Behaviour::Ends {
                code,
                attempts: 1,
                delay
            }
        );
        let delay = USUAL_DELAY;
        assert_eq!(
            of("+15555552103"),
            Behaviour::Ends {
                code,
                attempts: 3,
                delay
            }
        );
    }

    #[test]
    fn the_page_for_people_names_every_number() {
        let page = include_str!("../../../docs/sms.md");
        for code in StatusCode::ALL {
            assert!(
                page.contains(&format!("`+1555555{}`", code.number())),
                "{code:?}"
            );
            assert!(page.contains(code.text()), "{code:?}");
        }
        for last_four in [
            "0400", "0429", "0503", "2001", "2002", "2102", "2109", "3001", "3999",
        ] {
            assert!(
                page.contains(&format!("`+1555555{last_four}`")),
                "{last_four}"
            );
        }
    }
}
