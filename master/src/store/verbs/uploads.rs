//! Uploads: files that arrive before the jobs that use them.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{ContentHash, JobId};
use serde::{Deserialize, Serialize};
use sqlx_macros::FromRow;

use super::{Needs, Verb, insert::Insert, once::Fate};
use crate::{
    domain::Job,
    store::{
        StoreError, Submitted, UPLOADS_KEPT, UploadPiece, UploadStored,
        artifact::Running,
        connection::{Connection, Reads, values},
        rows::{PieceRow, to_json},
        statement::{Statement, statement},
        upload::wanted,
    },
};

/// The most uploads that one transaction drops.
const FORGOTTEN: i64 = 20;

const TARGET: Statement = Statement::plain("SELECT id, bytes, hash FROM upload WHERE sha256 = $1");

const TOUCH: Statement = statement!(()
    "UPDATE upload SET touched_at = " ["max" | "greatest"] "(touched_at, $2) WHERE id = $1");

const BEGIN: Statement = Statement::plain(
    "INSERT INTO upload (sha256, bytes, hash, touched_at) VALUES ($1, 0, $2, $3) RETURNING id",
);

const MOVE_END: Statement =
    Statement::plain("UPDATE upload SET bytes = $2, hash = $3, touched_at = $4 WHERE id = $1");

const ADD_PIECE: Statement =
    Statement::plain("INSERT INTO upload_piece (upload, place, content) VALUES ($1, $2, $3)");

const DROP: Statement = Statement::plain("DELETE FROM upload WHERE id = $1");

/// Of these, those that are there whole.
pub(in crate::store) const THERE: Statement = statement!(()
    "SELECT u.sha256 FROM " {names "$1"} "
     JOIN upload AS u ON u.sha256 = r.name WHERE u.hash IS NULL");

pub(in crate::store) const KEEP: Statement = statement!(
    (job_id bigint, sha256 text)
    "INSERT INTO job_upload (job_id, upload)
     SELECT r.job_id, u.id FROM " rows " JOIN upload AS u ON u.sha256 = r.sha256");

pub(in crate::store) const FORGET: Statement = Statement::plain(
    "DELETE FROM upload WHERE id IN (
         SELECT u.id FROM upload AS u
         WHERE u.touched_at <= $1 AND NOT EXISTS (SELECT 1 FROM job_upload WHERE upload = u.id)
         ORDER BY u.touched_at LIMIT $2)",
);

pub(in crate::store) const BYTES: Statement =
    Statement::plain("SELECT bytes FROM upload WHERE sha256 = $1 AND hash IS NULL");

/// The piece that holds the byte at $2, if any does.
pub(in crate::store) const PIECE: Statement = Statement::plain(
    "SELECT piece.place, piece.content
     FROM upload AS u JOIN upload_piece AS piece ON piece.upload = u.id
     WHERE u.sha256 = $1 AND u.hash IS NULL AND piece.place <= $2
     ORDER BY piece.place DESC LIMIT 1",
);

impl Verb for UploadPiece {
    type Answer = UploadStored;

    fn needs(&self, needs: &mut Needs) {
        needs.uploads = true;
    }

    /// One after the other: what costs time is the content.
    async fn run(
        connection: &mut Connection,
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

#[derive(Deserialize, FromRow)]
struct TargetRow {
    id: i64,
    bytes: i64,
    /// Until it is whole.
    hash: Option<Vec<u8>>,
}

async fn store(
    connection: &mut Connection,
    piece: &UploadPiece,
) -> Result<UploadStored, StoreError> {
    let now = piece.now.as_millisecond();
    let row: Option<TargetRow> = connection.one(TARGET, values![piece.sha256.as_str()]).await?;
    let begun = match row {
        Some(TargetRow { id, bytes, hash: None }) => {
            connection.change(TOUCH, values![id, now]).await?;
            return Ok(piece.stored(bytes as u64, true));
        }
        // Also one that another version began, whose hash cannot be gone on with.
        Some(TargetRow { id, bytes, hash: Some(hash) }) => match Running::kept(&hash) {
            Some(hash) if piece.offset > 0 => Some((id, bytes, hash)),
            _ => {
                connection.change(DROP, values![id]).await?;
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
            if let (UploadStored::OverLimit, Some((id, ..))) = (&answer, begun) {
                connection.change(DROP, values![id]).await?;
            }
            return Ok(answer);
        }
    };
    hash.add(&new);
    let complete = hash.clone().end() == piece.sha256.as_str();
    let id: i64 = if let Some((id, ..)) = begun {
        id
    } else {
        let values = values![piece.sha256.as_str(), hash.keep(), now];
        let begun: Option<i64> = connection.scalar(BEGIN, values).await?;
        begun.ok_or(sqlx::Error::RowNotFound)?
    };
    if !new.is_empty() {
        connection.change(ADD_PIECE, values![id, stored, new.to_vec()]).await?;
    }
    let end = stored + new.len() as i64;
    let goes_on = (!complete).then(|| hash.keep());
    connection.change(MOVE_END, values![id, end, goes_on, now]).await?;
    Ok(piece.stored(end as u64, complete))
}

/// Drops uploads that no job uses and that were not touched for long.
pub(in crate::store) struct ForgetUploads {
    pub(in crate::store) now: Timestamp,
}

impl Verb for ForgetUploads {
    type Answer = usize;

    fn needs(&self, needs: &mut Needs) {
        needs.uploads = true;
    }

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<usize>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let until = call.now.as_millisecond().saturating_sub(UPLOADS_KEPT.as_millis());
            let gone = connection.change(FORGET, values![until, FORGOTTEN]).await?;
            answers.push(gone as usize);
        }
        Ok(answers)
    }
}

/// Refuses new calls whose jobs use uploads that do not exist.
pub(in crate::store) async fn refuse_missing(
    connection: &mut Connection,
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
    let there: Vec<String> = connection.scalars(THERE, values![to_json(&all)]).await?;
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

/// Keeps the jobs' uploads as long as the jobs.
pub(in crate::store) async fn keep(
    connection: &mut Connection,
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
        connection.change(KEEP, values![to_json(&kept)]).await?;
    }
    Ok(())
}

/// The size of a complete upload, in bytes.
pub(in crate::store) async fn bytes(
    reads: &Reads,
    sha256: &ContentHash,
) -> Result<Option<u64>, StoreError> {
    let bytes: Option<i64> = reads.scalar(BYTES, values![sha256.as_str()]).await?;
    Ok(bytes.map(|bytes| bytes as u64))
}

pub(in crate::store) async fn content(
    reads: &Reads,
    sha256: &ContentHash,
    offset: u64,
) -> Result<Option<Bytes>, StoreError> {
    let row: Option<PieceRow> = reads
        .one(PIECE, values![sha256.as_str(), i64::try_from(offset).unwrap_or(i64::MAX)])
        .await?;
    Ok(row.and_then(|row| row.from(offset)))
}
