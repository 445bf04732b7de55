//! Jobs that wait for others: what an end, or a submission, sets free or makes impossible, in
//! the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use orchestra_contracts::{Array, Condition, JobId, JobStatus};
use serde::Serialize;
use sqlx::SqliteConnection;

use super::ledger::{Ledger, rows_of};
use crate::{
    domain::{Hold, Job, JobEvent, JobState, RetryPolicy, Rules},
    store::{StoreError, rows::to_json},
};

/// Who waits for these.
pub(super) const WAITERS: &str = "
    SELECT d.job_id, d.upstream, d.condition, NULL AS status
    FROM jsonb_each($1) AS r JOIN dependency AS d ON d.upstream = r.value";

/// What these wait for in vain, since it has ended already.
pub(super) const ENDED_BEFORE: &str = "
    SELECT d.job_id, d.upstream, d.condition, u.status
    FROM jsonb_each($1) AS r JOIN dependency AS d ON d.job_id = r.value
    JOIN job AS u ON u.id = d.upstream
    WHERE u.status IN ('Completed', 'Failed', 'Cancelled')";

const ADD: &str = "
    INSERT INTO dependency (job_id, upstream, condition)
    SELECT r.value->>'job_id', r.value->>'upstream', r.value->>'condition' FROM jsonb_each($1) AS r";

const MET: &str = "
    DELETE FROM dependency WHERE (job_id, upstream) IN (
        SELECT r.value->>0, r.value->>1 FROM jsonb_each($1) AS r)";

/// Those that wait for nobody any more.
const FREE: &str = "
    SELECT r.value FROM jsonb_each($1) AS r
    WHERE NOT EXISTS (SELECT 1 FROM dependency AS d WHERE d.job_id = r.value)";

/// The next of an array that waits for its turn. A damaged one fails nothing here.
pub(super) const NEXT_IN_ARRAY: &str = "
    SELECT id, CASE WHEN json_valid(spec) THEN spec->>'array' END FROM job
    WHERE array_id = $1 AND waits_for = 'turn' AND status IN ('Pending', 'Assigned', 'Running')
    ORDER BY id LIMIT $2";

pub(super) const UNDER_WAY: &str = "
    SELECT count(*) FROM job
    WHERE array_id = $1 AND waits_for IN ('worker', 'time')
      AND status IN ('Pending', 'Assigned', 'Running')";

#[derive(Debug, Serialize)]
pub(super) struct NewDependency {
    pub(super) job_id: JobId,
    pub(super) upstream: JobId,
    pub(super) condition: Condition,
}

/// A job that has just ended, or was deleted before its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) id: JobId,
    /// `Cancelled` for a deleted one.
    pub(super) status: JobStatus,
    pub(super) array: Option<JobId>,
}

#[derive(sqlx::FromRow)]
struct Waiter {
    job_id: i64,
    upstream: i64,
    condition: String,
    status: Option<String>,
}

/// Writes down what new jobs wait for.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    all: &[NewDependency],
) -> Result<(), StoreError> {
    if !all.is_empty() {
        sqlx::query(ADD).bind(to_json(&all)).execute(connection).await?;
    }
    Ok(())
}

/// What follows from ends; answers the jobs that moved, as they are now.
pub(super) async fn after_ends(
    connection: &mut SqliteConnection,
    ended: Vec<Ended>,
    now: Timestamp,
) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let arrays = ended.iter().filter_map(|it| it.array).collect();
    let mut releases = Releases { now, arrays, moved: BTreeMap::new() };
    releases.pass_on(connection, ended).await?;
    releases.turns(connection).await?;
    Ok(releases.moved)
}

/// The same for jobs that are new; of these some may be free at once, others impossible.
pub(super) async fn after_inserts(
    connection: &mut SqliteConnection,
    new: &[Job],
    now: Timestamp,
) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let arrays = new.iter().filter(|job| is_held(job, Hold::Turn)).filter_map(Job::array).collect();
    let mut releases = Releases { now, arrays, moved: BTreeMap::new() };
    let waiting = new.iter().filter(|job| is_held(job, Hold::Jobs));
    let waiting: Vec<JobId> = waiting.map(|job| job.id).collect();
    if !waiting.is_empty() {
        let over: Vec<Waiter> = sqlx::query_as(ENDED_BEFORE)
            .bind(to_json(&waiting))
            .fetch_all(&mut *connection)
            .await?;
        let ended = releases.decide(connection, over, &BTreeMap::new()).await?;
        releases.pass_on(connection, ended).await?;
    }
    releases.turns(connection).await?;
    Ok(releases.moved)
}

struct Releases {
    now: Timestamp,
    /// In which there may be a turn to give.
    arrays: BTreeSet<JobId>,
    moved: BTreeMap<JobId, Job>,
}

impl Releases {
    /// From job to job, until nothing more ends by it.
    async fn pass_on(
        &mut self,
        connection: &mut SqliteConnection,
        mut ended: Vec<Ended>,
    ) -> Result<(), StoreError> {
        while !ended.is_empty() {
            let ids: Vec<JobId> = ended.iter().map(|it| it.id).collect();
            let waiters: Vec<Waiter> =
                sqlx::query_as(WAITERS).bind(to_json(&ids)).fetch_all(&mut *connection).await?;
            let how = ended.iter().map(|it| (it.id, it.status)).collect();
            ended = self.decide(connection, waiters, &how).await?;
        }
        Ok(())
    }

    /// Lets go on what may, and ends what never can; answers the latter.
    async fn decide(
        &mut self,
        connection: &mut SqliteConnection,
        mut waiters: Vec<Waiter>,
        how: &BTreeMap<JobId, JobStatus>,
    ) -> Result<Vec<Ended>, StoreError> {
        if waiters.is_empty() {
            return Ok(Vec::new());
        }
        let (mut met, mut impossible) = (Vec::new(), BTreeMap::new());
        // Of several that make it impossible the oldest is named.
        waiters.sort_unstable_by_key(|waiter| waiter.upstream);
        for waiter in waiters {
            let (job, upstream, needs, ended) = waiter.read(how)?;
            if needs.is_met_by(ended) {
                met.push((job, upstream));
            } else {
                impossible.entry(job).or_insert(JobEvent::Skipped { job: upstream, ended, needs });
            }
        }
        sqlx::query(MET).bind(to_json(&met)).execute(&mut *connection).await?;
        let mut candidates: Vec<JobId> = met.into_iter().map(|(job, _)| job).collect();
        candidates.retain(|job| !impossible.contains_key(job));
        candidates.dedup();
        let free: Vec<i64> =
            sqlx::query_scalar(FREE).bind(to_json(&candidates)).fetch_all(&mut *connection).await?;
        let free = free.into_iter().map(|id| (JobId(id), JobEvent::Freed { hold: None }));
        let moved = self.move_all(connection, free.chain(impossible).collect()).await?;
        let over = moved.into_iter().filter(|job| job.status().is_final());
        Ok(over.map(|job| Ended { id: job.id, status: job.status(), array: job.array() }).collect())
    }

    /// Gives turns in arrays, as far as there are any.
    async fn turns(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        for array in std::mem::take(&mut self.arrays) {
            let next = async |connection: &mut SqliteConnection, limit: i64| {
                let query = sqlx::query_as::<_, (i64, Option<String>)>(NEXT_IN_ARRAY);
                query.bind(array.0).bind(limit).fetch_all(connection).await
            };
            let Some((_, Some(text))) = next(connection, 1).await?.pop() else { continue };
            let at_once = text.parse::<Array>().ok().and_then(|array| array.at_once);
            let under_way: i64 =
                sqlx::query_scalar(UNDER_WAY).bind(array.0).fetch_one(&mut *connection).await?;
            let room = at_once.map_or(i64::MAX, |at_once| i64::from(at_once.get()) - under_way);
            if room > 0 {
                let turns = next(connection, room).await?;
                let events =
                    turns.into_iter().map(|(id, _)| (JobId(id), JobEvent::Freed { hold: None }));
                self.move_all(connection, events.collect()).await?;
            }
        }
        Ok(())
    }

    /// Puts the events through the machine; answers the jobs that moved.
    async fn move_all(
        &mut self,
        connection: &mut SqliteConnection,
        events: BTreeMap<JobId, JobEvent>,
    ) -> Result<Vec<Job>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let rows = rows_of(connection, events.keys().copied()).await?;
        // A row that cannot be read is told of wherever it is looked at, and holds up nobody here.
        let jobs = rows.into_iter().filter_map(|row| Job::try_from(row).ok());
        let mut ledger = Ledger::of(jobs);
        let rules = Rules { now: self.now, retry: RetryPolicy::default(), jitter: 0.0 };
        let mut moved = Vec::new();
        for (id, event) in events {
            let event = match (ledger.job(id), event) {
                (Some(job), JobEvent::Freed { .. }) => {
                    let next = next_hold(job);
                    self.arrays.extend(next.and(job.array()));
                    JobEvent::Freed { hold: next }
                }
                (_, event) => event,
            };
            if let Some(job) = ledger.moved(id, event, &rules) {
                self.arrays.extend(job.array().filter(|_| job.status().is_final()));
                self.moved.insert(id, job.clone());
                moved.push(job);
            }
        }
        ledger.write(connection).await?;
        Ok(moved)
    }
}

/// What holds a job after what holds it now.
fn next_hold(job: &Job) -> Option<Hold> {
    if is_held(job, Hold::Jobs) { Hold::past_jobs(&job.spec) } else { None }
}

fn is_held(job: &Job, by: Hold) -> bool {
    matches!(job.state, JobState::Pending { hold: Some(hold), .. } if hold == by)
}

impl Waiter {
    /// Who waits, for whom, for what, and what has become of it.
    fn read(
        self,
        how: &BTreeMap<JobId, JobStatus>,
    ) -> Result<(JobId, JobId, Condition, JobStatus), StoreError> {
        let corrupt =
            |reason: String| StoreError::Corrupt { table: "dependency", id: self.job_id, reason };
        let needs = Condition::ALL.into_iter().find(|it| it.as_str() == self.condition);
        let needs = needs.ok_or_else(|| corrupt(format!("condition is {:?}", self.condition)))?;
        let (job, upstream) = (JobId(self.job_id), JobId(self.upstream));
        let ended = match &self.status {
            Some(text) => text.parse().map_err(corrupt)?,
            None => how.get(&upstream).copied().unwrap_or(JobStatus::Cancelled),
        };
        Ok((job, upstream, needs, ended))
    }
}
