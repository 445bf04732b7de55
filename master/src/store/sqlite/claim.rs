//! Handing out jobs: one look at the queues for all who want some.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
};

use orchestra_contracts::{JobId, Span, WorkerName};
use serde::Serialize;
use sqlx::SqliteConnection;

use super::{batch::Verb, ledger::Ledger, set_aside::readable};
use crate::{
    domain::{Job, JobEvent, Rules},
    store::{
        Applied, Claim, LeaseTerms, StoreError,
        rows::{JobRow, to_json},
        sql::select_jobs,
    },
};

/// The first $3 claimable jobs of each queue. It reads only index entries of
/// pending jobs, however many others there are.
pub(super) const CLAIMABLE: &str = select_jobs!(
    "FROM json_each($1) AS q CROSS JOIN job AS j ON j.id IN (
         SELECT c.id FROM job AS c
         WHERE c.status = 'Pending' AND c.queue = q.value
           AND (c.not_before IS NULL OR c.not_before <= $2)
         ORDER BY c.priority DESC, c.id LIMIT $3)",
    "ORDER BY j.priority DESC, j.id"
);

/// The live leases that earlier answers to the same requests gave.
pub(super) const REPEATED: &str = select_jobs!(
    "FROM jsonb_each($1) AS r
     JOIN attempt AS b ON b.claim_request = r.value->>'request' AND b.ended_at IS NULL
     JOIN job AS j ON j.id = b.job_id",
    "WHERE j.worker = r.value->>'worker' AND j.expires_at > r.value->>'now'
     ORDER BY j.priority DESC, j.id"
);

/// Hands out jobs to several workers in turn.
pub(super) struct ClaimRound {
    pub(super) claims: Vec<Claim>,
    pub(super) rules: Rules,
    /// Nothing new is handed out: the disk has no room for what would follow.
    pub(super) closed: bool,
}

impl Verb for ClaimRound {
    type Answer = Vec<Vec<Job>>;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Vec<Vec<Job>>>, StoreError> {
        let mut answered = Answered::load(connection, calls).await?;
        let jobs = claimable(connection, calls).await?;
        let mut queues = Queues::of(&jobs);
        let mut ledger = Ledger::of(jobs);
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let mut round = Vec::with_capacity(call.claims.len());
            for claim in &call.claims {
                if let Some(before) = answered.to(claim) {
                    round.push(before.to_vec());
                    continue;
                }
                let jobs = if call.closed {
                    Vec::new()
                } else {
                    hand_out(claim, &call.rules, &mut queues, &mut ledger)
                };
                answered.note(claim, &jobs);
                round.push(jobs);
            }
            answers.push(round);
        }
        ledger.save(connection).await?;
        Ok(answers)
    }
}

/// Enough jobs for all of `calls`, in claiming order.
async fn claimable(
    connection: &mut SqliteConnection,
    calls: &[ClaimRound],
) -> Result<Vec<Job>, StoreError> {
    let claims = || calls.iter().filter(|call| !call.closed).flat_map(|call| &call.claims);
    let wanted: usize = claims().map(|claim| claim.tokens.len()).sum();
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let mut queues: Vec<&str> =
        claims().flat_map(|claim| &claim.queues).map(String::as_str).collect();
    queues.sort_unstable();
    queues.dedup();
    let now = calls.iter().map(|call| call.rules.now).min().unwrap_or_default();
    loop {
        let rows: Vec<JobRow> = sqlx::query_as(CLAIMABLE)
            .bind(to_json(&queues))
            .bind(now.as_millisecond())
            .bind(wanted as i64)
            .fetch_all(&mut *connection)
            .await?;
        let (jobs, damaged) = readable(connection, rows, now).await?;
        // What was set aside made room for others among the first.
        if !damaged {
            return Ok(jobs);
        }
    }
}

fn hand_out(claim: &Claim, rules: &Rules, queues: &mut Queues, ledger: &mut Ledger) -> Vec<Job> {
    let mut jobs = Vec::new();
    while let Some(token) = claim.tokens.get(jobs.len())
        && let Some(next) = queues.pop(&claim.queues)
    {
        let ttl = match claim.terms {
            LeaseTerms::Renewed(policy) => policy.of(next.lease),
            LeaseTerms::JobTimeout { extra } => Span(next.timeout.0.saturating_add(extra.0)),
        };
        let event = JobEvent::Claimed { worker: claim.worker.clone(), token: token.clone(), ttl };
        let Some(Applied { job, result: Ok(_) }) = ledger.apply(next.id, event, rules) else {
            continue;
        };
        if let Some(request) = &claim.request_id {
            ledger.note_request(&job, request);
        }
        jobs.push(job);
    }
    jobs
}

/// The heads of the queues.
struct Queues(HashMap<String, VecDeque<Waiting>>);

#[derive(Clone, Copy)]
struct Waiting {
    id: JobId,
    priority: i32,
    timeout: Span,
    lease: Option<Span>,
}

impl Queues {
    /// From jobs in claiming order.
    fn of(jobs: &[Job]) -> Self {
        let mut queues: HashMap<String, VecDeque<Waiting>> = HashMap::new();
        for job in jobs {
            queues.entry(job.spec.queue.clone()).or_default().push_back(Waiting {
                id: job.id,
                priority: job.spec.priority,
                timeout: job.spec.timeout.unwrap_or_default(),
                lease: job.spec.lease,
            });
        }
        Self(queues)
    }

    /// The next job of any of these queues.
    fn pop(&mut self, names: &[String]) -> Option<Waiting> {
        let head = |name: &&String| {
            let first = self.0.get(*name)?.front()?;
            Some((Reverse(first.priority), first.id))
        };
        let first = names.iter().filter(|name| head(name).is_some()).min_by_key(head)?;
        self.0.get_mut(first)?.pop_front()
    }
}

/// Which requests were answered already, and how: a worker asks again when the
/// answer was lost on its way.
struct Answered(HashMap<(WorkerName, String), Vec<Job>>);

#[derive(Serialize)]
struct Question<'a> {
    worker: &'a WorkerName,
    request: &'a str,
    now: i64,
}

impl Answered {
    async fn load(
        connection: &mut SqliteConnection,
        calls: &[ClaimRound],
    ) -> Result<Self, StoreError> {
        let questions: Vec<Question<'_>> = calls.iter().flat_map(ClaimRound::questions).collect();
        let mut answers = Self(HashMap::new());
        if questions.is_empty() {
            return Ok(answers);
        }
        let rows: Vec<JobRow> =
            sqlx::query_as(REPEATED).bind(to_json(&questions)).fetch_all(connection).await?;
        for mut row in rows {
            let request = row.claim_request.take().unwrap_or_default();
            let job = Job::try_from(row)?;
            if let Some(lease) = job.lease() {
                answers.0.entry((lease.worker.clone(), request)).or_default().push(job);
            }
        }
        Ok(answers)
    }

    fn to(&self, claim: &Claim) -> Option<&[Job]> {
        let request = claim.request_id.clone()?;
        self.0.get(&(claim.worker.clone(), request)).map(Vec::as_slice)
    }

    /// The same claim may wait twice in one batch.
    fn note(&mut self, claim: &Claim, jobs: &[Job]) {
        if let Some(request) = &claim.request_id {
            self.0.insert((claim.worker.clone(), request.clone()), jobs.to_vec());
        }
    }
}

impl ClaimRound {
    fn questions(&self) -> impl Iterator<Item = Question<'_>> {
        let now = self.rules.now.as_millisecond();
        self.claims.iter().filter_map(move |claim| {
            let request = claim.request_id.as_deref()?;
            Some(Question { worker: &claim.worker, request, now })
        })
    }
}
