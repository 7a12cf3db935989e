//! Subscriptions that share a condition on the subject, arranged by what their advanced filters want to be equal.
//!
//! Promise: a visit finds every member that may match, each once; those whose value is another one cost nothing.
//! Not here: whether a member that was found does match (`matching`).

use std::collections::HashMap;

use gridpost_model::filter::lookup::Scalar;

use super::Entry;
use super::values::{KeyNumber, Values};

/// So few are asked one by one: that costs less than looking for them.
const FEW: usize = 4;

/// Members, by their numbers among the entries.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Those that want nothing to be equal.
    plain: Vec<u32>,
    /// The others, each in the table of one key, under each value it takes.
    tables: Vec<Table>,
}

/// Members by the value they want at a key.
#[derive(Debug)]
struct Table {
    key: KeyNumber,
    members: HashMap<Wanted, Vec<u32>>,
    texts: HashMap<Box<str>, Vec<u32>>,
}

/// A value that is no text. Texts have a map of their own, because they are looked up without copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Bool(bool),
    /// The bits of a double.
    Number(u64),
}

impl Wanted {
    fn number(value: f64) -> Self {
        // Adding nothing makes the two zeros one.
        Self::Number((value + 0.0).to_bits())
    }
}

impl Bucket {
    pub(super) fn of(members: Vec<u32>, entries: &[Entry]) -> Self {
        let mut bucket = Self::default();
        if members.len() <= FEW {
            bucket.plain = members;
            return bucket;
        }
        let shared = Shared::count(&members, entries);
        for member in members {
            let choices = choices(&entries[member as usize]);
            match choices.min_by_key(|(key, values)| shared.most(*key, values)) {
                None => bucket.plain.push(member),
                Some((key, values)) => bucket.table(key).insert(&values, member),
            }
        }
        bucket
    }

    fn table(&mut self, key: KeyNumber) -> &mut Table {
        let place = self.tables.iter().position(|table| table.key == key);
        let place = place.unwrap_or_else(|| {
            self.tables.push(Table {
                key,
                members: HashMap::new(),
                texts: HashMap::new(),
            });
            self.tables.len() - 1
        });
        &mut self.tables[place]
    }

    /// Visits whoever may match an event with these values.
    pub(super) fn visit(&self, values: &Values<'_, '_>, visit: &mut impl FnMut(u32)) {
        self.plain.iter().copied().for_each(&mut *visit);
        for table in &self.tables {
            values.ask(table.key, |found| match &found.scalars[..] {
                [] => (),
                [one] => table.at(one).iter().copied().for_each(&mut *visit),
                several => {
                    let all = several.iter().flat_map(|one| table.at(one));
                    let mut all: Vec<u32> = all.copied().collect();
                    all.sort_unstable();
                    all.dedup();
                    all.into_iter().for_each(&mut *visit);
                }
            });
        }
    }
}

/// The keys at which a member wants something to be equal, and to what.
fn choices(entry: &Entry) -> impl Iterator<Item = (KeyNumber, Vec<Scalar<'_>>)> {
    let asked = entry.clauses.iter();
    asked.filter_map(|one| Some((one.key, one.clause.equalities()?)))
}

impl Table {
    fn insert(&mut self, values: &[Scalar<'_>], member: u32) {
        for value in values {
            let place = match value {
                Scalar::Text(text) => self.texts.entry((**text).into()).or_default(),
                Scalar::Bool(value) => self.members.entry(Wanted::Bool(*value)).or_default(),
                Scalar::Number(value) => self.members.entry(Wanted::number(*value)).or_default(),
            };
            // Members come one after another, so a value that one of them names twice is found here.
            if place.last() != Some(&member) {
                place.push(member);
            }
        }
    }

    fn at(&self, value: &Scalar<'_>) -> &[u32] {
        let found = match value {
            Scalar::Text(text) => self.texts.get(&**text),
            Scalar::Bool(value) => self.members.get(&Wanted::Bool(*value)),
            Scalar::Number(value) => self.members.get(&Wanted::number(*value)),
        };
        found.map_or(&[], Vec::as_slice)
    }
}

/// How many members want each value, to place each where it has the least company.
struct Shared(HashMap<KeyNumber, Table>);

impl Shared {
    fn count(members: &[u32], entries: &[Entry]) -> Self {
        let mut tables = HashMap::new();
        for &member in members {
            for (key, values) in choices(&entries[member as usize]) {
                let table = tables.entry(key).or_insert_with(|| Table {
                    key,
                    members: HashMap::new(),
                    texts: HashMap::new(),
                });
                table.insert(&values, member);
            }
        }
        Self(tables)
    }

    fn most(&self, key: KeyNumber, values: &[Scalar<'_>]) -> usize {
        let table = &self.0[&key];
        let company = values.iter().map(|value| table.at(value).len());
        company.max().unwrap_or_default()
    }
}
