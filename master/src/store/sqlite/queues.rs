//! What operators decided of queues and workers, and what it means for the claims of a round.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use orchestra_contracts::{QueueChange, QueueName, WorkerName};
use sqlx::{FromRow, SqliteConnection, SqlitePool};

use super::batch::Verb;
use crate::{
    domain::{Job, QueueRules},
    store::{
        Claim, Drained, QueueRecord, StoreError,
        rows::{QueueRow, to_json},
    },
};

const QUEUE: &str =
    "SELECT name, paused_at, concurrency, 0 AS pending, 0 AS held FROM queue WHERE name = $1";

const SET: &str = "
    INSERT INTO queue (name, paused_at, concurrency) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET
        paused_at = excluded.paused_at, concurrency = excluded.concurrency";

/// Whoever is drained already keeps the time.
const DRAIN: &str = "
    UPDATE worker SET draining_at = CASE WHEN $2 THEN coalesce(draining_at, $3) END
    WHERE name = $1 RETURNING draining_at";

const ALL: &str = "
    WITH open AS (
        SELECT queue AS name, count(*) FILTER (WHERE status = 'Pending') AS pending,
               count(*) FILTER (WHERE status <> 'Pending') AS held
        FROM job WHERE status IN ('Pending', 'Assigned', 'Running') GROUP BY queue
    )
    SELECT name, q.paused_at, q.concurrency, coalesce(o.pending, 0) AS pending,
           coalesce(o.held, 0) AS held
    FROM queue AS q FULL JOIN open AS o USING (name) ORDER BY name";

/// Those of queue $1 that go before the job $3 of priority $2.
pub(super) const AHEAD: &str = "
    SELECT count(*) FROM job AS c
    WHERE c.status = 'Pending' AND c.waits_for = 'worker' AND c.queue = $1
      AND (c.priority > $2 OR (c.priority = $2 AND c.id < $3))";

/// The rules of the queues in $1, with what is held where that matters, and of the workers in
/// $2 those that are being drained.
pub(super) const RULES: &str = "
    SELECT q.name, NULL AS worker, q.paused_at, q.concurrency,
           CASE WHEN q.concurrency IS NULL THEN 0 ELSE (
               SELECT count(*) FROM job AS j WHERE j.token IS NOT NULL AND j.queue = q.name
           ) END AS held
    FROM json_each($1) AS r JOIN queue AS q ON q.name = r.value
    WHERE q.paused_at IS NOT NULL OR q.concurrency IS NOT NULL
    UNION ALL
    SELECT NULL, w.name, NULL, NULL, 0
    FROM json_each($2) AS r JOIN worker AS w ON w.name = r.value
    WHERE w.draining_at IS NOT NULL";

/// What a round of claims may hand out.
pub(super) struct Gates {
    /// Of the queues that have a bound.
    room: HashMap<String, usize>,
    drained: HashSet<String>,
}

#[derive(FromRow)]
struct Rule {
    name: Option<String>,
    worker: Option<String>,
    paused_at: Option<i64>,
    concurrency: Option<u32>,
    held: i64,
}

impl Gates {
    pub(super) async fn load(
        connection: &mut SqliteConnection,
        claims: &[&Claim],
    ) -> Result<Self, StoreError> {
        let queues: HashSet<&str> =
            claims.iter().flat_map(|claim| &claim.queues).map(String::as_str).collect();
        let workers: HashSet<&str> = claims.iter().map(|claim| claim.worker.as_str()).collect();
        let rules: Vec<Rule> = sqlx::query_as(RULES)
            .bind(to_json(&queues))
            .bind(to_json(&workers))
            .fetch_all(connection)
            .await?;
        let mut gates = Self { room: HashMap::new(), drained: HashSet::new() };
        for rule in rules {
            let paused_since = rule.paused_at.map(|_| Timestamp::UNIX_EPOCH);
            let rules = QueueRules { paused_since, concurrency: rule.concurrency };
            let room = rules.room(usize::try_from(rule.held).unwrap_or(usize::MAX));
            gates.room.extend(rule.name.zip(room));
            gates.drained.extend(rule.worker);
        }
        Ok(gates)
    }

    /// Whether the claim's worker may be handed anything.
    pub(super) fn admits(&self, claim: &Claim) -> bool {
        !self.drained.contains(claim.worker.as_str())
    }

    pub(super) fn is_open(&self, queue: &str) -> bool {
        self.room.get(queue) != Some(&0)
    }

    /// Takes the room for one more of the queue's jobs; answers whether there was any.
    pub(super) fn enter(&mut self, queue: &str) -> bool {
        match self.room.get_mut(queue) {
            None => true,
            Some(0) => false,
            Some(room) => {
                *room -= 1;
                true
            }
        }
    }
}

/// Changes the rules of a queue.
pub(super) struct ChangeQueue {
    pub(super) name: QueueName,
    pub(super) change: QueueChange,
    pub(super) now: Timestamp,
}

impl Verb for ChangeQueue {
    type Answer = QueueRules;

    /// One after the other: people ask for it, one at a time.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<QueueRules>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { name, change, now } in calls {
            let row: Option<QueueRow> =
                sqlx::query_as(QUEUE).bind(name.as_str()).fetch_optional(&mut *connection).await?;
            let before = row.map(QueueRecord::try_from).transpose()?;
            let rules = before.map(|queue| queue.rules).unwrap_or_default().changed(*change, *now);
            sqlx::query(SET)
                .bind(name.as_str())
                .bind(rules.paused_since.map(Timestamp::as_millisecond))
                .bind(rules.concurrency)
                .execute(&mut *connection)
                .await?;
            answers.push(rules);
        }
        Ok(answers)
    }
}

/// Has a worker be handed nothing new, or lifts that.
pub(super) struct Drain {
    pub(super) worker: WorkerName,
    pub(super) draining: bool,
    pub(super) now: Timestamp,
}

impl Verb for Drain {
    type Answer = Option<Drained>;

    /// One after the other, as [`ChangeQueue`].
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Option<Drained>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { worker, draining, now } in calls {
            let since: Option<Option<i64>> = sqlx::query_scalar(DRAIN)
                .bind(worker.as_str())
                .bind(draining)
                .bind(now.as_millisecond())
                .fetch_optional(&mut *connection)
                .await?;
            let moment = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or(*now);
            answers.push(since.map(|since| since.map(moment)));
        }
        Ok(answers)
    }
}

pub(super) async fn ahead(reads: &SqlitePool, job: &Job) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(AHEAD)
        .bind(&job.spec.queue)
        .bind(job.spec.priority)
        .bind(job.id.0)
        .fetch_one(reads)
        .await?;
    Ok(count as u64)
}

pub(super) async fn all(reads: &SqlitePool) -> Result<Vec<QueueRecord>, StoreError> {
    let rows: Vec<QueueRow> = sqlx::query_as(ALL).fetch_all(reads).await?;
    rows.into_iter().map(QueueRecord::try_from).collect()
}
