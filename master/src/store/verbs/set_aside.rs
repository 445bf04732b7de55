//! Sets rows of jobs aside that cannot be read, so that one at the head of a queue does not block
//! all claims: the job fails, with a reason that people can read.

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec, JobStatus, Outcome};

use super::{
    ledger::rows_of,
    outbox,
    release::{self, Ended},
};
use crate::{
    domain::Job,
    store::{
        StoreError,
        connection::{Connection, values},
        rows::{JobRow, to_json},
        statement::Statement,
    },
};

const SPEC: Statement = Statement::plain("SELECT CAST(spec AS TEXT) FROM job WHERE id = $1");

const PLACE: Statement = Statement::plain("SELECT queue, status FROM job WHERE id = $1");

/// Nothing of what may be damaged is kept in the columns that are read.
const FAIL_JOB: Statement = Statement::plain("
    UPDATE job SET
        spec = $2, demand = '', status = 'Failed', outcome = $3, finished_at = $4, not_before = NULL,
        waits_for = 'worker', worker = NULL, token = NULL, expires_at = NULL, stop = NULL
    WHERE id = $1");

const END_ATTEMPT: Statement = Statement::plain(
    "
    UPDATE attempt SET outcome = $2, ended_at = $3, usage = NULL, tail = NULL
    WHERE job_id = $1 AND ended_at IS NULL",
);

/// The jobs among these rows, and whether there were others, which have failed now.
pub(in crate::store) async fn readable(
    connection: &mut Connection,
    rows: Vec<JobRow>,
    now: Timestamp,
) -> Result<(Vec<Job>, bool), StoreError> {
    let count = rows.len();
    let mut jobs = Vec::with_capacity(count);
    for row in rows {
        match Job::try_from(row) {
            Ok(job) => jobs.push(job),
            Err(StoreError::Corrupt { id, reason, .. }) => {
                tracing::error!(job = id, reason, "its row cannot be read: it is set aside");
                set_aside(connection, id, &reason, now).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let damaged = jobs.len() < count;
    Ok((jobs, damaged))
}

/// What stood in the row is kept as a comment of a command that fails, should
/// somebody ask for a retry without a look.
async fn set_aside(
    connection: &mut Connection,
    id: i64,
    reason: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let stored: Option<String> = connection.scalar(SPEC, values![id]).await?;
    let stored = stored.unwrap_or_default().replace(['\n', '\r', '\0'], " ");
    let spec = JobSpec::new(format!("exit 1 # the damaged record: {stored}"));
    let outcome = Outcome::Refused {
        reason: format!("its record in the database is damaged ({reason}); submit it again"),
    };
    let (spec, outcome, now) = (to_json(&spec), to_json(&outcome), at.as_millisecond());
    let place: Option<(String, String)> = connection.one(PLACE, values![id]).await?;
    if let Some((queue, status)) = place {
        connection.tally.moved(&queue, status.parse().ok(), None);
    }
    connection.change(FAIL_JOB, values![id, spec, &outcome, now]).await?;
    connection.change(END_ATTEMPT, values![id, &outcome, now]).await?;
    let rows = rows_of(connection, [JobId(id)].into_iter()).await?;
    let ended: Vec<Job> = rows.into_iter().filter_map(|row| Job::try_from(row).ok()).collect();
    outbox::note_ends(connection, ended.iter()).await?;
    let ended = Ended { id: JobId(id), status: JobStatus::Failed, array: None };
    release::after_ends(connection, vec![ended], at).await?;
    Ok(())
}
