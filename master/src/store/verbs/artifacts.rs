//! Artifacts: their pieces, fenced by the lease and idempotent by offset, and what becomes of them
//! at the attempt's end.

use std::collections::HashMap;

use orchestra_contracts::{AttemptNo, JobId, files::Artifact, worker::ArtifactHead};
use serde::{Deserialize, Serialize};
use sqlx_macros::FromRow;

use super::{Needs, Verb, ledger::write_all};
use crate::{
    domain::{AttemptResults, JobEvent},
    store::{
        ArtifactLimit, ArtifactPiece, PieceStored, StoreError,
        artifact::{ArtifactTotals, PiecePlace, Running, place},
        connection::{Connection, values},
        rows::to_json,
        statement::{Statement, statement},
    },
};

/// The newest attempt of a job, the file there, and what is stored of all of its files. Whether
/// the job keeps any is asked for the first piece of each.
pub(in crate::store) const TARGET: Statement = statement!(()
    "SELECT j.attempts, j.worker, j.token, file.id, coalesce(file.bytes, 0) AS bytes, file.hash,
           file.id IS NOT NULL OR coalesce(json_array_length(" spec "->'artifacts'), 0) > 0 AS keeps,
           (SELECT count(*) FROM artifact AS other
            WHERE other.job_id = j.id AND other.attempt = j.attempts) AS files,
           (SELECT CAST(coalesce(sum(other.bytes), 0) AS BIGINT) FROM artifact AS other
            WHERE other.job_id = j.id AND other.attempt = j.attempts) AS together
    FROM job AS j
    LEFT JOIN artifact AS file ON file.job_id = j.id AND file.attempt = j.attempts AND file.path = $2
    WHERE j.id = $1");

/// Moves the end of a file from $5 to $6; under the token, until the attempt has ended.
pub(in crate::store) const MOVE_END: Statement = Statement::plain(
    "
    INSERT INTO artifact (job_id, attempt, path, bytes, hash)
    SELECT a.job_id, a.number, $4, $6, $7 FROM attempt AS a
    WHERE a.job_id = $1 AND a.number = $2 AND a.token = $3 AND a.ended_at IS NULL
    ON CONFLICT (job_id, attempt, path) DO UPDATE SET bytes = excluded.bytes, hash = excluded.hash
    WHERE artifact.bytes = $5 AND artifact.sha256 IS NULL
    RETURNING id",
);

const ADD_PIECE: Statement =
    Statement::plain("INSERT INTO artifact_piece (artifact, place, content) VALUES ($1, $2, $3)");

const DROP_FILE: Statement = Statement::plain("DELETE FROM artifact WHERE id = $1");

/// Of jobs that are about to end an attempt.
pub(in crate::store) const STORED: Statement = statement!(()
    "SELECT file.job_id, file.path, file.bytes, file.hash
    FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id
    JOIN artifact AS file ON file.job_id = j.id AND file.attempt = j.attempts
    WHERE file.hash IS NOT NULL");

/// Those that an attempt ended with: from now on they are there for everybody.
pub(in crate::store) const NAME: Statement = statement!(
    (job_id bigint, attempt bigint, path text, bytes bigint, sha256 text, executable boolean)
    "UPDATE artifact SET
        sha256 = r.sha256, executable = r.executable, hash = NULL
    FROM " rows "
    WHERE artifact.job_id = r.job_id AND artifact.attempt = r.attempt
      AND artifact.path = r.path AND artifact.bytes = r.bytes");

/// Those that were begun and that it did not end with.
pub(in crate::store) const DROP_OTHERS: Statement = statement!(
    (job_id bigint, attempt bigint)
    "DELETE FROM artifact WHERE id IN (
        SELECT file.id FROM " rows "
        JOIN artifact AS file ON file.job_id = r.job_id AND file.attempt = r.attempt
        WHERE file.sha256 IS NULL)");

impl Verb for ArtifactPiece {
    type Answer = PieceStored;

    fn needs(&self, needs: &mut Needs) {
        needs.jobs.insert(self.job);
    }

    /// Calls run one after the other: the content costs the time.
    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<PieceStored>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            answers.push(store(connection, call).await?);
        }
        Ok(answers)
    }

    fn weight(&self) -> usize {
        self.content.len()
    }
}

#[derive(Deserialize, FromRow)]
struct TargetRow {
    attempts: i64,
    worker: Option<String>,
    token: Option<String>,
    id: Option<i64>,
    bytes: i64,
    hash: Option<Vec<u8>>,
    keeps: bool,
    files: i64,
    together: i64,
}

impl TargetRow {
    /// Whether the piece is for the newest attempt and its proof fits the lease.
    fn is_held(&self, piece: &ArtifactPiece) -> bool {
        let proof = &piece.proof;
        self.token.as_deref() == Some(proof.token.as_str())
            && self.worker.as_deref() == Some(proof.worker.as_str())
            && self.attempts == i64::from(piece.attempt.0)
            && proof.attempt.is_none_or(|attempt| attempt == piece.attempt)
    }

    fn totals(&self) -> ArtifactTotals {
        ArtifactTotals { files: self.files as u64, bytes: self.together as u64 }
    }
}

async fn store(
    connection: &mut Connection,
    piece: &ArtifactPiece,
) -> Result<PieceStored, StoreError> {
    connection.lock_jobs(&[piece.job]).await?;
    let row: Option<TargetRow> = connection.one(TARGET, values![piece.job.0, &piece.path]).await?;
    let Some(row) = row else { return Ok(PieceStored::NoSuchJob) };
    if !row.is_held(piece) {
        return Ok(PieceStored::LeaseLost);
    }
    if !row.keeps {
        return Ok(PieceStored::KeepsNone);
    }
    let known = match place(piece, row.id.map(|_| row.bytes as u64), row.totals()) {
        PiecePlace::Known(head) => return Ok(PieceStored::Stored(head)),
        PiecePlace::Misplaced(head) => return Ok(PieceStored::Misplaced(head)),
        PiecePlace::OverLimit(exceeded) => return give_up(connection, &row, exceeded).await,
        PiecePlace::New(known) => known,
    };
    let Some(mut hash) = row.hash.as_deref().map_or(Some(Running::default()), Running::kept) else {
        // Another version began it: it begins anew.
        give_up(connection, &row, ArtifactLimit::Bytes).await?;
        return Ok(PieceStored::Misplaced(ArtifactHead::default()));
    };
    let new = piece.content.slice(known..);
    hash.add(&new);
    let end = row.bytes + new.len() as i64;
    let file: Option<i64> = connection
        .scalar(
            MOVE_END,
            values![
                piece.job.0,
                row.attempts,
                piece.proof.token.as_str(),
                &piece.path,
                row.bytes,
                end,
                hash.keep()
            ],
        )
        .await?;
    let Some(file) = file else { return Ok(PieceStored::LeaseLost) };
    if !new.is_empty() {
        connection.change(ADD_PIECE, values![file, row.bytes, new.to_vec()]).await?;
    }
    Ok(PieceStored::Stored(ArtifactHead { offset: end as u64 }))
}

/// What was stored of the file makes room for others.
async fn give_up(
    connection: &mut Connection,
    row: &TargetRow,
    exceeded: ArtifactLimit,
) -> Result<PieceStored, StoreError> {
    if let Some(id) = row.id {
        connection.change(DROP_FILE, values![id]).await?;
    }
    Ok(PieceStored::OverLimit(exceeded))
}

/// What is stored of the artifacts of attempts that are about to end.
#[derive(Default)]
pub(in crate::store) struct Stored(HashMap<JobId, HashMap<String, (u64, String)>>);

#[derive(Deserialize, FromRow)]
struct StoredRow {
    job_id: i64,
    path: String,
    bytes: i64,
    hash: Vec<u8>,
}

impl Stored {
    pub(in crate::store) async fn load(
        connection: &mut Connection,
        events: impl Iterator<Item = (JobId, &JobEvent)>,
    ) -> Result<Self, StoreError> {
        let names = |event: &JobEvent| matches!(event, JobEvent::Ended { results, .. } if !results.artifacts.is_empty());
        let ids: Vec<JobId> = events.filter(|(_, event)| names(event)).map(|(id, _)| id).collect();
        let mut stored = Self::default();
        if ids.is_empty() {
            return Ok(stored);
        }
        let rows: Vec<StoredRow> = connection.all(STORED, values![to_json(&ids)]).await?;
        for StoredRow { job_id, path, bytes, hash } in rows {
            let sha256 = Running::kept(&hash).map(Running::end).unwrap_or_default();
            let files = stored.0.entry(JobId(job_id)).or_default();
            files.insert(path, (bytes as u64, sha256));
        }
        Ok(stored)
    }

    /// The event, with its artifacts compared with the stored ones.
    pub(in crate::store) fn tell(&self, id: JobId, event: JobEvent) -> JobEvent {
        let JobEvent::Ended { proof, outcome, usage, log, tail, results } = event else {
            return event;
        };
        let results = results.compared(|path| self.0.get(&id)?.get(path).cloned());
        JobEvent::Ended { proof, outcome, usage, log, tail, results }
    }
}

/// Attempts that have ended, and their artifacts.
#[derive(Default)]
pub(in crate::store) struct Ends {
    attempts: Vec<End>,
    named: Vec<Named>,
}

#[derive(Serialize)]
struct End {
    job_id: JobId,
    attempt: AttemptNo,
}

#[derive(Serialize)]
struct Named {
    job_id: JobId,
    attempt: AttemptNo,
    #[serde(flatten)]
    file: Artifact,
}

impl Ends {
    pub(in crate::store) fn note(
        &mut self,
        job_id: JobId,
        attempt: AttemptNo,
        results: &AttemptResults,
    ) {
        let named = |file: &Artifact| Named { job_id, attempt, file: file.clone() };
        self.named.extend(results.artifacts.iter().map(named));
        self.attempts.push(End { job_id, attempt });
    }

    /// Files of these jobs alone are looked at; the others' are gone with them.
    pub(in crate::store) fn keep(&mut self, lives: impl Fn(JobId) -> bool) {
        self.attempts.retain(|end| lives(end.job_id));
        self.named.retain(|named| lives(named.job_id));
    }

    pub(in crate::store) async fn write(
        self,
        connection: &mut Connection,
    ) -> Result<(), StoreError> {
        write_all(connection, NAME, &self.named).await?;
        if !self.attempts.is_empty() {
            connection.change(DROP_OTHERS, values![to_json(&self.attempts)]).await?;
        }
        Ok(())
    }
}
