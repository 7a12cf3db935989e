//! The words in which the service refuses a body.
//!
//! Source: reference event-grid 2.6.

use http::StatusCode;

use super::json::Token;
use crate::problem::PublishRefusal;

/// The words about one schema, which messages call by its own name.
#[derive(Clone, Copy, Debug)]
pub(in crate::publish) struct Words(pub(in crate::publish) &'static str);

impl Words {
    /// The text is no JSON.
    pub(super) fn unreadable(self, error: &serde_json::Error) -> PublishRefusal {
        if error.is_eof() {
            return Self::ends_early();
        }
        Self::invalid(format!("{} {error}.", self.does_not_conform()))
    }

    /// The text is over before it has begun or ended.
    pub(super) fn ends_early() -> PublishRefusal {
        Self::invalid("Unexpected end when reading JSON.")
    }

    /// There is no event in it, or something else than events.
    pub(super) fn no_event(self) -> PublishRefusal {
        Self::invalid(self.does_not_conform())
    }

    /// Something else stands where this was expected.
    pub(super) fn wrong_token(self, expected: Token, actual: Token) -> PublishRefusal {
        let text = self.does_not_conform();
        Self::invalid(format!(
            "{text} Token Expected: {expected:?}, Actual Token Received: {actual:?}."
        ))
    }

    /// A required property is not there.
    pub(in crate::publish) fn missing(self, property: &str) -> PublishRefusal {
        self.requires(property, "to be set")
    }

    /// A property is there and not what it has to be.
    pub(super) fn requires(self, property: &str, what: &str) -> PublishRefusal {
        Self::invalid(format!(
            "This resource is configured for '{}' schema and requires '{property}' property {what}.",
            self.0
        ))
    }

    /// A time is none.
    pub(super) fn no_time(self, property: &str) -> PublishRefusal {
        self.requires(
            property,
            "to be a date-time with a UTC designator or offset",
        )
    }

    /// A property is there that the schema does not know.
    pub(super) fn unexpected(self, property: &str) -> PublishRefusal {
        Self::invalid(format!(
            "This resource is configured for '{}' schema. Received unexpected property '{property}' in JSON which does not conform to the expected schema.",
            self.0
        ))
    }

    /// Whatever is wrong with the text.
    pub(in crate::publish) fn invalid(message: impl Into<String>) -> PublishRefusal {
        PublishRefusal::new(StatusCode::BAD_REQUEST, "InputJsonInvalid", message)
    }

    fn does_not_conform(self) -> String {
        format!(
            "This resource is configured to receive event in '{}' schema. The JSON received does not conform to the expected schema.",
            self.0
        )
    }
}

/// A body or an event is larger than this.
pub(in crate::publish) fn too_large(limit: usize) -> PublishRefusal {
    refuse_size(format!("The maximum size ({limit}) has been exceeded."))
}

/// There are more events than this.
pub(super) fn too_many(limit: usize) -> PublishRefusal {
    refuse_size(format!(
        "The maximum number of events ({limit}) has been exceeded."
    ))
}

fn refuse_size(message: String) -> PublishRefusal {
    PublishRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
}
