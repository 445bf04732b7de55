//! Leases that ran out. None does so while its worker could not have renewed it:
//! then expiry waits for one whole lease, as after a start of the master.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Service, ServiceError, signed};

/// So many in one transaction.
const BATCH: u32 = 100;
/// Upkeep looks once a second, and is late on a busy machine.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// Renewals come every quarter of a lease. A pause shorter than that delays one;
/// after a longer one several may be missing.
const HEARTBEATS: u32 = 4;

/// From when on leases can be expected to be renewed.
#[derive(Debug)]
pub(super) struct Renewals(Mutex<State>);

#[derive(Debug)]
struct State {
    possible_since: Timestamp,
    last_look: Option<Instant>,
}

impl Renewals {
    pub(super) fn possible_since(start: Timestamp) -> Self {
        Self(Mutex::new(State { possible_since: start, last_look: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// A renewal was not possible just now.
    pub(super) fn renewals_fail(&self) {
        let now = self.clock.now();
        let mut state = self.renewals.state();
        state.possible_since = state.possible_since.max(now);
    }

    /// Ends the attempts whose lease ran out; answers how many there were.
    ///
    /// Not before one whole lease after the start, after the database could not
    /// be written, and after a look that is long overdue, because a commit
    /// stalled or the master itself stood still: workers could not renew.
    pub async fn expire_leases(&self) -> Result<usize, ServiceError> {
        self.notice_a_stall();
        let since = self.renewals.state().possible_since;
        if self.clock.now().duration_since(since) < signed(self.settings.lease) {
            return Ok(0);
        }
        let mut expired = 0;
        loop {
            let batch = match self.store.expire(self.rules(), BATCH).await {
                Ok(batch) => batch,
                Err(error) => {
                    self.renewals_fail();
                    return Err(error.into());
                }
            };
            for applied in &batch {
                tracing::warn!(job = %applied.job.id, "a lease ran out");
                self.wake_for(applied);
            }
            expired += batch.len();
            if batch.len() < BATCH as usize {
                return Ok(expired);
            }
        }
    }

    fn notice_a_stall(&self) {
        let now = Instant::now();
        let last = self.renewals.state().last_look.replace(now);
        let bearable = BETWEEN_LOOKS + self.settings.lease.0 / HEARTBEATS;
        if let Some(pause) = last.map(|last| now - last).filter(|pause| *pause > bearable) {
            tracing::warn!(?pause, "nothing could be written: leases are given time for renewal");
            self.renewals_fail();
        }
    }
}
