//! Statements that only read.

use super::statement::{Statement, statement};

pub(super) const JOB: Statement =
    statement!(() "SELECT " columns " FROM job AS j" newest "WHERE j.id = $1");

pub(super) const ATTEMPTS: Statement = Statement::plain(
    "
    SELECT number, worker, claimed_at, started_at, ended_at, outcome, usage, log_output, ran
    FROM attempt WHERE job_id = $1 ORDER BY number",
);

pub(super) const LOG_HEAD: Statement = Statement::plain(
    "
    SELECT log_offset, log_output, log_gap, log_crc32
    FROM attempt WHERE job_id = $1 AND number = $2",
);

/// Chunks that begin between $3 and $4, or that contain $3.
macro_rules! log_chunks {
    ($order:literal) => {
        concat!(
            "SELECT log_offset, stdout, stderr, system, frames, bytes FROM log_chunk
             WHERE job_id = $1 AND attempt = $2 AND log_offset < $4
               AND log_offset >= coalesce(
                   (SELECT max(log_offset) FROM log_chunk
                    WHERE job_id = $1 AND attempt = $2 AND log_offset <= $3), 0)
               AND log_offset + coalesce(bytes, length(frames)) > $3
             ORDER BY log_offset ",
            $order,
            " LIMIT $5"
        )
    };
}
pub(super) const LOG_CHUNKS: Statement = Statement::plain(log_chunks!("ASC"));
pub(super) const LOG_CHUNKS_BACKWARDS: Statement = Statement::plain(log_chunks!("DESC"));

pub(super) const ARTIFACTS: Statement = Statement::plain(
    "
    SELECT path, bytes, sha256, executable FROM artifact
    WHERE job_id = $1 AND attempt = $2 AND sha256 IS NOT NULL AND (CAST($3 AS TEXT) IS NULL OR path = $3)
    ORDER BY path",
);

/// The piece that holds the byte at $4, if any does.
pub(super) const ARTIFACT_PIECE: Statement = Statement::plain(
    "
    SELECT piece.place, piece.content
    FROM artifact AS file JOIN artifact_piece AS piece ON piece.artifact = file.id
    WHERE file.job_id = $1 AND file.attempt = $2 AND file.path = $3 AND piece.place <= $4
    ORDER BY piece.place DESC LIMIT 1",
);

pub(super) const CHANGES: Statement =
    Statement::plain("SELECT changes FROM attempt WHERE job_id = $1 AND number = $2");

pub(super) const WORKERS: Statement = Statement::plain(
    "SELECT name, registration, registered_at, seen_at, draining_at FROM worker ORDER BY name",
);

pub(super) const TOKENS: Statement = Statement::plain(
    "SELECT id, role, name, worker, hash, created_at, revoked_at FROM token ORDER BY id",
);

pub(super) const HELD_JOBS: Statement = statement!(()
    "SELECT worker, id FROM job WHERE " ["expires_at" | "token"] " IS NOT NULL ORDER BY worker, id");

pub(super) const IS_THERE: Statement = Statement::plain("SELECT CAST(1 AS BIGINT)");

/// PostgreSQL's clock, which all masters go by.
pub(super) const TIME: Statement =
    Statement::plain("SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)");
