//! The leases that this worker holds, and the control of each attempt behind one.

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

#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<BTreeMap<JobId, Holding>>);

#[derive(Debug)]
struct Holding {
    lease: LeaseRef,
    control: Control,
}

/// Keeps one lease among those that are renewed.
#[derive(Debug)]
pub(crate) struct Hold {
    held: Arc<Held>,
    lease: LeaseRef,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.remove(&self.lease);
    }
}

impl Held {
    /// The lease is renewed until the answer is dropped. An older attempt of the
    /// same job cannot be ours any more.
    pub(crate) fn add(self: &Arc<Self>, lease: LeaseRef, control: Control) -> Hold {
        let holding = Holding { lease: lease.clone(), control };
        let older = self.lock().insert(lease.job, holding);
        if let Some(older) = older {
            older.control.stop(Stop::Lost);
        }
        Hold { held: self.clone(), lease }
    }

    fn remove(&self, lease: &LeaseRef) {
        let mut held = self.lock();
        if held.get(&lease.job).is_some_and(|holding| holding.lease == *lease) {
            held.remove(&lease.job);
        }
    }

    pub(crate) fn leases(&self) -> Vec<LeaseRef> {
        self.lock().values().map(|holding| holding.lease.clone()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Does what the master answered to a heartbeat that carried these leases and
    /// went out at `sent`. One that was claimed since then is not concerned.
    pub(crate) fn apply(&self, leases: &[LeaseRef], reply: &HeartbeatReply, sent: Instant) {
        let held = self.lock();
        for lease in leases {
            let Some(holding) = held.get(&lease.job).filter(|holding| holding.lease == *lease)
            else {
                continue;
            };
            if reply.lost.contains(&lease.job) {
                holding.control.stop(Stop::Lost);
            } else {
                holding.control.renew(deadline(sent, reply.lease_of(lease.job).0));
                if reply.cancel.contains(&lease.job) {
                    holding.control.stop(Stop::Cancel);
                }
            }
        }
    }

    pub(crate) fn stop_all(&self, stop: Stop) {
        for holding in self.lock().values() {
            holding.control.stop(stop);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Holding>> {
        // Nothing panics while it holds the lock, and the map would be whole if it did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::lease_ref;

    fn add(held: &Arc<Held>, lease: &LeaseRef) -> (Control, Hold) {
        let control = Control::new(Instant::now());
        (control.clone(), held.add(lease.clone(), control))
    }

    #[tokio::test]
    async fn a_newer_attempt_ends_the_older_one_and_outlives_it() {
        let held = Arc::<Held>::default();
        let (first, second) = (lease_ref(1, 1), lease_ref(1, 2));
        let (older, first_hold) = add(&held, &first);
        let (newer, second_hold) = add(&held, &second);
        drop(first_hold);
        assert_eq!(older.stopping(), Some(Stop::Lost));
        assert_eq!(newer.stopping(), None);
        assert_eq!(held.leases(), [second]);
        drop(second_hold);
        assert!(held.is_empty());
    }

    #[tokio::test]
    async fn a_reply_reaches_those_that_it_is_about() {
        let held = Arc::<Held>::default();
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
