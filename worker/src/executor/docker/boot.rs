//! Time since the boot of this machine. Its containers read the same clock, so a lease can be given
//! by its end; delays inside the engine then do not extend it.
//!
//! A sandbox on another machine, in a virtual machine (gVisor, Kata) or in a time namespace has
//! another clock. Its lease is given as a duration that starts when the message arrives.

use std::{fs, time::Duration};

use orchestra_sandbox::protocol::{Lease, Ready};
use tokio::time::Instant;

/// `/proc/uptime` has two decimals and cuts off the rest (`proc(5)`).
const GRAIN: Duration = Duration::from_millis(10);

/// Time since boot by `CLOCK_BOOTTIME`, early by less than [`GRAIN`]. `None` if it cannot be read.
pub(super) fn now() -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()
}

/// Whether a sandbox that said `ready` between `earliest` and `latest` shares our clock.
pub(super) fn is_shared(
    ready: &Ready,
    earliest: Option<Duration>,
    latest: Option<Duration>,
) -> bool {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let (Some(earliest), Some(latest)) = (earliest, latest) else { return false };
    !ready.boot.is_empty()
        && ready.boot == boot.trim()
        && (earliest..=latest + GRAIN).contains(&ready.since_boot)
}

/// Precision lost because times travel as whole milliseconds.
const CUT_OFF: Duration = Duration::from_millis(1);

/// The lease that ends at `until`. By the machine's clock it ends then or up to a hundredth of a
/// second later, and never before: a sandbox must not end the job of a worker that renews in time.
pub(super) fn lease(until: Instant, shared: bool) -> Lease {
    let ttl = until.saturating_duration_since(Instant::now());
    let now = if shared { now() } else { None };
    Lease { ttl, until: now.map(|now| (now + GRAIN + CUT_OFF).saturating_add(ttl)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(boot: &str, since_boot: Duration) -> Ready {
        Ready { version: 1, boot: boot.to_owned(), since_boot }
    }

    #[test]
    fn a_clock_is_shared_by_what_booted_together_and_counts_alike() {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let (boot, second) = (boot.trim(), Duration::from_secs(1));
        let at = now().unwrap();
        let (earliest, latest) = (Some(at.saturating_sub(second)), Some(at + second));
        assert!(is_shared(&ready(boot, at), earliest, latest));
        assert!(!is_shared(&ready("another", at), earliest, latest));
        assert!(!is_shared(&ready("", at), earliest, latest));
        // In a time namespace.
        assert!(!is_shared(&ready(boot, at + 5 * second), earliest, latest));
        assert!(!is_shared(&ready(boot, at.saturating_sub(5 * second)), earliest, latest));
        assert!(!is_shared(&ready(boot, at), None, latest));
    }

    #[test]
    fn a_lease_is_told_by_its_end_only_where_both_know_it() {
        let ttl = Duration::from_mins(1);
        let told = lease(Instant::now() + ttl, true);
        let until = told.until.unwrap();
        let slack = 2 * GRAIN + CUT_OFF;
        assert!(until <= now().unwrap() + slack + ttl && told.ttl <= ttl, "{told:?}");
        assert_eq!(lease(Instant::now() + ttl, false).until, None);
    }
}
