//! Which addresses may be dialled.
//!
//! Promise: an address that belongs to this machine, its network or its cloud's metadata service is recognised in every
//! way it can be written (mapped, translated or tunnelled into IPv6), so that a subscriber cannot use us to reach it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which kinds of addresses are allowed beside public ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// This machine: `127.0.0.0/8`, `::1`.
    pub loopback: bool,
    /// Private networks: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `100.64.0.0/10`, `fc00::/7`.
    pub private: bool,
    /// The local link: `169.254.0.0/16`, `fe80::/10`. Cloud metadata services are never allowed with it.
    pub link_local: bool,
}

/// A kind of address that is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// The local link.
    LinkLocal,
    /// A cloud's metadata service.
    Metadata,
    /// Not the address of one machine: unspecified, multicast, broadcast, reserved.
    Unusable,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata service",
            Self::Unusable => "not the address of one machine",
        })
    }
}

impl Reach {
    /// The kind of the address when it is one that may not be dialled.
    pub fn refuses(&self, address: IpAddr) -> Option<AddressKind> {
        let kind = kind(address)?;
        let allowed = match kind {
            AddressKind::Loopback => self.loopback,
            AddressKind::Private => self.private,
            AddressKind::LinkLocal => self.link_local,
            AddressKind::Metadata | AddressKind::Unusable => false,
        };
        (!allowed).then_some(kind)
    }
}

/// The kind of an address; `None` for public ones.
fn kind(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => kind_v4(v4),
            None => kind_v6(v6),
        },
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<AddressKind> {
    use AddressKind::{LinkLocal, Loopback, Metadata, Private, Unusable};
    match address.octets() {
        // Azure, AWS, GCP and others; Azure's wire server; Alibaba's.
        [169, 254, 169, 254] | [169, 254, 170, 2] | [168, 63, 129, 16] | [100, 100, 100, 200] => {
            Some(Metadata)
        }
        [127, ..] => Some(Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Some(Private),
        [169, 254, ..] => Some(LinkLocal),
        [0, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [224..=255, ..] => Some(Unusable),
        _ => None,
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<AddressKind> {
    use AddressKind::{LinkLocal, Loopback, Metadata, Private, Unusable};
    const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let head = address.segments()[0];
    match head {
        _ if address == Ipv6Addr::LOCALHOST => Some(Loopback),
        _ if address == AWS_METADATA => Some(Metadata),
        0xfc00..=0xfdff => Some(Private),
        0xfe80..=0xfebf => Some(LinkLocal),
        // Deprecated site-local addresses are still somebody's inner network.
        0xfec0..=0xfeff => Some(Private),
        0xff00..=0xffff => Some(Unusable),
        0 => Some(Unusable),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        // `::1` and `::` are IPv6's own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        [0x64, 0xff9b, _, _, _, _, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> Option<AddressKind> {
        kind(text.parse().unwrap())
    }

    #[test]
    fn every_way_to_write_an_inner_address_is_recognised() {
        use AddressKind::{LinkLocal, Loopback, Metadata, Private, Unusable};
        let table = [
            ("127.0.0.1", Loopback),
            ("127.255.1.2", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("2002:7f00:1::", Loopback),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("::ffff:10.1.2.3", Private),
            ("fd12::1", Private),
            ("fec0::1", Private),
            ("169.254.1.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("::ffff:169.254.169.254", Metadata),
            ("2002:a9fe:a9fe::", Metadata),
            ("168.63.129.16", Metadata),
            ("100.100.100.200", Metadata),
            ("fd00:ec2::254", Metadata),
            ("0.0.0.0", Unusable),
            ("::", Unusable),
            ("224.0.0.1", Unusable),
            ("255.255.255.255", Unusable),
            ("240.0.0.1", Unusable),
            ("ff02::1", Unusable),
        ];
        for (text, expected) in table {
            assert_eq!(kind_of(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
        ] {
            assert_eq!(kind_of(text), None, "{text}");
        }
    }

    #[test]
    fn each_permission_opens_its_own_kind_only() {
        let open = Reach {
            loopback: true,
            ..Reach::default()
        };
        assert_eq!(open.refuses("127.0.0.1".parse().unwrap()), None);
        assert_eq!(
            open.refuses("10.0.0.1".parse().unwrap()),
            Some(AddressKind::Private)
        );
        let all = Reach {
            loopback: true,
            private: true,
            link_local: true,
        };
        assert_eq!(all.refuses("10.0.0.1".parse().unwrap()), None);
        assert_eq!(all.refuses("169.254.1.1".parse().unwrap()), None);
        assert_eq!(
            all.refuses("169.254.169.254".parse().unwrap()),
            Some(AddressKind::Metadata)
        );
    }
}
