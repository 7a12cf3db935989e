//! What an event has at the keys that filters ask for.
//!
//! Promise: a key that several subscriptions share is looked up once per event, and the event's JSON is read only when
//! somebody asks for a key that is in it.
//! Not here: how a key is looked up (`model::filter::lookup`).

use std::cell::OnceCell;
use std::collections::HashMap;

use gridpost_model::filter::Content;
use gridpost_model::filter::lookup::Found;

/// So many answers are kept while an event is matched, those of the keys that most subscriptions share. The others are
/// looked up each time, so that ten thousand subscriptions with a key each do not cost every event ten thousand places.
const KEPT: usize = 64;

/// The place of a key in [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyNumber(u32);

/// The keys that the filters of one source ask for, the most shared first.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Box<str>>);

impl Keys {
    /// Numbers keys; one that is named often comes early.
    pub(super) fn of<'a>(named: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for key in named {
            *counts.entry(key).or_default() += 1;
        }
        let mut keys: Vec<_> = counts.into_iter().collect();
        keys.sort_unstable_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
        Self(keys.into_iter().map(|(key, _)| key.into()).collect())
    }

    /// The numbers by key, for building.
    pub(super) fn numbers(&self) -> HashMap<&str, KeyNumber> {
        let keys = self.0.iter().map(|key| &**key);
        keys.zip((0..).map(KeyNumber)).collect()
    }
}

/// An event, asked for values.
pub(super) struct Values<'c, 'e> {
    content: &'c Content<'e>,
    keys: &'c Keys,
    kept: OnceCell<Box<[OnceCell<Found<'c>>]>>,
}

impl<'c, 'e> Values<'c, 'e> {
    pub(super) fn new(content: &'c Content<'e>, keys: &'c Keys) -> Self {
        Self {
            content,
            keys,
            kept: OnceCell::new(),
        }
    }

    /// Asks what is at a key.
    pub(super) fn ask<R>(
        &self,
        KeyNumber(number): KeyNumber,
        ask: impl FnOnce(&Found<'_>) -> R,
    ) -> R {
        let find = || self.content.find(&self.keys.0[number as usize]);
        let kept = self.kept.get_or_init(|| {
            let places = self.keys.0.len().min(KEPT);
            (0..places).map(|_| OnceCell::new()).collect()
        });
        match kept.get(number as usize) {
            Some(place) => ask(place.get_or_init(find)),
            None => ask(&find()),
        }
    }
}
