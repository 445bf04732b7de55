//! Schedules: adds, pauses, removes and steps them.

use jiff::Timestamp;
use orchestra_contracts::{JobId, ScheduleChange, ScheduleName};

use super::{Needs, Verb, insert::Insert};
use crate::{
    domain::{Job, NewJob, Turn},
    store::{
        Added, MAX_SCHEDULES, ScheduleRecord, Step, Stepped, StoreError, Submitted,
        connection::{Connection, Reads, values},
        rows::{ScheduleRow, to_json},
        statement::Statement,
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

const ALL: Statement = Statement::plain(select_schedules!("ORDER BY name"));
const ONE: Statement = Statement::plain(select_schedules!("WHERE name = $1"));

/// After the one of this time and name.
pub(in crate::store) const DUE: Statement = Statement::plain(select_schedules!(
    "WHERE paused_at IS NULL AND next_at IS NOT NULL AND next_at <= $1
       AND (next_at, name) > ($2, $3)
     ORDER BY next_at, name LIMIT $4"
));

const COUNT: Statement = Statement::plain("SELECT count(*) FROM schedule");

const ADD: Statement = Statement::plain(
    "
    INSERT INTO schedule (name, cron, time_zone, overlap, catch_up, spec, created_at, next_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING",
);

/// A schedule that is paused already keeps its time.
const PAUSE: Statement = Statement::plain(
    "
    UPDATE schedule SET paused_at = CASE WHEN $2 THEN coalesce(paused_at, $3) END
    WHERE name = $1",
);

const REMOVE: Statement = Statement::plain("DELETE FROM schedule WHERE name = $1");

const IS_DUE: Statement = Statement::plain(
    "
    SELECT count(*) FROM schedule
    WHERE name = $1 AND created_at = $2 AND next_at = $3 AND paused_at IS NULL",
);

pub(in crate::store) const OPEN: Statement = Statement::plain(
    "
    SELECT id FROM job
    WHERE schedule = $1 AND status IN ('Pending', 'Assigned', 'Running') ORDER BY id",
);

const MARK: Statement = Statement::plain("UPDATE job SET schedule = $2 WHERE id = $1");

/// Under the time that was read: who comes second changes nothing.
const STEP: Statement = Statement::plain(
    "
    UPDATE schedule SET
        next_at = $4,
        last_time = coalesce($5, last_time), last_job = coalesce($6, last_job),
        skipped = skipped + $7,
        skipped_time = coalesce($8, skipped_time),
        skipped_reason = coalesce($9, skipped_reason)
    WHERE name = $1 AND created_at = $2 AND next_at = $3 AND paused_at IS NULL",
);

/// Adds a schedule.
pub(in crate::store) struct AddSchedule(pub(in crate::store) ScheduleRecord);

impl Verb for AddSchedule {
    type Answer = Added;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    /// One after the other, as all that people ask for one at a time.
    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<Added>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self(record) in calls {
            let what = &record.what;
            let count: Option<i64> = connection.scalar(COUNT, values![]).await?;
            let known: Option<ScheduleRow> =
                connection.one(ONE, values![what.name.as_str()]).await?;
            answers.push(match known {
                Some(_) => Added::Exists,
                None if count.unwrap_or_default() >= i64::from(MAX_SCHEDULES) => Added::Full,
                None => Added::New,
            });
            if answers.last() != Some(&Added::New) {
                continue;
            }
            connection
                .change(
                    ADD,
                    values![
                        what.name.as_str(),
                        &what.cron,
                        &what.time_zone,
                        what.overlap.as_str(),
                        what.catch_up.as_millis(),
                        to_json(&what.spec),
                        record.created_at.as_millisecond(),
                        record.next_at.map(Timestamp::as_millisecond)
                    ],
                )
                .await?;
        }
        Ok(answers)
    }

    fn weight(&self) -> usize {
        Insert::text(&self.0.what.spec)
    }
}

/// Pauses or resumes a schedule.
pub(in crate::store) struct ChangeSchedule {
    pub(in crate::store) name: ScheduleName,
    pub(in crate::store) change: ScheduleChange,
    pub(in crate::store) now: Timestamp,
}

impl Verb for ChangeSchedule {
    type Answer = Option<ScheduleRecord>;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<Option<ScheduleRecord>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { name, change, now } in calls {
            if let Some(paused) = change.paused {
                connection
                    .change(PAUSE, values![name.as_str(), paused, now.as_millisecond()])
                    .await?;
            }
            let row: Option<ScheduleRow> = connection.one(ONE, values![name.as_str()]).await?;
            answers.push(row.map(ScheduleRecord::try_from).transpose()?);
        }
        Ok(answers)
    }
}

/// Removes a schedule; its jobs stay. Returns whether there was one.
pub(in crate::store) struct RemoveSchedule(pub(in crate::store) ScheduleName);

impl Verb for RemoveSchedule {
    type Answer = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self(name) in calls {
            let done = connection.change(REMOVE, values![name.as_str()]).await?;
            answers.push(done > 0);
        }
        Ok(answers)
    }
}

impl Verb for Step {
    type Answer = Stepped;

    fn needs(&self, needs: &mut Needs) {
        (needs.alone, needs.ids) = (true, true);
    }

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<Stepped>, StoreError> {
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

/// Writes the job and the next time together, or neither.
async fn take(connection: &mut Connection, step: &Step) -> Result<Stepped, StoreError> {
    let due: Option<i64> = connection
        .scalar(
            IS_DUE,
            values![
                step.name.as_str(),
                step.created_at.as_millisecond(),
                step.was.as_millisecond()
            ],
        )
        .await?;
    if due == Some(0) {
        return Ok(Stepped::NotDue);
    }
    let open: Vec<i64> = connection.scalars(OPEN, values![step.name.as_str()]).await?;
    let open: Vec<JobId> = open.into_iter().map(JobId).collect();
    let (turn, step) = step.meet(&open);
    if turn == Turn::Wait {
        return Ok(Stepped::Waits(open));
    }
    let job = begin(connection, &step).await?;
    let last_time = step.begin.as_ref().map(|begin| begin.time.as_millisecond());
    let skip = step.newest_skip.as_ref();
    let written = connection
        .change(
            STEP,
            values![
                step.name.as_str(),
                step.created_at.as_millisecond(),
                step.was.as_millisecond(),
                step.next.map(Timestamp::as_millisecond),
                last_time.filter(|_| job.is_some()),
                job.as_ref().map(|job| job.id.0),
                step.skipped as i64,
                skip.map(|skip| skip.time.as_millisecond()),
                skip.map(|skip| &skip.reason)
            ],
        )
        .await?;
    debug_assert_eq!(written, 1, "it was looked at in this transaction");
    Ok(Stepped::Done(job.map(Box::new)))
}

/// The job goes the way of one that was submitted, and is marked as the schedule's.
async fn begin(connection: &mut Connection, step: &Step) -> Result<Option<Job>, StoreError> {
    let Some(begin) = &step.begin else { return Ok(None) };
    let jobs = vec![NewJob::from(begin.spec.clone())];
    let insert = Insert { jobs, once: None, now: step.now };
    let inserted = Insert::run(&mut *connection, &[insert]).await?.pop();
    let Some(Submitted::New(jobs)) = inserted else { return Ok(None) };
    for job in &jobs {
        connection.change(MARK, values![job.id.0, step.name.as_str()]).await?;
    }
    Ok(jobs.into_iter().next())
}

pub(in crate::store) async fn all(reads: &Reads) -> Result<Vec<ScheduleRecord>, StoreError> {
    let rows: Vec<ScheduleRow> = reads.all(ALL, values![]).await?;
    rows.into_iter().map(ScheduleRecord::try_from).collect()
}

pub(in crate::store) async fn one(
    reads: &Reads,
    name: &ScheduleName,
) -> Result<Option<ScheduleRecord>, StoreError> {
    let row: Option<ScheduleRow> = reads.one(ONE, values![name.as_str()]).await?;
    row.map(ScheduleRecord::try_from).transpose()
}

/// A schedule that cannot be read delays no other.
pub(in crate::store) async fn due(
    reads: &Reads,
    now: Timestamp,
    after: Option<(Timestamp, ScheduleName)>,
    limit: u32,
) -> Result<Vec<ScheduleRecord>, StoreError> {
    let (time, name) = after.map_or((i64::MIN, String::new()), |(time, name)| {
        (time.as_millisecond(), String::from(name))
    });
    let rows: Vec<ScheduleRow> =
        reads.all(DUE, values![now.as_millisecond(), time, name, i64::from(limit)]).await?;
    let read = |row: ScheduleRow| {
        let name = row.name.clone();
        ScheduleRecord::try_from(row)
            .inspect_err(|error| tracing::error!(schedule = name, %error, "it is passed over"))
            .ok()
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
