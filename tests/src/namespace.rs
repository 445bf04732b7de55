//! Network namespaces: other machines, as far as a network can tell.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::process::Command;

use crate::{is_root, skip};

/// A network namespace with one way out of it, gone when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// This machine's end of the link.
    pub host: Ipv4Addr,
    /// Its own end.
    pub guest: Ipv4Addr,
}

impl Namespace {
    /// `None`, and one line that says why, where there can be none.
    pub async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !is_root() {
            skip("network namespaces", "only root can make them");
            return None;
        }
        // A network of four addresses for each, of 16,384 that there are in 10.231.
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

    /// By which `nsenter` finds it.
    pub fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// What stands before a command that is to run in it.
    pub fn enter(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// It has this address, too, and this machine knows the way there.
    ///
    /// # Errors
    /// When the address has a way already, for one.
    pub async fn is_also(&self, address: Ipv4Addr) -> Result<(), String> {
        let (address, guest) = (format!("{address}/32"), self.guest.to_string());
        run("ip", &["-n", &self.name, "addr", "add", &address, "dev", "lo"]).await?;
        run("ip", &["route", "add", &address, "via", &guest]).await
    }

    /// Nothing goes in or out any more, and nobody is told.
    ///
    /// # Errors
    /// Where there is no packet filter.
    pub async fn part(&self) -> Result<(), String> {
        for chain in ["INPUT", "OUTPUT"] {
            let rule = ["netns", "exec", &self.name, "iptables", "-A", chain, "-j", "DROP"];
            run("ip", &rule).await?;
        }
        Ok(())
    }

    /// # Panics
    /// When it was not parted before.
    pub async fn join(&self) {
        let rule = ["netns", "exec", &self.name, "iptables", "-F"];
        run("ip", &rule).await.expect("what was parted can be joined");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its end of the link goes with it, and with that the other end and the ways there.
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
