//! What a job that has a network cannot reach all the same: metadata services, this machine, the
//! engine's networks and what stands in them, the master, and what the operator adds.
//!
//! The engine offers nothing for that, and firewalls are out of reach for a worker that is an
//! ordinary program. So a helper joins the job's network namespace before the job is handed over,
//! with the one capability that routes take, adds routes that lead nowhere, and ends (`helper.rs`,
//! `sandbox/src/wall.rs`); which addresses the engine's machine has, `machine` knows. It works on
//! every engine, and the job, which has no capability, cannot undo it. Without a wall no job gets
//! a network.
//!
//! A sandbox that waits for its job remembers what it was walled off from. Where a job that begins
//! later would be walled off from anything else, it gets another sandbox.

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

/// What the helper prints at its end.
const DONE: &str = "walled";
/// RFC 3927. Metadata services of clouds are at 169.254.169.254.
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);

/// What a job with a network has of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    /// The network's id.
    pub(super) network: String,
    /// What cannot be reached on it.
    pub(super) walled: BTreeSet<Ipv4Net>,
}

/// What stands between the jobs of one worker and what they may not reach.
pub(super) struct Wall {
    /// The master's `host:port`.
    master: Option<String>,
    /// What the operator adds.
    denied: Vec<Ipv4Net>,
    machine: Machine,
}

impl Wall {
    /// Around jobs of the worker of the master at `url`.
    pub(super) fn new(url: &str, denied: &[Ipv4Net]) -> Self {
        Self { master: authority_of(url), denied: denied.to_vec(), machine: Machine::default() }
    }

    /// What a job that begins now is to have. The network is made where there is none.
    pub(super) async fn outside(
        &self,
        keeper: &Keeper,
        tools: Tools<'_>,
    ) -> Result<Outside, StartError> {
        let (network, all) = network::ensure(&keeper.engine).await?;
        let machine = self.machine.addresses(keeper, tools).await?;
        self.around(network, &all, machine).await
    }

    /// The same at a glance: `None` where it takes more than a question to tell.
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

/// Returns when the wall stands around a container, which runs and has no job yet.
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

/// `host:port` of a URL; `None` where it has no host.
fn authority_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let port = if scheme == "https" { 443 } else { 80 };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
}

/// Those that the engine has given its networks: of its containers, and of the machine that it
/// runs on, which has an address in each.
fn subnets(networks: &[Network]) -> BTreeSet<Ipv4Net> {
    let configs = networks.iter().filter_map(|network| network.ipam.as_ref()?.config.as_ref());
    let subnets = configs.flatten().filter_map(|config| config.subnet.as_deref()?.parse().ok());
    subnets.map(|subnet: Ipv4Net| subnet.trunc()).collect()
}

/// Loopbacks are left out: a job's is its own.
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
