//! The jobs that one batch changes: read once, moved in memory by the state machine, written once.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, JobId, JobStatus};
use serde::Serialize;

use super::{
    artifacts::Ends,
    outbox,
    release::{self, Ended},
    set_aside::readable,
};
use crate::{
    domain::{self, AttemptResults, Effects, Job, JobEvent, Rules, Verdict},
    store::{
        Applied, StoreError,
        connection::{Connection, values},
        rows::{AttemptWrite, JobGuard, JobRow, JobWrite, to_json},
        statement::{Statement, statement},
    },
};

pub(in crate::store) const LOAD: Statement = statement!(()
    "SELECT " columns " FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id" newest);

/// Guarded by the status and token of the row as it was read.
pub(in crate::store) const UPDATE_JOBS: Statement = statement!(
    (id bigint, was text, was_token text, status text, not_before bigint, waits_for text,
     attempts bigint, retries bigint, infra_retries bigint, lost bigint, worker text, token text,
     expires_at bigint, stop text, outcome text, finished_at bigint)
    "UPDATE job SET
        status = r.status,
        not_before = r.not_before,
        waits_for = r.waits_for,
        attempts = r.attempts,
        retries = r.retries,
        infra_retries = r.infra_retries,
        lost = r.lost,
        worker = r.worker,
        token = r.token,
        expires_at = r.expires_at,
        stop = r.stop,
        outcome = r.outcome,
        finished_at = r.finished_at
    FROM " rows "
    WHERE job.id = r.id
      AND job.status = r.was
      AND job.token IS NOT DISTINCT FROM r.was_token");

/// Adds those that begin, updates those that go on: under their token, until they have ended.
pub(in crate::store) const WRITE_ATTEMPTS: Statement = statement!(
    (job_id bigint, number bigint, worker text, token text, claim_request text,
     claimed_at bigint, started_at bigint, ended_at bigint, outcome text, usage text, tail text,
     ran text, changes text)
    "INSERT INTO attempt (job_id, number, worker, token, claim_request, claimed_at, started_at,
                         ended_at, outcome, usage, tail, ran, changes)
    SELECT r.job_id, r.number, r.worker, r.token,
           r.claim_request, r.claimed_at, r.started_at,
           r.ended_at, r.outcome, r.usage, r.tail,
           r.ran, r.changes
    FROM " rows " WHERE true
    ON CONFLICT (job_id, number) DO UPDATE SET
        started_at = excluded.started_at, ended_at = excluded.ended_at,
        outcome = excluded.outcome, usage = excluded.usage, tail = excluded.tail,
        ran = coalesce(excluded.ran, attempt.ran), changes = excluded.changes
    WHERE attempt.token = excluded.token AND attempt.ended_at IS NULL");

pub(in crate::store) const DELETE_JOBS: Statement = statement!(
    (id bigint, was text, was_token text)
    "DELETE FROM job WHERE id IN (
        SELECT j.id FROM " rows " JOIN job AS j ON j.id = r.id
        WHERE j.status = r.was AND j.token IS NOT DISTINCT FROM r.was_token)");

pub(in crate::store) struct Ledger {
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
    /// Reads the jobs with these ids, if they exist.
    pub(in crate::store) async fn load(
        connection: &mut Connection,
        ids: impl Iterator<Item = JobId>,
    ) -> Result<Self, StoreError> {
        let rows = rows_of(connection, ids).await?;
        let jobs: Result<Vec<Job>, StoreError> = rows.into_iter().map(Job::try_from).collect();
        Ok(Self::of(jobs?))
    }

    /// The same, without jobs whose rows cannot be read: those fail.
    pub(in crate::store) async fn load_readable(
        connection: &mut Connection,
        ids: impl Iterator<Item = JobId>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let rows = rows_of(connection, ids).await?;
        Ok(Self::of(readable(connection, rows, now).await?.0))
    }

    /// For jobs that were read in the transaction already.
    pub(in crate::store) fn of(jobs: impl IntoIterator<Item = Job>) -> Self {
        let entry =
            |job: Job| (job.id, Entry { guard: JobGuard::of(&job), job, fate: Fate::Unchanged });
        Self {
            entries: jobs.into_iter().map(entry).collect(),
            attempts: BTreeMap::new(),
            ends: Ends::default(),
        }
    }

    /// A job in its current state, if it was read and not deleted.
    pub(in crate::store) fn job(&self, id: JobId) -> Option<&Job> {
        self.entries.get(&id).filter(|entry| entry.fate != Fate::Deleted).map(|entry| &entry.job)
    }

    /// Applies an event to a job through the state machine; `None` if there is no such job (any
    /// more).
    pub(in crate::store) fn apply(
        &mut self,
        id: JobId,
        event: JobEvent,
        rules: &Rules,
    ) -> Option<Applied> {
        let entry = self.entries.get_mut(&id).filter(|entry| entry.fate != Fate::Deleted)?;
        let ran = match &event {
            JobEvent::Started { ran, .. }
            | JobEvent::Ended { results: AttemptResults { ran, .. }, .. } => {
                ran.as_ref().map(to_json)
            }
            _ => None,
        };
        let results = match &event {
            JobEvent::Ended { results, .. } => results.clone(),
            _ => AttemptResults::default(),
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
            attempt.changes = results.changes.as_ref().map(to_json);
            self.attempts.insert((id, next.attempts), attempt);
            if effects.attempt_ended.is_some() && !next.spec.artifacts.is_empty() {
                self.ends.note(id, AttemptNo(next.attempts), &results);
            }
        }
        entry.job = next.clone();
        entry.fate = Fate::Changed;
        Some(Applied::new(next, Ok(effects)))
    }

    /// Records the request that claimed the job, to recognise its repetition.
    pub(in crate::store) fn note_request(&mut self, job: &Job, request: &str) {
        if let Some(attempt) = self.attempts.get_mut(&(job.id, job.attempts)) {
            attempt.claim_request = Some(request.to_owned());
        }
    }

    /// Applies an event to a job; returns the job if it moved.
    pub(in crate::store) fn moved(
        &mut self,
        id: JobId,
        event: JobEvent,
        rules: &Rules,
    ) -> Option<Job> {
        let before = self.job(id)?.state.clone();
        let applied = self.apply(id, event, rules)?;
        (applied.result.is_ok() && applied.job.state != before).then_some(applied.job)
    }

    /// Writes the changes, and what follows for jobs that wait for ended ones; returns the latter.
    pub(in crate::store) async fn save(
        self,
        connection: &mut Connection,
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

    /// Writes the changes, one statement a table.
    pub(in crate::store) async fn write(
        mut self,
        connection: &mut Connection,
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
        for entry in self.entries.values().filter(|entry| entry.fate != Fate::Unchanged) {
            let now = (entry.fate == Fate::Changed).then(|| entry.job.status());
            connection.tally.moved(&entry.job.spec.queue, Some(entry.guard.status()), now);
            connection.notification.note(&entry.job);
        }
        let changed = self.entries.values().filter(is(Fate::Changed)).map(|entry| &entry.job);
        outbox::note_ends(connection, changed).await
    }
}

/// Rows that are about to be changed.
pub(in crate::store) async fn rows_of(
    connection: &mut Connection,
    ids: impl Iterator<Item = JobId>,
) -> Result<Vec<JobRow>, StoreError> {
    let mut ids: Vec<JobId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    connection.lock_jobs(&ids).await?;
    connection.all(LOAD, values![to_json(&ids)]).await
}

/// Runs a statement over `rows`; it must change each of them.
pub(in crate::store) async fn write_all<T: Serialize>(
    connection: &mut Connection,
    statement: Statement,
    rows: &Vec<T>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let changed = connection.change(statement, values![to_json(rows)]).await?;
    expect_rows(changed, rows.len())
}

/// Checks that a write found all rows as they were read. It always does, unless another program
/// writes into the database.
pub(in crate::store) fn expect_rows(changed: u64, expected: usize) -> Result<(), StoreError> {
    if changed == expected as u64 {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        reason: format!("{changed} of {expected} rows were as they had been read"),
        hint: "keep other programs from writing into it, then try again",
    })
}
