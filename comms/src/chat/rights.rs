//! What a token's scopes let its user do in chat.
//!
//! Promise: one table decides. Whether the user is in the thread is another question (`thread`).
//! Source: the published table of chat token scopes; reference communication-services 3.2 calls its own unconfirmed.

use crate::identity::Scope;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    CreateThread,
    /// Change its topic, metadata or retention.
    UpdateThread,
    DeleteThread,
    /// Add or remove participants.
    ChangeParticipants,
    /// Read, and say things.
    TakePart,
}

impl Act {
    /// The narrowest scope that allows it.
    pub(crate) const fn needs(self) -> Scope {
        match self {
            Self::CreateThread | Self::UpdateThread | Self::DeleteThread => Scope::Chat,
            Self::ChangeParticipants => Scope::ChatJoin,
            Self::TakePart => Scope::ChatJoinLimited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Scopes;

    #[test]
    fn section_3_2_each_scope_allows_what_the_table_says() {
        let acts = [
            Act::CreateThread,
            Act::UpdateThread,
            Act::DeleteThread,
            Act::ChangeParticipants,
            Act::TakePart,
        ];
        let table = [
            ("chat", [true, true, true, true, true]),
            ("chat.join", [false, false, false, true, true]),
            ("chat.join.limited", [false, false, false, false, true]),
            ("voip,voip.join", [false; 5]),
            ("voip,chat.join.limited,chat", [true; 5]),
        ];
        for (scopes, expected) in table {
            let held: Scopes = scopes.parse().unwrap();
            assert_eq!(
                acts.map(|act| held.allow(act.needs())),
                expected,
                "{scopes}"
            );
        }
    }
}
