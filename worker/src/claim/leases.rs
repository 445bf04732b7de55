//! The leases that this worker holds, each with the control of its attempt.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_contracts::{
    JobId,
    worker::{HeartbeatReply, LeaseRef},
};
use tokio::time::Instant;

use super::deadline;
use crate::control::{Control, Stop};

/// The leases that heartbeats renew, by job.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<BTreeMap<JobId, HeldLease>>);

#[derive(Debug)]
struct HeldLease {
    lease: LeaseRef,
    control: Control,
}

/// Keeps a lease among those that heartbeats renew, until it is dropped.
#[derive(Debug)]
pub(crate) struct LeaseGuard {
    leases: Arc<Leases>,
    lease: LeaseRef,
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.leases.remove(&self.lease);
    }
}

impl Leases {
    /// Adds a lease, which heartbeats renew until the guard is dropped. Stops an older attempt
    /// of the same job, whose lease is lost by now.
    pub(crate) fn add(self: &Arc<Self>, lease: LeaseRef, control: Control) -> LeaseGuard {
        let held = HeldLease { lease: lease.clone(), control };
        let older = self.lock().insert(lease.job, held);
        if let Some(older) = older {
            older.control.stop(Stop::Lost);
        }
        LeaseGuard { leases: self.clone(), lease }
    }

    fn remove(&self, lease: &LeaseRef) {
        let mut all = self.lock();
        if all.get(&lease.job).is_some_and(|held| held.lease == *lease) {
            all.remove(&lease.job);
        }
    }

    pub(crate) fn all(&self) -> Vec<LeaseRef> {
        self.lock().values().map(|held| held.lease.clone()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Applies the reply to a heartbeat that carried these leases and was sent at `sent`. Leases
    /// that were claimed since then are left alone.
    pub(crate) fn apply(&self, leases: &[LeaseRef], reply: &HeartbeatReply, sent: Instant) {
        let all = self.lock();
        for lease in leases {
            let Some(held) = all.get(&lease.job).filter(|held| held.lease == *lease) else {
                continue;
            };
            if reply.lost.contains(&lease.job) {
                held.control.stop(Stop::Lost);
            } else {
                held.control.renew(deadline(sent, reply.lease_of(lease.job).0));
                if reply.cancel.contains(&lease.job) {
                    held.control.stop(Stop::Cancel);
                }
            }
        }
    }

    pub(crate) fn stop_all(&self, stop: Stop) {
        for held in self.lock().values() {
            held.control.stop(stop);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, HeldLease>> {
        // Nothing panics while it holds the lock, and the map would be whole if it did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::lease_ref;

    fn add(leases: &Arc<Leases>, lease: &LeaseRef) -> (Control, LeaseGuard) {
        let control = Control::new(Instant::now());
        (control.clone(), leases.add(lease.clone(), control))
    }

    #[tokio::test]
    async fn a_newer_attempt_ends_the_older_one_and_outlives_it() {
        let leases = Arc::<Leases>::default();
        let (first, second) = (lease_ref(1, 1), lease_ref(1, 2));
        let (older, first_hold) = add(&leases, &first);
        let (newer, second_hold) = add(&leases, &second);
        drop(first_hold);
        assert_eq!(older.stopping(), Some(Stop::Lost));
        assert_eq!(newer.stopping(), None);
        assert_eq!(leases.all(), [second]);
        drop(second_hold);
        assert!(leases.is_empty());
    }

    #[tokio::test]
    async fn a_reply_reaches_those_that_it_is_about() {
        let held = Arc::<Leases>::default();
        let leases = [lease_ref(1, 1), lease_ref(2, 1), lease_ref(3, 1)];
        let holds: Vec<_> = leases.iter().map(|lease| add(&held, lease)).collect();
        let reply = HeartbeatReply {
            lost: vec![JobId(1), JobId(3)],
            cancel: vec![JobId(2)],
            ..HeartbeatReply::default()
        };
        held.apply(&leases[..2], &reply, Instant::now());
        let stops: Vec<_> = holds.iter().map(|(control, _)| control.stopping()).collect();
        assert_eq!(stops, [Some(Stop::Lost), Some(Stop::Cancel), None]);
    }
}
