//! Hands out jobs: one read of the queues for all claims.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use orchestra_contracts::{JobId, Span, WorkerName};
use serde::Serialize;

use super::{
    Verb,
    ledger::{Ledger, rows_of},
    lines::Lines,
    set_aside::readable,
};
use crate::{
    domain::{Job, JobEvent, Rules},
    store::{
        Applied, Claim, LeaseTerms, StoreError,
        connection::{Connection, values},
        rows::{JobRow, to_json},
        statement::{Statement, statement},
    },
};

/// The live leases that earlier answers to the same requests granted.
pub(in crate::store) const REPEATED: Statement = statement!(
    (request text, worker text, now bigint)
    "SELECT " columns " FROM " rows "
     JOIN attempt AS b ON b.claim_request = r.request AND b.ended_at IS NULL
     JOIN job AS j ON j.id = b.job_id" newest
    "WHERE j.worker = r.worker AND j.expires_at > r.now
     ORDER BY j.priority DESC, j.id");

/// Hands out jobs to several workers in turn.
pub(in crate::store) struct ClaimBatch {
    pub(in crate::store) claims: Vec<Claim>,
    pub(in crate::store) rules: Rules,
    /// No new jobs are handed out, because the disk lacks space for their output.
    pub(in crate::store) closed: bool,
}

impl Verb for ClaimBatch {
    type Answer = Vec<Vec<Job>>;

    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<Vec<Vec<Job>>>, StoreError> {
        let mut answered = Answered::default();
        let all = calls.iter().flat_map(|call| &call.claims);
        answered.look(connection, all.filter(|claim| claim.looks_back), now_of(calls)).await?;
        let (mut shares, mut ledger) = share_out(connection, calls, &mut answered).await?;
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let mut round = Vec::with_capacity(call.claims.len());
            for claim in &call.claims {
                let share = shares.pop_front().unwrap_or_default();
                if let Some(before) = answered.to(claim) {
                    round.push(before.to_vec());
                    continue;
                }
                let jobs = hand_out(claim, share, &call.rules, &mut ledger);
                answered.note(claim, &jobs);
                round.push(jobs);
            }
            answers.push(round);
        }
        ledger.write(connection).await?;
        Ok(answers)
    }
}

/// The jobs of each claim, in the order of the claims, and a ledger with all of them.
async fn share_out(
    connection: &mut Connection,
    calls: &[ClaimBatch],
    answered: &mut Answered,
) -> Result<(VecDeque<Vec<JobId>>, Ledger), StoreError> {
    let now = now_of(calls);
    // Those that another master is handing out, or somebody is ending, at this moment.
    let mut taken = BTreeSet::new();
    loop {
        let open = open_claims(calls, answered);
        let claims: Vec<&Claim> = open.iter().flatten().copied().collect();
        let (mut lines, mut read) = Lines::load(connection, &claims, now, &taken).await?;
        let shares = shares(&open, &mut lines, now);
        if shares.iter().all(Vec::is_empty) {
            return Ok((shares, Ledger::of([])));
        }
        let served = open.iter().zip(&shares).filter(|(_, share)| !share.is_empty());
        let unsure = served.filter_map(|(claim, _)| claim.filter(|claim| !claim.looks_back));
        if answered.look(connection, unsure, now).await? {
            continue;
        }
        let ids: Vec<JobId> = shares.iter().flatten().copied().collect();
        let ours: BTreeSet<JobId> = connection.lock_waiting(&ids).await?.into_iter().collect();
        if ours.len() < ids.len() {
            // Passed by; what comes behind them in their lines is shared out in their place.
            taken.extend(ids.into_iter().filter(|id| !ours.contains(id)));
            continue;
        }
        let (mut rows, mut unread) = (Vec::new(), Vec::new());
        for id in ids {
            match read.remove(&id) {
                Some(row) => rows.push(row),
                None => unread.push(id),
            }
        }
        if !unread.is_empty() {
            rows.extend(rows_of(connection, unread.into_iter()).await?);
        }
        let (jobs, damaged) = readable(connection, rows, now).await?;
        // What was set aside made room for others.
        if !damaged {
            return Ok((shares, Ledger::of(jobs)));
        }
    }
}

fn now_of(calls: &[ClaimBatch]) -> Timestamp {
    calls.iter().map(|call| call.rules.now).min().unwrap_or_default()
}

/// Every claim in order; `None` for claims that get no new jobs.
fn open_claims<'a>(calls: &'a [ClaimBatch], answered: &Answered) -> Vec<Option<&'a Claim>> {
    let open = |call: &'a ClaimBatch| {
        let is_open = |claim: &&Claim| !call.closed && answered.to(claim).is_none();
        call.claims.iter().map(move |claim| Some(claim).filter(is_open))
    };
    calls.iter().flat_map(open).collect()
}

/// The jobs of each claim, in their order.
fn shares(open: &[Option<&Claim>], lines: &mut Lines, now: Timestamp) -> VecDeque<Vec<JobId>> {
    let mut shares: VecDeque<_> = open.iter().map(|_| Vec::new()).collect();
    // The same claim may wait twice in one batch.
    let mut served = HashSet::new();
    for (claim, share) in open.iter().zip(&mut shares) {
        // Of a thousand that wait most find nothing left.
        if lines.are_empty() {
            break;
        }
        let Some(claim) = claim else { continue };
        let request = claim.request_id.as_ref().map(|request| (&claim.worker, request));
        if request.is_none_or(|request| !served.contains(&request)) {
            *share = lines.share(claim, now);
            served.extend(request.filter(|_| !share.is_empty()));
        }
    }
    shares
}

fn hand_out(claim: &Claim, share: Vec<JobId>, rules: &Rules, ledger: &mut Ledger) -> Vec<Job> {
    let mut jobs = Vec::with_capacity(share.len());
    for (id, token) in share.into_iter().zip(&claim.tokens) {
        let Some(waiting) = ledger.job(id) else { continue };
        let ttl = match claim.terms {
            LeaseTerms::Renewed(policy) => policy.of(waiting.spec.lease),
            LeaseTerms::JobTimeout { extra } => {
                let timeout = waiting.spec.timeout.unwrap_or_default();
                Span(timeout.0.saturating_add(extra.0))
            }
        };
        let event = JobEvent::Claimed { worker: claim.worker.clone(), token: token.clone(), ttl };
        let Some(Applied { job, result: Ok(_), .. }) = ledger.apply(id, event, rules) else {
            continue;
        };
        if let Some(request) = &claim.request_id {
            ledger.note_request(&job, request);
        }
        jobs.push(job);
    }
    jobs
}

/// Requests that were answered before, and their answers: a worker repeats a claim when its answer
/// was lost.
#[derive(Default)]
struct Answered(HashMap<WorkerName, HashMap<String, Vec<Job>>>);

#[derive(Serialize)]
struct Question<'a> {
    worker: &'a WorkerName,
    request: &'a str,
    now: i64,
}

impl Answered {
    /// Loads the answers of these requests; returns whether there was any.
    async fn look<'a>(
        &mut self,
        connection: &mut Connection,
        claims: impl Iterator<Item = &'a Claim>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let now = now.as_millisecond();
        let question = |claim: &'a Claim| {
            let request = claim.request_id.as_deref()?;
            Some(Question { worker: &claim.worker, request, now })
        };
        let questions: Vec<Question<'_>> = claims.filter_map(question).collect();
        if questions.is_empty() {
            return Ok(false);
        }
        let rows: Vec<JobRow> = connection.all(REPEATED, values![to_json(&questions)]).await?;
        let is_any = !rows.is_empty();
        for mut row in rows {
            let request = row.claim_request.take().unwrap_or_default();
            let job = Job::try_from(row)?;
            if let Some(lease) = job.lease() {
                let of_worker = self.0.entry(lease.worker.clone()).or_default();
                of_worker.entry(request).or_default().push(job);
            }
        }
        Ok(is_any)
    }

    fn to(&self, claim: &Claim) -> Option<&[Job]> {
        let request = claim.request_id.as_deref()?;
        self.0.get(&claim.worker)?.get(request).map(Vec::as_slice)
    }

    fn note(&mut self, claim: &Claim, jobs: &[Job]) {
        if let Some(request) = claim.request_id.clone().filter(|_| !jobs.is_empty()) {
            self.0.entry(claim.worker.clone()).or_default().insert(request, jobs.to_vec());
        }
    }
}
