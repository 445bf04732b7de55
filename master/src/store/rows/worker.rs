//! The worker table's rows.

use orchestra_contracts::JobId;
use sqlx_macros::FromRow;

use super::Place;
use crate::store::{StoreError, WorkerRecord};

/// A row of `worker`.
#[derive(Debug, FromRow)]
pub(in crate::store) struct WorkerRow {
    pub(in crate::store) name: String,
    registration: String,
    registered_at: i64,
    seen_at: i64,
    draining_at: Option<i64>,
}

impl WorkerRow {
    pub(in crate::store) fn record(self, running: Vec<JobId>) -> Result<WorkerRecord, StoreError> {
        // Workers have names, not numbers.
        let place = Place { table: "worker", id: 0 };
        Ok(WorkerRecord {
            name: place.word(&self.name)?,
            registration: place.json(&self.registration)?,
            registered_at: place.time(self.registered_at)?,
            seen_at: place.time(self.seen_at)?,
            running,
            draining_since: place.time_if(self.draining_at)?,
        })
    }
}
