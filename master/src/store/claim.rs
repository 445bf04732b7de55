//! A claim for jobs, as the store is asked for it.

use std::{ops::Deref, sync::Arc};

use jiff::Timestamp;
use orchestra_contracts::{Demand, LeaseToken, Span, WorkerName};

use crate::domain::{LeasePolicy, Offers};

/// What one worker claims.
#[derive(Clone, Debug)]
pub struct ClaimSpec {
    pub worker: WorkerName,
    pub queues: Vec<String>,
    /// One for each job that the worker takes.
    pub tokens: Vec<LeaseToken>,
    pub terms: LeaseTerms,
    /// Identifies a repeated claim, which gets the same jobs again while their leases are live.
    pub request_id: Option<String>,
}

/// A claim as the store is asked for it. A thousand waiting claims are asked for again whenever a
/// job appears, so it is cheap to clone.
#[derive(Clone, Debug)]
pub struct Claim {
    pub spec: Arc<ClaimSpec>,
    /// What workers offer, which decides whether this worker takes a job.
    pub offers: Arc<Offers>,
    /// Whether to look for an earlier answer to the same request in any case. Otherwise the store
    /// looks only when it has new jobs for the claim, so that the claim never gets both.
    pub looks_back: bool,
}

impl Claim {
    pub fn new(spec: Arc<ClaimSpec>, offers: Arc<Offers>) -> Self {
        Self { spec, offers, looks_back: true }
    }

    pub(super) fn takes(&self, queue: &str, demand: &Demand, now: Timestamp) -> bool {
        self.offers.takes(&self.worker, queue, demand, now)
    }
}

impl Deref for Claim {
    type Target = ClaimSpec;

    fn deref(&self) -> &ClaimSpec {
        &self.spec
    }
}

/// How long the leases of a claim last.
#[derive(Clone, Copy, Debug)]
pub enum LeaseTerms {
    /// Renewed by heartbeats.
    Renewed(LeasePolicy),
    /// For workers without heartbeats: the job's own timeout, and `extra`.
    JobTimeout { extra: Span },
}

#[cfg(test)]
impl From<ClaimSpec> for Claim {
    fn from(spec: ClaimSpec) -> Self {
        Self::new(Arc::new(spec), Arc::default())
    }
}
