//! Hands out jobs to one claim after the other.

use std::cmp::Reverse;

use orchestra_contracts::{JobId, Span};

use super::tables::{Entry, Tables};
use crate::{
    domain::{Job, JobEvent, JobState, Rules},
    store::{Applied, Claim, LeaseTerms},
};

impl Tables {
    /// What the claim was answered before, or the oldest claimable jobs.
    pub(super) fn claim(&mut self, claim: &Claim, rules: &Rules) -> Vec<Job> {
        let before = self.answered(claim, rules);
        if !before.is_empty() {
            return before;
        }
        let mut jobs = Vec::new();
        let mut room = self.room();
        let mut enter = |id: &JobId| {
            let queue = self.job(*id).map(|job| job.spec.queue.as_str()).unwrap_or_default();
            match room.get_mut(queue) {
                None => true,
                Some(room) => room.checked_sub(1).map(|less| *room = less).is_some(),
            }
        };
        let share: Vec<JobId> = self
            .claimable(claim, rules)
            .into_iter()
            .filter(&mut enter)
            .take(claim.tokens.len())
            .collect();
        for (id, token) in share.into_iter().zip(&claim.tokens) {
            let ttl = match claim.terms {
                LeaseTerms::Renewed(policy) => policy.of(self.lease_wish(id)),
                LeaseTerms::JobTimeout { extra } => self.timeout_and(id, extra),
            };
            let (worker, token) = (claim.worker.clone(), token.clone());
            let applied = self.apply(id, JobEvent::Claimed { worker, token, ttl }, rules);
            let Some(Applied { job, result: Ok(_), .. }) = applied else { continue };
            let kept = self.jobs.get_mut(&id).and_then(|entry| entry.attempts.last_mut());
            if let Some(kept) = kept {
                kept.claim_request.clone_from(&claim.request_id);
            }
            jobs.push(job);
        }
        jobs
    }

    fn answered(&self, claim: &Claim, rules: &Rules) -> Vec<Job> {
        let Some(request) = &claim.request_id else { return Vec::new() };
        let is_answer = |entry: &&Entry| {
            let lease = entry.job.lease();
            let live = lease
                .is_some_and(|lease| lease.worker == claim.worker && lease.expires_at > rules.now);
            live && entry.attempts.last().is_some_and(|kept| kept.answers(request))
        };
        let mut jobs: Vec<&Job> =
            self.jobs.values().filter(is_answer).map(|entry| &entry.job).collect();
        jobs.sort_by_key(|job| (Reverse(job.spec.priority), job.id));
        jobs.into_iter().cloned().collect()
    }

    fn claimable(&self, claim: &Claim, rules: &Rules) -> Vec<JobId> {
        if self.is_drained(&claim.worker) {
            return Vec::new();
        }
        let waits = |job: &&Job| match &job.state {
            JobState::Pending { not_before, hold: None, .. } => {
                not_before.is_none_or(|time| time <= rules.now)
                    && claim.queues.contains(&job.spec.queue)
                    && claim.takes(&job.spec.queue, &job.spec.demand(), rules.now)
            }
            _ => false,
        };
        let mut jobs: Vec<&Job> =
            self.jobs.values().map(|entry| &entry.job).filter(waits).collect();
        jobs.sort_by_key(|job| (Reverse(job.spec.priority), job.id));
        jobs.into_iter().map(|job| job.id).collect()
    }

    fn lease_wish(&self, id: JobId) -> Option<Span> {
        self.job(id)?.spec.lease
    }

    fn timeout_and(&self, id: JobId, extra: Span) -> Span {
        let timeout = self.job(id).and_then(|job| job.spec.timeout).unwrap_or_default();
        Span(timeout.0.saturating_add(extra.0))
    }
}
