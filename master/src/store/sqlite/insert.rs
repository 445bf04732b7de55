//! Adds jobs, those of all waiting callers with one statement.

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec, Span};
use serde::Serialize;
use sqlx::SqliteConnection;

use super::{
    batch::Verb,
    once::{self, Fate},
};
use crate::{
    domain::Job,
    store::{
        Once, StoreError, Submitted,
        rows::{WaitsFor, to_json},
    },
};

/// In the order of the array, so ids are in the order of the specs.
const INSERT: &str = "
    INSERT INTO job (spec, queue, demand, priority, lease, not_before, waits_for, status, created_at)
    SELECT r.value->>'spec', r.value->>'queue', r.value->>'demand', r.value->>'priority',
           r.value->>'lease', r.value->>'not_before', r.value->>'waits_for', 'Pending',
           r.value->>'created_at'
    FROM jsonb_each($1) AS r ORDER BY r.key
    RETURNING id";

/// Adds jobs.
pub(super) struct Insert {
    pub(super) specs: Vec<JobSpec>,
    pub(super) once: Option<Once>,
    pub(super) now: Timestamp,
}

#[derive(Serialize)]
struct NewJob<'a> {
    spec: String,
    queue: &'a str,
    demand: String,
    priority: i32,
    lease: Option<i64>,
    not_before: Option<i64>,
    waits_for: WaitsFor,
    created_at: i64,
}

impl Verb for Insert {
    type Answer = Submitted;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Submitted>, StoreError> {
        let fates = once::fates(connection, calls).await?;
        let new = calls.iter().zip(&fates).filter(|(_, fate)| matches!(fate, Fate::New));
        let rows: Vec<NewJob<'_>> = new.flat_map(|(call, _)| call.rows()).collect();
        let mut ids: Vec<i64> =
            sqlx::query_scalar(INSERT).bind(to_json(&rows)).fetch_all(&mut *connection).await?;
        // RETURNING promises no order.
        ids.sort_unstable();
        let mut ids = ids.into_iter();
        let mut answers: Vec<Submitted> = Vec::with_capacity(calls.len());
        for (call, fate) in calls.iter().zip(fates) {
            let answer = match fate {
                Fate::New => Submitted::New(call.jobs(ids.by_ref())),
                Fate::Known(answer) => answer,
                Fate::AsCall(index) => answers[index].again(),
            };
            answers.push(answer);
        }
        once::remember(connection, calls, &answers).await?;
        Ok(answers)
    }

    fn weight(&self) -> usize {
        self.specs.iter().map(Self::text).sum()
    }
}

impl Insert {
    /// About how many bytes a spec has.
    pub(super) fn text(spec: &JobSpec) -> usize {
        let env = spec.env.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let secrets = spec.secrets.values().map(|value| value.expose().len()).sum::<usize>();
        spec.command.len() + env + secrets + spec.stdin.as_ref().map_or(0, String::len)
    }

    fn jobs(&self, ids: impl Iterator<Item = i64>) -> Vec<Job> {
        let jobs = self.specs.iter().zip(ids);
        jobs.map(|(spec, id)| Job::new(JobId(id), spec.clone(), self.now)).collect()
    }

    fn rows(&self) -> impl Iterator<Item = NewJob<'_>> {
        self.specs.iter().map(|spec| NewJob {
            spec: to_json(spec),
            queue: &spec.queue,
            demand: spec.demand().to_string(),
            priority: spec.priority,
            lease: spec.lease.map(Span::as_millis),
            not_before: spec.not_before.map(Timestamp::as_millisecond),
            waits_for: if spec.not_before.is_some() { WaitsFor::Time } else { WaitsFor::Worker },
            created_at: self.now.as_millisecond(),
        })
    }
}
