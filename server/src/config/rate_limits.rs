//! The section that limits how often clients may call.

use gridpost_comms::RateLimits as Limits;
use serde::Deserialize;

use super::ConfigError;

/// `[rate_limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    chat: bool,
    identity: bool,
    multiplier: u32,
}

impl RateLimits {
    /// Beyond it nothing is limited that a machine could do.
    const MOST: u32 = 1000;

    /// Which calls are limited.
    pub fn limits(&self) -> Limits {
        Limits {
            chat: self.chat,
            identity: self.identity,
            multiplier: self.multiplier,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (1..=Self::MOST).contains(&self.multiplier) {
            return Ok(());
        }
        Err(ConfigError::BadValue(format!(
            "rate_limits.multiplier must be between 1 and {}, not {}",
            Self::MOST,
            self.multiplier
        )))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Flags};

    #[test]
    fn nothing_is_limited_unless_it_is_set() {
        let with = |text: &str| {
            let file = ("own.toml".into(), format!("[rate_limits]\n{text}\n"));
            Config::resolve(Some(file), &|_| None, &Flags::default())
        };
        let limits = with("").unwrap().rate_limits.limits();
        assert_eq!(
            (limits.chat, limits.identity, limits.multiplier),
            (false, false, 1)
        );
        let limits = with("chat = true\nmultiplier = 20")
            .unwrap()
            .rate_limits
            .limits();
        assert_eq!(
            (limits.chat, limits.identity, limits.multiplier),
            (true, false, 20)
        );
        for bad in ["multiplier = 0", "multiplier = 1001", "chat = 'some'"] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
