//! Files that are brought before the jobs that have them.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{ContentHash, JobId};
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection, SqlitePool};

use super::{batch::Verb, insert::Insert, once::Fate};
use crate::{
    domain::Job,
    store::{
        StoreError, Submitted, UPLOADS_KEPT, UploadPiece, UploadStored,
        artifact::Running,
        rows::{PieceRow, to_json},
        upload::wanted,
    },
};

/// So many go in one transaction.
const FORGOTTEN: i64 = 20;

const TARGET: &str = "SELECT id, bytes, hash FROM upload WHERE sha256 = $1";

const TOUCH: &str = "UPDATE upload SET touched_at = max(touched_at, $2) WHERE id = $1";

const BEGIN: &str = "
    INSERT INTO upload (sha256, bytes, hash, touched_at) VALUES ($1, 0, $2, $3) RETURNING id";

const MOVE_END: &str = "UPDATE upload SET bytes = $2, hash = $3, touched_at = $4 WHERE id = $1";

const ADD_PIECE: &str = "INSERT INTO upload_piece (upload, place, content) VALUES ($1, $2, $3)";

const DROP: &str = "DELETE FROM upload WHERE id = $1";

/// Of these, those that are there whole.
pub(super) const THERE: &str = "
    SELECT u.sha256 FROM jsonb_each($1) AS r
    JOIN upload AS u ON u.sha256 = r.value WHERE u.hash IS NULL";

pub(super) const KEEP: &str = "
    INSERT INTO job_upload (job_id, upload)
    SELECT r.value->>'job_id', u.id FROM jsonb_each($1) AS r
    JOIN upload AS u ON u.sha256 = r.value->>'sha256'";

pub(super) const FORGET: &str = "
    DELETE FROM upload WHERE id IN (
        SELECT u.id FROM upload AS u
        WHERE u.touched_at <= $1 AND NOT EXISTS (SELECT 1 FROM job_upload WHERE upload = u.id)
        ORDER BY u.touched_at LIMIT $2)";

pub(super) const BYTES: &str = "SELECT bytes FROM upload WHERE sha256 = $1 AND hash IS NULL";

/// The piece that holds the byte at $2, if any does.
pub(super) const PIECE: &str = "
    SELECT piece.place, piece.content
    FROM upload AS u JOIN upload_piece AS piece ON piece.upload = u.id
    WHERE u.sha256 = $1 AND u.hash IS NULL AND piece.place <= $2
    ORDER BY piece.place DESC LIMIT 1";

impl Verb for UploadPiece {
    type Answer = UploadStored;

    /// One after the other: what costs time is the content.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<UploadStored>, StoreError> {
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

#[derive(FromRow)]
struct TargetRow {
    id: i64,
    bytes: i64,
    /// Until it is whole.
    hash: Option<Vec<u8>>,
}

async fn store(
    connection: &mut SqliteConnection,
    piece: &UploadPiece,
) -> Result<UploadStored, StoreError> {
    let now = piece.now.as_millisecond();
    let row: Option<TargetRow> =
        sqlx::query_as(TARGET).bind(piece.sha256.as_str()).fetch_optional(&mut *connection).await?;
    let begun = match row {
        Some(TargetRow { id, bytes, hash: None }) => {
            sqlx::query(TOUCH).bind(id).bind(now).execute(connection).await?;
            return Ok(piece.stored(bytes as u64, true));
        }
        // Also one that another version began, whose hash cannot be gone on with.
        Some(TargetRow { id, bytes, hash: Some(hash) }) => match Running::kept(&hash) {
            Some(hash) if piece.offset > 0 => Some((id, bytes, hash)),
            _ => {
                sqlx::query(DROP).bind(id).execute(&mut *connection).await?;
                None
            }
        },
        None => None,
    };
    let (stored, mut hash) =
        begun.as_ref().map_or((0, Running::default()), |(_, bytes, hash)| (*bytes, hash.clone()));
    let new = match piece.place(stored as u64) {
        Ok(new) => new,
        Err(answer) => {
            if let (UploadStored::Beyond, Some((id, ..))) = (&answer, begun) {
                sqlx::query(DROP).bind(id).execute(connection).await?;
            }
            return Ok(answer);
        }
    };
    hash.add(&new);
    let complete = hash.clone().end() == piece.sha256.as_str();
    let id: i64 = match begun {
        Some((id, ..)) => id,
        None => {
            let begin = sqlx::query_scalar(BEGIN).bind(piece.sha256.as_str());
            begin.bind(hash.keep()).bind(now).fetch_one(&mut *connection).await?
        }
    };
    if !new.is_empty() {
        let add = sqlx::query(ADD_PIECE).bind(id).bind(stored).bind(new.to_vec());
        add.execute(&mut *connection).await?;
    }
    let end = stored + new.len() as i64;
    let goes_on = (!complete).then(|| hash.keep());
    sqlx::query(MOVE_END).bind(id).bind(end).bind(goes_on).bind(now).execute(connection).await?;
    Ok(piece.stored(end as u64, complete))
}

/// Drops uploads that no job has and that nobody has brought for long.
pub(super) struct ForgetUploads {
    pub(super) now: Timestamp,
}

impl Verb for ForgetUploads {
    type Answer = usize;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<usize>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let until = call.now.as_millisecond().saturating_sub(UPLOADS_KEPT.as_millis());
            let forget = sqlx::query(FORGET).bind(until).bind(FORGOTTEN);
            let gone = forget.execute(&mut *connection).await?.rows_affected();
            answers.push(gone as usize);
        }
        Ok(answers)
    }
}

/// Refuses the new calls whose jobs are to have uploads that are not there.
pub(super) async fn refuse_missing(
    connection: &mut SqliteConnection,
    calls: &[Insert],
    fates: &mut [Fate],
) -> Result<(), StoreError> {
    let of = |call: &Insert| -> BTreeSet<ContentHash> {
        call.jobs.iter().flat_map(|job| wanted(&job.spec)).cloned().collect()
    };
    let all: BTreeSet<ContentHash> = calls.iter().flat_map(of).collect();
    if all.is_empty() {
        return Ok(());
    }
    let there: Vec<String> =
        sqlx::query_scalar(THERE).bind(to_json(&all)).fetch_all(connection).await?;
    let there: BTreeSet<String> = there.into_iter().collect();
    for (call, fate) in calls.iter().zip(fates) {
        let mut missing = of(call);
        missing.retain(|hash| !there.contains(hash.as_str()));
        if matches!(fate, Fate::New) && !missing.is_empty() {
            *fate = Fate::Known(Submitted::NoSuchUploads(missing.into_iter().collect()));
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Kept<'a> {
    job_id: JobId,
    sha256: &'a ContentHash,
}

/// From now on the jobs' uploads stay as long as they do.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    jobs: &[Job],
) -> Result<(), StoreError> {
    let of = |job: &'_ Job| wanted(&job.spec).cloned().collect::<BTreeSet<_>>();
    let sets: Vec<(JobId, BTreeSet<ContentHash>)> =
        jobs.iter().map(|job| (job.id, of(job))).collect();
    let kept: Vec<Kept<'_>> = sets
        .iter()
        .flat_map(|(id, set)| set.iter().map(|sha256| Kept { job_id: *id, sha256 }))
        .collect();
    if !kept.is_empty() {
        sqlx::query(KEEP).bind(to_json(&kept)).execute(connection).await?;
    }
    Ok(())
}

/// How long one is that is there whole.
pub(super) async fn bytes(
    pool: &SqlitePool,
    sha256: &ContentHash,
) -> Result<Option<u64>, StoreError> {
    let bytes: Option<i64> =
        sqlx::query_scalar(BYTES).bind(sha256.as_str()).fetch_optional(pool).await?;
    Ok(bytes.map(|bytes| bytes as u64))
}

pub(super) async fn content(
    pool: &SqlitePool,
    sha256: &ContentHash,
    offset: u64,
) -> Result<Option<Bytes>, StoreError> {
    let row: Option<PieceRow> = sqlx::query_as(PIECE)
        .bind(sha256.as_str())
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_optional(pool)
        .await?;
    Ok(row.and_then(|row| row.from(offset)))
}
