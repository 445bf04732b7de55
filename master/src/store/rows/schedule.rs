//! The schedule table's rows.

use orchestra_contracts::{JobId, NewSchedule, Span};
use serde::Deserialize;
use sqlx_macros::FromRow;

use super::Place;
use crate::store::{ScheduleRecord, Skip, StoreError};

/// A row of `schedule`.
#[derive(Debug, Deserialize, FromRow)]
pub(in crate::store) struct ScheduleRow {
    pub(in crate::store) name: String,
    cron: String,
    time_zone: String,
    overlap: String,
    catch_up: i64,
    spec: String,
    created_at: i64,
    paused_at: Option<i64>,
    next_at: Option<i64>,
    last_time: Option<i64>,
    last_job: Option<i64>,
    skipped: i64,
    skipped_time: Option<i64>,
    skipped_reason: Option<String>,
}

impl TryFrom<ScheduleRow> for ScheduleRecord {
    type Error = StoreError;

    fn try_from(row: ScheduleRow) -> Result<Self, StoreError> {
        // Schedules have names, not numbers.
        let place = Place { table: "schedule", id: 0 };
        Ok(Self {
            what: NewSchedule {
                name: place.word(&row.name)?,
                cron: row.cron,
                time_zone: row.time_zone,
                overlap: place.word(&row.overlap)?,
                catch_up: Span::from_millis(row.catch_up as u64),
                spec: place.json(&row.spec)?,
            },
            created_at: place.time(row.created_at)?,
            paused_since: place.time_if(row.paused_at)?,
            next_at: place.time_if(row.next_at)?,
            last: place.time_if(row.last_time)?.zip(row.last_job.map(JobId)),
            skipped: row.skipped as u64,
            newest_skip: place
                .time_if(row.skipped_time)?
                .zip(row.skipped_reason)
                .map(|(time, reason)| Skip { time, reason }),
        })
    }
}
