//! Expires leases, but never one that its worker could not have renewed: after a start of the
//! master or an outage, expiry waits for one whole lease.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Service, ServiceError};
use crate::{clock::Clock, domain::Rules};

/// The most leases that one transaction expires.
const BATCH: u32 = 100;
/// The longest normal time between two passes: upkeep runs once a second, and later on a busy
/// machine.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// Workers renew every quarter of a lease. A shorter pause delays one renewal; a longer one may
/// lose several.
const HEARTBEATS: u32 = 4;

/// The part of a lease by which the clock may run ahead unnoticed. Workers keep back twice as much
/// of each lease.
const UNNOTICED: u32 = 16;

/// Since when renewals have been possible, by the monotonic clock. A leap of the wall clock, which
/// would expire all leases at once, counts as a pause.
#[derive(Debug)]
pub(super) struct Renewals(Mutex<State>);

#[derive(Debug)]
struct State {
    possible_since: Duration,
    last_look: Option<Instant>,
    /// The wall clock at some moment.
    shown: (Duration, Timestamp),
}

impl Renewals {
    pub(super) fn possible_from_now(clock: &dyn Clock) -> Self {
        let shown = (clock.passed(), clock.now());
        Self(Mutex::new(State { possible_since: shown.0, last_look: None, shown }))
    }

    fn fail(&self, passed: Duration) {
        self.state().possible_since = passed;
    }

    /// Notices when the wall clock ran ahead of the monotonic clock. One that stands back expires
    /// nothing early.
    fn notice_a_leap(&self, (passed, now): (Duration, Timestamp), lease: Duration) {
        let mut state = self.state();
        let (at, shown) = state.shown;
        let elapsed =
            SignedDuration::try_from(passed.saturating_sub(at)).unwrap_or(SignedDuration::MAX);
        let ahead = now.duration_since(shown).saturating_sub(elapsed);
        let unnoticed = SignedDuration::try_from(lease / UNNOTICED).unwrap_or_default();
        if ahead.abs() > unnoticed {
            state.shown = (passed, now);
        }
        if ahead > unnoticed {
            state.possible_since = passed;
            tracing::warn!("the clock leapt by {ahead:#}: leases are given time for renewal");
        }
    }

    fn were_possible_for(&self, lease: Duration, passed: Duration) -> bool {
        passed.saturating_sub(self.state().possible_since) >= lease
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Notes that a renewal was not possible just now.
    pub(super) fn renewals_fail(&self) {
        self.renewals.fail(self.clock.passed());
    }

    /// Expires leases. Returns how many attempts ended.
    ///
    /// Expires none until one whole lease after the start, after a failed write, and after a pass
    /// that is long overdue because a commit stalled or the master stood still: workers could not
    /// renew meanwhile. A leap of the clock counts as such a pause.
    pub async fn expire_leases(&self) -> Result<usize, ServiceError> {
        self.notice_a_stall();
        let (now, passed, lease) = (self.clock.now(), self.clock.passed(), self.settings.lease.0);
        self.renewals.notice_a_leap((passed, now), lease);
        if !self.renewals.were_possible_for(lease, passed) {
            return Ok(0);
        }
        let mut expired = 0;
        loop {
            let expiring = self.store.expire(Rules { now, ..self.rules() }, BATCH);
            let batch = match self.metrics.stored("expire", expiring).await {
                Ok(batch) => batch,
                Err(error) => {
                    self.renewals_fail();
                    return Err(error.into());
                }
            };
            for applied in &batch {
                tracing::warn!(job = %applied.job.id, "a lease ran out");
                self.wake_for(applied, Duration::ZERO);
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_mins(1);

    fn begun() -> Renewals {
        let shown = (Duration::ZERO, Timestamp::UNIX_EPOCH);
        Renewals(Mutex::new(State { possible_since: shown.0, last_look: None, shown }))
    }

    /// So many seconds later, when the clock shows this second.
    fn is_over(renewals: &Renewals, passed: u64, second: i64) -> bool {
        let (passed, now) = (Duration::from_secs(passed), Timestamp::from_second(second).unwrap());
        renewals.notice_a_leap((passed, now), LEASE);
        renewals.were_possible_for(LEASE, passed)
    }

    #[test]
    fn one_lease_after_the_start_nothing_is_waited_for() {
        let renewals = begun();
        assert!(!is_over(&renewals, 59, 59));
        assert!(is_over(&renewals, 60, 60));
    }

    #[test]
    fn a_leap_is_waited_out_by_time_that_passes() {
        let renewals = begun();
        assert!(is_over(&renewals, 100, 100));
        assert!(!is_over(&renewals, 100, 3_700));
        assert!(!is_over(&renewals, 159, 3_759));
        assert!(is_over(&renewals, 160, 3_760));
    }

    #[test]
    fn a_clock_that_runs_slower_neither_begins_nor_ends_a_wait() {
        let renewals = begun();
        assert!(is_over(&renewals, 60, 30));
        assert!(is_over(&renewals, 120, 90));
    }
}
