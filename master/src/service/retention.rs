//! Retention: prunes what jobs that have ended leave, by age, by number and by bytes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use orchestra_contracts::{Size, Span};
use tokio::time::{Duration, Instant};

use super::{Service, ServiceError, signed};
use crate::store::{Bounds, Part};

/// How much of each part is kept. Without limits nothing is pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub jobs: Keep,
    pub logs: Keep,
    pub artifacts: Keep,
}

/// How long a part is kept, and how much of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub age: Option<Span>,
    /// A number of jobs, or bytes of logs or of artifacts.
    pub most: Option<u64>,
}

impl Keep {
    pub fn bytes(age: Option<Span>, most: Option<Size>) -> Self {
        Self { age, most: most.map(|size| size.0) }
    }

    fn bounds(self, now: Timestamp) -> Option<Bounds> {
        let until = self.age.map(|age| now.saturating_sub(signed(age)).unwrap_or(Timestamp::MIN));
        (until.is_some() || self.most.is_some()).then_some(Bounds { until, most: self.most })
    }
}

/// The most jobs that one transaction prunes. Between two transactions other writes have a second.
const BATCH: u32 = 200;
/// The pause after a pass that found nothing: a pass reads all that is kept.
const PAUSE: Duration = Duration::from_mins(1);

/// The current limits, and when the next pass is due.
#[derive(Debug, Default)]
pub(super) struct Keeping(Mutex<(Retention, Option<Instant>)>);

impl Keeping {
    pub(super) fn with(retention: Retention) -> Self {
        Self(Mutex::new((retention, None)))
    }

    fn state(&self) -> MutexGuard<'_, (Retention, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// What is kept of jobs that have ended.
    pub fn retention(&self) -> Retention {
        self.keeping.state().0
    }

    /// Sets new limits.
    pub fn retain(&self, retention: Retention) {
        *self.keeping.state() = (retention, None);
    }

    /// Prunes the next jobs of one part. Returns of how many jobs.
    pub async fn keep_within_bounds(&self) -> Result<usize, ServiceError> {
        let now = Instant::now();
        let (retention, next) = *self.keeping.state();
        if next.is_some_and(|next| now < next) {
            return Ok(0);
        }
        let Retention { jobs, logs, artifacts } = retention;
        let mut dropped = 0;
        for (part, keep) in [(Part::Jobs, jobs), (Part::Logs, logs), (Part::Artifacts, artifacts)] {
            let time = self.clock.now();
            let Some(bounds) = keep.bounds(time) else { continue };
            let ids = self.store.prunable(part, bounds, BATCH).await?;
            if !ids.is_empty() {
                dropped += self.store.prune(part, ids, time).await? as usize;
            }
        }
        if dropped == 0 {
            self.keeping.state().1 = Some(now + PAUSE);
        }
        Ok(dropped)
    }
}
