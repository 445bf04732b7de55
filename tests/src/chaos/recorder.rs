//! One clock and one list of events for all observers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use orchestra_contracts::{AttemptNo, JobId, WorkerName};

use crate::check::{History, What};

/// The list of recorded events. Clones share it.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    /// `start` by the system clock, which the engine's events use.
    started_at: SystemTime,
    history: Arc<Mutex<History>>,
    answers: Arc<AtomicU64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            started_at: wall_clock(),
            history: Arc::default(),
            answers: Arc::default(),
        }
    }
}

fn wall_clock() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the engine tells the time of its events by it")]
    SystemTime::now()
}

impl Recorder {
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn record(&self, what: What) {
        // The time is read under the lock, so events are in order.
        let mut history = self.lock();
        history.record(self.start.elapsed(), what);
    }

    /// Records an event at this system time, in nanoseconds since 1970.
    pub fn record_at(&self, nanos: u64, what: What) {
        let started = self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = Duration::from_nanos(nanos).saturating_sub(started);
        self.lock().record(at, what);
    }

    /// Counts one answer that was no server error.
    pub fn answer(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// How many faults of each kind were injected.
    pub fn faults(&self) -> BTreeMap<String, usize> {
        let mut faults = BTreeMap::new();
        for event in &self.lock().events {
            if let What::Fault { kind, .. } = &event.what {
                *faults.entry(kind.clone()).or_default() += 1;
            }
        }
        faults
    }

    /// The attempts whose containers run on this worker, according to what was recorded.
    pub fn running_on(&self, name: &WorkerName) -> Vec<(JobId, AttemptNo)> {
        let mut running = Vec::new();
        for event in &self.lock().events {
            match &event.what {
                What::ContainerStarted { job, attempt, worker } if worker == name => {
                    running.push((*job, *attempt));
                }
                What::ContainerGone { job, attempt, worker } if worker == name => {
                    running.retain(|one| *one != (*job, *attempt));
                }
                _ => {}
            }
        }
        running
    }

    /// Everything recorded so far, in order of time.
    pub fn history(&self) -> History {
        let mut history = self.lock().clone();
        let count = self.answers.load(Ordering::Relaxed);
        history.record(self.now(), What::Answers { count });
        history.events.sort_by_key(|event| event.at);
        history
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
