//! Rows of webhooks and deliveries.

use jiff::Timestamp;
use orchestra_contracts::{
    DeliveryId, JobId, JobSpec, JobStatus, Outcome, Secret, Usage, WebhookId, WorkerName,
};
use serde::{Deserialize, Serialize};
use sqlx_macros::FromRow;

use super::{Place, to_json};
use crate::{
    domain::{EndFilter, Finish, Job, JobState},
    store::{DeliveryRecord, DueDelivery, StoreError, WebhookGrant, WebhookRecord},
};

/// A row of `webhook`.
#[derive(Debug, Deserialize, FromRow)]
pub(in crate::store) struct WebhookRow {
    id: i64,
    url: String,
    ends: String,
    queue: Option<String>,
    labels: String,
    secret: String,
    created_at: i64,
}

impl TryFrom<WebhookRow> for WebhookRecord {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self, StoreError> {
        let place = Place { table: "webhook", id: row.id };
        let filter = EndFilter {
            on: place.json(&row.ends)?,
            queue: row.queue.as_deref().map(|name| place.word(name)).transpose()?,
            labels: place.json(&row.labels)?,
        };
        Ok(Self {
            id: WebhookId(row.id),
            grant: WebhookGrant { url: row.url, filter, secret: row.secret },
            created_at: place.time(row.created_at)?,
        })
    }
}

/// A row of `delivery`, without the job.
#[derive(Debug, Deserialize, FromRow)]
pub(in crate::store) struct DeliveryRow {
    id: i64,
    webhook: i64,
    job_id: i64,
    status: String,
    created_at: i64,
    state: String,
    attempts: i64,
    answer: Option<i64>,
    error: Option<String>,
    tried_at: Option<i64>,
    due_at: Option<i64>,
}

impl TryFrom<DeliveryRow> for DeliveryRecord {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        let place = Place { table: "delivery", id: row.id };
        Ok(Self {
            id: DeliveryId(row.id),
            webhook: WebhookId(row.webhook),
            job: JobId(row.job_id),
            status: place.word(&row.status)?,
            created_at: place.time(row.created_at)?,
            state: place.word(&row.state)?,
            attempts: row.attempts as u32,
            answer: row.answer.map(|status| status as u16),
            error: row.error,
            tried_at: place.time_if(row.tried_at)?,
            due_at: place.time_if(row.due_at)?,
        })
    }
}

/// A row of `delivery` with everything that is needed to send it.
#[derive(Debug, FromRow)]
pub(in crate::store) struct DueRow {
    #[sqlx(flatten)]
    delivery: DeliveryRow,
    job: String,
    url: String,
    secret: String,
}

impl TryFrom<DueRow> for DueDelivery {
    type Error = StoreError;

    fn try_from(row: DueRow) -> Result<Self, StoreError> {
        let record = DeliveryRecord::try_from(row.delivery)?;
        let job = serde_json::from_str::<JobAtEnd>(&row.job).ok();
        let job = job.map(|job| job.job(record.job));
        Ok(Self { record, url: row.url, secret: row.secret, job })
    }
}

/// A new row of `delivery`.
#[derive(Debug, Serialize)]
pub(in crate::store) struct DeliveryWrite {
    webhook: WebhookId,
    job_id: JobId,
    status: JobStatus,
    job: String,
    created_at: i64,
}

impl DeliveryWrite {
    /// Of a job that has ended.
    pub(in crate::store) fn new(webhook: WebhookId, job: &Job, finish: &Finish) -> Self {
        Self {
            webhook,
            job_id: job.id,
            status: job.status(),
            job: to_json(&JobAtEnd::new(job, finish)),
            created_at: finish.finished_at.as_millisecond(),
        }
    }
}

/// The part of an ended job that is stored for its delivery: without its input, which may be a
/// megabyte, and without its secrets.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct JobAtEnd {
    spec: JobSpec,
    attempts: u32,
    retries: u32,
    created_at: Timestamp,
    worker: Option<WorkerName>,
    outcome: Outcome,
    usage: Option<Usage>,
    started_at: Option<Timestamp>,
    finished_at: Timestamp,
}

impl JobAtEnd {
    pub(in crate::store) fn new(job: &Job, finish: &Finish) -> Self {
        let mut spec = job.spec.clone();
        spec.stdin = None;
        spec.secrets.values_mut().for_each(|secret| *secret = Secret::hidden());
        Self {
            spec,
            attempts: job.attempts,
            retries: job.retries,
            created_at: job.created_at,
            worker: finish.worker.clone(),
            outcome: finish.outcome.clone(),
            usage: finish.usage,
            started_at: finish.started_at,
            finished_at: finish.finished_at,
        }
    }

    pub(in crate::store) fn job(self, id: JobId) -> Job {
        let mut job = Job::new(id, self.spec, self.created_at);
        (job.attempts, job.retries) = (self.attempts, self.retries);
        let finish = Finish {
            worker: self.worker,
            outcome: self.outcome,
            usage: self.usage,
            started_at: self.started_at,
            finished_at: self.finished_at,
            tail: None,
        };
        job.state = JobState::Finished { finish };
        job
    }
}
