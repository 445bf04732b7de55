//! A claim for jobs, as the store is asked for it.

use std::{ops::Deref, sync::Arc};

use jiff::Timestamp;
use orchestra_contracts::{Demand, LeaseToken, Span, WorkerName};

use crate::domain::{LeasePolicy, Offers};

/// One worker's wish for jobs.
#[derive(Clone, Debug)]
pub struct Wish {
    pub worker: WorkerName,
    pub queues: Vec<String>,
    /// One for each job that it would take.
    pub tokens: Vec<LeaseToken>,
    pub terms: LeaseTerms,
    /// A claim that was answered before gets the same jobs again while their leases are live.
    pub request_id: Option<String>,
}

/// A wish as the store is asked for it: a thousand that wait are asked for whenever there is a
/// job, so it is cheap to copy.
#[derive(Clone, Debug)]
pub struct Claim {
    pub wish: Arc<Wish>,
    /// By which it is known what the worker takes.
    pub offers: Arc<Offers>,
    /// Whether an earlier answer to the same request is looked for in any case. Without that it is looked
    /// for only where there is something new for the claim, so that it never gets both.
    pub looks_back: bool,
}

impl Claim {
    pub fn new(wish: Arc<Wish>, offers: Arc<Offers>) -> Self {
        Self { wish, offers, looks_back: true }
    }

    pub(super) fn takes(&self, queue: &str, demand: &Demand, now: Timestamp) -> bool {
        self.offers.takes(&self.worker, queue, demand, now)
    }
}

impl Deref for Claim {
    type Target = Wish;

    fn deref(&self) -> &Wish {
        &self.wish
    }
}

#[derive(Clone, Copy, Debug)]
pub enum LeaseTerms {
    /// Renewed by heartbeats.
    Renewed(LeasePolicy),
    /// For workers that send no heartbeats: the job's own timeout and this much more.
    JobTimeout { extra: Span },
}

#[cfg(test)]
impl From<Wish> for Claim {
    fn from(wish: Wish) -> Self {
        Self::new(Arc::new(wish), Arc::default())
    }
}
