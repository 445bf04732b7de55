//! Registrations of workers.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use orchestra_contracts::{JobId, WorkerName, worker::Registration};
use serde::Serialize;

use super::{Verb, ledger::write_all};
use crate::store::{
    StoreError, WorkerRecord,
    connection::{Connection, Reads, values},
    rows::{WorkerRow, to_json},
    sql,
    statement::{Statement, statement},
};

const REGISTER: Statement = statement!(
    (name text, registration text, at bigint)
    "INSERT INTO worker (name, registration, registered_at, seen_at)
    SELECT r.name, r.registration, r.at, r.at
    FROM " rows " WHERE true ORDER BY r.name
    ON CONFLICT (name) DO UPDATE SET registration = excluded.registration,
        registered_at = excluded.registered_at, seen_at = excluded.seen_at");

/// Adds a worker, or replaces its registration.
pub(in crate::store) struct Register {
    pub(in crate::store) worker: WorkerName,
    pub(in crate::store) registration: Registration,
    pub(in crate::store) now: Timestamp,
}

#[derive(Serialize)]
struct WorkerWrite<'a> {
    name: &'a WorkerName,
    registration: String,
    at: i64,
}

impl Verb for Register {
    type Answer = ();

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<()>, StoreError> {
        // Of a worker that registers twice, the last word counts.
        let newest: BTreeMap<&WorkerName, &Self> =
            calls.iter().map(|call| (&call.worker, call)).collect();
        let rows: Vec<WorkerWrite<'_>> = newest
            .into_iter()
            .map(|(name, call)| WorkerWrite {
                name,
                registration: to_json(&call.registration),
                at: call.now.as_millisecond(),
            })
            .collect();
        connection.notification.claimable = true;
        write_all(connection, REGISTER, &rows).await?;
        Ok(vec![(); calls.len()])
    }
}

pub(in crate::store) async fn all(reads: &Reads) -> Result<Vec<WorkerRecord>, StoreError> {
    let workers: Vec<WorkerRow> = reads.all(sql::WORKERS, values![]).await?;
    let held: Vec<(String, i64)> = reads.all(sql::HELD_JOBS, values![]).await?;
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
