//! Dependencies and arrays: releases the jobs that an end or a submission sets free, and ends those
//! that it makes impossible, in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use orchestra_contracts::{Array, Condition, JobId, JobStatus};
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, rows_of};
use crate::{
    domain::{Hold, Job, JobEvent, JobState, RetryPolicy, Rules},
    store::{
        StoreError,
        connection::{Connection, values},
        rows::to_json,
        statement::{Statement, statement},
    },
};

/// The jobs that wait for these.
pub(in crate::store) const WAITERS: Statement = statement!(()
    "SELECT d.job_id, d.upstream, d.condition, CAST(NULL AS TEXT) AS status
    FROM " {ids "$1"} " JOIN dependency AS d ON d.upstream = r.id");

/// What these wait for in vain, since it has ended already.
pub(in crate::store) const ENDED_BEFORE: Statement = statement!(()
    "SELECT d.job_id, d.upstream, d.condition, u.status
    FROM " {ids "$1"} " JOIN dependency AS d ON d.job_id = r.id
    JOIN job AS u ON u.id = d.upstream
    WHERE u.status IN ('Completed', 'Failed', 'Cancelled')");

const ADD: Statement = statement!(
    (job_id bigint, upstream bigint, condition text)
    "INSERT INTO dependency (job_id, upstream, condition)
    SELECT r.job_id, r.upstream, r.condition FROM " rows);

const MET: Statement = statement!(
    (job_id bigint, upstream bigint)
    "DELETE FROM dependency WHERE (job_id, upstream) IN (
        SELECT r.job_id, r.upstream FROM " rows ")");

/// Jobs that wait for no other job any more.
const FREE: Statement = statement!(()
    "SELECT r.id FROM " {ids "$1"} "
    WHERE NOT EXISTS (SELECT 1 FROM dependency AS d WHERE d.job_id = r.id)");

/// Those of an array that wait for their turn, the first ones.
pub(in crate::store) const NEXT_IN_ARRAY: Statement = Statement::plain(
    "SELECT id FROM job
     WHERE array_id = $1 AND waits_for = 'turn' AND status IN ('Pending', 'Assigned', 'Running')
     ORDER BY id LIMIT $2",
);

/// All of an array have the same rules.
const RULES: Statement = Statement::plain("SELECT spec FROM job WHERE id = $1");

pub(in crate::store) const UNDER_WAY: Statement = Statement::plain(
    "
    SELECT count(*) FROM job
    WHERE array_id = $1 AND waits_for IN ('worker', 'time')
      AND status IN ('Pending', 'Assigned', 'Running')",
);

#[derive(Debug, Serialize)]
pub(in crate::store) struct NewDependency {
    pub(in crate::store) job_id: JobId,
    pub(in crate::store) upstream: JobId,
    pub(in crate::store) condition: Condition,
}

#[derive(Debug, Serialize)]
struct Met {
    job_id: JobId,
    upstream: JobId,
}

/// A job that has just ended, or was deleted before its end.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Ended {
    pub(in crate::store) id: JobId,
    /// `Cancelled` for a deleted one.
    pub(in crate::store) status: JobStatus,
    pub(in crate::store) array: Option<JobId>,
}

/// The fields of the spec that matter here.
#[derive(Deserialize)]
struct InArray {
    array: Array,
}

#[derive(Deserialize, sqlx_macros::FromRow)]
struct Waiter {
    job_id: i64,
    upstream: i64,
    condition: String,
    status: Option<String>,
}

/// Stores the dependencies of new jobs.
pub(in crate::store) async fn add(
    connection: &mut Connection,
    all: &[NewDependency],
) -> Result<(), StoreError> {
    if !all.is_empty() {
        connection.change(ADD, values![to_json(&all)]).await?;
    }
    Ok(())
}

/// Releases what waited for these ends; returns the jobs that moved, in their new state.
pub(in crate::store) async fn after_ends(
    connection: &mut Connection,
    ended: Vec<Ended>,
    now: Timestamp,
) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let arrays = ended.iter().filter_map(|it| it.array).collect();
    let mut releases = Releases { now, arrays, moved: BTreeMap::new() };
    releases.pass_on(connection, ended).await?;
    releases.turns(connection).await?;
    Ok(releases.moved)
}

/// The same for new jobs: some may be free at once, others impossible.
pub(in crate::store) async fn after_inserts(
    connection: &mut Connection,
    new: &[Job],
    now: Timestamp,
) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let arrays = new.iter().filter(|job| is_held(job, Hold::Turn)).filter_map(Job::array).collect();
    let mut releases = Releases { now, arrays, moved: BTreeMap::new() };
    let waiting = new.iter().filter(|job| is_held(job, Hold::Jobs));
    let waiting: Vec<JobId> = waiting.map(|job| job.id).collect();
    if !waiting.is_empty() {
        let over: Vec<Waiter> = connection.all(ENDED_BEFORE, values![to_json(&waiting)]).await?;
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
        connection: &mut Connection,
        mut ended: Vec<Ended>,
    ) -> Result<(), StoreError> {
        while !ended.is_empty() {
            let ids: Vec<JobId> = ended.iter().map(|it| it.id).collect();
            let waiters: Vec<Waiter> = connection.all(WAITERS, values![to_json(&ids)]).await?;
            let how = ended.iter().map(|it| (it.id, it.status)).collect();
            ended = self.decide(connection, waiters, &how).await?;
        }
        Ok(())
    }

    /// Lets go on what may, and ends what never can; answers the latter.
    async fn decide(
        &mut self,
        connection: &mut Connection,
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
                met.push(Met { job_id: job, upstream });
            } else {
                impossible.entry(job).or_insert(JobEvent::Skipped { job: upstream, ended, needs });
            }
        }
        // Of two ends at once that a job waits for, the second sees that the first has come.
        let mut locked: Vec<JobId> = met.iter().map(|it: &Met| it.job_id).collect();
        locked.extend(impossible.keys());
        locked.sort_unstable();
        connection.lock_jobs(&locked).await?;
        connection.change(MET, values![to_json(&met)]).await?;
        let mut candidates: Vec<JobId> = met.into_iter().map(|it| it.job_id).collect();
        candidates.retain(|job| !impossible.contains_key(job));
        candidates.dedup();
        let free: Vec<i64> = connection.scalars(FREE, values![to_json(&candidates)]).await?;
        let free = free.into_iter().map(|id| (JobId(id), JobEvent::Freed { hold: None }));
        let moved = self.move_all(connection, free.chain(impossible).collect()).await?;
        let over = moved.into_iter().filter(|job| job.status().is_final());
        Ok(over.map(|job| Ended { id: job.id, status: job.status(), array: job.array() }).collect())
    }

    /// Gives turns in arrays, as far as there are any.
    async fn turns(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        for array in std::mem::take(&mut self.arrays) {
            connection.lock_array(array).await?;
            let next: Option<i64> =
                connection.scalar(NEXT_IN_ARRAY, values![array.0, 1_i64]).await?;
            let Some(next) = next else { continue };
            let spec: Option<String> = connection.scalar(RULES, values![next]).await?;
            // A damaged one fails nothing here.
            let rules = spec.and_then(|spec| serde_json::from_str::<InArray>(&spec).ok());
            let Some(InArray { array: rules }) = rules else { continue };
            let under_way: Option<i64> = connection.scalar(UNDER_WAY, values![array.0]).await?;
            let under_way = under_way.unwrap_or_default();
            let room =
                rules.at_once.map_or(i64::MAX, |at_once| i64::from(at_once.get()) - under_way);
            if room > 0 {
                let turns: Vec<i64> =
                    connection.scalars(NEXT_IN_ARRAY, values![array.0, room]).await?;
                let turn = |id| (JobId(id), JobEvent::Freed { hold: None });
                self.move_all(connection, turns.into_iter().map(turn).collect()).await?;
            }
        }
        Ok(())
    }

    /// Puts the events through the machine; answers the jobs that moved.
    async fn move_all(
        &mut self,
        connection: &mut Connection,
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
