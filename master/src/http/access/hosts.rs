//! The host names of a master.
//!
//! To a browser, a page whose name was rebound to the master's address (DNS rebinding) has the same
//! origin as the master. Only the `host` header gives it away.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use axum::http::uri::Authority;

/// Loopback in every usual spelling, the names that the operator configured, and the listen
/// address.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    named: Vec<Host>,
    listen: Option<IpAddr>,
}

/// A lower-case name, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

impl Hosts {
    /// The names that the operator configured, with or without a port.
    ///
    /// # Errors
    /// With the first one that is not a host.
    pub fn named(names: &[String]) -> Result<Self, &str> {
        let parse = |name: &'_ String| name.parse().ok().and_then(|it| Host::of(&it));
        let named = names.iter().map(|name| parse(name).ok_or(name.as_str()));
        Ok(Self { named: named.collect::<Result<_, _>>()?, listen: None })
    }

    /// Adds the listen address. If that is unspecified, every address is known: rebinding needs a
    /// name, not an address.
    pub(super) fn and(mut self, listen: IpAddr) -> Self {
        self.listen = Some(listen.to_canonical());
        self
    }

    pub(super) fn know(&self, authority: &Authority) -> bool {
        let Some(host) = Host::of(authority) else { return false };
        let known = match &host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) if address.is_unspecified() => return false,
            Host::Address(address) => {
                let listened_on = |listen: IpAddr| listen.is_unspecified() || listen == *address;
                address.is_loopback() || self.listen.is_some_and(listened_on)
            }
        };
        known || self.named.contains(&host)
    }

    /// Whether the operator configured it.
    pub(super) fn name(&self, authority: &Authority) -> bool {
        Host::of(authority).is_some_and(|host| self.named.contains(&host))
    }
}

impl Host {
    fn of(authority: &Authority) -> Option<Self> {
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host();
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address = IpAddr::V6(Ipv6Addr::from_str(address).ok()?);
            return Some(Self::Address(address.to_canonical()));
        }
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address));
        }
        // A fully qualified name may end in a dot.
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(hosts: &Hosts, text: &str) -> bool {
        text.parse().is_ok_and(|authority| hosts.know(&authority))
    }

    #[test]
    fn loopback_is_known_in_every_usual_spelling() {
        let hosts = Hosts::default().and("127.0.0.1".parse().unwrap());
        for host in [
            "localhost",
            "localhost:5216",
            "LocalHost.:80",
            "127.0.0.1:5216",
            "127.9.9.9",
            "[::1]:9",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(known(&hosts, host), "{host}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let hosts = Hosts::default().and("127.0.0.1".parse().unwrap());
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0:5216",
            "[::]:5216",
            "10.0.0.1",
            "localhost@evil.example",
            "evil@localhost",
            "",
        ] {
            assert!(!known(&hosts, host), "{host}");
        }
    }

    #[test]
    fn the_operator_adds_names_and_the_socket_its_address() {
        let names = ["Master.Example:443".to_owned(), "10.0.0.7".to_owned()];
        let hosts = Hosts::named(&names).unwrap().and("192.168.1.2".parse().unwrap());
        for host in ["master.example", "master.example:5216", "10.0.0.7", "192.168.1.2:1"] {
            assert!(known(&hosts, host), "{host}");
        }
        assert!(!known(&hosts, "10.0.0.8") && !known(&hosts, "example"));
        assert_eq!(Hosts::named(&["a b".to_owned()]).unwrap_err(), "a b");
    }

    #[test]
    fn an_address_is_no_rebound_name_where_all_are_listened_on() {
        let hosts = Hosts::default().and("0.0.0.0".parse().unwrap());
        assert!(known(&hosts, "10.0.0.1:5216"));
        assert!(!known(&hosts, "evil.example") && !known(&hosts, "0.0.0.0"));
    }
}
