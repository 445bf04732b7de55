//! The numbers of pending and held jobs of each queue, in the table `job_count`, which all masters
//! maintain together.
//!
//! Each master updates rows of its own, in the transaction that moves the jobs. So the sums are
//! right in every snapshot, and no two masters wait for each other. Jobs that are moved by others
//! (a program from before the table, or a person with psql) are counted by triggers, which add a
//! row for each. Those rows, and those of masters that are gone, are merged from time to time by
//! the leader.

use serde::Serialize;
use sqlx::PgConnection;

use super::listener;
use crate::store::{
    Notification,
    counts::{Open, Tally},
    rows::to_json,
};

/// The setting of a session that counts by itself, so that triggers skip its jobs.
pub(super) const COUNTS: (&str, &str) = ("orchestra.counts", "on");

/// Adds to the rows of master `$1`.
macro_rules! add {
    () => {
        "INSERT INTO job_count AS c (master, queue, pending, held)
         SELECT $1, r.queue, r.pending, r.held
         FROM json_to_recordset($2::json) AS r (queue text, pending bigint, held bigint)
         ORDER BY r.queue
         ON CONFLICT (master, queue) DO UPDATE SET
             pending = c.pending + excluded.pending, held = c.held + excluded.held, changed_at = now()"
    };
}

const ADD: &str = add!();
const NOTIFY: &str = "SELECT pg_notify($1, $2)";
/// On one way to the server and back.
const ADD_AND_NOTIFY: &str = concat!("WITH added AS (", add!(), ") SELECT pg_notify($3, $4)");

const FORGET: &str = "DELETE FROM job_count";
const COUNT: &str = "
    INSERT INTO job_count (master, queue, pending, held)
    SELECT '', queue, count(*) FILTER (WHERE status = 'Pending'),
           count(*) FILTER (WHERE status <> 'Pending')
    FROM job WHERE status IN ('Pending', 'Assigned', 'Running') GROUP BY queue";

/// A row that somebody is changing is left for the next time. One of a master that is alive after all does no harm:
/// it begins a new one.
const MERGE: &str = "
    WITH old AS (
        DELETE FROM job_count WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM job_count
            WHERE master IS NULL
               OR (changed_at < now() - interval '1 hour'
                   AND (master <> '' OR (pending = 0 AND held = 0)))
            FOR UPDATE SKIP LOCKED))
        RETURNING queue, pending, held
    ), sums AS (
        SELECT queue, sum(pending)::bigint AS pending, sum(held)::bigint AS held
        FROM old GROUP BY queue
    )
    INSERT INTO job_count AS c (master, queue, pending, held)
    SELECT '', queue, pending, held FROM sums WHERE pending <> 0 OR held <> 0 ORDER BY queue
    ON CONFLICT (master, queue) DO UPDATE SET
        pending = c.pending + excluded.pending, held = c.held + excluded.held, changed_at = now()";

#[derive(Serialize)]
struct Change {
    queue: String,
    pending: i64,
    held: i64,
}

/// `None` where nothing is another number than before.
fn changes(tally: Tally) -> Option<String> {
    let change = |(queue, Open { pending, held })| Change { queue, pending, held };
    let changes: Vec<Change> = tally.changes().map(change).collect();
    (!changes.is_empty()).then(|| to_json(&changes))
}

/// Writes the changes of a transaction to the numbers, and its notification.
pub(super) async fn tell(
    link: &mut PgConnection,
    master: &str,
    tally: Tally,
    notification: Notification,
) -> Result<(), sqlx::Error> {
    let said = (!notification.is_empty()).then(|| listener::message(master, notification));
    let told = match (changes(tally), said) {
        (None, None) => return Ok(()),
        (None, Some(said)) => sqlx::query(NOTIFY).bind(listener::CHANNEL).bind(said),
        (Some(changes), None) => sqlx::query(ADD).bind(master).bind(changes),
        (Some(changes), Some(said)) => {
            let both = sqlx::query(ADD_AND_NOTIFY).bind(master).bind(changes);
            both.bind(listener::CHANNEL).bind(said)
        }
    };
    told.execute(link).await.map(drop)
}

/// Writes the changes of a transaction without a master, and notifies nobody.
pub(in crate::store) async fn add(
    link: &mut PgConnection,
    tally: Tally,
) -> Result<(), sqlx::Error> {
    tell(link, "", tally, Notification::default()).await
}

/// Counts all jobs anew, in a transaction in which nobody else changes any.
pub(in crate::store) async fn count_afresh(link: &mut PgConnection) -> Result<(), sqlx::Error> {
    for statement in [FORGET, COUNT] {
        sqlx::query(statement).execute(&mut *link).await?;
    }
    Ok(())
}

/// Merges the rows that do not change any more, so that there are no more rows than masters and
/// queues.
pub(super) async fn merge(link: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(MERGE).execute(link).await.map(drop)
}
