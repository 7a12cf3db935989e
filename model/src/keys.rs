//! Access keys: two per resource, so that one can be replaced while the other is in use.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Chance, Secret};

/// One access key, in the base64 form that clients are given.
pub type AccessKey = Secret;

/// Which of the two keys is meant. The wire says primary and secondary (communication) or key1 and key2 (Event Grid).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichKey {
    /// `Primary`, `key1`.
    First,
    /// `Secondary`, `key2`.
    Second,
}

/// The two keys of a resource. Both are valid at all times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// `primaryKey`, `key1`.
    pub first: AccessKey,
    /// `secondaryKey`, `key2`.
    pub second: AccessKey,
}

impl KeyPair {
    /// Two fresh keys of 64 random bytes each.
    pub fn generate(chance: &dyn Chance) -> Self {
        Self {
            first: fresh_key(chance),
            second: fresh_key(chance),
        }
    }

    /// Replaces one key by a fresh one.
    pub fn regenerate(&mut self, which: WhichKey, chance: &dyn Chance) {
        match which {
            WhichKey::First => self.first = fresh_key(chance),
            WhichKey::Second => self.second = fresh_key(chance),
        }
    }

    /// Whether `offered` is one of the two, compared in constant time.
    pub fn accepts(&self, offered: &Secret) -> bool {
        (self.first == *offered) | (self.second == *offered)
    }

    /// Both keys, first one first.
    pub fn both(&self) -> [&AccessKey; 2] {
        [&self.first, &self.second]
    }
}

fn fresh_key(chance: &dyn Chance) -> AccessKey {
    let mut bytes = [0; 64];
    chance.fill(&mut bytes);
    Secret::new(BASE64_STANDARD.encode(bytes))
}
