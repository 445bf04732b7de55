//! The wall around a job that has a network, in the test's own network namespace.

use std::process::Command as Process;

use crate::{harness::PROGRAM, pid_one::is_possible};

/// A machine with one interface, a network of neighbours, and a gateway to everything else.
const MACHINE: &str = "set -e
    ip link set lo up
    ip link add inner type veth peer name outer
    ip addr add 172.18.0.2/16 dev inner; ip link set inner up; ip link set outer up
    ip route add default via 172.18.0.1";

/// Builds the wall and returns where a packet to each address would then go.
fn ways(before: &str, networks: &str, addresses: &[&str]) -> String {
    let ask = |address| format!("ip route get {address} 2>&1 | head -n 1 | cut -d' ' -f1-3");
    let asks = addresses.iter().map(ask).collect::<Vec<_>>().join("\n");
    let script = format!("{MACHINE}\n{before} {PROGRAM} --wall {networks} 2>&1 || true\n{asks}");
    let machine = Process::new("unshare").args(["--net", "sh", "-c", &script]).output().unwrap();
    String::from_utf8(machine.stdout).unwrap()
}

#[test]
fn what_is_walled_off_cannot_be_reached_and_all_else_can() {
    if !is_possible() {
        return;
    }
    let walled = "RTNETLINK answers: Network";
    let unreachable = "RTNETLINK answers: No";
    let seen = ways(
        "",
        "172.18.0.0/16 169.254.0.0/16 192.0.2.7",
        &["172.18.0.3", "172.18.0.1", "172.18.200.1", "169.254.169.254", "192.0.2.7", "192.0.2.8"],
    );
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[0], "walled", "{seen}");
    for line in &lines[1..6] {
        assert!(line.starts_with(walled) || line.starts_with(unreachable), "{seen}");
    }
    assert_eq!(lines[6], "192.0.2.8 via 172.18.0.1", "the gateway itself still leads out");
}

/// As a job, without the capability: it can neither build a wall nor remove one.
#[test]
fn without_the_capability_nothing_changes() {
    if !is_possible() {
        return;
    }
    let before = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all";
    let seen = ways(&format!("{before} --inh-caps=-all"), "172.18.0.0/16", &["172.18.0.3"]);
    assert!(seen.contains("172.18.0.0/16: ") && !seen.contains("walled"), "{seen}");
    assert!(seen.ends_with("172.18.0.3 dev inner\n"), "{seen}");
}

#[test]
fn a_machine_knows_its_addresses() {
    if !is_possible() {
        return;
    }
    let script = format!("{MACHINE}\n{PROGRAM} --addresses");
    let machine = Process::new("unshare").args(["--net", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8(machine.stdout).unwrap();
    let mut lines = said.lines();
    let (place, here) = (lines.next().unwrap(), orchestra_sandbox::machine::namespace().unwrap());
    assert_eq!(place.split(' ').next(), here.split(' ').next(), "the same kernel");
    assert_ne!(place, here, "another namespace");
    let mut addresses: Vec<_> = lines.collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses, ["127.0.0.1", "172.18.0.2"]);
}

#[test]
fn nonsense_is_refused() {
    let refused = Process::new(PROGRAM).args(["--wall", "somewhere"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(said, "orchestra-sandbox: \"somewhere\" is no network\n");
}
