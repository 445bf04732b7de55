//! The only clock. Every time and every deadline in this program is a [`Duration`] since its start;
//! [`Duration::MAX`] means never.
//!
//! It also counts the time in which the machine is suspended, as the master's does. A job whose
//! lease expired in the meantime ends when the machine wakes up.

use std::{io, time::Duration};

use orchestra_sandbox::protocol::Lease;

use crate::sys;

/// The longest wait. `poll` measures its timeout on a clock that stands still while the machine is
/// suspended.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Clock {
    start: Duration,
}

impl Clock {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self { start: sys::time_since_boot()? })
    }

    /// Since the start of this program.
    pub(crate) fn now(&self) -> Duration {
        // It could be read at the start, so it can be read now.
        sys::time_since_boot().unwrap_or(Duration::MAX).saturating_sub(self.start)
    }

    /// The end of a lease that was just received.
    pub(crate) fn end_of(&self, lease: Lease) -> Duration {
        let end = self.now().saturating_add(lease.ttl);
        lease.until.map_or(end, |until| end.min(until.saturating_sub(self.start)))
    }

    /// Since the machine's boot.
    pub(crate) fn since_boot(&self) -> Duration {
        self.start.saturating_add(self.now())
    }

    /// How long `poll` may wait for a deadline.
    pub(crate) fn wait(&self, until: Duration) -> Duration {
        until.saturating_sub(self.now()).min(LONGEST_WAIT)
    }
}
