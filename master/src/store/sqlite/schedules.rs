//! Schedules: made, paused and removed by people, and taken from one time to the next.

use jiff::Timestamp;
use orchestra_contracts::{JobId, ScheduleChange, ScheduleName};
use sqlx::{SqliteConnection, SqlitePool};

use super::{batch::Verb, insert::Insert};
use crate::{
    domain::{Job, NewJob, Turn},
    store::{
        Added, MAX_SCHEDULES, ScheduleRecord, Step, Stepped, StoreError, Submitted,
        rows::{ScheduleRow, to_json},
    },
};

macro_rules! select_schedules {
    ($rest:literal) => {
        concat!(
            "SELECT name, cron, time_zone, overlap, catch_up, spec, created_at, paused_at, next_at,
                    last_time, last_job, skipped, skipped_time, skipped_reason
             FROM schedule ",
            $rest
        )
    };
}

const ALL: &str = select_schedules!("ORDER BY name");
const ONE: &str = select_schedules!("WHERE name = $1");

/// After the one of this time and name.
pub(super) const DUE: &str = select_schedules!(
    "WHERE paused_at IS NULL AND next_at IS NOT NULL AND next_at <= $1
       AND (next_at, name) > ($2, $3)
     ORDER BY next_at, name LIMIT $4"
);

const COUNT: &str = "SELECT count(*) FROM schedule";

const ADD: &str = "
    INSERT INTO schedule (name, cron, time_zone, overlap, catch_up, spec, created_at, next_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING";

/// Whoever is paused already keeps the time.
const PAUSE: &str = "
    UPDATE schedule SET paused_at = CASE WHEN $2 THEN coalesce(paused_at, $3) END
    WHERE name = $1";

const REMOVE: &str = "DELETE FROM schedule WHERE name = $1";

const IS_DUE: &str = "
    SELECT count(*) FROM schedule
    WHERE name = $1 AND created_at = $2 AND next_at = $3 AND paused_at IS NULL";

pub(super) const OPEN: &str = "
    SELECT id FROM job
    WHERE schedule = $1 AND status IN ('Pending', 'Assigned', 'Running') ORDER BY id";

const MARK: &str = "UPDATE job SET schedule = $2 WHERE id = $1";

/// Under the time that was read: who comes second changes nothing.
const STEP: &str = "
    UPDATE schedule SET
        next_at = $4,
        last_time = coalesce($5, last_time), last_job = coalesce($6, last_job),
        skipped = skipped + $7,
        skipped_time = coalesce($8, skipped_time),
        skipped_reason = coalesce($9, skipped_reason)
    WHERE name = $1 AND created_at = $2 AND next_at = $3 AND paused_at IS NULL";

/// Adds a schedule.
pub(super) struct AddSchedule(pub(super) ScheduleRecord);

impl Verb for AddSchedule {
    type Answer = Added;

    /// One after the other, as all that people ask for one at a time.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Added>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self(record) in calls {
            let what = &record.what;
            let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *connection).await?;
            let known: Option<ScheduleRow> = sqlx::query_as(ONE)
                .bind(what.name.as_str())
                .fetch_optional(&mut *connection)
                .await?;
            answers.push(match known {
                Some(_) => Added::Exists,
                None if count >= i64::from(MAX_SCHEDULES) => Added::Full,
                None => Added::New,
            });
            if answers.last() != Some(&Added::New) {
                continue;
            }
            sqlx::query(ADD)
                .bind(what.name.as_str())
                .bind(&what.cron)
                .bind(&what.time_zone)
                .bind(what.overlap.as_str())
                .bind(what.catch_up.as_millis())
                .bind(to_json(&what.spec))
                .bind(record.created_at.as_millisecond())
                .bind(record.next_at.map(Timestamp::as_millisecond))
                .execute(&mut *connection)
                .await?;
        }
        Ok(answers)
    }

    fn weight(&self) -> usize {
        Insert::text(&self.0.what.spec)
    }
}

/// Pauses or resumes a schedule.
pub(super) struct ChangeSchedule {
    pub(super) name: ScheduleName,
    pub(super) change: ScheduleChange,
    pub(super) now: Timestamp,
}

impl Verb for ChangeSchedule {
    type Answer = Option<ScheduleRecord>;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Option<ScheduleRecord>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { name, change, now } in calls {
            if let Some(paused) = change.paused {
                sqlx::query(PAUSE)
                    .bind(name.as_str())
                    .bind(paused)
                    .bind(now.as_millisecond())
                    .execute(&mut *connection)
                    .await?;
            }
            let row: Option<ScheduleRow> =
                sqlx::query_as(ONE).bind(name.as_str()).fetch_optional(&mut *connection).await?;
            answers.push(row.map(ScheduleRecord::try_from).transpose()?);
        }
        Ok(answers)
    }
}

/// Removes a schedule; its jobs stay. Answers whether there was one.
pub(super) struct RemoveSchedule(pub(super) ScheduleName);

impl Verb for RemoveSchedule {
    type Answer = bool;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self(name) in calls {
            let done = sqlx::query(REMOVE).bind(name.as_str()).execute(&mut *connection).await?;
            answers.push(done.rows_affected() > 0);
        }
        Ok(answers)
    }
}

impl Verb for Step {
    type Answer = Stepped;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Stepped>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for step in calls {
            answers.push(take(connection, step).await?);
        }
        Ok(answers)
    }

    fn weight(&self) -> usize {
        self.begin.as_ref().map_or(0, |begin| Insert::text(&begin.spec))
    }
}

/// The job and the time that is waited for next are written together, or not at all.
async fn take(connection: &mut SqliteConnection, step: &Step) -> Result<Stepped, StoreError> {
    let due: i64 = sqlx::query_scalar(IS_DUE)
        .bind(step.name.as_str())
        .bind(step.created_at.as_millisecond())
        .bind(step.was.as_millisecond())
        .fetch_one(&mut *connection)
        .await?;
    if due == 0 {
        return Ok(Stepped::NotDue);
    }
    let open: Vec<i64> =
        sqlx::query_scalar(OPEN).bind(step.name.as_str()).fetch_all(&mut *connection).await?;
    let open: Vec<JobId> = open.into_iter().map(JobId).collect();
    let (turn, step) = step.meet(&open);
    if turn == Turn::Wait {
        return Ok(Stepped::Waits(open));
    }
    let job = begin(connection, &step).await?;
    let last_time = step.begin.as_ref().map(|begin| begin.time.as_millisecond());
    let skip = step.newest_skip.as_ref();
    let written = sqlx::query(STEP)
        .bind(step.name.as_str())
        .bind(step.created_at.as_millisecond())
        .bind(step.was.as_millisecond())
        .bind(step.next.map(Timestamp::as_millisecond))
        .bind(last_time.filter(|_| job.is_some()))
        .bind(job.as_ref().map(|job| job.id.0))
        .bind(step.skipped as i64)
        .bind(skip.map(|skip| skip.time.as_millisecond()))
        .bind(skip.map(|skip| &skip.reason))
        .execute(&mut *connection)
        .await?;
    debug_assert_eq!(written.rows_affected(), 1, "it was looked at in this transaction");
    Ok(Stepped::Done(job.map(Box::new)))
}

/// The job goes the way of one that was submitted, and is marked as the schedule's.
async fn begin(connection: &mut SqliteConnection, step: &Step) -> Result<Option<Job>, StoreError> {
    let Some(begin) = &step.begin else { return Ok(None) };
    let jobs = vec![NewJob::from(begin.spec.clone())];
    let insert = Insert { jobs, once: None, now: step.now };
    let inserted = Insert::run(&mut *connection, &[insert]).await?.pop();
    let Some(Submitted::New(jobs)) = inserted else { return Ok(None) };
    for job in &jobs {
        sqlx::query(MARK).bind(job.id.0).bind(step.name.as_str()).execute(&mut *connection).await?;
    }
    Ok(jobs.into_iter().next())
}

pub(super) async fn all(reads: &SqlitePool) -> Result<Vec<ScheduleRecord>, StoreError> {
    let rows: Vec<ScheduleRow> = sqlx::query_as(ALL).fetch_all(reads).await?;
    rows.into_iter().map(ScheduleRecord::try_from).collect()
}

pub(super) async fn one(
    reads: &SqlitePool,
    name: &ScheduleName,
) -> Result<Option<ScheduleRecord>, StoreError> {
    let row: Option<ScheduleRow> =
        sqlx::query_as(ONE).bind(name.as_str()).fetch_optional(reads).await?;
    row.map(ScheduleRecord::try_from).transpose()
}

/// One that cannot be read holds up no other.
pub(super) async fn due(
    reads: &SqlitePool,
    now: Timestamp,
    after: Option<(Timestamp, ScheduleName)>,
    limit: u32,
) -> Result<Vec<ScheduleRecord>, StoreError> {
    let (time, name) = after.map_or((i64::MIN, String::new()), |(time, name)| {
        (time.as_millisecond(), String::from(name))
    });
    let rows: Vec<ScheduleRow> = sqlx::query_as(DUE)
        .bind(now.as_millisecond())
        .bind(time)
        .bind(name)
        .bind(i64::from(limit))
        .fetch_all(reads)
        .await?;
    let read = |row: ScheduleRow| {
        let name = row.name.clone();
        ScheduleRecord::try_from(row)
            .inspect_err(|error| tracing::error!(schedule = name, %error, "it is passed over"))
            .ok()
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
