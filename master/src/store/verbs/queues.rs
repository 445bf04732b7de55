//! The rules of queues, drained workers, and what both mean for a batch of claims.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use orchestra_contracts::{QueueChange, QueueName, WorkerName};
use serde::Deserialize;
use sqlx_macros::FromRow;

use super::{Needs, Verb};
use crate::{
    domain::{Job, QueueRules},
    store::{
        Claim, Drained, QueueRecord, StoreError,
        connection::{Connection, Reads, values},
        counts::Open,
        rows::{QueueRow, to_json},
        statement::{Statement, statement},
    },
};

const QUEUE: Statement = Statement::plain(
    "SELECT name, paused_at, concurrency, CAST(0 AS BIGINT) AS pending, CAST(0 AS BIGINT) AS held
     FROM queue WHERE name = $1",
);

const SET: Statement = Statement::plain(
    "
    INSERT INTO queue (name, paused_at, concurrency) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET
        paused_at = excluded.paused_at, concurrency = excluded.concurrency",
);

/// Whoever is drained already keeps the time.
const DRAIN: Statement = Statement::plain(
    "
    UPDATE worker SET draining_at = CASE WHEN $2 THEN coalesce(draining_at, $3) END
    WHERE name = $1 RETURNING draining_at",
);

/// With the numbers that PostgreSQL's masters keep there.
const ALL: Statement = Statement::plain(
    "
    WITH open AS (
        SELECT queue AS name, CAST(sum(pending) AS BIGINT) AS pending,
               CAST(sum(held) AS BIGINT) AS held
        FROM job_count GROUP BY queue HAVING sum(pending) <> 0 OR sum(held) <> 0
    )
    SELECT name, q.paused_at, q.concurrency, coalesce(o.pending, 0) AS pending,
           coalesce(o.held, 0) AS held
    FROM queue AS q FULL JOIN open AS o USING (name) ORDER BY name",
);

const WITH_RULES: Statement = Statement::plain(
    "SELECT name, paused_at, concurrency, CAST(0 AS BIGINT) AS pending, CAST(0 AS BIGINT) AS held
     FROM queue",
);

/// Those of queue $1 that go before the job $3 of priority $2.
pub(in crate::store) const AHEAD: Statement = Statement::plain(
    "
    SELECT count(*) FROM job AS c
    WHERE c.status = 'Pending' AND c.waits_for = 'worker' AND c.queue = $1
      AND (c.priority > $2 OR (c.priority = $2 AND c.id < $3))",
);

/// Two who count what a queue holds at once would hand out too much.
const LOCK_BOUNDED: Statement = statement!(()
    "SELECT q.name FROM " {names "$1"} " JOIN queue AS q ON q.name = r.name
     WHERE q.concurrency IS NOT NULL ORDER BY q.name" ["" | " FOR UPDATE OF q"]);

/// The rules of the queues in $1, with what is held where that matters, and of the workers in
/// $2 those that are being drained.
pub(in crate::store) const RULES: Statement = statement!(()
    "SELECT q.name, NULL AS worker, q.paused_at, q.concurrency,
           CASE WHEN q.concurrency IS NULL THEN 0 ELSE (
               SELECT count(*) FROM job AS j WHERE j.token IS NOT NULL AND j.queue = q.name
           ) END AS held
    FROM " {names "$1"} " JOIN queue AS q ON q.name = r.name
    WHERE q.paused_at IS NOT NULL OR q.concurrency IS NOT NULL
    UNION ALL
    SELECT NULL, w.name, NULL, NULL, 0
    FROM " {names "$2"} " JOIN worker AS w ON w.name = r.name
    WHERE w.draining_at IS NOT NULL");

/// Of all workers. Where many wait, reading through them costs less than looking for each.
const DRAINED: Statement =
    Statement::plain("SELECT name FROM worker WHERE draining_at IS NOT NULL");

/// More than these are many.
const FEW: usize = 32;

/// The jobs that a batch of claims may get.
pub(in crate::store) struct Gates {
    /// How many more jobs each bounded queue may hand out.
    room: HashMap<String, usize>,
    drained: HashSet<String>,
}

#[derive(Deserialize, FromRow)]
struct Rule {
    name: Option<String>,
    worker: Option<String>,
    paused_at: Option<i64>,
    concurrency: Option<i64>,
    held: i64,
}

impl Gates {
    pub(in crate::store) async fn load(
        connection: &mut Connection,
        claims: &[&Claim],
    ) -> Result<Self, StoreError> {
        let queues: HashSet<&str> =
            claims.iter().flat_map(|claim| &claim.queues).map(String::as_str).collect();
        let are_many = claims.len() > FEW;
        let named = claims.iter().filter(|_| !are_many);
        let workers: HashSet<&str> = named.map(|claim| claim.worker.as_str()).collect();
        if connection.is_shared() {
            connection.all::<(String,)>(LOCK_BOUNDED, values![to_json(&queues)]).await?;
        }
        let rules: Vec<Rule> =
            connection.all(RULES, values![to_json(&queues), to_json(&workers)]).await?;
        let mut gates = Self { room: HashMap::new(), drained: HashSet::new() };
        if are_many {
            let drained: Vec<String> = connection.scalars(DRAINED, values![]).await?;
            gates.drained.extend(drained);
        }
        for rule in rules {
            let paused_since = rule.paused_at.map(|_| Timestamp::UNIX_EPOCH);
            let concurrency = rule.concurrency.map(|bound| bound as u32);
            let rules = QueueRules { paused_since, concurrency };
            let room = rules.room(usize::try_from(rule.held).unwrap_or(usize::MAX));
            gates.room.extend(rule.name.zip(room));
            gates.drained.extend(rule.worker);
        }
        Ok(gates)
    }

    /// Whether the claim's worker may get jobs.
    pub(in crate::store) fn admits(&self, claim: &Claim) -> bool {
        !self.drained.contains(claim.worker.as_str())
    }

    pub(in crate::store) fn is_open(&self, queue: &str) -> bool {
        self.room.get(queue) != Some(&0)
    }

    /// Takes one of the queue's free places; returns whether there was any.
    pub(in crate::store) fn enter(&mut self, queue: &str) -> bool {
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
pub(in crate::store) struct ChangeQueue {
    pub(in crate::store) name: QueueName,
    pub(in crate::store) change: QueueChange,
    pub(in crate::store) now: Timestamp,
}

impl Verb for ChangeQueue {
    type Answer = QueueRules;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    /// One after the other: people ask for it, one at a time.
    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<QueueRules>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        connection.notification.claimable = true;
        for Self { name, change, now } in calls {
            let row: Option<QueueRow> = connection.one(QUEUE, values![name.as_str()]).await?;
            let before = row.map(QueueRecord::try_from).transpose()?;
            let rules = before.map(|queue| queue.rules).unwrap_or_default().changed(*change, *now);
            connection
                .change(
                    SET,
                    values![
                        name.as_str(),
                        rules.paused_since.map(Timestamp::as_millisecond),
                        rules.concurrency.map(i64::from)
                    ],
                )
                .await?;
            answers.push(rules);
        }
        Ok(answers)
    }
}

/// Starts or stops draining a worker.
pub(in crate::store) struct Drain {
    pub(in crate::store) worker: WorkerName,
    pub(in crate::store) draining: bool,
    pub(in crate::store) now: Timestamp,
}

impl Verb for Drain {
    type Answer = Option<Drained>;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    /// One after the other, as [`ChangeQueue`].
    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<Option<Drained>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        connection.notification.claimable = true;
        for Self { worker, draining, now } in calls {
            let since: Option<Option<i64>> = connection
                .scalar(DRAIN, values![worker.as_str(), *draining, now.as_millisecond()])
                .await?;
            let moment = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or(*now);
            answers.push(since.map(|since| since.map(moment)));
        }
        Ok(answers)
    }
}

pub(in crate::store) async fn ahead(reads: &Reads, job: &Job) -> Result<u64, StoreError> {
    let count: Option<i64> = reads
        .scalar(AHEAD, values![&job.spec.queue, i64::from(job.spec.priority), job.id.0])
        .await?;
    Ok(count.unwrap_or_default() as u64)
}

pub(in crate::store) async fn all(reads: &Reads) -> Result<Vec<QueueRecord>, StoreError> {
    let rows: Vec<QueueRow> = reads.all(ALL, values![]).await?;
    rows.into_iter().map(QueueRecord::try_from).collect()
}

/// The same where the numbers of jobs are in memory.
pub(in crate::store) async fn with_counts(
    reads: &Reads,
    mut open: BTreeMap<String, Open>,
) -> Result<Vec<QueueRecord>, StoreError> {
    let mut rows: Vec<QueueRow> = reads.all(WITH_RULES, values![]).await?;
    for row in &mut rows {
        row.count(open.remove(row.name()).unwrap_or_default());
    }
    rows.extend(open.into_iter().map(|(name, open)| QueueRow::without_rules(name, open)));
    rows.sort_unstable_by(|one, other| one.name().cmp(other.name()));
    rows.into_iter().map(QueueRecord::try_from).collect()
}
