//! Who may reach a topic or a domain: `publicNetworkAccess` and `inboundIpRules`.
//!
//! Promise: a rule is a network that was understood; without rules everybody is admitted, with rules only whom one of
//! them names, and with public access off nobody, because there are no private endpoints to come through.
//! Not here: who the caller is, and how a refusal is answered (`api`).
//! Source: reference event-grid 3.3 and 8.3.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::manage::Invalid;

/// The service keeps as many.
pub const IP_RULES: usize = 128;

/// Who may reach a topic or a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `publicNetworkAccess` is `Enabled`.
    pub public_network: bool,
    /// `inboundIpRules`: whom we admit, when there are any.
    #[serde(default)]
    pub inbound_ip_rules: Vec<IpRule>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            public_network: true,
            inbound_ip_rules: Vec::new(),
        }
    }
}

impl Access {
    /// Whether a caller at that address may publish.
    pub fn admits(&self, caller: IpAddr) -> bool {
        let rules = &self.inbound_ip_rules;
        self.public_network && (rules.is_empty() || rules.iter().any(|rule| rule.names(caller)))
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.inbound_ip_rules.len() <= IP_RULES {
            return Ok(());
        }
        let message = format!("At most {IP_RULES} inbound IP rules are allowed.");
        Err(Invalid::new("properties.inboundIpRules", message))
    }
}

/// One rule of `inboundIpRules`. Its action is `Allow`; there is no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRule {
    /// `ipMask`, as it was written.
    text: Box<str>,
    network: IpAddr,
    /// How many leading bits of the network count.
    bits: u8,
}

/// The text is neither an address nor a network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The IP mask '{0}' is not valid; use an address or a network in CIDR notation, such as '10.0.0.0/8'."
)]
pub struct BadIpMask(pub String);

impl IpRule {
    /// `ipMask`, as it was written.
    pub fn mask(&self) -> &str {
        &self.text
    }

    /// Whether the address lies in the network. An IPv4 address that comes as IPv6 counts as IPv4.
    fn names(&self, caller: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            let rest = width - u32::from(self.bits);
            one.checked_shr(rest) == other.checked_shr(rest)
        };
        match (self.network, caller.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(caller)) => {
                same(own.to_bits().into(), caller.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(caller)) => same(own.to_bits(), caller.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for IpRule {
    type Err = BadIpMask;

    fn from_str(text: &str) -> Result<Self, BadIpMask> {
        let bad = || BadIpMask(text.chars().take(64).collect());
        let (network, bits) = match text.split_once('/') {
            None => (text, None),
            Some((network, bits)) => (network, Some(bits)),
        };
        let network: IpAddr = network.parse().map_err(|_| bad())?;
        let width = if network.is_ipv4() { 32 } else { 128 };
        let plain = |bits: &&str| bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => Some(bits)
                .filter(plain)
                .and_then(|bits| bits.parse().ok())
                .filter(|bits| *bits <= width)
                .ok_or_else(bad)?,
        };
        let text = text.into();
        Ok(Self {
            text,
            network,
            bits,
        })
    }
}

impl TryFrom<String> for IpRule {
    type Error = BadIpMask;

    fn try_from(text: String) -> Result<Self, BadIpMask> {
        text.parse()
    }
}

impl From<IpRule> for String {
    fn from(rule: IpRule) -> Self {
        rule.text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(rules: &[&str], caller: &str) -> bool {
        let access = Access {
            public_network: true,
            inbound_ip_rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        };
        access.admits(caller.parse().unwrap())
    }

    #[test]
    fn section_3_3_rules_admit_whom_they_name() {
        let table = [
            (&[][..], "203.0.113.9", true),
            (&["203.0.113.0/24"], "203.0.113.9", true),
            (&["203.0.113.0/24"], "203.0.114.9", false),
            (&["203.0.113.8/31"], "203.0.113.9", true),
            (&["203.0.113.8"], "203.0.113.9", false),
            (&["10.0.0.0/8", "203.0.113.9/32"], "203.0.113.9", true),
            (&["0.0.0.0/0"], "203.0.113.9", true),
            (&["0.0.0.0/0"], "2001:db8::1", false),
            (&["203.0.113.0/24"], "::ffff:203.0.113.9", true),
            (&["2001:db8::/32"], "2001:db8:ffff::1", true),
            (&["2001:db8::/32"], "2001:db9::1", false),
            (&["::/0"], "2001:db9::1", true),
        ];
        for (rules, caller, admitted) in table {
            assert_eq!(admits(rules, caller), admitted, "{rules:?} {caller}");
        }
    }

    #[test]
    fn section_3_3_without_public_access_nobody_is_admitted() {
        let closed = Access {
            public_network: false,
            inbound_ip_rules: vec!["127.0.0.0/8".parse().unwrap()],
        };
        assert!(!closed.admits("127.0.0.1".parse().unwrap()));
        assert!(Access::default().admits("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "2001:db8::/129",
            "example.com",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<IpRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_is_kept_as_it_was_written() {
        let rule: IpRule = "10.1.2.3/8".parse().unwrap();
        let kept = serde_json::to_string(&rule).unwrap();
        assert_eq!(kept, "\"10.1.2.3/8\"");
        assert_eq!(serde_json::from_str::<IpRule>(&kept).unwrap(), rule);
    }

    #[test]
    fn section_8_3_there_is_a_limit_of_rules() {
        let rules = |count| Access {
            public_network: true,
            inbound_ip_rules: vec!["10.0.0.0/8".parse().unwrap(); count],
        };
        assert!(rules(IP_RULES).check().is_ok());
        assert_eq!(
            rules(IP_RULES + 1).check().unwrap_err().field,
            "properties.inboundIpRules"
        );
    }
}
