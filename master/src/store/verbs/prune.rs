//! Prunes what jobs that have ended leave. Candidates are found on the reading connections and
//! checked again when they are pruned: a job may have been retried meanwhile.

use bytes::BytesMut;
use jiff::Timestamp;
use orchestra_contracts::{
    JobId,
    frame::{Body, Frame},
};
use serde::Serialize;

use super::{
    Needs, Verb,
    append::{ChunkWrite, insert_chunks},
    ledger::write_all,
};
use crate::store::{
    LogChunk, StoreError,
    connection::{Connection, Reads, values},
    retention::{BATCH_BYTES, Bounds, Part},
    rows::to_json,
    statement::{Statement, statement},
};

macro_rules! ended {
    () => {
        " j.status IN ('Completed', 'Failed', 'Cancelled') "
    };
}

/// Of all those that may stay, one more than may.
const BEYOND_COUNT: Statement = Statement::plain(concat!(
    "SELECT j.finished_at, j.id FROM job AS j WHERE",
    ended!(),
    "ORDER BY j.finished_at DESC, j.id DESC LIMIT 1 OFFSET $1"
));

/// How much a job has of a part.
macro_rules! bytes_of {
    (logs) => {
        "CAST((SELECT coalesce(sum(a.log_output), 0) FROM attempt AS a WHERE a.job_id = j.id) AS BIGINT)"
    };
    (artifacts) => {
        "CAST((SELECT coalesce(sum(f.bytes), 0) FROM artifact AS f WHERE f.job_id = j.id) AS BIGINT)"
    };
}

macro_rules! beyond_bytes {
    ($part:ident) => {
        Statement::plain(concat!(
            "SELECT w.finished_at, w.id FROM (
                SELECT j.finished_at, j.id, sum(",
            bytes_of!($part),
            ") OVER (ORDER BY j.finished_at DESC, j.id DESC) AS total FROM job AS j WHERE",
            ended!(),
            ") AS w WHERE w.total > CAST($1 AS BIGINT)
             ORDER BY w.finished_at DESC, w.id DESC LIMIT 1"
        ))
    };
}

const BEYOND_LOGS: Statement = beyond_bytes!(logs);
const BEYOND_ARTIFACTS: Statement = beyond_bytes!(artifacts);

/// Those that ended up to ($1, $2), oldest end first, with what goes along.
macro_rules! up_to {
    ($bytes:expr, $having:expr) => {
        Statement::plain(concat!(
            "SELECT j.id, ",
            $bytes,
            " FROM job AS j WHERE",
            ended!(),
            "AND (j.finished_at, j.id) <= ($1, $2)",
            $having,
            " ORDER BY j.finished_at, j.id LIMIT $3"
        ))
    };
}

pub(in crate::store) const JOBS: Statement =
    up_to!(concat!(bytes_of!(logs), " + ", bytes_of!(artifacts)), "");
pub(in crate::store) const LOGS: Statement = up_to!(
    bytes_of!(logs),
    " AND EXISTS (SELECT 1 FROM attempt AS a WHERE a.job_id = j.id AND a.log_output > 0)"
);
pub(in crate::store) const ARTIFACTS: Statement =
    up_to!(bytes_of!(artifacts), " AND EXISTS (SELECT 1 FROM artifact AS f WHERE f.job_id = j.id)");

/// The jobs of which this part goes next, no more of them than one transaction should drop.
pub(in crate::store) async fn candidates(
    reads: &Reads,
    part: Part,
    bounds: Bounds,
    limit: u32,
) -> Result<Vec<JobId>, StoreError> {
    let aged = bounds.until.map(|until| (until.as_millisecond().saturating_sub(1), i64::MAX));
    let (beyond, up_to) = match part {
        Part::Jobs => (BEYOND_COUNT, JOBS),
        Part::Logs => (BEYOND_LOGS, LOGS),
        Part::Artifacts => (BEYOND_ARTIFACTS, ARTIFACTS),
    };
    let crowded = match bounds.most {
        Some(most) => reads.one(beyond, values![i64::try_from(most).unwrap_or(i64::MAX)]).await?,
        None => None,
    };
    let Some((finished_at, id)) = aged.max(crowded) else { return Ok(Vec::new()) };
    let rows: Vec<(i64, i64)> =
        reads.all(up_to, values![finished_at, id, i64::from(limit)]).await?;
    let mut bytes = 0;
    let fits = |(_, more): &(i64, i64)| {
        let before = bytes;
        bytes += *more as u64;
        before == 0 || bytes <= BATCH_BYTES
    };
    Ok(rows.into_iter().take_while(fits).map(|(id, _)| JobId(id)).collect())
}

const DROP_JOBS: Statement = statement!(()
    "DELETE FROM job WHERE id IN (SELECT j.id FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id
     WHERE j.status IN ('Completed', 'Failed', 'Cancelled'))");

const DROP_ARTIFACTS: Statement = statement!(()
    "DELETE FROM artifact WHERE job_id IN (SELECT j.id FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id
     WHERE j.status IN ('Completed', 'Failed', 'Cancelled'))");

const LOGGED: Statement = statement!(()
    "SELECT a.job_id, a.number, a.log_output + a.log_gap FROM " {ids "$1"} "
     JOIN job AS j ON j.id = r.id JOIN attempt AS a ON a.job_id = j.id
     WHERE j.status IN ('Completed', 'Failed', 'Cancelled') AND a.log_output > 0");

const DROP_CHUNKS: Statement = statement!((job_id bigint, number bigint)
    "DELETE FROM log_chunk WHERE (job_id, attempt) IN (SELECT r.job_id, r.number FROM " rows ")");

const SHORTEN: Statement = statement!(
    (job_id bigint, number bigint, bytes bigint, length bigint)
    "UPDATE attempt SET log_offset = r.length, log_output = 0, log_gap = r.bytes, log_crc32 = 0
     FROM " rows " WHERE attempt.job_id = r.job_id AND attempt.number = r.number");

/// Prunes a part of jobs that have ended; returns of how many.
pub(in crate::store) struct Prune {
    pub(in crate::store) part: Part,
    pub(in crate::store) jobs: Vec<JobId>,
    pub(in crate::store) now: Timestamp,
}

impl Verb for Prune {
    type Answer = u64;

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<u64>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { part, jobs, now } in calls {
            let ids = values![to_json(jobs)];
            answers.push(match part {
                Part::Jobs => connection.change(DROP_JOBS, ids).await?,
                Part::Artifacts => connection.change(DROP_ARTIFACTS, ids).await?,
                Part::Logs => drop_logs(connection, jobs, *now).await?,
            });
        }
        Ok(answers)
    }

    fn needs(&self, needs: &mut Needs) {
        needs.jobs.extend(&self.jobs);
    }
}

/// An attempt whose log is pruned, and the gap that replaces it.
#[derive(Serialize)]
struct Gap {
    job_id: i64,
    number: i64,
    bytes: i64,
    length: u64,
}

async fn drop_logs(
    connection: &mut Connection,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let logged: Vec<(i64, i64, i64)> = connection.all(LOGGED, values![to_json(&jobs)]).await?;
    let time = u64::try_from(now.as_microsecond()).unwrap_or_default();
    let gaps: Vec<(Gap, LogChunk)> = logged
        .into_iter()
        .map(|(job_id, number, bytes)| gap_of(job_id, number, bytes, time))
        .collect();
    let chunks: Vec<ChunkWrite<'_>> = gaps
        .iter()
        .map(|(gap, chunk)| ChunkWrite { job: gap.job_id, attempt: gap.number, chunk })
        .collect();
    let gaps: Vec<&Gap> = gaps.iter().map(|(gap, _)| gap).collect();
    if gaps.is_empty() {
        return Ok(0);
    }
    connection.change(DROP_CHUNKS, values![to_json(&gaps)]).await?;
    insert_chunks(connection, &chunks).await?;
    write_all(connection, SHORTEN, &gaps).await?;
    Ok(gaps.len() as u64)
}

fn gap_of(job_id: i64, number: i64, bytes: i64, time: u64) -> (Gap, LogChunk) {
    let mut frames = BytesMut::new();
    Frame { time, body: Body::Gap(bytes as u64) }.encode(&mut frames);
    let frames = frames.freeze();
    let length = frames.len() as u64;
    let chunk = LogChunk { offset: 0, stdout: 0, stderr: 0, system: 0, frames };
    (Gap { job_id, number, bytes, length }, chunk)
}
