//! An array, read element by element.
//!
//! Promise: reading ends at the first element that cannot be right and at the first that is one too many, so a body
//! costs no more memory than the events it may have.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};

use super::json::Token;
use super::words::{Words, too_many};
use crate::problem::PublishRefusal;

/// The elements of an array: one at least, `most` at most, all of them checked.
pub(super) fn read<'a, T: Deserialize<'a>>(
    words: Words,
    body: &'a [u8],
    most: usize,
    check: impl Fn(&T) -> Result<(), PublishRefusal>,
) -> Result<Vec<T>, PublishRefusal> {
    match Token::first_of(body) {
        None => return Err(Words::ends_early()),
        Some(Token::StartArray) => (),
        Some(other) => return Err(words.wrong_token(Token::StartArray, other)),
    }
    let mut refusal = None;
    let reader = Reader {
        most,
        check,
        refusal: &mut refusal,
        element: PhantomData,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_seq(reader);
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let elements = read.map_err(|e| words.unreadable(&e))?;
    json.end().map_err(|e| words.unreadable(&e))?;
    if elements.is_empty() {
        return Err(words.no_event());
    }
    Ok(elements)
}

struct Reader<'r, T, C> {
    most: usize,
    check: C,
    /// Why reading ended early: the reader itself can only say that it did.
    refusal: &'r mut Option<PublishRefusal>,
    element: PhantomData<T>,
}

impl<'a, T, C> Visitor<'a> for Reader<'_, T, C>
where
    T: Deserialize<'a>,
    C: Fn(&T) -> Result<(), PublishRefusal>,
{
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            let refused = match (self.check)(&element) {
                Ok(()) if elements.len() == self.most => Some(too_many(self.most)),
                checked => checked.err(),
            };
            if refused.is_some() {
                *self.refusal = refused;
                return Err(A::Error::custom("refused"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http::StatusCode;
    use serde_json::value::RawValue;

    use super::*;

    const WORDS: Words = Words("EventGridEvent");

    /// Reads at most two elements; the number says how many were looked at.
    fn look(body: &str) -> (Result<usize, PublishRefusal>, usize) {
        let looks = Cell::new(0);
        let read = read(WORDS, body.as_bytes(), 2, |element: &&RawValue| {
            looks.set(looks.get() + 1);
            match element.get() {
                "0" => Err(WORDS.no_event()),
                _ => Ok(()),
            }
        });
        (read.map(|elements| elements.len()), looks.get())
    }

    #[test]
    fn reading_ends_at_the_first_element_too_many() {
        let (read, looks) = look("[1,2,3,4,5,not even JSON");
        assert_eq!(read.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(looks, 3);
        assert_eq!(look("[1,2]").0.unwrap(), 2);
    }

    #[test]
    fn reading_ends_at_the_first_element_that_is_wrong() {
        let (read, looks) = look("[1,0,3,not even JSON");
        assert_eq!(read.unwrap_err().message, WORDS.no_event().message);
        assert_eq!(looks, 2);
    }

    #[test]
    fn what_is_no_array_or_no_json_is_refused() {
        let early = Words::ends_early().message;
        for (body, message) in [
            ("", &early),
            ("[1", &early),
            ("[]", &WORDS.no_event().message),
        ] {
            assert_eq!(&look(body).0.unwrap_err().message, message, "{body}");
        }
        for body in ["{}", "[1]x", "[1,]"] {
            let refusal = look(body).0.unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{body}");
        }
    }
}
