//! Heartbeats: renews all leases of all waiting calls with one statement.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use orchestra_contracts::{JobId, LeaseToken, Span, WorkerName, worker::LeaseRef};
use serde::Serialize;

use super::{Needs, Verb};
use crate::{
    domain::LeasePolicy,
    store::{
        Renewal, StoreError,
        connection::{Connection, values},
        rows::to_json,
        statement::{Statement, statement},
    },
};

/// A renewal never shortens a lease. A job's own lease counts between the
/// operator's least and most.
pub(in crate::store) const RENEW: Statement = statement!(
    (id bigint, attempt bigint, worker text, token text, now bigint, shortest bigint, longest bigint)
    "UPDATE job SET expires_at = " ["max" | "greatest"] "(job.expires_at, r.now + "
        ["max" | "greatest"] "(r.shortest, " ["min" | "least"] "(coalesce(job.lease, 0), r.longest)))
    FROM " rows "
    WHERE job.id = r.id AND job.attempts = r.attempt
      AND job.worker = r.worker AND job.token = r.token
    RETURNING job.id, job.attempts, job.worker, job.token, job.stop, job.lease");

const SEEN: Statement = statement!(
    (name text, seen_at bigint)
    "UPDATE worker SET seen_at = " ["max" | "greatest"] "(worker.seen_at, r.seen_at)
    FROM " rows " WHERE worker.name = r.name
    RETURNING worker.name");

/// One worker's heartbeat.
pub(in crate::store) struct Renew {
    pub(in crate::store) worker: WorkerName,
    pub(in crate::store) leases: Vec<LeaseRef>,
    pub(in crate::store) policy: LeasePolicy,
    pub(in crate::store) now: Timestamp,
}

#[derive(Serialize)]
struct LeaseWrite<'a> {
    id: JobId,
    attempt: u32,
    worker: &'a WorkerName,
    token: &'a LeaseToken,
    now: i64,
    shortest: i64,
    longest: i64,
}

impl LeaseWrite<'_> {
    fn key(&self) -> (JobId, u32, &WorkerName, &str) {
        (self.id, self.attempt, self.worker, self.token.as_str())
    }
}

#[derive(Serialize)]
struct SeenWrite<'a> {
    name: &'a WorkerName,
    seen_at: i64,
}

/// The leases that are renewed, by job, attempt, worker and token.
type Held = HashMap<(i64, i64, String, String), Renewed>;

#[derive(Clone, Copy)]
struct Renewed {
    /// Whether the attempt is to stop.
    stop: bool,
    /// The lease that the job asks for.
    lease: Option<Span>,
}

impl Verb for Renew {
    type Answer = Renewal;

    fn needs(&self, needs: &mut Needs) {
        needs.jobs.extend(self.leases.iter().map(|lease| lease.job));
    }

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<Renewal>, StoreError> {
        let held = renew(connection, calls).await?;
        let known = see(connection, calls).await?;
        Ok(calls.iter().map(|call| call.answer(&held, &known)).collect())
    }
}

async fn renew(connection: &mut Connection, calls: &[Renew]) -> Result<Held, StoreError> {
    let mut leases: Vec<LeaseWrite<'_>> = calls.iter().flat_map(Renew::leases).collect();
    // When one lease comes twice, UPDATE would take either time: keep the later.
    leases.sort_by(|a, b| a.key().cmp(&b.key()).then(b.now.cmp(&a.now)));
    leases.dedup_by(|b, a| a.key() == b.key());
    if leases.is_empty() {
        return Ok(Held::new());
    }
    let rows: Vec<(i64, i64, String, String, String, Option<i64>)> =
        connection.all(RENEW, values![to_json(&leases)]).await?;
    let held = |(id, attempt, worker, token, stop, lease): (_, _, _, _, String, Option<i64>)| {
        let lease = lease.map(|millis| Span::from_millis(millis as u64));
        ((id, attempt, worker, token), Renewed { stop: stop != "No", lease })
    };
    Ok(rows.into_iter().map(held).collect())
}

async fn see(connection: &mut Connection, calls: &[Renew]) -> Result<HashSet<String>, StoreError> {
    let mut workers: Vec<SeenWrite<'_>> = calls.iter().map(Renew::seen).collect();
    workers.sort_by_key(|worker| (worker.name, -worker.seen_at));
    workers.dedup_by_key(|worker| worker.name);
    let names: Vec<String> = connection.scalars(SEEN, values![to_json(&workers)]).await?;
    Ok(names.into_iter().collect())
}

impl Renew {
    fn leases(&self) -> impl Iterator<Item = LeaseWrite<'_>> {
        let now = self.now.as_millisecond();
        let (shortest, longest) = (self.policy.base.as_millis(), self.policy.max.as_millis());
        self.leases.iter().map(move |lease| LeaseWrite {
            id: lease.job,
            attempt: lease.attempt.0,
            worker: &self.worker,
            token: &lease.token,
            now,
            shortest,
            longest,
        })
    }

    fn seen(&self) -> SeenWrite<'_> {
        SeenWrite { name: &self.worker, seen_at: self.now.as_millisecond() }
    }

    fn answer(&self, held: &Held, known: &HashSet<String>) -> Renewal {
        let mut renewal =
            Renewal { unknown: !known.contains(self.worker.as_str()), ..Renewal::default() };
        for lease in &self.leases {
            let worker = self.worker.as_str().to_owned();
            let token = lease.token.as_str().to_owned();
            let key = (lease.job.0, i64::from(lease.attempt.0), worker, token);
            let Some(renewed) = held.get(&key) else {
                renewal.lost.push(lease.job);
                continue;
            };
            if renewed.stop {
                renewal.stop.push(lease.job);
            }
            let lasts = self.policy.of(renewed.lease);
            if lasts > self.policy.base {
                renewal.longer.push((lease.job, lasts));
            }
        }
        renewal
    }
}
