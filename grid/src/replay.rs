//! Events delivered once more.
//!
//! Promise: what belongs to a replay can be told from a first delivery.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplayId(pub(crate) u64);

/// The text does not name a replay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a replay")]
pub struct BadReplayId;

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for ReplayId {
    type Err = BadReplayId;

    fn from_str(text: &str) -> Result<Self, BadReplayId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16);
        number.ok().filter(|_| plain).map(Self).ok_or(BadReplayId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        assert_eq!(ReplayId(0xbeef).to_string().parse(), Ok(ReplayId(0xbeef)));
        assert!("+1".parse::<ReplayId>().is_err() && "x".parse::<ReplayId>().is_err());
    }
}
