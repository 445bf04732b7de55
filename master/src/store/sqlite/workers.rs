//! What workers say of themselves.

use std::collections::HashMap;

use jiff::Timestamp;
use orchestra_contracts::{JobId, WorkerName, worker::Registration};
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use super::{batch::Verb, ledger::write_all};
use crate::store::{
    StoreError, WorkerRecord,
    rows::{WorkerRow, to_json},
    sql,
};

const REGISTER: &str = "
    INSERT INTO worker (name, registration, registered_at, seen_at)
    SELECT r.value->>'name', r.value->>'registration', r.value->>'at', r.value->>'at'
    FROM jsonb_each($1) AS r WHERE true ORDER BY r.key
    ON CONFLICT (name) DO UPDATE SET registration = excluded.registration,
        registered_at = excluded.registered_at, seen_at = excluded.seen_at";

/// Adds a worker, or replaces what it said before.
pub(super) struct Register {
    pub(super) worker: WorkerName,
    pub(super) registration: Registration,
    pub(super) now: Timestamp,
}

#[derive(Serialize)]
struct WorkerWrite<'a> {
    name: &'a WorkerName,
    registration: String,
    at: i64,
}

impl Verb for Register {
    type Answer = ();

    async fn run(connection: &mut SqliteConnection, calls: &[Self]) -> Result<Vec<()>, StoreError> {
        let rows: Vec<WorkerWrite<'_>> = calls
            .iter()
            .map(|call| WorkerWrite {
                name: &call.worker,
                registration: to_json(&call.registration),
                at: call.now.as_millisecond(),
            })
            .collect();
        write_all(connection, REGISTER, &rows).await?;
        Ok(vec![(); calls.len()])
    }
}

pub(super) async fn all(reads: &SqlitePool) -> Result<Vec<WorkerRecord>, StoreError> {
    let workers: Vec<WorkerRow> = sqlx::query_as(sql::WORKERS).fetch_all(reads).await?;
    let held: Vec<(String, i64)> = sqlx::query_as(sql::HELD_JOBS).fetch_all(reads).await?;
    let mut running: HashMap<String, Vec<JobId>> = HashMap::new();
    for (worker, id) in held {
        running.entry(worker).or_default().push(JobId(id));
    }
    workers
        .into_iter()
        .map(|row| {
            let running = running.remove(&row.name).unwrap_or_default();
            row.record(running)
        })
        .collect()
}
