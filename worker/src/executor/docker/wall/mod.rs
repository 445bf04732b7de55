//! Blocks what a job with a network must not reach: metadata services, this machine, the engine's
//! networks and everything in them, the master, and whatever the operator adds.
//!
//! The engine offers nothing for this, and a worker that is an ordinary program cannot set firewall
//! rules. Instead, before the job is handed over, a helper joins the job's network namespace with
//! the one capability that routes need, adds routes that lead nowhere, and ends (`helper.rs`,
//! `sandbox/src/wall.rs`). `machine` knows the addresses of the engine's machine. This works on
//! every engine, and the job cannot undo it, since it has no capability. Without a wall no job gets
//! a network.
//!
//! A warm sandbox remembers what it was walled off from. If that has changed by the time a job
//! begins, the job gets another sandbox.

mod helper;
mod machine;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use bollard::models::Network;
use ipnet::Ipv4Net;
use tokio::net::lookup_host;

pub(super) use self::helper::Tools;
use self::{
    helper::{Helper, run},
    machine::Machine,
};
use super::{
    container::{Container, Keeper},
    network,
    session::StartError,
};

/// The helper's output when it succeeds.
const DONE: &str = "walled";
/// RFC 3927. The metadata services of clouds are at 169.254.169.254.
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);

/// The network of a job, and its wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    /// The network's id.
    pub(super) network: String,
    /// The addresses that cannot be reached on it.
    pub(super) walled: BTreeSet<Ipv4Net>,
}

/// Knows what the jobs of one worker must not reach.
pub(super) struct Wall {
    /// The master's `host:port`.
    master: Option<String>,
    /// Networks that the operator adds.
    denied: Vec<Ipv4Net>,
    machine: Machine,
}

impl Wall {
    /// For a worker whose master is at `url`.
    pub(super) fn new(url: &str, denied: &[Ipv4Net]) -> Self {
        Self { master: authority_of(url), denied: denied.to_vec(), machine: Machine::default() }
    }

    /// The network and wall of a job that begins now. Creates the network if there is none.
    pub(super) async fn outside(
        &self,
        keeper: &Keeper,
        tools: Tools<'_>,
    ) -> Result<Outside, StartError> {
        let (network, all) = network::ensure(&keeper.engine).await?;
        let machine = self.machine.addresses(keeper, tools).await?;
        self.around(network, &all, machine).await
    }

    /// The same without a helper: `None` if it takes more than one engine call to find out.
    pub(super) async fn glance(&self, keeper: &Keeper) -> Option<Outside> {
        let machine = self.machine.known()?;
        let all = keeper.engine.networks().await.ok()?;
        self.around(network::first(&all)?, &all, machine).await.ok()
    }

    async fn around(
        &self,
        network: String,
        all: &[Network],
        machine: BTreeSet<Ipv4Net>,
    ) -> Result<Outside, StartError> {
        let mut walled = subnets(all);
        walled.insert(LINK_LOCAL);
        walled.extend(&self.denied);
        walled.extend(machine);
        if let Some(master) = &self.master {
            let addresses = lookup_host(master).await.map_err(|error| {
                no_wall(&format!("the master {master} is to be out of reach, and {error}"))
            })?;
            walled.extend(hosts(addresses.map(|address: SocketAddr| address.ip())));
        }
        Ok(Outside { network, walled })
    }
}

/// Returns when the wall is up around a container that runs and has no job yet.
pub(super) async fn raise(
    keeper: &Keeper,
    job: &Container,
    outside: &Outside,
    tools: Tools<'_>,
) -> Result<(), StartError> {
    let request = Helper::Wall { job: job.name(), networks: &outside.walled };
    let said = run(keeper, format!("{}-wall", job.name()), request.body(tools)).await?;
    if said.trim_end() == DONE { Ok(()) } else { Err(no_wall(said.trim_end())) }
}

fn no_wall(reason: &str) -> StartError {
    StartError::Sandbox(format!("its network could not be walled off: {reason}"))
}

/// The `host:port` of a URL. `None` for a URL without a host.
fn authority_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let port = if scheme == "https" { 443 } else { 80 };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
}

/// The subnets of the engine's networks. They cover its containers, and the machine that it runs
/// on, which has an address in each.
fn subnets(networks: &[Network]) -> BTreeSet<Ipv4Net> {
    let configs = networks.iter().filter_map(|network| network.ipam.as_ref()?.config.as_ref());
    let subnets = configs.flatten().filter_map(|config| config.subnet.as_deref()?.parse().ok());
    subnets.map(|subnet: Ipv4Net| subnet.trunc()).collect()
}

/// Leaves out loopback addresses: a job has a loopback of its own.
fn hosts(addresses: impl Iterator<Item = IpAddr>) -> impl Iterator<Item = Ipv4Net> {
    addresses.filter_map(|address| match address {
        IpAddr::V4(address) if !address.is_loopback() => Some(address.into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1:5216", Some("127.0.0.1:5216"))]
    #[case("https://orchestra.example", Some("orchestra.example:443"))]
    #[case("http://me:secret@master/x", Some("master:80"))]
    #[case("http://[::1]:5216/", Some("[::1]:5216"))]
    #[case("http://[fd00::1]", Some("[fd00::1]:80"))]
    #[case("master", None)]
    fn the_masters_address_is_in_its_url(#[case] url: &str, #[case] authority: Option<&str>) {
        assert_eq!(authority_of(url).as_deref(), authority);
    }

    #[test]
    fn every_network_of_the_engine_is_walled_off() {
        let networks: Vec<Network> = serde_json::from_value(json!([
            {"Name": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}},
            {"Name": "six", "IPAM": {"Config": [
                {"Subnet": "fd00::/64"}, {"Subnet": "10.9.1.0/24", "Gateway": "10.9.1.1"}]}},
            {"Name": "none", "IPAM": {"Config": []}},
            {"Name": "odd"},
        ]))
        .unwrap();
        let subnets: Vec<_> = subnets(&networks).iter().map(Ipv4Net::to_string).collect();
        assert_eq!(subnets, ["10.9.1.0/24", "172.17.0.0/16"]);
    }

    #[test]
    fn a_machine_is_walled_off_by_all_its_addresses_but_its_loopback() {
        let addresses = ["127.0.0.1", "192.0.2.7", "::1", "fe80::1"].map(str::parse::<IpAddr>);
        let hosts: Vec<_> = hosts(addresses.into_iter().map(Result::unwrap)).collect();
        assert_eq!(hosts, ["192.0.2.7/32".parse().unwrap()]);
    }
}
