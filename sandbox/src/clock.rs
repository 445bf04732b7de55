//! The one clock. Every time in this program is a [`Duration`] since its start,
//! every deadline too; [`Duration::MAX`] is never.
//!
//! It goes on while the machine is suspended, as the master's does: a job whose
//! lease ran out in the meantime ends when the machine wakes up.

use std::{io, time::Duration};

use orchestra_sandbox::protocol::Lease;

use crate::sys;

/// No wait is longer: `poll` counts its timeout by a clock that stands still
/// while the machine is suspended.
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
        // It was read once before; the kernel does not take it away.
        sys::time_since_boot().unwrap_or(Duration::MAX).saturating_sub(self.start)
    }

    /// When a lease ends that was read just now.
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
