//! Handles the due times of schedules: a job begins, or the time is recorded as skipped, with the
//! reason.
//!
//! The job and the schedule's next time are stored in one transaction, which checks the time that
//! was read. So each time is handled once, even if the master crashes or another master does the
//! same.

use futures::future::join_all;
use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec};

use super::{
    Service, ServiceError,
    schedules::{labelled, table_of},
    submit::put_off,
    trace,
};
use crate::{
    domain::{Due, JobEvent, Missed, Stop, due},
    store::{Begin, ScheduleRecord, Skip, Step, Stepped, StoreError},
};

/// The most schedules read at once: the spec of each may have a megabyte.
const PAGE: u32 = 16;

impl Service {
    /// Moves every due schedule on to its next time. Returns how many jobs began. A pass looks at
    /// each schedule once, and one that is refused delays no other.
    pub async fn step_schedules(&self) -> Result<usize, ServiceError> {
        let now = self.clock.now();
        let (mut begun, mut after) = (0, None);
        loop {
            let page = self.store.due_schedules(now, after, PAGE).await?;
            // Together, so that they share a commit.
            let steps = page.iter().map(|record| self.step_schedule(record, now));
            for (record, stepped) in page.iter().zip(join_all(steps).await) {
                match stepped {
                    Ok(began) => begun += usize::from(began),
                    Err(error @ ServiceError::Store(StoreError::Corrupt { .. })) => {
                        tracing::error!(schedule = %record.what.name, %error, "it is passed over");
                    }
                    // It stays due until there is.
                    Err(ServiceError::Store(error @ StoreError::NoRoom { .. })) => {
                        tracing::debug!(schedule = %record.what.name, %error, "no room for its job");
                    }
                    Err(error) => return Err(error),
                }
            }
            let last = page.last().filter(|_| page.len() == PAGE as usize);
            after = last.and_then(|last| Some((last.next_at?, last.what.name.clone())));
            if after.is_none() {
                return Ok(begun);
            }
        }
    }

    async fn step_schedule(
        &self,
        record: &ScheduleRecord,
        now: Timestamp,
    ) -> Result<bool, ServiceError> {
        let Some(step) = self.next_step(record, now).await? else { return Ok(false) };
        let mut stepped = self.store.step_schedule(step.clone()).await?;
        if let Stepped::Waits(jobs) = &stepped {
            self.make_way(jobs).await?;
            // Those that no worker held have ended. The others are looked at in the next pass.
            stepped = self.store.step_schedule(step).await?;
        }
        let Stepped::Done(Some(job)) = stepped else { return Ok(false) };
        tracing::info!(schedule = %record.what.name, job = %job.id, "a scheduled job begins");
        self.metrics.submitted(std::iter::once(job.spec.queue.as_str()));
        self.dispatcher.look_again();
        Ok(true)
    }

    /// The step to take now; `None` if the schedule is not due.
    async fn next_step(
        &self,
        record: &ScheduleRecord,
        now: Timestamp,
    ) -> Result<Option<Step>, ServiceError> {
        let what = &record.what;
        let Some(was) = record.next_at else { return Ok(None) };
        let due = match table_of(what) {
            Ok(table) => due(&table, was, what.catch_up, now),
            // Its zone is not known any more.
            Err((error, _)) => return Ok(Some(never_again(record, was, now, error.detail))),
        };
        let Some(Due { time, missed, next }) = due else { return Ok(None) };
        let mut step = empty(record, was, now);
        step.next = next;
        if let Some(Missed { times, newest }) = missed {
            let reason = match time {
                Some(_) => "a newer time was due as well".to_owned(),
                None => format!("it was missed by more than {}", what.catch_up),
            };
            step.skipped = times;
            step.newest_skip = Some(Skip { time: newest, reason });
        }
        if let Some(time) = time {
            match self.job_of(record, now).await? {
                Ok(spec) => step.begin = Some(Begin { time, spec, overlap: what.overlap }),
                Err(reason) => {
                    step.skipped += 1;
                    step.newest_skip = Some(Skip { time, reason });
                }
            }
        }
        Ok(Some(step))
    }

    /// The schedule's job as a submit would store it now, or why it would be refused. Secrets are
    /// sealed already; they were checked when the schedule was made.
    async fn job_of(
        &self,
        record: &ScheduleRecord,
        now: Timestamp,
    ) -> Result<Result<JobSpec, String>, ServiceError> {
        let mut spec = labelled(&record.what.name, record.what.spec.clone());
        let sealed = std::mem::take(&mut spec.secrets);
        let errors = self.refusals(&spec);
        spec.secrets = sealed;
        let refused = match self.check_offers(&spec).await {
            Ok(()) => errors,
            Err(ServiceError::Unsatisfiable { errors: beyond, .. }) => [errors, beyond].concat(),
            Err(error) => return Err(error),
        };
        if let Some(error) = refused.first() {
            return Ok(Err(format!("its job is refused: {} {}", error.pointer, error.detail)));
        }
        spec.timeout.get_or_insert(self.settings.job_timeout);
        put_off(&mut spec, now);
        trace::scheduled(&mut spec, record.what.name.as_str());
        Ok(Ok(spec))
    }

    /// Cancels each once.
    async fn make_way(&self, jobs: &[JobId]) -> Result<(), ServiceError> {
        for id in jobs {
            let Some(job) = self.store.job(*id).await? else { continue };
            if job.lease().is_some_and(|lease| lease.stop != Stop::No) {
                continue;
            }
            match self.apply(*id, JobEvent::CancelRequested).await {
                // It has ended meanwhile.
                Ok(_) | Err(ServiceError::Refused(_) | ServiceError::NoSuchJob(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn empty(record: &ScheduleRecord, was: Timestamp, now: Timestamp) -> Step {
    Step {
        name: record.what.name.clone(),
        created_at: record.created_at,
        was,
        next: None,
        begin: None,
        skipped: 0,
        newest_skip: None,
        now,
    }
}

fn never_again(record: &ScheduleRecord, was: Timestamp, now: Timestamp, reason: String) -> Step {
    let newest_skip = Some(Skip { time: was, reason });
    Step { skipped: 1, newest_skip, ..empty(record, was, now) }
}
