//! Keys of rows: values written so that bytes sort as the values do.
//!
//! Promise: for keys of one shape, the order of the bytes is the order of the values, part by part.

use gridpost_model::Timestamp;
use gridpost_model::subscription::LaneId;

use crate::Position;

/// A key or a leading part of one.
pub trait Key {
    /// Appends the key to `out`.
    ///
    /// # Errors
    /// The value cannot stand in a key.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey>;
}

/// Text with a NUL in it: NUL ends the text inside a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key holds text with a NUL character")]
pub struct BadKey;

/// A whole key or prefix as bytes, such as a scan gave back.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a>(pub &'a [u8]);

impl Key for Raw<'_> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}

impl Key for str {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        if self.as_bytes().contains(&0) {
            return Err(BadKey);
        }
        out.extend_from_slice(self.as_bytes());
        out.push(0);
        Ok(())
    }
}

impl Key for String {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        self.as_str().write(out)
    }
}

impl Key for u64 {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

impl Key for i64 {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        // With the sign turned over, negative numbers sort before positive ones.
        (self.cast_unsigned() ^ (1 << 63)).write(out)
    }
}

impl Key for Timestamp {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        self.ticks().write(out)
    }
}

impl Key for LaneId {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        self.0.write(out)
    }
}

impl Key for Position {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        self.0.write(out)
    }
}

/// The key of a table with a single row.
impl Key for () {
    fn write(&self, _out: &mut Vec<u8>) -> Result<(), BadKey> {
        Ok(())
    }
}

impl<K: Key + ?Sized> Key for &K {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        (**self).write(out)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        self.0.write(out)?;
        self.1.write(out)
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), BadKey> {
        self.0.write(out)?;
        self.1.write(out)?;
        self.2.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(key: impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(&mut out).unwrap();
        out
    }

    #[test]
    fn text_with_a_nul_is_refused() {
        assert_eq!("a\0b".write(&mut Vec::new()), Err(BadKey));
        assert_eq!(("a", "b\0").write(&mut Vec::new()), Err(BadKey));
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_values_do(
            one in ("[^\0]{0,4}", any::<i64>(), any::<u64>()),
            other in ("[^\0]{0,4}", any::<i64>(), any::<u64>()),
        ) {
            prop_assert_eq!(bytes(one.clone()).cmp(&bytes(other.clone())), one.cmp(&other));
        }

        #[test]
        fn moments_sort_as_they_come(one: i64, other: i64) {
            let key = |ticks| bytes((LaneId(1), Timestamp::from_ticks(ticks), Position(3)));
            prop_assert_eq!(key(one).cmp(&key(other)), one.cmp(&other));
        }
    }
}
