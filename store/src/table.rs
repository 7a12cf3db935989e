//! Tables: typed names of rows, and what part of one to read.

use std::marker::PhantomData;

use crate::{BadKey, Key, Partition, schema};

/// A table of `V`, its rows ordered by key. Rows are stored as JSON, so that a later version can read them.
///
/// Every table ever stored is listed in `schema`, retired ones included.
#[derive(Debug)]
pub struct Table<V> {
    id: u16,
    name: &'static str,
    rows: PhantomData<fn() -> V>,
}

impl<V> Table<V> {
    /// Names a table. The number is what is stored; it is given once and never used again.
    ///
    /// # Panics
    /// `schema` does not list it under this number and name. Tables are constants, so this fails to compile.
    pub const fn new(id: u16, name: &'static str) -> Self {
        assert!(
            schema::lists(id, name),
            "the table is not listed in store/src/schema.rs"
        );
        Self {
            id,
            name,
            rows: PhantomData,
        }
    }

    /// Its number.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Its name, for messages.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A row and its key.
pub type Keyed<V> = (Box<[u8]>, V);

/// A row, its key, and the partition it is in.
pub type Placed<V> = (Partition, Box<[u8]>, V);

/// Which rows of a table, in which order, and how many at most.
#[derive(Clone, Debug)]
pub struct Scan {
    pub(crate) from: Vec<u8>,
    /// The first key beyond the range; `None`: to the end.
    pub(crate) to: Option<Vec<u8>>,
    pub(crate) reverse: bool,
    pub(crate) limit: usize,
    pub(crate) bytes: usize,
    pub(crate) refused: Option<BadKey>,
}

/// How many rows a scan returns unless told otherwise: a forgotten limit costs megabytes, not the machine.
const DEFAULT_LIMIT: usize = 10_000;

impl Scan {
    /// Every row.
    pub fn all() -> Self {
        Self {
            from: Vec::new(),
            to: None,
            reverse: false,
            limit: DEFAULT_LIMIT,
            bytes: usize::MAX,
            refused: None,
        }
    }

    /// The rows whose key begins with these parts.
    pub fn prefix(key: impl Key) -> Self {
        let mut scan = Self::from(key);
        scan.to = after_prefix(&scan.from);
        scan
    }

    /// The rows at and after a key.
    pub fn from(key: impl Key) -> Self {
        let mut scan = Self::all();
        scan.refused = key.write(&mut scan.from).err();
        scan
    }

    /// Ends the range before this key.
    #[must_use]
    pub fn to(mut self, key: impl Key) -> Self {
        let mut end = Vec::new();
        self.refused = self.refused.or(key.write(&mut end).err());
        self.to = Some(end);
        self
    }

    /// Starts at the end of the range.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Returns at most this many rows.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    /// Ends with the row that brings the bytes of the rows to this many: one row at least.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Goes on behind the row that a scan of this range returned last.
    pub(crate) fn go_behind(&mut self, last: &[u8]) {
        if self.reverse {
            self.to = Some(last.to_vec());
        } else {
            self.from = [last, &[0]].concat();
        }
    }
}

/// The first key that sorts after everything beginning with `prefix`; `None` when nothing does.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
