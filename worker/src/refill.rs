//! Refills a slot at the end of its job: the end report claims the next job, so no separate claim
//! is needed in between.

use std::sync::atomic::{AtomicBool, Ordering};

use orchestra_contracts::worker::NextClaim;
use tokio::sync::watch;

use crate::executor::Trouble;

/// Whether end reports claim the next job. Shared by a worker and its attempts.
#[derive(Debug)]
pub(crate) struct SlotRefill {
    queues: Vec<String>,
    /// A worker that cannot start attempts claims nothing.
    health: watch::Receiver<Option<Trouble>>,
    /// Whether all slots are taken and no claim of this worker waits at the master, since a waiting
    /// claim would get the jobs. False once the worker is to stop.
    is_open: AtomicBool,
}

impl SlotRefill {
    pub(crate) fn new(queues: Vec<String>, health: watch::Receiver<Option<Trouble>>) -> Self {
        Self { queues, health, is_open: AtomicBool::new(false) }
    }

    /// Allows or forbids claims with reports.
    pub(crate) fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// The claim for one slot that a report carries; `None` if it should not claim.
    pub(crate) fn claim(&self) -> Option<NextClaim> {
        let wanted = self.is_open.load(Ordering::Relaxed) && self.health.borrow().is_none();
        wanted.then(|| NextClaim {
            slots: 1,
            queues: self.queues.clone(),
            request_id: Some(new_request_id()),
        })
    }
}

/// A new request id, by which the master recognises a repeated claim.
pub(crate) fn new_request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
