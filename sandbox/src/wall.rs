//! `orchestra-sandbox --wall NETWORK...`: makes these networks (`10.0.0.0/8`) unreachable from the
//! network namespace in which it is started.
//!
//! The worker starts it next to a job that has a network, in the job's namespace, with the one
//! capability that this needs. The job does not have that capability, so it cannot undo it. The
//! wall consists of unreachable routes (`RTN_UNREACHABLE`, rtnetlink(7)): every kernel has them,
//! and they need neither tools from an image nor rights on the machine.

use std::{
    io::{self, Read, Write},
    net::Ipv4Addr,
    process::ExitCode,
};

use orchestra_sandbox::machine;

use crate::{OWN_FAILURE, sys};

/// Printed when the wall is complete.
const DONE: &str = "walled";

const LONGEST: u8 = 32;

/// Offsets in an answer: its kind, and the error number of an error.
const KIND: usize = 4;
const ERROR: usize = 16;

pub(crate) fn build(mut networks: impl Iterator<Item = String>) -> ExitCode {
    match networks.try_for_each(|text| wall_off(&text)) {
        Ok(()) => {
            println!("{DONE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("orchestra-sandbox: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

fn wall_off(text: &str) -> io::Result<()> {
    let network = Network::parse(text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} is no network"))
    })?;
    for half in network.halves() {
        add_route_to_nowhere(half)
            .map_err(|error| io::Error::new(error.kind(), format!("{text}: {error}")))?;
    }
    Ok(())
}

/// `orchestra-sandbox --addresses`: prints the network namespace in which it is started, then the
/// addresses of the machine, one per line.
pub(crate) fn addresses() -> ExitCode {
    match machine::addresses() {
        Ok(addresses) => {
            println!("{}", machine::namespace().unwrap_or_default());
            for address in addresses {
                println!("{address}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("orchestra-sandbox: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u32,
    prefix: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address = address.parse::<Ipv4Addr>().ok()?.to_bits();
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= LONGEST)?;
        let mask = u32::MAX.checked_shl(u32::from(LONGEST - prefix)).unwrap_or(0);
        Some(Self { address: address & mask, prefix })
    }

    /// The network as two halves. The route with the longer prefix wins, and the interface already
    /// has a route to the whole of its own network.
    fn halves(self) -> Vec<Self> {
        if self.prefix == LONGEST {
            return vec![self];
        }
        let prefix = self.prefix + 1;
        let second = self.address | 1 << (LONGEST - prefix);
        [self.address, second].map(|address| Self { address, prefix }).to_vec()
    }
}

fn add_route_to_nowhere(network: Network) -> io::Result<()> {
    let mut kernel = sys::netlink()?;
    kernel.write_all(&message(network))?;
    let mut answer = [0; 1024];
    let length = kernel.read(&mut answer)?;
    let word = |at: usize| answer[..length].get(at..at + 4).and_then(|word| word.try_into().ok());
    let kind = answer[..length].get(KIND..KIND + 2).and_then(|kind| kind.try_into().ok());
    match (kind.map(u16::from_ne_bytes), word(ERROR).map(i32::from_ne_bytes)) {
        // NLMSG_ERROR with 0 is the acknowledgement (netlink(7)).
        (Some(kind), Some(0)) if i32::from(kind) == libc::NLMSG_ERROR => Ok(()),
        (Some(kind), Some(error)) if i32::from(kind) == libc::NLMSG_ERROR => {
            Err(io::Error::from_raw_os_error(-error))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is no answer")),
    }
}

/// `struct nlmsghdr`, `struct rtmsg` and the attribute `RTA_DST` (netlink(7), rtnetlink(7)).
fn message(network: Network) -> Vec<u8> {
    const LENGTH: u32 = 16 + 12 + 8;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let mut message = Vec::with_capacity(LENGTH as usize);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([libc::AF_INET as u8, network.prefix, 0, 0]);
    message.extend([libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RT_SCOPE_UNIVERSE]);
    message.push(libc::RTN_UNREACHABLE);
    message.extend([0; 4]);
    message.extend(8_u16.to_ne_bytes());
    message.extend(libc::RTA_DST.to_ne_bytes());
    message.extend(network.address.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(text: &str) -> Vec<String> {
        let network = Network::parse(text).expect("it is a network");
        let show = |half: Network| format!("{}/{}", Ipv4Addr::from(half.address), half.prefix);
        network.halves().into_iter().map(show).collect()
    }

    #[test]
    fn a_network_is_walled_off_by_its_halves() {
        assert_eq!(halves("172.18.0.0/16"), ["172.18.0.0/17", "172.18.128.0/17"]);
        assert_eq!(halves("172.18.3.1/16"), halves("172.18.0.0/16"));
        assert_eq!(halves("0.0.0.0/0"), ["0.0.0.0/1", "128.0.0.0/1"]);
        assert_eq!(halves("10.0.0.6/31"), ["10.0.0.6/32", "10.0.0.7/32"]);
        assert_eq!(halves("192.0.2.2"), ["192.0.2.2/32"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/0", "10.0.0.0/", "10.0.0.0/8/8"] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }
}
