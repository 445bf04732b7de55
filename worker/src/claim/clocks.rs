//! Compares this machine's clock with the master's, for the worker's checks.

use std::{sync::PoisonError, time::Duration};

use orchestra_contracts::worker::{Check, Stats};
use tokio::time::sleep;

use super::Worker;
use crate::{clock, doctor::clock_check};

/// The interval: a clock goes wrong slowly, or when somebody sets it.
const EVERY: Duration = Duration::from_mins(10);
/// The interval after a comparison without an answer.
const AGAIN: Duration = Duration::from_secs(30);

impl Worker {
    /// Compares at intervals until it is dropped.
    pub(super) async fn compare_clocks(&self) {
        loop {
            let asked = clock::now();
            let told = self.master.date().await;
            let pause = match told {
                Ok(told) => {
                    let check = clock_check(asked, told, clock::now());
                    if !check.ok {
                        tracing::warn!("this machine's clock is {}", check.detail);
                    }
                    *self.clock() = Some(check.told());
                    EVERY
                }
                Err(_) => AGAIN,
            };
            sleep(pause).await;
        }
    }

    /// The statistics of the executor, and the last check of the clock.
    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.executor.stats();
        stats.checks.extend(self.clock().clone());
        stats
    }

    fn clock(&self) -> std::sync::MutexGuard<'_, Option<Check>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
