//! Log uploads: fenced by the lease, idempotent by offset.

use std::collections::{HashMap, HashSet};

use orchestra_contracts::{JobId, worker::LogHead};
use serde::{Deserialize, Serialize};
use sqlx_macros::FromRow;

use super::{
    Needs, Verb,
    ledger::{expect_rows, write_all},
};
use crate::store::{
    Appended, LogAppend, LogChunk, StoreError,
    compression::pack,
    connection::{Connection, Value, values},
    placement::{Placement, place},
    rows::{HeadRow, to_json},
    statement::{Statement, statement},
};

const TARGETS: Statement = statement!(()
    "SELECT j.id, j.attempts, j.worker, j.token,
           coalesce(a.log_offset, 0) AS log_offset, coalesce(a.log_output, 0) AS log_output,
           coalesce(a.log_gap, 0) AS log_gap, coalesce(a.log_crc32, 0) AS log_crc32
    FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id
    LEFT JOIN attempt AS a ON a.job_id = j.id AND a.number = j.attempts");

const MOVE_HEADS: Statement = statement!(
    (job_id bigint, attempt bigint, token text, log_offset bigint, log_output bigint, log_gap bigint,
     log_crc32 bigint)
    "UPDATE attempt SET
        log_offset = r.log_offset, log_output = r.log_output,
        log_gap = r.log_gap, log_crc32 = r.log_crc32
    FROM " rows "
    WHERE attempt.job_id = r.job_id AND attempt.number = r.attempt
      AND attempt.token = r.token AND attempt.ended_at IS NULL");

/// Behind it come the rows.
const INSERT_CHUNKS: &str = "INSERT INTO log_chunk (job_id, attempt, log_offset, stdout, stderr, system, frames, bytes) VALUES";

/// That it has.
const COLUMNS: usize = 8;

impl Verb for LogAppend {
    type Answer = Appended;

    fn needs(&self, needs: &mut Needs) {
        needs.jobs.insert(self.job);
    }

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<Appended>, StoreError> {
        let mut targets = load(connection, calls).await?;
        let answers = calls
            .iter()
            .map(|call| match targets.get_mut(&call.job) {
                Some(target) => target.take(call),
                None => Appended::NoSuchJob,
            })
            .collect();
        targets.retain(|_, target| !target.chunks.is_empty());
        let chunks: Vec<ChunkWrite<'_>> = targets.values().flat_map(Target::writes).collect();
        insert_chunks(connection, &chunks).await?;
        connection.notification.jobs.extend(targets.keys().copied());
        let heads: Vec<HeadWrite<'_>> = targets.values().map(HeadWrite::from).collect();
        write_all(connection, MOVE_HEADS, &heads).await?;
        Ok(answers)
    }

    fn weight(&self) -> usize {
        self.frames.len()
    }
}

#[derive(Deserialize, FromRow)]
struct TargetRow {
    id: i64,
    attempts: i64,
    worker: Option<String>,
    token: Option<String>,
    #[serde(flatten)]
    #[sqlx(flatten)]
    head: HeadRow,
}

/// The newest attempt of a job, and what this batch appends to its log.
struct Target {
    row: TargetRow,
    head: LogHead,
    chunks: Vec<LogChunk>,
}

async fn load(
    connection: &mut Connection,
    calls: &[LogAppend],
) -> Result<HashMap<JobId, Target>, StoreError> {
    let ids: HashSet<JobId> = calls.iter().map(|call| call.job).collect();
    let mut ids: Vec<JobId> = ids.into_iter().collect();
    ids.sort_unstable();
    connection.lock_jobs(&ids).await?;
    let rows: Vec<TargetRow> = connection.all(TARGETS, values![to_json(&ids)]).await?;
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

    fn writes(&self) -> impl Iterator<Item = ChunkWrite<'_>> {
        let (job, attempt) = (self.row.id, self.row.attempts);
        self.chunks.iter().map(move |chunk| ChunkWrite { job, attempt, chunk })
    }

    /// Whether the append is for the newest attempt and its proof fits the lease.
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
    log_offset: u64,
    log_output: u64,
    log_gap: u64,
    log_crc32: u32,
}

impl<'a> From<&'a Target> for HeadWrite<'a> {
    fn from(target: &'a Target) -> Self {
        let row = &target.row;
        let token = row.token.as_deref();
        let LogHead { offset, output, gap, crc32 } = target.head;
        Self {
            job_id: row.id,
            attempt: row.attempts,
            token,
            log_offset: offset,
            log_output: output,
            log_gap: gap,
            log_crc32: crc32,
        }
    }
}

/// A new row of `log_chunk`.
pub(in crate::store) struct ChunkWrite<'a> {
    pub(in crate::store) job: i64,
    pub(in crate::store) attempt: i64,
    pub(in crate::store) chunk: &'a LogChunk,
}

/// JSON cannot hold bytes, so this one statement has a parameter for each value.
pub(in crate::store) async fn insert_chunks(
    connection: &mut Connection,
    chunks: &[ChunkWrite<'_>],
) -> Result<(), StoreError> {
    let count = chunks.len();
    if count == 0 {
        return Ok(());
    }
    let places = (0..count).map(|row| {
        let numbers = (1..=COLUMNS).map(|column| format!("${}", COLUMNS * row + column));
        format!("({})", numbers.collect::<Vec<_>>().join(", "))
    });
    let places = places.collect::<Vec<_>>().join(", ");
    let mut all = Vec::with_capacity(COLUMNS * count);
    for ChunkWrite { job, attempt, chunk } in chunks {
        let LogChunk { offset, stdout, stderr, system, frames } = chunk;
        all.extend(values![*job, *attempt]);
        all.extend([offset, stdout, stderr, system].map(|number| Value::from(*number as i64)));
        let (stored, bytes) = pack(connection.codec, frames);
        all.extend(values![stored.into_owned(), bytes]);
    }
    let inserted = connection.change_once(format!("{INSERT_CHUNKS} {places}"), all).await?;
    expect_rows(inserted, count)
}
