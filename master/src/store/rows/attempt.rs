//! The attempt table's rows.

use jiff::Timestamp;
use orchestra_contracts::{Attempt, AttemptNo, JobId, LeaseToken, Outcome, WorkerName};
use serde::Serialize;
use sqlx_macros::FromRow;

use super::{Place, to_json};
use crate::{
    domain::{Finish, Job, Lease},
    store::StoreError,
};

/// A row of `attempt`, without its log.
#[derive(Debug, FromRow)]
pub(in crate::store) struct AttemptRow {
    number: i64,
    worker: String,
    claimed_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    outcome: Option<String>,
    usage: Option<String>,
    log_output: i64,
    ran: Option<String>,
}

impl AttemptRow {
    pub(in crate::store) fn attempt(self, job: JobId) -> Result<Attempt, StoreError> {
        let place = Place { table: "attempt", id: job.0 };
        let outcome: Option<Outcome> = place.json_if(self.outcome.as_deref())?;
        Ok(Attempt {
            number: AttemptNo(self.number as u32),
            worker: place.word(&self.worker)?,
            claimed_at: place.time(self.claimed_at)?,
            started_at: place.time_if(self.started_at)?,
            finished_at: place.time_if(self.ended_at)?,
            reason: outcome.as_ref().map(ToString::to_string),
            exit_code: outcome.as_ref().and_then(Outcome::exit_code),
            outcome,
            usage: place.json_if(self.usage.as_deref())?,
            log_bytes: self.log_output as u64,
            queued_ms: None,
            ran: place.json_if(self.ran.as_deref())?,
        })
    }
}

/// What the machine knows of an attempt: to insert it when it begins, and to
/// update it while it goes on, under its token.
#[derive(Debug, Serialize)]
pub(in crate::store) struct AttemptWrite {
    job_id: JobId,
    number: u32,
    worker: WorkerName,
    token: LeaseToken,
    pub(in crate::store) claim_request: Option<String>,
    claimed_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    outcome: Option<String>,
    usage: Option<String>,
    tail: Option<String>,
    /// What it has is kept where this is none.
    pub(in crate::store) ran: Option<String>,
    pub(in crate::store) changes: Option<String>,
}

impl AttemptWrite {
    /// `job` as it is after the event, `lease` the one that the attempt has or
    /// had, `finish` how it ended if it did.
    pub(in crate::store) fn new(job: &Job, lease: &Lease, finish: Option<&Finish>) -> Self {
        let started_at = match finish {
            Some(finish) => finish.started_at,
            None => job.started_at(),
        };
        Self {
            job_id: job.id,
            number: job.attempts,
            worker: lease.worker.clone(),
            token: lease.token.clone(),
            claim_request: None,
            claimed_at: lease.claimed_at.as_millisecond(),
            started_at: started_at.map(Timestamp::as_millisecond),
            ended_at: finish.map(|finish| finish.finished_at.as_millisecond()),
            outcome: finish.map(|finish| to_json(&finish.outcome)),
            usage: finish.and_then(|finish| finish.usage.as_ref()).map(to_json),
            tail: finish.and_then(|finish| finish.tail.as_ref()).map(to_json),
            ran: None,
            changes: None,
        }
    }
}
