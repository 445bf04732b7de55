//! One process of a worker: what tells a container whose worker lives from one whose
//! worker was killed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

#[derive(Debug)]
pub struct Process {
    alive: AtomicBool,
}

impl Process {
    pub fn begin() -> Arc<Self> {
        Arc::new(Self { alive: AtomicBool::new(true) })
    }

    /// From now on none of its clean-up happens any more.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}
