//! Reads one job, its attempts and its log.

use std::time::Duration;

use orchestra_contracts::{Attempt, AttemptNo, Job, JobId, worker::LogHead};
use tokio::time::Instant;

use super::{Service, ServiceError, newest_attempt, tail, view};
use crate::{
    domain,
    live::{Follow, Reading, last_lines},
};

/// The poll interval of waiters, because a wake-up may be lost.
const POLL: Duration = Duration::from_secs(1);

impl Service {
    pub async fn job(&self, id: JobId) -> Result<Job, ServiceError> {
        let job = self.find(id).await?;
        self.show(job).await
    }

    /// Waits for the end of the job. Returns the job as it is then, or as it is when the wait is
    /// over.
    pub async fn job_ended(&self, id: JobId, wait: Duration) -> Result<Job, ServiceError> {
        let _place = self.place()?;
        let over = Instant::now() + wait;
        let mut watch = self.hub.watch(id);
        loop {
            watch.seen();
            let job = self.find(id).await?;
            let leave =
                job.status().is_final() || Instant::now() >= over || self.shutdown.is_cancelled();
            if leave {
                return self.show(job).await;
            }
            tokio::select! {
                biased;
                () = watch.changed() => {}
                () = tokio::time::sleep_until(over.min(Instant::now() + POLL)) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// The attempts, oldest first; empty before the first claim.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, ServiceError> {
        let job = self.find(id).await?;
        let mut attempts = self.store.attempts(id).await?;
        let mut since = job.created_at;
        for attempt in &mut attempts {
            let queued = attempt.claimed_at.duration_since(since).as_millis();
            attempt.queued_ms = Some(u64::try_from(queued).unwrap_or_default());
            since = attempt.finished_at.unwrap_or(since);
        }
        Ok(attempts)
    }

    pub async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<LogHead, ServiceError> {
        if let Some(head) = self.store.log_head(id, attempt).await? {
            return Ok(head);
        }
        self.find(id).await?;
        Err(ServiceError::NoSuchAttempt(id, attempt))
    }

    /// Checks that there is something to read: a job, and an attempt that exists or, for a
    /// follower, may come to exist. With `tail`, reading begins at the last so many lines.
    pub async fn log_reading(
        &self,
        id: JobId,
        mut reading: Reading,
        tail: Option<u64>,
    ) -> Result<Reading, ServiceError> {
        let job = self.find(id).await?;
        if let Some(attempt) = reading.attempt {
            let coming = reading.follow && !job.status().is_final();
            if attempt.0 > job.attempts && !coming {
                return Err(ServiceError::NoSuchAttempt(id, attempt));
            }
        }
        if let (Some(lines), Some(newest)) = (tail, newest_attempt(&job)) {
            let attempts = reading.attempt.map_or(1..=newest.0, |only| only.0..=only.0);
            let streams = reading.streams;
            reading.start = last_lines(&*self.store, id, attempts, streams, lines).await?;
        }
        Ok(reading)
    }

    /// Reads a log, see [`Self::log_reading`].
    ///
    /// # Errors
    /// [`ServiceError::Crowded`] when the limit on readers is reached.
    pub fn follow(&self, id: JobId, reading: Reading) -> Result<Follow, ServiceError> {
        let place = self.place()?;
        let (store, shutdown) = (self.store.clone(), self.shutdown.clone());
        Ok(Follow::new(store, &self.hub, shutdown, id, reading).holding(place))
    }

    pub(super) async fn find(&self, id: JobId) -> Result<domain::Job, ServiceError> {
        self.store.job(id).await?.ok_or(ServiceError::NoSuchJob(id))
    }

    /// The job with its output, which is read from the log if it is not in the row.
    pub(super) async fn show(&self, job: domain::Job) -> Result<Job, ServiceError> {
        let mut shown = view::job(&job);
        if view::needs_tail(&job) {
            let (id, attempt) = (job.id, AttemptNo(job.attempts));
            let tail = tail::of(&*self.store, id, attempt, job.log, tail::QUICK).await?;
            view::set_tail(&mut shown, tail);
        }
        Ok(shown)
    }
}
