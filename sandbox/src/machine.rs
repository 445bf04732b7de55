//! The network namespace in which a program runs, and the addresses of its machine. The sandbox
//! program reports both to a worker in another namespace; a worker in the same namespace looks them
//! up itself.

use std::{fs, io, net::Ipv4Addr};

/// Identifies a network namespace: no two that exist at the same time share this value.
pub fn namespace() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/net")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

/// The addresses of the machine itself, including its loopback; some occur twice.
pub fn addresses() -> io::Result<Vec<Ipv4Addr>> {
    Ok(local(&fs::read_to_string("/proc/net/fib_trie")?).collect())
}

/// In this file an address is followed by its type, as in `|-- 10.0.0.7` and `/32 host LOCAL`.
fn local(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let pairs = trie.lines().zip(trie.lines().skip(1));
    pairs
        .filter(|(_, below)| below.trim() == "/32 host LOCAL")
        .filter_map(|(above, _)| above.trim().strip_prefix("|-- ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_addresses_are_known_by_what_stands_below() {
        let trie = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.7
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
        |-- 127.0.0.1
           /32 host LOCAL
";
        let local: Vec<_> = local(trie).map(|address| address.to_string()).collect();
        assert_eq!(local, ["10.0.0.7", "127.0.0.1"]);
    }

    #[test]
    fn a_namespace_is_told_by_the_kernel_and_its_number() {
        let namespace = namespace().unwrap();
        assert!(namespace.contains(" net:["), "{namespace}");
        assert_eq!(namespace.len(), namespace.trim().len());
    }
}
