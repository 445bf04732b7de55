//! What the scripted workers observe: when each job was claimed and ended, by whom, in which queue.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use crate::{rows::blocks::millis, statistics::Samples};

pub(super) const QUEUES: usize = 4;

#[derive(Debug)]
pub(super) struct Tally {
    start: Instant,
    taken: Mutex<Taken>,
    /// One permit for each open job: a submission takes it, the job's end returns it.
    pub(super) room: Semaphore,
}

/// Observations of one phase; times in milliseconds since the submission.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) claimed: Vec<f64>,
    pub(super) ended: Vec<f64>,
    pub(super) by_queue: [Vec<f64>; QUEUES],
    workers: Vec<usize>,
}

impl Tally {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken::of(workers));
        Arc::new(Self { start: Instant::now(), taken, room: Semaphore::new(0) })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current time, in the form that a job carries in its name.
    pub(super) fn stamp(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Time since a job was stamped.
    fn since(&self, stamp: u64) -> f64 {
        millis(self.start.elapsed().saturating_sub(Duration::from_micros(stamp)))
    }

    pub(super) fn claimed(&self, worker: usize, queue: usize, stamp: u64) {
        let since = self.since(stamp);
        let mut taken = self.taken();
        taken.claimed.push(since);
        taken.by_queue[queue % QUEUES].push(since);
        taken.workers[worker] += 1;
    }

    pub(super) fn ended(&self, stamp: u64) {
        let since = self.since(stamp);
        self.taken().ended.push(since);
        self.room.add_permits(1);
    }

    /// The observations since the last call.
    pub(super) fn take(&self) -> Taken {
        let mut taken = self.taken();
        let fresh = Taken::of(taken.workers.len());
        std::mem::replace(&mut *taken, fresh)
    }
}

impl Taken {
    fn of(workers: usize) -> Self {
        Self { workers: vec![0; workers], ..Self::default() }
    }

    pub(super) fn by_worker(&self) -> Samples {
        std::iter::once(self.workers.iter().map(|jobs| *jobs as f64).collect()).collect()
    }

    /// Jobs of the worker with the fewest, as a share of the mean.
    pub(super) fn fewest(&self) -> f64 {
        let fewest = self.workers.iter().min().copied().unwrap_or_default();
        fewest as f64 * self.workers.len() as f64 / self.claimed.len().max(1) as f64
    }

    pub(super) fn longest(&self) -> f64 {
        self.claimed.iter().copied().fold(0.0, f64::max)
    }
}

pub(super) fn p99(all: &[f64]) -> f64 {
    Samples::from_iter([all.to_vec()]).percentile(99.0)
}
