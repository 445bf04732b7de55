//! Rows of the job table, and the guard of writes to them.

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobStatus, LeaseToken, Span, WorkerName};
use serde::{Deserialize, Serialize};
use sqlx_macros::FromRow;

use super::{HeadRow, Place, to_json};
use crate::{
    domain::{Element, Finish, Hold, Job, JobState, Lease, Stop},
    store::StoreError,
};

/// A row of `job`, joined with its newest attempt.
#[derive(Debug, Deserialize, FromRow)]
pub(in crate::store) struct JobRow {
    id: i64,
    spec: String,
    status: String,
    created_at: i64,
    not_before: Option<i64>,
    attempts: i64,
    retries: i64,
    infra_retries: i64,
    lost: i64,
    worker: Option<String>,
    token: Option<String>,
    expires_at: Option<i64>,
    stop: Option<String>,
    outcome: Option<String>,
    finished_at: Option<i64>,
    waits_for: String,
    array_id: Option<i64>,
    array_index: Option<i64>,
    pub(in crate::store) claim_request: Option<String>,
    claimed_at: Option<i64>,
    started_at: Option<i64>,
    usage: Option<String>,
    tail: Option<String>,
    #[serde(flatten)]
    #[sqlx(flatten)]
    log: HeadRow,
}

impl TryFrom<JobRow> for Job {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self, StoreError> {
        let place = Place { table: "job", id: row.id };
        Ok(Self {
            id: JobId(row.id),
            spec: place.json(&row.spec)?,
            element: row.element(),
            state: row.state(place)?,
            attempts: row.attempts as u32,
            retries: row.retries as u32,
            infra_retries: row.infra_retries as u32,
            lost: row.lost as u32,
            created_at: place.time(row.created_at)?,
            log: row.log.into(),
        })
    }
}

impl JobRow {
    fn state(&self, place: Place) -> Result<JobState, StoreError> {
        let finish = || self.finish(place)?.ok_or_else(|| place.missing("outcome"));
        Ok(match place.word(&self.status)? {
            JobStatus::Pending => JobState::Pending {
                not_before: place.time_if(self.not_before)?,
                hold: match self.waits_for.as_str() {
                    "jobs" => Some(Hold::Jobs),
                    "turn" => Some(Hold::Turn),
                    _ => None,
                },
                after: self.finish(place)?,
            },
            JobStatus::Assigned => JobState::Assigned { lease: self.lease(place)? },
            JobStatus::Running => JobState::Running {
                lease: self.lease(place)?,
                started_at: place
                    .time_if(self.started_at)?
                    .ok_or_else(|| place.missing("started_at"))?,
            },
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => {
                JobState::Finished { finish: finish()? }
            }
        })
    }

    fn element(&self) -> Option<Element> {
        let (array, index) = self.array_id.zip(self.array_index)?;
        Some(Element { array: JobId(array), index: u32::try_from(index).ok()? })
    }

    fn lease(&self, place: Place) -> Result<Lease, StoreError> {
        let worker = self.worker.as_deref().ok_or_else(|| place.missing("worker"))?;
        let token = self.token.as_deref().ok_or_else(|| place.missing("token"))?;
        Ok(Lease {
            worker: place.word(worker)?,
            token: LeaseToken::new(token),
            claimed_at: place
                .time_if(self.claimed_at)?
                .ok_or_else(|| place.missing("claimed_at"))?,
            expires_at: place
                .time_if(self.expires_at)?
                .ok_or_else(|| place.missing("expires_at"))?,
            stop: match self.stop.as_deref() {
                Some("No") => Stop::No,
                Some("Cancel") => Stop::Cancel,
                Some("Delete") => Stop::Delete,
                other => return Err(place.corrupt(format!("stop is {other:?}"))),
            },
        })
    }

    fn finish(&self, place: Place) -> Result<Option<Finish>, StoreError> {
        let (Some(outcome), Some(finished_at)) = (&self.outcome, self.finished_at) else {
            return Ok(None);
        };
        Ok(Some(Finish {
            worker: self.worker.as_deref().map(|name| place.word(name)).transpose()?,
            outcome: place.json(outcome)?,
            usage: place.json_if(self.usage.as_deref())?,
            started_at: place.time_if(self.started_at)?,
            finished_at: place.time(finished_at)?,
            tail: place.json_if(self.tail.as_deref())?,
        }))
    }
}

/// The guard of a write: the row must still have this content.
#[derive(Clone, Debug, Serialize)]
pub(in crate::store) struct JobGuard {
    pub(in crate::store) id: JobId,
    was: JobStatus,
    was_token: Option<LeaseToken>,
}

impl JobGuard {
    pub(in crate::store) fn of(job: &Job) -> Self {
        let was_token = job.lease().map(|lease| lease.token.clone());
        Self { id: job.id, was: job.status(), was_token }
    }

    pub(in crate::store) fn status(&self) -> JobStatus {
        self.was
    }
}

/// What a pending job waits for. Claims read only jobs that wait for a worker.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum WaitsFor {
    /// For nothing else: it stands in its line.
    Worker,
    /// For `not_before`.
    Time,
    Jobs,
    Turn,
}

impl WaitsFor {
    fn of(state: &JobState) -> Self {
        match state {
            JobState::Pending { hold: Some(Hold::Jobs), .. } => Self::Jobs,
            JobState::Pending { hold: Some(Hold::Turn), .. } => Self::Turn,
            JobState::Pending { not_before: Some(_), .. } => Self::Time,
            _ => Self::Worker,
        }
    }
}

/// A new row of `job`.
#[derive(Debug, Serialize)]
pub(in crate::store) struct JobInsert<'a> {
    id: JobId,
    spec: String,
    queue: &'a str,
    demand: String,
    priority: i32,
    lease: Option<i64>,
    not_before: Option<i64>,
    waits_for: WaitsFor,
    array_id: Option<JobId>,
    array_index: Option<u32>,
    created_at: i64,
}

impl<'a> JobInsert<'a> {
    /// Of a job that has just been submitted.
    pub(in crate::store) fn new(job: &'a Job) -> Self {
        let spec = &job.spec;
        Self {
            id: job.id,
            spec: to_json(spec),
            queue: &spec.queue,
            demand: spec.demand().to_string(),
            priority: spec.priority,
            lease: spec.lease.map(Span::as_millis),
            not_before: spec.not_before.map(Timestamp::as_millisecond),
            waits_for: WaitsFor::of(&job.state),
            array_id: job.array(),
            array_index: job.element.map(|element| element.index),
            created_at: job.created_at.as_millisecond(),
        }
    }
}

/// The columns of `job` that the state machine changes.
#[derive(Debug, Serialize)]
pub(in crate::store) struct JobWrite<'a> {
    #[serde(flatten)]
    guard: &'a JobGuard,
    status: JobStatus,
    not_before: Option<i64>,
    waits_for: WaitsFor,
    attempts: u32,
    retries: u32,
    infra_retries: u32,
    lost: u32,
    worker: Option<&'a str>,
    token: Option<&'a LeaseToken>,
    expires_at: Option<i64>,
    stop: Option<&'static str>,
    outcome: Option<String>,
    finished_at: Option<i64>,
}

impl<'a> JobWrite<'a> {
    pub(in crate::store) fn new(guard: &'a JobGuard, job: &'a Job) -> Self {
        let (lease, finish) = (job.lease(), job.finish());
        let not_before = match &job.state {
            JobState::Pending { not_before, .. } => *not_before,
            _ => None,
        };
        let worker = lease
            .map(|lease| &lease.worker)
            .or_else(|| finish.and_then(|finish| finish.worker.as_ref()));
        Self {
            guard,
            status: job.status(),
            not_before: not_before.map(Timestamp::as_millisecond),
            waits_for: WaitsFor::of(&job.state),
            attempts: job.attempts,
            retries: job.retries,
            infra_retries: job.infra_retries,
            lost: job.lost,
            worker: worker.map(WorkerName::as_str),
            token: lease.map(|lease| &lease.token),
            expires_at: lease.map(|lease| lease.expires_at.as_millisecond()),
            stop: lease.map(|lease| match lease.stop {
                Stop::No => "No",
                Stop::Cancel => "Cancel",
                Stop::Delete => "Delete",
            }),
            outcome: finish.map(|finish| to_json(&finish.outcome)),
            finished_at: finish.map(|finish| finish.finished_at.as_millisecond()),
        }
    }
}
