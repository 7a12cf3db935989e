//! How a text ended, in the documented codes.
//!
//! Source: reference communication-services 6 (`deliveryStatusDetails`); the wording of 2020 for the two cases it is
//! known for.

use serde::{Deserialize, Serialize};

use crate::EventShape;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $text:literal;)+) => {
        /// The code of an ending.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u16", into = "u16")]
        pub enum StatusCode { $($(#[doc = $doc])* $name,)+ }

        impl StatusCode {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The number.
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means, in the service's words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// Delivered.
    Delivered = 2000, "No Error";
    /// Taken for fraud.
    Fraud = 4000, "Message is rejected due to fraud detection";
    /// The sender is malformed.
    BadFrom = 4001, "Message is rejected due to invalid Source/From number format";
    /// The recipient is malformed.
    BadTo = 4002, "Message is rejected due to invalid Destination/To number format";
    /// We do not send there.
    UnsupportedDestination = 4003, "Message failed to deliver due to unsupported destination";
    /// Nobody has that number.
    NoSuchNumber = 4004, "Message failed to deliver since Destination/To number doesn't exist";
    /// The recipient's carrier refuses it.
    BlockedByCarrier = 4005, "Message is blocked by Destination carrier";
    /// The handset is off or away.
    Unreachable = 4006, "The Destination/To number isn't reachable";
    /// The recipient said STOP.
    OptedOut = 4007, "The Destination/To number has opted out of receiving messages from you";
    /// Too many texts.
    RateExceeded = 4008, "You've exceeded the maximum number of messages allowed for your profile";
    /// The sender may not.
    NotEntitled = 4009, "Message is rejected by Microsoft Entitlement System";
    /// The toll-free sender was not verified.
    TollFreeUnverified = 4010, "Message was blocked due to the toll-free number not being verified";
    /// Something broke.
    Failed = 5000, "Message failed to deliver";
    /// Something was not available.
    Unavailable = 5001, "Message failed to deliver due to temporary unavailability of application/system";
    /// The carrier did not report in time.
    NoReport = 5002, "Message Delivery Timeout";
    /// Nobody knows.
    Unknown = 9999, "Message failed to deliver due to unknown error/failure";
}

impl StatusCode {
    /// The code of that number.
    pub fn of_number(number: u16) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number() == number)
    }

    /// Whether the text arrived.
    pub fn is_delivered(self) -> bool {
        self == Self::Delivered
    }

    /// `deliveryStatusDetails`.
    pub fn details(self, shape: EventShape) -> String {
        match (shape, self) {
            (EventShape::Current, _) => format!("{}: {}", self.number(), self.text()),
            (EventShape::Of2020, Self::Delivered) => "No error.".to_owned(),
            (EventShape::Of2020, Self::OptedOut) => {
                "Sender blocked for given recipient.".to_owned()
            }
            (EventShape::Of2020, _) => format!("{}.", self.text()),
        }
    }
}

impl From<StatusCode> for u16 {
    fn from(code: StatusCode) -> Self {
        code.number()
    }
}

impl TryFrom<u16> for StatusCode {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        Self::of_number(number).ok_or_else(|| format!("{number} is no status code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_worded_as_in_their_year() {
        assert_eq!(
            StatusCode::Delivered.details(EventShape::Current),
            "2000: No Error"
        );
        assert_eq!(
            StatusCode::Delivered.details(EventShape::Of2020),
            "No error."
        );
        let blocked = StatusCode::OptedOut.details(EventShape::Of2020);
        assert_eq!(blocked, "Sender blocked for given recipient.");
    }

    #[test]
    fn codes_are_stored_as_their_numbers() {
        for code in StatusCode::ALL {
            let stored = serde_json::to_string(code).unwrap();
            assert_eq!(stored, code.number().to_string());
            assert_eq!(serde_json::from_str::<StatusCode>(&stored).unwrap(), *code);
        }
        assert!(serde_json::from_str::<StatusCode>("2001").is_err());
    }
}
