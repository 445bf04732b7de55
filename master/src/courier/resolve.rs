//! Looks up host names for each message, and drops forbidden addresses before anything connects.
//! The connection goes to the very addresses that were checked, so changing a name's address after
//! registration (DNS rebinding) does not help.

use std::{error::Error, net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use super::Reachable;

pub(super) struct Resolver(Reachable);

impl Resolver {
    pub(super) fn of(reachable: Reachable) -> Arc<Self> {
        Arc::new(Self(reachable))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reachable = self.0.clone();
        Box::pin(async move {
            // Port 0 is replaced with the URL's port.
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            open_of(&reachable, name.as_str(), found)
        })
    }
}

fn open_of(
    reachable: &Reachable,
    name: &str,
    found: Vec<SocketAddr>,
) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
    let (mut open, mut refusal) = (Vec::new(), format!("{name} has no address"));
    for address in found {
        match reachable.check(address.ip()) {
            Ok(()) => open.push(address),
            Err(what) => {
                refusal = refusal_of(&format!("{name} leads to {}, which", address.ip()), what);
            }
        }
    }
    if open.is_empty() { Err(refusal.into()) } else { Ok(Box::new(open.into_iter())) }
}

/// The error message for a forbidden address.
pub(super) fn refusal_of(subject: &str, what: &str) -> String {
    format!("{subject} is {what}; the master's operator can allow it with ORCHESTRA_WEBHOOK_ALLOW")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[&str]) -> Result<Vec<String>, String> {
        let found = found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        let open = open_of(&Reachable::default(), "a.example", found);
        let open = open.map_err(|error| error.to_string())?;
        Ok(open.map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn what_may_not_be_reached_is_left_out() {
        assert_eq!(of(&["1.1.1.1", "10.0.0.1"]), Ok(vec!["1.1.1.1".to_owned()]));
        let refusal = of(&["127.0.0.1", "::1"]).unwrap_err();
        assert!(refusal.starts_with("a.example leads to ::1, which is this machine"), "{refusal}");
        assert_eq!(of(&[]), Err("a.example has no address".to_owned()));
    }
}
