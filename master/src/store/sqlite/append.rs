//! Log uploads: fenced by the lease, idempotent by offset.

use std::collections::{HashMap, HashSet};

use orchestra_contracts::{JobId, worker::LogHead};
use serde::Serialize;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::{
    batch::Verb,
    ledger::{expect_rows, write_all},
};
use crate::store::{
    Appended, LogAppend, LogChunk, StoreError,
    placement::{Placement, place},
    rows::{HeadRow, to_json},
};

const TARGETS: &str = "
    SELECT j.id, j.attempts, j.worker, j.token,
           coalesce(a.log_offset, 0) AS log_offset, coalesce(a.log_output, 0) AS log_output,
           coalesce(a.log_gap, 0) AS log_gap, coalesce(a.log_crc32, 0) AS log_crc32
    FROM jsonb_each($1) AS r JOIN job AS j ON j.id = r.value
    LEFT JOIN attempt AS a ON a.job_id = j.id AND a.number = j.attempts";

const MOVE_HEADS: &str = "
    UPDATE attempt SET
        log_offset = r.value->>'offset', log_output = r.value->>'output',
        log_gap = r.value->>'gap', log_crc32 = r.value->>'crc32'
    FROM jsonb_each($1) AS r
    WHERE attempt.job_id = r.value->>'job_id' AND attempt.number = r.value->>'attempt'
      AND attempt.token = r.value->>'token' AND attempt.ended_at IS NULL";

impl Verb for LogAppend {
    type Answer = Appended;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Appended>, StoreError> {
        let mut targets = load(connection, calls).await?;
        let answers = calls
            .iter()
            .map(|call| match targets.get_mut(&call.job) {
                Some(target) => target.take(call),
                None => Appended::NoSuchJob,
            })
            .collect();
        targets.retain(|_, target| !target.chunks.is_empty());
        insert_chunks(connection, &targets).await?;
        let heads: Vec<HeadWrite<'_>> = targets.values().map(HeadWrite::from).collect();
        write_all(connection, MOVE_HEADS, &heads).await?;
        Ok(answers)
    }

    fn weight(&self) -> usize {
        self.frames.len()
    }
}

#[derive(FromRow)]
struct TargetRow {
    id: i64,
    attempts: i64,
    worker: Option<String>,
    token: Option<String>,
    #[sqlx(flatten)]
    head: HeadRow,
}

/// The newest attempt of a job, and what this batch adds to its log.
struct Target {
    row: TargetRow,
    head: LogHead,
    chunks: Vec<LogChunk>,
}

async fn load(
    connection: &mut SqliteConnection,
    calls: &[LogAppend],
) -> Result<HashMap<JobId, Target>, StoreError> {
    let ids: HashSet<JobId> = calls.iter().map(|call| call.job).collect();
    let ids: Vec<JobId> = ids.into_iter().collect();
    let rows: Vec<TargetRow> =
        sqlx::query_as(TARGETS).bind(to_json(&ids)).fetch_all(connection).await?;
    let target = |row: TargetRow| Target { head: row.head.into(), row, chunks: Vec::new() };
    Ok(rows.into_iter().map(|row| (JobId(row.id), target(row))).collect())
}

impl Target {
    fn take(&mut self, append: &LogAppend) -> Appended {
        if !self.is_held(append) {
            return Appended::LeaseLost;
        }
        match place(self.head, append.offset, &append.frames) {
            Placement::Known => {}
            Placement::Misplaced => return Appended::Misplaced(self.head),
            Placement::New { chunk, head } => {
                self.head = head;
                self.chunks.push(chunk);
            }
        }
        Appended::Stored(self.head)
    }

    /// Whether the append is to the newest attempt and its proof is of the lease on it.
    fn is_held(&self, append: &LogAppend) -> bool {
        let proof = &append.proof;
        self.row.token.as_deref() == Some(proof.token.as_str())
            && self.row.worker.as_deref() == Some(proof.worker.as_str())
            && self.row.attempts == i64::from(append.attempt.0)
            && proof.attempt.is_none_or(|attempt| attempt == append.attempt)
    }
}

#[derive(Serialize)]
struct HeadWrite<'a> {
    job_id: i64,
    attempt: i64,
    token: Option<&'a str>,
    #[serde(flatten)]
    head: LogHead,
}

impl<'a> From<&'a Target> for HeadWrite<'a> {
    fn from(target: &'a Target) -> Self {
        let row = &target.row;
        let token = row.token.as_deref();
        Self { job_id: row.id, attempt: row.attempts, token, head: target.head }
    }
}

/// Bytes do not fit into JSON, so this one statement has a place for each value.
async fn insert_chunks(
    connection: &mut SqliteConnection,
    targets: &HashMap<JobId, Target>,
) -> Result<(), StoreError> {
    let chunks = || {
        targets.values().flat_map(|target| target.chunks.iter().map(move |chunk| (target, chunk)))
    };
    let count = chunks().count();
    if count == 0 {
        return Ok(());
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO log_chunk (job_id, attempt, log_offset, stdout, stderr, system, frames) ",
    );
    insert.push_values(chunks(), |mut values, (target, chunk)| {
        values.push_bind(target.row.id).push_bind(target.row.attempts);
        for number in [chunk.offset, chunk.stdout, chunk.stderr, chunk.system] {
            values.push_bind(number as i64);
        }
        values.push_bind(chunk.frames.to_vec());
    });
    // Its text depends on the count: there is no use in remembering it.
    let done = insert.build().persistent(false).execute(connection).await?;
    expect_rows(&done, count)
}
