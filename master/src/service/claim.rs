//! Claims of workers, in the short form and in the long one.

use std::time::Duration;

use orchestra_contracts::{
    FieldError, Job, LeaseToken, Span, WorkerName,
    worker::{ClaimTerms, Claimed, Lease, NextClaim},
};

use super::{MAX_WAIT, Service, ServiceError, newest_attempt, view};
use crate::{
    domain,
    store::{ClaimSpec, LeaseTerms},
};

/// The most jobs in one claim; the next claim is a moment away.
const MAX_SLOTS: u32 = 256;
const MAX_QUEUES: usize = 64;
const MAX_REQUEST_ID: usize = 128;
/// What a worker without heartbeats gets on top of the job's timeout.
const UNRENEWED_EXTRA: Span = Span::from_secs(60);

impl Service {
    /// Claims one job for a worker made of curl, without waiting. Nobody renews the lease, so it
    /// lasts as long as the job may run; the worker's name is the token.
    pub async fn claim_by_name(&self, worker: WorkerName) -> Result<Option<Job>, ServiceError> {
        let spec = ClaimSpec {
            queues: vec!["default".to_owned()],
            tokens: vec![LeaseToken::of_name(&worker)],
            terms: LeaseTerms::JobTimeout { extra: UNRENEWED_EXTRA },
            request_id: None,
            worker,
        };
        let jobs = self.handed_out(spec, Duration::ZERO).await?;
        Ok(jobs.first().map(with_secrets))
    }

    /// Claims up to as many jobs as the worker has slots. Returns as soon as there is one, or none
    /// when the wait is over.
    pub async fn claim(&self, terms: ClaimTerms) -> Result<Vec<Claimed>, ServiceError> {
        let ClaimTerms { worker, slots, wait, queues, request_id } = terms;
        let spec = self.claim_spec(worker, NextClaim { slots, queues, request_id }, "")?;
        let jobs = self.handed_out(spec, wait.min(MAX_WAIT).0).await?;
        Ok(self.delivered(&jobs))
    }

    /// The claim for the store. Errors point to fields below `place`.
    pub(super) fn claim_spec(
        &self,
        worker: WorkerName,
        terms: NextClaim,
        place: &str,
    ) -> Result<ClaimSpec, ServiceError> {
        let errors = refusals(&terms, place);
        if !errors.is_empty() {
            return Err(ServiceError::Invalid(errors));
        }
        Ok(ClaimSpec {
            worker,
            queues: terms.queues,
            tokens: (0..terms.slots).map(|_| new_token()).collect(),
            terms: LeaseTerms::Renewed(self.settings.leases()),
            request_id: terms.request_id,
        })
    }

    /// The accepted jobs, as they are sent to their worker. They must be sent: no waiting from here
    /// on.
    pub(super) fn delivered(&self, jobs: &[domain::Job]) -> Vec<Claimed> {
        let claimed = |job| Some(Claimed { job: with_secrets(job), ..self.claimed(job)? });
        jobs.iter().filter_map(claimed).collect()
    }

    async fn handed_out(
        &self,
        spec: ClaimSpec,
        wait: Duration,
    ) -> Result<Vec<domain::Job>, ServiceError> {
        let jobs = self.dispatcher.claim(spec, wait).await;
        let jobs = jobs.inspect_err(|_| self.metrics.claim_failed())?;
        self.count_claim(&jobs);
        Ok(jobs)
    }

    /// The lease with its remaining time: a repeated claim finds leases that have been running for
    /// a while, and so does a worker that registers again. The secrets are left out: the worker got
    /// them with its claim.
    pub(super) fn claimed(&self, job: &domain::Job) -> Option<Claimed> {
        let lease = job.lease()?;
        let left = lease.expires_at.duration_since(self.clock.now());
        let ttl = Duration::try_from(left).unwrap_or_default();
        let (attempt, token) = (newest_attempt(job)?, lease.token.clone());
        Some(Claimed { job: view::job(job), lease: Lease { attempt, token, ttl: ttl.into() } })
    }
}

/// The job with its secrets, only for the worker that has just got the lease; the dispatcher has
/// opened them.
fn with_secrets(job: &domain::Job) -> Job {
    let mut shown = view::job(job);
    shown.spec.secrets.clone_from(&job.spec.secrets);
    shown
}

fn refusals(terms: &NextClaim, place: &str) -> Vec<FieldError> {
    let checks = [
        (!(1..=MAX_SLOTS).contains(&terms.slots), "/slots", format!("is not 1 to {MAX_SLOTS}")),
        (
            !(1..=MAX_QUEUES).contains(&terms.queues.len()),
            "/queues",
            format!("does not name 1 to {MAX_QUEUES} queues"),
        ),
        (
            terms.request_id.as_ref().is_some_and(|id| id.len() > MAX_REQUEST_ID),
            "/requestId",
            format!("has more than {MAX_REQUEST_ID} bytes"),
        ),
    ];
    let wrong = checks.into_iter().filter(|(wrong, ..)| *wrong);
    wrong
        .map(|(_, pointer, detail)| FieldError { pointer: format!("{place}{pointer}"), detail })
        .collect()
}

/// 128 random bits.
fn new_token() -> LeaseToken {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the system has random numbers");
    LeaseToken::new(hex::encode(bits))
}
