//! The metrics of this master.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use orchestra_contracts::{Job, JobId, JobStatus, Queue, worker::Worker};
use tokio::sync::Semaphore;

use super::{Service, ServiceError};
use crate::{
    domain,
    metrics::{MOST_NAMES, Metrics, Minute, Process, QueueState, Snapshot, WorkerState},
    store::JobFilter,
};

/// How often the search for the oldest pending job of a queue restarts at the beginning: a retry
/// makes an old job pending again, behind the point that the search has reached.
const AFRESH: SignedDuration = SignedDuration::from_mins(10);

/// For each queue, the job before which none is pending. Without it, each scrape would pass over
/// all jobs of a long queue to find the oldest of a small one.
#[derive(Debug, Default)]
pub(super) struct Oldest(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    since: Option<Timestamp>,
    before: HashMap<String, JobId>,
}

impl Oldest {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_afresh_at_times(&self, now: Timestamp) {
        let mut known = self.known();
        if known.since.is_none_or(|since| now.duration_since(since) >= AFRESH) {
            *known = Known { since: Some(now), before: HashMap::new() };
        }
    }
}

/// Deliveries are counted up to this number: a scrape waits for the count.
const MOST_UNTOLD: u32 = 10_000;

impl Service {
    /// The counters of requests.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The last hour by the minute, and since when this master has counted.
    pub fn last_hour(&self) -> (Vec<Minute>, Timestamp) {
        (self.history.minutes(self.clock.now()), self.started_at)
    }

    /// All metrics in the text format of Prometheus; also while the database is down.
    pub async fn measure(&self) -> String {
        let stale = self.stale.counts();
        let places = self.settings.max_streams.min(Semaphore::MAX_PERMITS);
        let mut snapshot = Snapshot {
            started_at: self.started_at.as_duration().as_secs_f64(),
            process: Process::look(),
            streams: (self.reading(), places),
            stale: [
                ("artifact", stale.artifacts),
                ("heartbeat", stale.heartbeats),
                ("log", stale.logs),
                ("update", stale.updates),
            ],
            ..Snapshot::default()
        };
        match self.looked_up().await {
            Ok((queues, workers, untold)) => {
                (snapshot.queues, snapshot.workers) = (queues, workers);
                (snapshot.untold, snapshot.store_usable) = (untold, true);
            }
            Err(error) => tracing::warn!(%error, "metrics without queues and workers"),
        }
        self.metrics.text(&snapshot)
    }

    async fn looked_up(&self) -> Result<(Vec<QueueState>, Vec<WorkerState>, u64), ServiceError> {
        let now = self.clock.now();
        self.oldest.begin_afresh_at_times(now);
        let mut queues = Vec::new();
        for (place, queue) in self.queues().await?.into_iter().enumerate() {
            let is_named = place < MOST_NAMES && queue.pending > 0;
            let oldest = if is_named { self.oldest_of(&queue).await? } else { None };
            let oldest = oldest.map(|since| now.duration_since(since).as_secs_f64().max(0.0));
            queues.push(QueueState {
                name: queue.name.to_string(),
                pending: queue.pending,
                running: queue.running,
                workers: queue.workers,
                paused: queue.paused,
                oldest,
            });
        }
        let workers = self.workers().await?.into_iter().map(state_of).collect();
        Ok((queues, workers, self.store.waiting_deliveries(MOST_UNTOLD).await?))
    }

    /// When the oldest pending job of a queue was submitted.
    async fn oldest_of(&self, queue: &Queue) -> Result<Option<Timestamp>, ServiceError> {
        let name = queue.name.as_str();
        let after = self.oldest.known().before.get(name).copied();
        let filter = JobFilter {
            statuses: vec![JobStatus::Pending],
            queue: Some(name.to_owned()),
            after,
            limit: 1,
            ..JobFilter::default()
        };
        let Some(job) = self.store.jobs(&filter).await?.pop() else { return Ok(None) };
        self.oldest.known().before.insert(name.to_owned(), JobId(job.id.0 - 1));
        Ok(Some(job.created_at))
    }

    /// Counts the jobs that were handed out.
    pub(super) fn count_claim(&self, jobs: &[domain::Job]) {
        let first = |job: &domain::Job| {
            let since = job.spec.not_before.map_or(job.created_at, |at| at.max(job.created_at));
            (job.attempts == 1).then_some((since, job.lease()?.claimed_at))
        };
        let jobs: Vec<_> = jobs.iter().map(|job| (job.spec.queue.as_str(), first(job))).collect();
        for (since, at) in jobs.iter().filter_map(|(_, times)| *times) {
            let waited = u64::try_from(at.duration_since(since).as_millis()).unwrap_or_default();
            self.history.handed_out(at, waited);
        }
        self.metrics.claimed(&jobs);
    }

    pub(super) fn count_submission(&self, jobs: &[Job]) {
        self.metrics.submitted(jobs.iter().map(|job| job.spec.queue.as_str()));
    }
}

fn state_of(worker: Worker) -> WorkerState {
    let state = match &worker {
        Worker { online: false, .. } => "away",
        Worker { draining_since: Some(_), .. } => "draining",
        Worker { unwell: Some(_), .. } => "unwell",
        _ => "online",
    };
    WorkerState {
        name: worker.name.to_string(),
        state,
        slots: worker.registration.slots.into(),
        running: worker.running.len() as u64,
        stats: worker.stats,
    }
}
