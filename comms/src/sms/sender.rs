//! Who a text comes from.
//!
//! Promise: a `Sender` is well formed; whether a resource may use it is asked where it is used.
//! Source: reference communication-services 6. What an alphanumeric name may contain is our choice, in docs/sms.md.

use std::fmt;
use std::str::FromStr;

use gridpost_model::PhoneNumber;

/// `from`: a number or short code that a resource owns, or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A phone number (7 to 15 digits) or a short code (5 or 6 digits). It must belong to the resource.
    Number(PhoneNumber),
    /// An alphanumeric name: 1 to 11 letters, digits, spaces and `&+-_`, at least one of them a letter. Nobody owns a
    /// name; any resource may use it, and nobody can answer it.
    Name(Box<str>),
}

/// The text is neither a number nor a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sender is a phone number, a short code, or a name of 1 to 11 letters and digits")]
pub struct BadSender;

impl FromStr for Sender {
    type Err = BadSender;

    fn from_str(text: &str) -> Result<Self, BadSender> {
        match text.parse::<PhoneNumber>() {
            Ok(number) if (5..=15).contains(&number.digits().len()) => Ok(Self::Number(number)),
            Ok(_) => Err(BadSender),
            Err(_) if is_name(text) => Ok(Self::Name(text.into())),
            Err(_) => Err(BadSender),
        }
    }
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || " &+-_".contains(c);
    (1..=11).contains(&text.len())
        && text.chars().all(fits)
        && text.chars().any(|c| c.is_ascii_alphabetic())
        && text.trim() == text
}

impl Sender {
    /// As it stands in events and subjects: digits without the plus sign, or the name.
    pub fn bare(&self) -> &str {
        match self {
            Self::Number(number) => number.digits(),
            Self::Name(name) => name,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.bare())
    }
}

/// Reads `to`: E.164 with its plus sign, 7 to 15 digits, not beginning with zero.
pub fn recipient(text: &str) -> Option<PhoneNumber> {
    let digits = text.strip_prefix('+')?;
    let plausible = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    text.parse().ok().filter(|_| plausible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_short_codes_and_names_are_told_apart() {
        assert!(matches!("+15555550100".parse(), Ok(Sender::Number(_))));
        assert!(matches!("15555550100".parse(), Ok(Sender::Number(_))));
        assert!(matches!("34567".parse(), Ok(Sender::Number(_))));
        assert!(matches!("Contoso 24".parse(), Ok(Sender::Name(_))));
    }

    #[test]
    fn other_senders_are_refused() {
        for text in [
            "",
            "1234",
            "+",
            " Contoso",
            "Contoso Limited",
            "Conto$o",
            "123 45",
            "Кот",
        ] {
            assert_eq!(text.parse::<Sender>(), Err(BadSender), "{text}");
        }
    }

    #[test]
    fn a_recipient_needs_its_plus_sign_and_country_code() {
        assert!(recipient("+15555550123").is_some());
        for text in [
            "",
            "15555550123",
            "+01555555012",
            "+12345",
            "+1555555012345678",
            "+1555abc0123",
        ] {
            assert!(recipient(text).is_none(), "{text}");
        }
    }
}
