//! The jobs that one batch changes: read once, moved in memory by the machine,
//! written once.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, JobId, JobStatus};
use serde::Serialize;
use sqlx::{SqliteConnection, sqlite::SqliteQueryResult};

use super::{
    artifacts::Ends,
    outbox,
    release::{self, Ended},
    set_aside::readable,
};
use crate::{
    domain::{self, Effects, Job, JobEvent, Left, Rules, Verdict},
    store::{
        Applied, StoreError,
        rows::{AttemptWrite, JobGuard, JobRow, JobWrite, to_json},
        sql::select_jobs,
    },
};

pub(super) const LOAD: &str =
    select_jobs!("FROM jsonb_each($1) AS r JOIN job AS j ON j.id = r.value", "");

/// Repeats status and token of the row as it was read.
pub(super) const UPDATE_JOBS: &str = "
    UPDATE job SET
        status = r.value->>'status',
        not_before = r.value->>'not_before',
        waits_for = r.value->>'waits_for',
        attempts = r.value->>'attempts',
        retries = r.value->>'retries',
        infra_retries = r.value->>'infra_retries',
        lost = r.value->>'lost',
        worker = r.value->>'worker',
        token = r.value->>'token',
        expires_at = r.value->>'expires_at',
        stop = r.value->>'stop',
        outcome = r.value->>'outcome',
        finished_at = r.value->>'finished_at'
    FROM jsonb_each($1) AS r
    WHERE job.id = r.value->>'id'
      AND job.status = r.value->>'was'
      AND job.token IS NOT DISTINCT FROM r.value->>'was_token'";

/// Adds those that begin, updates those that go on: under their token, until they have ended.
pub(super) const WRITE_ATTEMPTS: &str = "
    INSERT INTO attempt (job_id, number, worker, token, claim_request, claimed_at, started_at,
                         ended_at, outcome, usage, tail, ran, changes)
    SELECT r.value->>'job_id', r.value->>'number', r.value->>'worker', r.value->>'token',
           r.value->>'claim_request', r.value->>'claimed_at', r.value->>'started_at',
           r.value->>'ended_at', r.value->>'outcome', r.value->>'usage', r.value->>'tail',
           r.value->>'ran', r.value->>'changes'
    FROM jsonb_each($1) AS r WHERE true
    ON CONFLICT (job_id, number) DO UPDATE SET
        started_at = excluded.started_at, ended_at = excluded.ended_at,
        outcome = excluded.outcome, usage = excluded.usage, tail = excluded.tail,
        ran = coalesce(excluded.ran, attempt.ran), changes = excluded.changes
    WHERE attempt.token = excluded.token AND attempt.ended_at IS NULL";

pub(super) const DELETE_JOBS: &str = "
    DELETE FROM job WHERE id IN (
        SELECT j.id FROM jsonb_each($1) AS r JOIN job AS j ON j.id = r.value->>'id'
        WHERE j.status = r.value->>'was' AND j.token IS NOT DISTINCT FROM r.value->>'was_token')";

pub(super) struct Ledger {
    entries: HashMap<JobId, Entry>,
    /// By job and number.
    attempts: BTreeMap<(JobId, u32), AttemptWrite>,
    ends: Ends,
}

struct Entry {
    /// The row as it was read.
    guard: JobGuard,
    job: Job,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unchanged,
    Changed,
    Deleted,
}

impl Ledger {
    /// Reads the jobs with these ids, where they exist.
    pub(super) async fn load(
        connection: &mut SqliteConnection,
        ids: impl Iterator<Item = JobId>,
    ) -> Result<Self, StoreError> {
        let rows = rows_of(connection, ids).await?;
        let jobs: Result<Vec<Job>, StoreError> = rows.into_iter().map(Job::try_from).collect();
        Ok(Self::of(jobs?))
    }

    /// The same, without those whose rows cannot be read: they have failed now.
    pub(super) async fn load_readable(
        connection: &mut SqliteConnection,
        ids: impl Iterator<Item = JobId>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let rows = rows_of(connection, ids).await?;
        Ok(Self::of(readable(connection, rows, now).await?.0))
    }

    /// For jobs that were read in the transaction already.
    pub(super) fn of(jobs: impl IntoIterator<Item = Job>) -> Self {
        let entry =
            |job: Job| (job.id, Entry { guard: JobGuard::of(&job), job, fate: Fate::Unchanged });
        Self {
            entries: jobs.into_iter().map(entry).collect(),
            attempts: BTreeMap::new(),
            ends: Ends::default(),
        }
    }

    /// A job as it stands, where it was read and not deleted.
    pub(super) fn job(&self, id: JobId) -> Option<&Job> {
        self.entries.get(&id).filter(|entry| entry.fate != Fate::Deleted).map(|entry| &entry.job)
    }

    /// Lets the machine move one job; `None` when there is no such job (any more).
    pub(super) fn apply(&mut self, id: JobId, event: JobEvent, rules: &Rules) -> Option<Applied> {
        let entry = self.entries.get_mut(&id).filter(|entry| entry.fate != Fate::Deleted)?;
        let ran = match &event {
            JobEvent::Started { ran, .. } => ran.as_ref().map(to_json),
            _ => None,
        };
        let left = match &event {
            JobEvent::Ended { left, .. } => left.clone(),
            _ => Left::default(),
        };
        let (next, effects) = match domain::apply(&entry.job, event, rules) {
            Verdict::Moved(next, effects) => (*next, effects),
            Verdict::AlreadyTrue => {
                return Some(Applied::new(entry.job.clone(), Ok(Effects::default())));
            }
            Verdict::Refused(refusal) => {
                return Some(Applied::new(entry.job.clone(), Err(refusal)));
            }
        };
        if effects.delete {
            entry.fate = Fate::Deleted;
            return Some(Applied::new(entry.job.clone(), Ok(effects)));
        }
        if let Some(lease) = next.lease().or(entry.job.lease()) {
            let mut attempt = AttemptWrite::new(&next, lease, effects.attempt_ended.as_ref());
            let earlier = self.attempts.remove(&(id, next.attempts));
            // It may have begun and ended in one batch.
            attempt.ran = ran.or(earlier.and_then(|earlier| earlier.ran));
            attempt.changes = left.changes.as_ref().map(to_json);
            self.attempts.insert((id, next.attempts), attempt);
            if effects.attempt_ended.is_some() && !next.spec.artifacts.is_empty() {
                self.ends.note(id, AttemptNo(next.attempts), &left);
            }
        }
        entry.job = next.clone();
        entry.fate = Fate::Changed;
        Some(Applied::new(next, Ok(effects)))
    }

    /// Notes with which request the job was claimed, to know it when it comes again.
    pub(super) fn note_request(&mut self, job: &Job, request: &str) {
        if let Some(attempt) = self.attempts.get_mut(&(job.id, job.attempts)) {
            attempt.claim_request = Some(request.to_owned());
        }
    }

    /// Lets the machine move one job; answers it where it did.
    pub(super) fn moved(&mut self, id: JobId, event: JobEvent, rules: &Rules) -> Option<Job> {
        let before = self.job(id)?.state.clone();
        let applied = self.apply(id, event, rules)?;
        (applied.result.is_ok() && applied.job.state != before).then_some(applied.job)
    }

    /// Writes what has changed, and what follows from it for those who wait for jobs that have
    /// ended; answers which these are.
    pub(super) async fn save(
        self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<Vec<JobId>, StoreError> {
        let ended = self.ended();
        self.write(connection).await?;
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        Ok(release::after_ends(connection, ended, now).await?.into_keys().collect())
    }

    fn ended(&self) -> Vec<Ended> {
        let ended = |entry: &Entry| {
            let (now, before) = (entry.job.status(), entry.guard.status());
            let status = match entry.fate {
                Fate::Changed if now.is_final() => now,
                Fate::Deleted => JobStatus::Cancelled,
                Fate::Changed | Fate::Unchanged => return None,
            };
            let array = entry.job.array();
            (!before.is_final()).then_some(Ended { id: entry.job.id, status, array })
        };
        self.entries.values().filter_map(ended).collect()
    }

    /// Writes what has changed, with one statement a table.
    pub(super) async fn write(
        mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let is = |fate| move |entry: &&Entry| entry.fate == fate;
        self.attempts.retain(|(id, _), _| self.entries[id].fate == Fate::Changed);
        self.ends.keep(|id| self.entries[&id].fate == Fate::Changed);
        let changed: Vec<_> = self
            .entries
            .values()
            .filter(is(Fate::Changed))
            .map(|entry| JobWrite::new(&entry.guard, &entry.job))
            .collect();
        let attempts: Vec<_> = self.attempts.values().collect();
        let deleted: Vec<_> =
            self.entries.values().filter(is(Fate::Deleted)).map(|entry| &entry.guard).collect();
        write_all(connection, UPDATE_JOBS, &changed).await?;
        write_all(connection, WRITE_ATTEMPTS, &attempts).await?;
        self.ends.write(connection).await?;
        write_all(connection, DELETE_JOBS, &deleted).await?;
        let changed = self.entries.values().filter(is(Fate::Changed)).map(|entry| &entry.job);
        outbox::note_ends(connection, changed).await
    }
}

pub(super) async fn rows_of(
    connection: &mut SqliteConnection,
    ids: impl Iterator<Item = JobId>,
) -> Result<Vec<JobRow>, StoreError> {
    let mut ids: Vec<JobId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(sqlx::query_as(LOAD).bind(to_json(&ids)).fetch_all(connection).await?)
}

/// Runs a statement over `rows`; it must change each of them.
pub(super) async fn write_all<T: Serialize>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &Vec<T>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(statement).bind(to_json(rows)).execute(connection).await?;
    expect_rows(&done, rows.len())
}

/// Whether a write found all rows as they were read. It always does, unless
/// another program writes into the file.
pub(super) fn expect_rows(done: &SqliteQueryResult, expected: usize) -> Result<(), StoreError> {
    if done.rows_affected() == expected as u64 {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        reason: format!("{} of {expected} rows were as they had been read", done.rows_affected()),
        hint: "keep other programs from writing into it, then try again",
    })
}
