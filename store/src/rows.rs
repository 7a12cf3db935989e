//! Rows: what tables hold now, as layers over what the engine holds.
//!
//! Changes since the last checkpoint lie in `active`; while a checkpoint is being made, the changes it takes lie in
//! `frozen`; below is the engine as of the checkpoint before. All three are immutable values that are cheap to copy,
//! so a reader takes a copy and is done, and a failed batch is undone by keeping the copy from before it.
//!
//! Promise: reading through the layers is reading one table: the newest layer that knows a key decides.
//! Not here: how the engine stores rows (`engine`), when layers move (`writer`).

use std::borrow::Cow;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::engine::Base;
use crate::table::after_prefix;
use crate::{Key, Keyed, Partition, Scan, StoreError, Table};

/// Table, partition and key of a row, in bytes that sort in that order.
pub(crate) type RowKey = Arc<[u8]>;
/// A row's bytes, or that it was removed.
pub(crate) type Row = Option<Arc<[u8]>>;
/// Changes over what lies below.
pub(crate) type Layer = imbl::OrdMap<RowKey, Row>;

/// How many bytes of a row key name its table and partition.
pub(crate) const SPACE_BYTES: usize = 4;

/// All tables as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    pub(crate) active: Layer,
    pub(crate) frozen: Option<Arc<Layer>>,
    pub(crate) base: Base,
}

/// The rows of one table in one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) table: u16,
    pub(crate) partition: Partition,
}

impl Space {
    fn bytes(self) -> [u8; SPACE_BYTES] {
        let (table, partition) = (self.table.to_be_bytes(), self.partition.0.to_be_bytes());
        [table[0], table[1], partition[0], partition[1]]
    }

    pub(crate) fn key(self, key: &impl Key) -> Result<Vec<u8>, StoreError> {
        let mut bytes = self.bytes().to_vec();
        key.write(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn with(self, key: &[u8]) -> Vec<u8> {
        [&self.bytes(), key].concat()
    }
}

type Found<'a> = Result<(Cow<'a, [u8]>, Option<Cow<'a, [u8]>>), StoreError>;
type Source<'a> = Peekable<Box<dyn Iterator<Item = Found<'a>> + 'a>>;

impl Layers {
    /// One row, read as a `V`.
    pub(crate) fn get<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        partition: Partition,
        key: &impl Key,
    ) -> Result<Option<V>, StoreError> {
        let key = Space {
            table: table.id(),
            partition,
        }
        .key(key)?;
        let known = self
            .active
            .get(&key[..])
            .or_else(|| self.frozen.as_ref()?.get(&key[..]));
        match known {
            Some(Some(row)) => decode(table, row).map(Some),
            Some(None) => Ok(None),
            None => self.base.get(&key, |row| decode(table, row))?.transpose(),
        }
    }

    /// Rows of one partition, in order, each with its key.
    pub(crate) fn scan<V: DeserializeOwned>(
        &self,
        table: &Table<V>,
        partition: Partition,
        scan: &Scan,
    ) -> Result<Vec<Keyed<V>>, StoreError> {
        if let Some(refused) = scan.refused {
            return Err(refused.into());
        }
        let space = Space {
            table: table.id(),
            partition,
        };
        let from = space.with(&scan.from);
        let to = match &scan.to {
            Some(to) => space.with(to),
            None => after_prefix(&space.bytes()).unwrap_or_else(|| vec![u8::MAX; SPACE_BYTES + 1]),
        };
        let mut found = Vec::new();
        if to <= from {
            return Ok(found);
        }
        let mut sources = self.sources(&from, &to, scan.reverse)?;
        let mut bytes = 0;
        while found.len() < scan.limit
            && bytes < scan.bytes
            && let Some(row) = next_row(&mut sources, scan.reverse)
        {
            let (key, row) = row?;
            if let Some(row) = row {
                bytes += row.len();
                found.push((key[SPACE_BYTES..].into(), decode(table, &row)?));
            }
        }
        Ok(found)
    }

    /// The layers' rows of a range, newest layer first.
    fn sources<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
        reverse: bool,
    ) -> Result<Vec<Source<'a>>, StoreError> {
        let mut sources = vec![layer_range(&self.active, from, to, reverse)];
        if let Some(frozen) = &self.frozen {
            sources.push(layer_range(frozen, from, to, reverse));
        }
        if let Some(range) = self.base.range(from, to)? {
            let table = &from[..2];
            let rows = range.map(move |row| {
                let (key, row) = row?;
                Ok((Cow::Owned([table, &key].concat()), Some(Cow::Owned(row))))
            });
            sources.push(turned(rows, reverse));
        }
        Ok(sources)
    }
}

fn layer_range<'a>(layer: &'a Layer, from: &'a [u8], to: &'a [u8], reverse: bool) -> Source<'a> {
    let range = layer.range::<_, [u8]>((Bound::Included(from), Bound::Excluded(to)));
    let rows = range.map(|(key, row)| {
        Ok((
            Cow::Borrowed(&key[..]),
            row.as_ref().map(|row| Cow::Borrowed(&row[..])),
        ))
    });
    turned(rows, reverse)
}

fn turned<'a>(rows: impl DoubleEndedIterator<Item = Found<'a>> + 'a, reverse: bool) -> Source<'a> {
    let rows: Box<dyn Iterator<Item = Found<'a>>> = if reverse {
        Box::new(rows.rev())
    } else {
        Box::new(rows)
    };
    rows.peekable()
}

/// The next key of any source, as the first source that has it tells it.
fn next_row<'a>(sources: &mut [Source<'a>], reverse: bool) -> Option<Found<'a>> {
    let mut first: Option<(usize, Vec<u8>)> = None;
    for (index, source) in sources.iter_mut().enumerate() {
        match source.peek() {
            None => (),
            Some(Err(_)) => return source.next(),
            Some(Ok((key, _))) => {
                let earlier = |best: &Vec<u8>| match reverse {
                    false => **key < **best,
                    true => **best < **key,
                };
                if first.as_ref().is_none_or(|(_, best)| earlier(best)) {
                    first = Some((index, key.to_vec()));
                }
            }
        }
    }
    let (chosen, key) = first?;
    for source in &mut sources[chosen + 1..] {
        source.next_if(|found| found.as_ref().is_ok_and(|(other, _)| **other == *key));
    }
    sources[chosen].next()
}

pub(crate) fn decode<V: DeserializeOwned>(table: &Table<V>, row: &[u8]) -> Result<V, StoreError> {
    serde_json::from_slice(row).map_err(|e| StoreError::Codec {
        what: table.name(),
        why: e.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NUMBERS: Table<u32> = Table::new(1, "rows");

    fn put(layer: &mut Layer, partition: u16, key: u64, row: Option<u32>) {
        let space = Space {
            table: 1,
            partition: Partition(partition),
        };
        let row = row.map(|row| row.to_string().into_bytes().into());
        layer.insert(space.key(&key).unwrap().into(), row);
    }

    fn layers() -> Layers {
        let mut frozen = Layer::new();
        let mut active = Layer::new();
        for key in 0..6 {
            put(&mut frozen, 1, key, Some(1));
        }
        put(&mut active, 1, 2, None);
        put(&mut active, 1, 3, Some(2));
        put(&mut active, 2, 0, Some(9));
        Layers {
            active,
            frozen: Some(Arc::new(frozen)),
            base: Base::empty(),
        }
    }

    #[test]
    fn the_newest_layer_that_knows_a_key_decides() {
        let layers = layers();
        let get = |key: u64| layers.get(&NUMBERS, Partition(1), &key).unwrap();
        assert_eq!(
            (get(1), get(2), get(3), get(7)),
            (Some(1), None, Some(2), None)
        );
    }

    #[test]
    fn a_scan_stays_in_its_partition_and_honours_order_and_limit() {
        let layers = layers();
        let scan = |scan: Scan| -> Vec<(u64, u32)> {
            let rows = layers.scan(&NUMBERS, Partition(1), &scan).unwrap();
            let number = |key: &[u8]| u64::from_be_bytes(key.try_into().unwrap());
            rows.iter().map(|(key, row)| (number(key), *row)).collect()
        };
        assert_eq!(scan(Scan::all()), [(0, 1), (1, 1), (3, 2), (4, 1), (5, 1)]);
        assert_eq!(scan(Scan::all().reverse().limit(2)), [(5, 1), (4, 1)]);
        assert_eq!(scan(Scan::from(1_u64).to(4_u64)), [(1, 1), (3, 2)]);
        assert_eq!(scan(Scan::from(4_u64).to(1_u64)), []);
        assert_eq!(scan(Scan::prefix(3_u64)), [(3, 2)]);
        let behind = |mut last: Scan, key: u64| {
            last.go_behind(&key.to_be_bytes());
            scan(last)
        };
        assert_eq!(behind(Scan::all(), 3), [(4, 1), (5, 1)]);
        let backwards = Scan::prefix(()).reverse().limit(2);
        assert_eq!(behind(backwards, 4), [(3, 2), (1, 1)]);
        // The row of each number here is one byte.
        assert_eq!(scan(Scan::all().bytes(2)), [(0, 1), (1, 1)]);
        assert_eq!(scan(Scan::from(2_u64).bytes(1)), [(3, 2)]);
    }

    proptest! {
        #[test]
        fn merged_layers_are_one_table(
            below in proptest::collection::vec((0_u64..20, any::<Option<u32>>()), 0..30),
            above in proptest::collection::vec((0_u64..20, any::<Option<u32>>()), 0..30),
            reverse: bool,
            limit in 0_usize..25,
        ) {
            let (mut frozen, mut active, mut model) = (Layer::new(), Layer::new(), BTreeMap::new());
            for (layer, changes) in [(&mut frozen, &below), (&mut active, &above)] {
                for (key, row) in changes {
                    put(layer, 5, *key, *row);
                    model.insert(*key, *row);
                }
            }
            let layers = Layers { active, frozen: Some(Arc::new(frozen)), base: Base::empty() };
            let mut expected: Vec<u32> = model.into_values().flatten().collect();
            let mut scan = Scan::all().limit(limit);
            if reverse {
                expected.reverse();
                scan = scan.reverse();
            }
            expected.truncate(limit);
            let rows = layers.scan(&NUMBERS, Partition(5), &scan).unwrap();
            prop_assert_eq!(rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), expected);
        }
    }
}
