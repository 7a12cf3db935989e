//! Raw identifiers of users: `8:acs:{resource}_{user}`.

use std::fmt;
use std::str::FromStr;

use gridpost_model::Chance;
use serde::{Deserialize, Serialize};

use crate::resources::CommunicationService;

/// What all of them begin with.
const PREFIX: &str = "8:acs:";

/// The raw identifier of a communication user, in lower case: the resource's immutable id, `_`, and what names the user
/// within the resource, a GUID or (for a user of Teams) a tenant and an object joined by `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(Box<str>);

/// The text is not the raw identifier of a communication user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the identifier of a communication user, which reads '8:acs:<resource>_<user>'")]
pub struct BadUserId;

impl UserId {
    /// A fresh identifier. Its user part never holds `_`: three parts mean something else to clients.
    pub fn fresh(service: &CommunicationService, chance: &dyn Chance) -> Self {
        Self(format!("{PREFIX}{}_{}", service.immutable_id, chance.uuid()).into())
    }

    /// The raw identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The raw identifier without the leading `8:`, as tokens write it.
    pub fn in_token(&self) -> &str {
        &self.0["8:".len()..]
    }

    /// The immutable id of the resource.
    pub fn resource(&self) -> &str {
        self.parts().0
    }

    /// What names the user within the resource.
    pub fn user(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0[PREFIX.len()..].split_once('_').unwrap_or_default()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UserId {
    type Err = BadUserId;

    fn from_str(text: &str) -> Result<Self, BadUserId> {
        let text = text.to_ascii_lowercase();
        let rest = text.strip_prefix(PREFIX).ok_or(BadUserId)?;
        let parts = rest.split('_').count();
        if (2..=3).contains(&parts) && rest.split('_').all(is_guid) {
            Ok(Self(text.into()))
        } else {
            Err(BadUserId)
        }
    }
}

/// Whether a text is a GUID in its usual form.
pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = "1f1e2d3c-0000-4000-8000-00000000abcd";
    const USER: &str = "00000005-3e0d-e5aa-0e04-343a0d00037c";

    #[test]
    fn section_4_identifiers_name_a_resource_and_a_user() {
        let raw = format!("8:acs:{RESOURCE}_{USER}");
        let id: UserId = raw.parse().unwrap();
        assert_eq!(id.as_str(), raw);
        assert_eq!((id.resource(), id.user()), (RESOURCE, USER));
        assert_eq!(id.in_token(), format!("acs:{RESOURCE}_{USER}"));
        assert_eq!(raw.to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn section_4_three_parts_are_a_user_of_teams() {
        let id: UserId = format!("8:acs:{RESOURCE}_{USER}_{USER}").parse().unwrap();
        assert_eq!(id.resource(), RESOURCE);
        assert_eq!(id.user(), format!("{USER}_{USER}"));
    }

    #[test]
    fn what_is_no_identifier_of_ours_is_refused() {
        for text in [
            String::new(),
            "8:acs:".into(),
            format!("8:acs:{RESOURCE}"),
            format!("8:orgid:{USER}"),
            format!("4:+{RESOURCE}_{USER}"),
            format!("8:acs:{RESOURCE}_"),
            format!("8:acs:{RESOURCE}_{USER}x"),
            format!("8:acs:{RESOURCE}_{USER}_{USER}_{USER}"),
            "8:acs:ä_ö".into(),
        ] {
            assert_eq!(text.parse::<UserId>(), Err(BadUserId), "{text}");
        }
    }
}
