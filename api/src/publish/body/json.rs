//! Pieces of JSON texts, read where they stand.
//!
//! Promise: a text is borrowed unless it is escaped, and whatever stands in a text has a name for messages.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::words::Words;
use crate::problem::PublishRefusal;

pub(super) fn skip<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A property's name, borrowed unless it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A property that should be a string.
#[derive(Default)]
pub(super) enum Field<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Other(Token),
}

impl Field<'_> {
    /// The text, if there is one.
    pub(super) fn optional(&self, words: Words) -> Result<Option<&str>, PublishRefusal> {
        match self {
            Self::Absent | Self::Other(Token::Null) => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Other(token) => Err(words.wrong_token(Token::String, *token)),
        }
    }

    /// The text, which may be empty.
    pub(super) fn required(&self, property: &str, words: Words) -> Result<&str, PublishRefusal> {
        self.optional(words)?.ok_or_else(|| words.missing(property))
    }

    /// The text, which is not empty.
    pub(super) fn filled(&self, property: &str, words: Words) -> Result<&str, PublishRefusal> {
        self.optional(words)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| words.missing(property))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Boolean))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Integer))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Float))
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'de>, E> {
        Ok(Field::Other(Token::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Field<'de>, A::Error> {
        skip(seq)?;
        Ok(Field::Other(Token::StartArray))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other(Token::StartObject))
    }
}

/// What stands in a JSON text, by the names that messages use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token {
    StartObject,
    StartArray,
    String,
    Boolean,
    Integer,
    Float,
    Null,
}

impl Token {
    /// What a text begins with; `None` when there is nothing.
    pub(super) fn first_of(text: &[u8]) -> Option<Self> {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(match first {
            b'[' => Self::StartArray,
            b'{' => Self::StartObject,
            b'"' => Self::String,
            b't' | b'f' => Self::Boolean,
            b'n' => Self::Null,
            _ => Self::Integer,
        })
    }
}
