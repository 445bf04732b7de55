//! The master's wall clock: virtual time plus an error.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use orchestra_master::clock::Clock;
use tokio::time::Instant;

/// Shows virtual time plus an error that faults change.
#[derive(Debug)]
pub struct WallClock {
    start: Instant,
    error: Mutex<SignedDuration>,
}

impl WallClock {
    pub fn new(start: Instant) -> Self {
        Self { start, error: Mutex::default() }
    }

    /// Moves the clock.
    pub fn jump(&self, by: SignedDuration) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

/// A moment in 2026, in seconds since 1970.
const BEGAN: Timestamp = Timestamp::constant(1_790_000_000, 0);

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        let error = *self.error.lock().unwrap_or_else(PoisonError::into_inner);
        BEGAN + SignedDuration::from_millis(elapsed) + error
    }

    fn passed(&self) -> Duration {
        self.start.elapsed()
    }
}
