//! Statements that every adapter shares, word for word.

/// Selects jobs with what their newest attempt knows, as
/// [`JobRow`](super::rows::JobRow)s. `$from` brings in `job AS j`; before it may stand what
/// comes before the SELECT, and more columns.
macro_rules! select_jobs {
    ($from:literal, $rest:literal) => {
        select_jobs!("", "", $from, $rest)
    };
    ($with:literal, $columns:literal, $from:literal, $rest:literal) => {
        concat!(
            $with,
            "SELECT ",
            $columns,
            "j.id, j.spec, j.status, j.created_at, j.not_before, j.attempts, j.retries,
                    j.infra_retries, j.lost, j.worker, j.token, j.expires_at, j.stop, j.outcome,
                    j.finished_at, j.waits_for, j.array_id, j.array_index, a.claim_request, a.claimed_at, a.started_at, a.usage, a.tail,
                    coalesce(a.log_offset, 0) AS log_offset,
                    coalesce(a.log_output, 0) AS log_output,
                    coalesce(a.log_gap, 0) AS log_gap,
                    coalesce(a.log_crc32, 0) AS log_crc32 ",
            $from,
            " LEFT JOIN attempt AS a ON a.job_id = j.id AND a.number = j.attempts ",
            $rest
        )
    };
}
pub(super) use select_jobs;

pub(super) const JOB: &str = select_jobs!("FROM job AS j", "WHERE j.id = $1");

/// The caller adds conditions, order and limit.
pub(super) const JOBS: &str = select_jobs!("FROM job AS j", "WHERE true");

pub(super) const ATTEMPTS: &str = "
    SELECT number, worker, claimed_at, started_at, ended_at, outcome, usage, log_output, ran
    FROM attempt WHERE job_id = $1 ORDER BY number";

pub(super) const LOG_HEAD: &str = "
    SELECT log_offset, log_output, log_gap, log_crc32
    FROM attempt WHERE job_id = $1 AND number = $2";

/// Chunks that begin between $3 and $4, or that contain $3.
macro_rules! log_chunks {
    ($order:literal) => {
        concat!(
            "SELECT log_offset, stdout, stderr, system, frames FROM log_chunk
             WHERE job_id = $1 AND attempt = $2 AND log_offset < $4
               AND log_offset >= coalesce(
                   (SELECT max(log_offset) FROM log_chunk
                    WHERE job_id = $1 AND attempt = $2 AND log_offset <= $3), 0)
               AND log_offset + length(frames) > $3
             ORDER BY log_offset ",
            $order,
            " LIMIT $5"
        )
    };
}
pub(super) const LOG_CHUNKS: &str = log_chunks!("ASC");
pub(super) const LOG_CHUNKS_BACKWARDS: &str = log_chunks!("DESC");

pub(super) const ARTIFACTS: &str = "
    SELECT path, bytes, sha256, executable FROM artifact
    WHERE job_id = $1 AND attempt = $2 AND sha256 IS NOT NULL AND ($3 IS NULL OR path = $3)
    ORDER BY path";

/// The piece that holds the byte at $4, if any does.
pub(super) const ARTIFACT_PIECE: &str = "
    SELECT piece.place, piece.content
    FROM artifact AS file JOIN artifact_piece AS piece ON piece.artifact = file.id
    WHERE file.job_id = $1 AND file.attempt = $2 AND file.path = $3 AND piece.place <= $4
    ORDER BY piece.place DESC LIMIT 1";

pub(super) const CHANGES: &str = "SELECT changes FROM attempt WHERE job_id = $1 AND number = $2";

pub(super) const WORKERS: &str =
    "SELECT name, registration, registered_at, seen_at, draining_at FROM worker ORDER BY name";

pub(super) const TOKENS: &str =
    "SELECT id, role, name, worker, hash, created_at, revoked_at FROM token ORDER BY id";

pub(super) const HELD_JOBS: &str =
    "SELECT worker, id FROM job WHERE expires_at IS NOT NULL ORDER BY worker, id";
