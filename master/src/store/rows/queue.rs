//! Rows of the queue table, with the numbers of jobs.

use serde::Deserialize;
use sqlx_macros::FromRow;

use super::Place;
use crate::{
    domain::QueueRules,
    store::{QueueRecord, StoreError, counts::Open},
};

/// A row of `queue`, or a queue that has jobs and no row.
#[derive(Debug, Deserialize, FromRow)]
pub(in crate::store) struct QueueRow {
    name: String,
    paused_at: Option<i64>,
    concurrency: Option<i64>,
    pending: i64,
    held: i64,
}

impl QueueRow {
    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    /// Of a queue that has jobs and no row.
    pub(in crate::store) fn without_rules(name: String, open: Open) -> Self {
        let mut row = Self { name, paused_at: None, concurrency: None, pending: 0, held: 0 };
        row.count(open);
        row
    }

    pub(in crate::store) fn count(&mut self, open: Open) {
        (self.pending, self.held) = (open.pending.max(0), open.held.max(0));
    }
}

impl TryFrom<QueueRow> for QueueRecord {
    type Error = StoreError;

    fn try_from(row: QueueRow) -> Result<Self, StoreError> {
        // Queues have names, not numbers.
        let place = Place { table: "queue", id: 0 };
        let paused_since = place.time_if(row.paused_at)?;
        Ok(Self {
            name: place.word(&row.name)?,
            rules: QueueRules {
                paused_since,
                concurrency: row.concurrency.map(|bound| bound as u32),
            },
            pending: row.pending as u64,
            held: row.held as u64,
        })
    }
}
