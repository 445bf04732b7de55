//! Network namespaces, which stand in for other machines.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::process::Command;

use crate::{is_root, skip};

/// A network namespace with one link to the host. Dropping it removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// This machine's end of the link.
    pub host: Ipv4Addr,
    /// The namespace's end of the link.
    pub guest: Ipv4Addr,
}

impl Namespace {
    /// Makes one. Returns `None`, and prints one line that says why, where that is not possible.
    pub async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !is_root() {
            skip("network namespaces", "only root can make them");
            return None;
        }
        // Each takes a network of four addresses; 10.231.0.0/16 has 16,384 of them.
        let number = (std::process::id() * 4 + NEXT.fetch_add(1, Ordering::Relaxed)) % 0x4000;
        let [high, low] = ((number * 4) as u16).to_be_bytes();
        let [host, guest] = [1, 2].map(|last| Ipv4Addr::new(10, 231, high, low | last));
        let name = format!("orch{number}");
        let (outer, inner) = (format!("oo{number}"), format!("oi{number}"));
        let (host_net, guest_net) = (format!("{host}/30"), format!("{guest}/30"));
        let namespace = Self { name: name.clone(), host, guest };
        let steps: [&[&str]; 7] = [
            &["netns", "add", &name],
            &["link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &name],
            &["addr", "add", &host_net, "dev", &outer],
            &["link", "set", &outer, "up"],
            &["-n", &name, "addr", "add", &guest_net, "dev", &inner],
            &["-n", &name, "link", "set", &inner, "up"],
            &["-n", &name, "link", "set", "lo", "up"],
        ];
        for step in steps {
            if let Err(why) = run("ip", step).await {
                skip("network namespaces", &why);
                return None;
            }
        }
        Some(namespace)
    }

    /// The file by which `nsenter` finds it.
    pub fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Prefix of a command line that runs the command in the namespace.
    pub fn enter(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// Gives the namespace this address as well, and adds a route to it on the host.
    ///
    /// # Errors
    /// When this fails, for example because a route to the address exists already.
    pub async fn is_also(&self, address: Ipv4Addr) -> Result<(), String> {
        let (address, guest) = (format!("{address}/32"), self.guest.to_string());
        run("ip", &["-n", &self.name, "addr", "add", &address, "dev", "lo"]).await?;
        run("ip", &["route", "add", &address, "via", &guest]).await
    }

    /// Drops all packets in and out, without any reply.
    ///
    /// # Errors
    /// When there is no packet filter.
    pub async fn part(&self) -> Result<(), String> {
        for chain in ["INPUT", "OUTPUT"] {
            let rule = ["netns", "exec", &self.name, "iptables", "-A", chain, "-j", "DROP"];
            run("ip", &rule).await?;
        }
        Ok(())
    }

    /// Nothing comes in that was not asked for, and nothing goes out but to this address.
    ///
    /// # Errors
    /// Where there is no packet filter that knows connections.
    pub async fn lets_out_only_to(&self, address: SocketAddr) -> Result<(), String> {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let rules: [&[&str]; 4] = [
            &["INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"],
            &["INPUT", "-j", "DROP"],
            &["OUTPUT", "-p", "tcp", "-d", &host, "--dport", &port, "-j", "ACCEPT"],
            &["OUTPUT", "-j", "DROP"],
        ];
        for rule in rules {
            let command = ["netns", "exec", &self.name, "iptables", "-A"];
            run("ip", &[&command[..], rule].concat()).await?;
        }
        Ok(())
    }

    /// Undoes [`Namespace::part`].
    ///
    /// # Panics
    /// When the rules cannot be removed.
    pub async fn join(&self) {
        let rule = ["netns", "exec", &self.name, "iptables", "-F"];
        run("ip", &rule).await.expect("the rules can be removed");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // This also deletes the link, both ends of it, and the routes over it.
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

async fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().await.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {said}")) }
}
