//! One worker process. A container can tell from it whether its worker ended in order or was
//! killed.

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

    /// From now on, none of its clean-up runs.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}
