//! A bound on the number of series.
//!
//! Promise: the first [`NAMED`] of a kind are reported by name, those that come later together, and what is reported
//! never decreases: neither when one of those that are reported together goes, nor when a place by name is free again.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Sources, and event subscriptions, that are reported by name. A subscription has about fifty series, so these are
/// some thirty thousand: what a small Prometheus takes from one target in one go, on a page of a few megabytes.
pub const NAMED: usize = 500;

/// Numbers that can be reported together with others.
pub(super) trait Foldable: Clone {
    /// Tells one from another.
    type Key: Clone + Eq + Hash;

    fn key(&self) -> Self::Key;

    /// Takes in the numbers of another.
    fn take_in(&mut self, other: &Self);

    /// Forgets what is true at this moment only, because the one it was true of is gone.
    fn forget_the_moment(&mut self);

    /// Says that these are the numbers of so many.
    fn stand_for(&mut self, others: u64);
}

/// Who is reported by name, and what those had that are not.
pub(super) struct Fold<T: Foldable> {
    limit: usize,
    named: HashSet<T::Key>,
    /// Once reported together, always reported together: or the sum would decrease.
    others: HashMap<T::Key, T>,
    gone: Option<T>,
}

impl<T: Foldable> Fold<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            named: HashSet::new(),
            others: HashMap::new(),
            gone: None,
        }
    }

    /// What is reported of `all` that there are now, the oldest first.
    pub(super) fn report(&mut self, all: Vec<T>) -> Vec<T> {
        let present: HashSet<_> = all.iter().map(T::key).collect();
        self.named.retain(|key| present.contains(key));
        for (_, mut one) in self.others.extract_if(|key, _| !present.contains(key)) {
            one.forget_the_moment();
            match &mut self.gone {
                Some(gone) => gone.take_in(&one),
                None => self.gone = Some(one),
            }
        }
        let mut report = Vec::with_capacity(all.len().min(self.limit) + 1);
        for one in all {
            let key = one.key();
            let has_place = self.named.len() < self.limit && !self.others.contains_key(&key);
            if self.named.contains(&key) || has_place {
                self.named.insert(key);
                report.push(one);
            } else {
                self.others.insert(key, one);
            }
        }
        report.extend(self.together());
        report
    }

    fn together(&self) -> Option<T> {
        let all = self.gone.iter().chain(self.others.values()).cloned();
        let mut sum = all.reduce(|mut sum, one| {
            sum.take_in(&one);
            sum
        })?;
        sum.stand_for(self.others.len() as u64);
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct One {
        key: u32,
        count: u64,
        waiting: u64,
        others: Option<u64>,
    }

    impl Foldable for One {
        type Key = u32;

        fn key(&self) -> u32 {
            self.key
        }

        fn take_in(&mut self, other: &Self) {
            self.count += other.count;
            self.waiting += other.waiting;
        }

        fn forget_the_moment(&mut self) {
            self.waiting = 0;
        }

        fn stand_for(&mut self, others: u64) {
            self.others = Some(others);
        }
    }

    fn one(key: u32, count: u64) -> One {
        One {
            key,
            count,
            waiting: 1,
            others: None,
        }
    }

    fn other(report: &[One]) -> (u64, u64, Option<u64>) {
        let last = report.last().unwrap();
        (last.count, last.waiting, last.others)
    }

    #[test]
    fn those_beyond_the_limit_are_reported_together() {
        let mut fold = Fold::new(2);
        assert_eq!(fold.report(vec![one(1, 5), one(2, 6)]).len(), 2);
        let report = fold.report(vec![one(1, 5), one(2, 6), one(3, 7), one(4, 8)]);
        assert_eq!(report[..2], [one(1, 5), one(2, 6)]);
        assert_eq!(other(&report), (15, 2, Some(2)));
    }

    #[test]
    fn what_is_reported_together_never_decreases() {
        let mut fold = Fold::new(1);
        fold.report(vec![one(1, 5), one(2, 6), one(3, 7)]);
        // The second goes, and the first: its place is for those who come, not for the third.
        let report = fold.report(vec![one(3, 9), one(4, 1)]);
        assert_eq!(report[0], one(4, 1));
        assert_eq!(other(&report), (6 + 9, 1, Some(1)));
        let report = fold.report(vec![one(4, 1)]);
        assert_eq!(other(&report), (15, 0, Some(0)));
    }
}
