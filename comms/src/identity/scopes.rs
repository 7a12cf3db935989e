//! What a token lets its bearer do.
//!
//! Source: reference communication-services 3.2.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `chat`: everything in chat.
    Chat,
    /// `chat.join`: no threads made, changed or deleted.
    ChatJoin,
    /// `chat.join.limited`: nor participants added or removed.
    ChatJoinLimited,
    /// `voip`: every call.
    Voip,
    /// `voip.join`: calls that there are.
    VoipJoin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Chat,
        Self::ChatJoin,
        Self::ChatJoinLimited,
        Self::Voip,
        Self::VoipJoin,
    ];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::ChatJoin => "chat.join",
            Self::ChatJoinLimited => "chat.join.limited",
            Self::Voip => "voip",
            Self::VoipJoin => "voip.join",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The scopes that allow what this one allows: itself and the wider ones.
    const fn or_wider(self) -> u8 {
        match self {
            Self::Chat | Self::Voip => self.bit(),
            Self::ChatJoin => self.bit() | Self::Chat.bit(),
            Self::ChatJoinLimited => self.bit() | Self::ChatJoin.or_wider(),
            Self::VoipJoin => self.bit() | Self::Voip.bit(),
        }
    }
}

/// The text names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a scope; there are chat, chat.join, chat.join.limited, voip and voip.join")]
pub struct BadScope(pub String);

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let mut all = Self::ALL.into_iter();
        all.find(|scope| scope.as_str() == text)
            .ok_or_else(|| BadScope(text.to_owned()))
    }
}

/// A set of scopes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// These scopes; `None` when there are none.
    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let bits = scopes.into_iter().fold(0, |bits, scope| bits | scope.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// This one alone.
    pub const fn of_one(scope: Scope) -> Self {
        Self(scope.bit())
    }

    /// These and another one.
    #[must_use]
    pub const fn and(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Whether they allow what `scope` allows, by itself or by a wider one: `chat` allows what `chat.join` does.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & scope.or_wider() != 0
    }

    /// The scopes, the same ones always in the same order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let all = Scope::ALL.into_iter();
        all.filter(move |scope| self.0 & scope.bit() != 0)
    }
}

/// `acsScope`: the names, joined by commas.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at != 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let scopes: Vec<Scope> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Self::of(scopes).ok_or_else(|| BadScope(text.to_owned()))
    }
}

impl Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_3_2_a_wider_scope_allows_what_a_narrower_one_does() {
        use Scope::{Chat, ChatJoin, ChatJoinLimited, Voip, VoipJoin};
        let table: [(Scope, &[Scope]); 5] = [
            (Chat, &[Chat, ChatJoin, ChatJoinLimited]),
            (ChatJoin, &[ChatJoin, ChatJoinLimited]),
            (ChatJoinLimited, &[ChatJoinLimited]),
            (Voip, &[Voip, VoipJoin]),
            (VoipJoin, &[VoipJoin]),
        ];
        for (held, allowed) in table {
            let held = Scopes::of([held]).unwrap();
            for asked in Scope::ALL {
                assert_eq!(
                    held.allow(asked),
                    allowed.contains(&asked),
                    "{held} {asked:?}"
                );
            }
        }
    }

    #[test]
    fn section_3_2_scopes_read_as_clients_read_them() {
        let scopes = Scopes::of([Scope::Voip, Scope::Chat, Scope::Voip]).unwrap();
        assert_eq!(scopes.to_string(), "chat,voip");
        assert_eq!("voip,chat".parse(), Ok(scopes));
        assert_eq!("chat,talk".parse::<Scopes>(), Err(BadScope("talk".into())));
        assert_eq!(Scopes::of([]), None);
    }
}
