//! Adds jobs, those of all waiting callers with one statement.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec};

use super::{
    Needs, Verb,
    once::{self, Fate},
    release::{self, NewDependency},
    uploads,
};
use crate::{
    domain::{Job, NewJob, Upstream},
    store::{
        Once, StoreError, Submitted,
        connection::{Connection, values},
        rows::{JobInsert, to_json},
        statement::{Statement, statement},
        upload::wanted,
    },
};

const THERE: Statement = statement!(()
    "SELECT j.id FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id");

const INSERT: Statement = statement!(
    (id bigint, spec text, queue text, demand text, priority bigint, lease bigint, not_before bigint,
     waits_for text, array_id bigint, array_index bigint, created_at bigint)
    "INSERT INTO job (id, spec, queue, demand, priority, lease, not_before, waits_for, array_id,
                     array_index, status, created_at)
    SELECT r.id, r.spec, r.queue, r.demand,
           r.priority, r.lease, r.not_before,
           r.waits_for, r.array_id, r.array_index, 'Pending',
           r.created_at
    FROM " rows "");

/// Adds jobs.
pub(in crate::store) struct Insert {
    pub(in crate::store) jobs: Vec<NewJob>,
    pub(in crate::store) once: Option<Once>,
    pub(in crate::store) now: Timestamp,
}

impl Verb for Insert {
    type Answer = Submitted;

    fn needs(&self, needs: &mut Needs) {
        needs.ids |= !self.jobs.is_empty() || self.once.is_some();
        needs.jobs.extend(self.known());
        needs.uploads |= self.jobs.iter().any(|job| wanted(&job.spec).next().is_some());
    }

    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<Submitted>, StoreError> {
        let mut fates = once::fates(connection, calls).await?;
        refuse_unknown(connection, calls, &mut fates).await?;
        uploads::refuse_missing(connection, calls, &mut fates).await?;
        let new = calls.iter().zip(&fates).filter(|(_, fate)| matches!(fate, Fate::New));
        let count = new.map(|(call, _)| call.jobs.len()).sum();
        let mut next = if count > 0 { connection.next_ids(count).await? } else { 0 };
        let mut added: Vec<Vec<Job>> = Vec::with_capacity(calls.len());
        for (call, fate) in calls.iter().zip(&fates) {
            let new = if matches!(fate, Fate::New) { call.with_ids(next) } else { Vec::new() };
            next += new.len() as i64;
            added.push(new);
        }
        let moved = add(connection, &added.concat(), calls).await?;
        let mut answers: Vec<Submitted> = Vec::with_capacity(calls.len());
        for (jobs, fate) in added.into_iter().zip(fates) {
            let as_it_is = |job: Job| moved.get(&job.id).cloned().unwrap_or(job);
            let answer = match fate {
                Fate::New => Submitted::New(jobs.into_iter().map(as_it_is).collect()),
                Fate::Known(answer) => answer,
                Fate::AsCall(index) => answers[index].again(),
            };
            answers.push(answer);
        }
        once::remember(connection, calls, &answers).await?;
        Ok(answers)
    }

    fn weight(&self) -> usize {
        self.jobs.iter().map(|job| Self::text(&job.spec)).sum()
    }
}

impl Insert {
    /// The approximate size of a spec, in bytes.
    pub(in crate::store) fn text(spec: &JobSpec) -> usize {
        let env = spec.env.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let secrets = spec.secrets.values().map(|value| value.expose().len()).sum::<usize>();
        spec.command.len() + env + secrets + spec.stdin.as_ref().map_or(0, String::len)
    }

    /// The jobs with their ids, as if nothing that they wait for had ended.
    fn with_ids(&self, first: i64) -> Vec<Job> {
        let ids: Vec<JobId> = (first..).take(self.jobs.len()).map(JobId).collect();
        let jobs = ids.iter().zip(&self.jobs);
        jobs.map(|(id, new)| Job::submitted(*id, new, &ids, self.now)).collect()
    }

    /// The ids of jobs that have to exist.
    fn known(&self) -> impl Iterator<Item = JobId> {
        self.jobs.iter().flat_map(|job| &job.after).filter_map(|(_, upstream)| match upstream {
            Upstream::Known(id) => Some(*id),
            Upstream::Fellow(_) => None,
        })
    }
}

/// Refuses new calls whose jobs wait for jobs that do not exist.
async fn refuse_unknown(
    connection: &mut Connection,
    calls: &[Insert],
    fates: &mut [Fate],
) -> Result<(), StoreError> {
    let wanted: BTreeSet<JobId> = calls.iter().flat_map(Insert::known).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    // None of them ends or goes until those who wait for it are known.
    connection.lock_jobs(&wanted.iter().copied().collect::<Vec<_>>()).await?;
    let there: Vec<i64> = connection.scalars(THERE, values![to_json(&wanted)]).await?;
    let there: BTreeSet<i64> = there.into_iter().collect();
    for (call, fate) in calls.iter().zip(fates) {
        let missing: BTreeSet<JobId> = call.known().filter(|id| !there.contains(&id.0)).collect();
        if matches!(fate, Fate::New) && !missing.is_empty() {
            *fate = Fate::Known(Submitted::NoSuchJobs(missing.into_iter().collect()));
        }
    }
    Ok(())
}

/// Writes the jobs and their dependencies. Returns the jobs that moved at once, because what they
/// wait for has ended.
async fn add(
    connection: &mut Connection,
    jobs: &[Job],
    calls: &[Insert],
) -> Result<BTreeMap<JobId, Job>, StoreError> {
    if jobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    connection.notification.claimable = true;
    let rows: Vec<JobInsert<'_>> = jobs.iter().map(JobInsert::new).collect();
    connection.change(INSERT, values![to_json(&rows)]).await?;
    for job in jobs {
        connection.tally.moved(&job.spec.queue, None, Some(job.status()));
    }
    uploads::keep(connection, jobs).await?;
    let dependencies = |job: &Job| {
        let job_id = job.id;
        let ids = job.spec.waits_for().filter_map(|(condition, job)| Some((condition, job.id()?)));
        let new = |(condition, upstream)| NewDependency { job_id, upstream, condition };
        ids.map(new).collect::<Vec<_>>()
    };
    let all: Vec<NewDependency> = jobs.iter().flat_map(dependencies).collect();
    release::add(connection, &all).await?;
    let now = calls.iter().map(|call| call.now).max().unwrap_or_default();
    release::after_inserts(connection, jobs, now).await
}
