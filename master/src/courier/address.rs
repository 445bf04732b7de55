//! Decides which addresses messages may go to: by default only public ones. Otherwise anyone who
//! may register a webhook could make the master call services that only the master can reach
//! (server-side request forgery).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// IANA's registry of special-purpose addresses (RFC 6890), and the one cloud metadata service
/// outside of it. The others are covered by it: 169.254.169.254, 100.100.100.200, 192.0.0.192.
const CLOSED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "no address of another machine (RFC 1122)"),
    (v4(10, 0, 0, 0, 8), "a private address (RFC 1918)"),
    (v4(100, 64, 0, 0, 10), "an address behind a carrier's translation (RFC 6598)"),
    (v4(127, 0, 0, 0, 8), "this machine (loopback)"),
    (v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    (v4(169, 254, 0, 0, 16), "a link-local address (RFC 3927), as metadata services have"),
    (v4(172, 16, 0, 0, 12), "a private address (RFC 1918)"),
    (v4(192, 0, 0, 0, 24), "kept for protocols (RFC 6890)"),
    (v4(192, 0, 2, 0, 24), "for documentation (RFC 5737)"),
    (v4(192, 88, 99, 0, 24), "a relay to IPv6 (RFC 7526)"),
    (v4(192, 168, 0, 0, 16), "a private address (RFC 1918)"),
    (v4(198, 18, 0, 0, 15), "for benchmarks (RFC 2544)"),
    (v4(198, 51, 100, 0, 24), "for documentation (RFC 5737)"),
    (v4(203, 0, 113, 0, 24), "for documentation (RFC 5737)"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 0, 4), "kept for later, or broadcast (RFC 1112)"),
];

/// The allocated part of IPv6. Everything outside is closed.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);
/// Closed networks within it.
const CLOSED_V6: &[(Ipv6Net, &str)] = &[
    (v6(0x2001, 0, 23), "kept for protocols (RFC 2928), Teredo among them"),
    (v6(0x2001, 0xdb8, 32), "for documentation (RFC 3849)"),
    (v6(0x2002, 0, 16), "an IPv4 address in disguise (6to4)"),
    (v6(0x3fff, 0, 20), "for documentation (RFC 9637)"),
];
/// Networks outside of it that get a description of their own.
const NAMED_V6: &[(Ipv6Net, &str)] = &[
    (v6(0xfc00, 0, 7), "a private address (RFC 4193)"),
    (v6(0xfe80, 0, 10), "a link-local address"),
    (v6(0xff00, 0, 8), "a multicast address"),
];
/// RFC 6052: the last 32 bits are an IPv4 address, to which a NAT64 gateway forwards.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 96);

/// Where messages may go: public addresses, and the networks that the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachable {
    allowed: Arc<[IpNet]>,
}

impl Reachable {
    /// Also allows these networks (`ORCHESTRA_WEBHOOK_ALLOW`).
    pub fn with(allowed: Vec<IpNet>) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Checks whether a message may go to this address.
    ///
    /// # Errors
    /// If not, with what the address is, as the end of a sentence "... is".
    pub(super) fn check(&self, address: IpAddr) -> Result<(), &'static str> {
        let meant = meant(address);
        let is_allowed = |network: &IpNet| network.contains(&address) || network.contains(&meant);
        match closed(meant) {
            Some(what) if !self.allowed.iter().any(is_allowed) => Err(what),
            _ => Ok(()),
        }
    }
}

/// The address that is finally reached: unwraps IPv4-mapped and NAT64 addresses.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let [.., a, b, c, d] = v6.octets();
    if NAT64.contains(&v6) { Ipv4Addr::new(a, b, c, d).into() } else { address }
}

fn closed(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => {
            CLOSED_V4.iter().find(|(network, _)| network.contains(&v4)).map(|(_, what)| *what)
        }
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("this machine (loopback)"),
        IpAddr::V6(v6) => {
            let mut named = CLOSED_V6.iter().chain(NAMED_V6);
            let named = named.find(|(network, _)| network.contains(&v6)).map(|(_, what)| *what);
            let other = "no address that is given out on the internet";
            named.or((!GLOBAL_V6.contains(&v6)).then_some(other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open(reachable: &Reachable, address: &str) -> bool {
        reachable.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_what_is_everybody_s_is_reached() {
        let usual = Reachable::default();
        for open in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_open(&usual, open), "{open}");
        }
        for closed in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::192.168.0.1",
            "64:ff9b:1::10.0.0.1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_open(&usual, closed), "{closed}");
        }
    }

    #[test]
    fn the_operator_s_networks_are_reached_in_each_spelling_and_no_others() {
        let nets = ["10.1.0.0/16", "fd00:1::/32", "::1/128"];
        let reachable = Reachable::with(nets.map(|net| net.parse().unwrap()).to_vec());
        for open in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::9", "::1"] {
            assert!(is_open(&reachable, open), "{open}");
        }
        for closed in ["10.2.0.1", "::ffff:10.2.0.1", "fd00:2::9", "127.0.0.1"] {
            assert!(!is_open(&reachable, closed), "{closed}");
        }
    }
}
