//! Counts stale calls of workers: calls under a lease that was lost meanwhile. They were refused
//! and changed nothing; many of them point to workers that were frozen or cut off.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The counters, since the master's start.
#[derive(Debug, Default)]
pub(super) struct Stale {
    heartbeats: AtomicU64,
    logs: AtomicU64,
    artifacts: AtomicU64,
    updates: AtomicU64,
}

/// The calls that were refused because their lease was lost, since the master's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaleCounts {
    /// Leases in heartbeats (not heartbeats).
    pub heartbeats: u64,
    /// Pieces of a log.
    pub logs: u64,
    /// Pieces of artifacts.
    pub artifacts: u64,
    /// Starts and ends of attempts.
    pub updates: u64,
}

impl Stale {
    pub(super) fn heartbeat(&self, leases: usize) {
        self.heartbeats.fetch_add(leases as u64, Ordering::Relaxed);
    }

    pub(super) fn log(&self) {
        self.logs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn artifact(&self) {
        self.artifacts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn update(&self) {
        self.updates.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> StaleCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StaleCounts {
            heartbeats: of(&self.heartbeats),
            logs: of(&self.logs),
            artifacts: of(&self.artifacts),
            updates: of(&self.updates),
        }
    }
}
