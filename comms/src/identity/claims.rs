//! What a user's token says.
//!
//! Promise: every client can read it. Python's takes the payload for ordinary base64, so no claim holds a character
//! outside ASCII or one of `>`, `?`, `~`, DEL, which at some places become `-` or `_`.
//! Source: reference communication-services 3.2, trap 6.

use gridpost_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::{Scopes, UserId};
use crate::resources::CommunicationService;

/// `scp` as the service writes it, whatever the scopes.
const SCP: u32 = 1792;

/// The payload, its names and order as the service has them; `seal` is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The raw identifier without `8:`.
    pub(crate) skypeid: String,
    scp: u32,
    /// The moment of issue, as text.
    csi: String,
    pub(crate) exp: i64,
    #[serde(rename = "acsScope")]
    pub(crate) scopes: Scopes,
    #[serde(rename = "resourceId")]
    pub(crate) resource: String,
    #[serde(rename = "resourceLocation")]
    location: String,
    pub(crate) iat: i64,
    /// The identity's seal at that moment; absent from tokens of Teams users, who are not kept here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<Box<str>>,
}

impl Claims {
    pub(crate) fn new(
        service: &CommunicationService,
        subject: &str,
        scopes: Scopes,
        seal: Option<Box<str>>,
        now: Timestamp,
        expires: Timestamp,
    ) -> Self {
        Self {
            skypeid: subject.to_owned(),
            scp: SCP,
            csi: now.seconds().to_string(),
            exp: expires.seconds(),
            scopes,
            resource: service.immutable_id.clone(),
            location: location(&service.data_location),
            iat: now.seconds(),
            seal,
        }
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> Option<UserId> {
        format!("8:{}", self.skypeid).parse().ok()
    }
}

/// `United States` is `unitedstates`. Whatever else a user typed there has no place in a token.
fn location(data_location: &str) -> String {
    let letters = data_location.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_3_2_locations_are_plain_letters() {
        let table = [
            ("United States", "unitedstates"),
            ("unitedstates", "unitedstates"),
            ("Zürich~?>", "zrich"),
            ("", ""),
        ];
        for (given, written) in table {
            assert_eq!(location(given), written, "{given}");
        }
    }
}
