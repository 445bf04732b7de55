//! Adds jobs, those of all waiting callers with one statement.

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec, Span};
use serde::Serialize;
use sqlx::SqliteConnection;

use super::batch::Verb;
use crate::{
    domain::Job,
    store::{StoreError, rows::to_json},
};

/// In the order of the array, so ids are in the order of the specs.
const INSERT: &str = "
    INSERT INTO job (spec, queue, priority, lease, status, created_at)
    SELECT r.value->>'spec', r.value->>'queue', r.value->>'priority', r.value->>'lease',
           'Pending', r.value->>'created_at'
    FROM jsonb_each($1) AS r ORDER BY r.key
    RETURNING id";

/// Adds jobs.
pub(super) struct Insert {
    pub(super) specs: Vec<JobSpec>,
    pub(super) now: Timestamp,
}

#[derive(Serialize)]
struct NewJob<'a> {
    spec: String,
    queue: &'a str,
    priority: i32,
    lease: Option<i64>,
    created_at: i64,
}

impl Verb for Insert {
    type Answer = Vec<Job>;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Vec<Job>>, StoreError> {
        let rows: Vec<NewJob<'_>> = calls.iter().flat_map(Self::rows).collect();
        let mut ids: Vec<i64> =
            sqlx::query_scalar(INSERT).bind(to_json(&rows)).fetch_all(connection).await?;
        // RETURNING promises no order.
        ids.sort_unstable();
        let mut ids = ids.into_iter();
        let answers = calls.iter().map(|call| {
            let jobs = call.specs.iter().zip(ids.by_ref());
            jobs.map(|(spec, id)| Job::new(JobId(id), spec.clone(), call.now)).collect()
        });
        Ok(answers.collect())
    }

    fn weight(&self) -> usize {
        let text = |spec: &JobSpec| {
            let env = spec.env.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            spec.command.len() + env + spec.stdin.as_ref().map_or(0, String::len)
        };
        self.specs.iter().map(text).sum()
    }
}

impl Insert {
    fn rows(&self) -> impl Iterator<Item = NewJob<'_>> {
        self.specs.iter().map(|spec| NewJob {
            spec: to_json(spec),
            queue: &spec.queue,
            priority: spec.priority,
            lease: spec.lease.map(Span::as_millis),
            created_at: self.now.as_millisecond(),
        })
    }
}
