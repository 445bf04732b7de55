//! Whether an end may be followed by the next job at once: its report then asks for one, and the slot
//! is filled again without a claim between the two.

use std::sync::atomic::{AtomicBool, Ordering};

use orchestra_contracts::worker::NextClaim;
use tokio::sync::watch;

use crate::executor::Trouble;

/// Shared by a worker and its attempts.
#[derive(Debug)]
pub(crate) struct Appetite {
    queues: Vec<String>,
    /// An attempt that could not be started is not asked for.
    health: watch::Receiver<Option<Trouble>>,
    /// All slots are taken, and no claim of this worker waits at the master. Where one does, it brings
    /// what there is; one that is to stop wants nothing.
    is_open: AtomicBool,
}

impl Appetite {
    pub(crate) fn new(queues: Vec<String>, health: watch::Receiver<Option<Trouble>>) -> Self {
        Self { queues, health, is_open: AtomicBool::new(false) }
    }

    pub(crate) fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// For one slot.
    pub(crate) fn claim(&self) -> Option<NextClaim> {
        let wanted = self.is_open.load(Ordering::Relaxed) && self.health.borrow().is_none();
        wanted.then(|| NextClaim {
            slots: 1,
            queues: self.queues.clone(),
            request_id: Some(new_request_id()),
        })
    }
}

/// By which the master knows a claim that comes again.
pub(crate) fn new_request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
