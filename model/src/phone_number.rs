//! Phone numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A phone number in E.164 form: 1 to 15 digits, kept without the plus sign. Short codes are of the same form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(Box<str>);

/// The text is not a phone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a phone number is 1 to 15 digits, with or without a leading '+'")]
pub struct BadPhoneNumber;

impl PhoneNumber {
    /// The digits, without the plus sign: `15555555555`.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = BadPhoneNumber;

    fn from_str(text: &str) -> Result<Self, BadPhoneNumber> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let well_formed =
            (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !well_formed {
            return Err(BadPhoneNumber);
        }
        Ok(Self(digits.into()))
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = BadPhoneNumber;

    fn try_from(text: String) -> Result<Self, BadPhoneNumber> {
        text.parse()
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> Self {
        number.to_string()
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plus_sign_makes_no_difference() {
        let with: PhoneNumber = "+15555555555".parse().unwrap();
        let without: PhoneNumber = "15555555555".parse().unwrap();
        assert_eq!(with, without);
        assert_eq!(with.to_string(), "+15555555555");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "+", "+1555 555", "1234567890123456", "+1555a", "++1"] {
            assert!(text.parse::<PhoneNumber>().is_err(), "{text}");
        }
    }
}
