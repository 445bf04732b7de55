//! Adds jobs, once for each key.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use orchestra_contracts::{IdempotencyKey, JobId, TokenId};

use super::tables::Tables;
use crate::{
    domain::{NewJob, Upstream},
    store::{Fingerprint, KEYS_KEPT, Once, Submitted, upload::wanted},
};

/// What was submitted with which key.
pub(super) type Submissions = HashMap<(Option<TokenId>, IdempotencyKey), Kept>;

#[derive(Debug)]
pub(super) struct Kept {
    fingerprint: Fingerprint,
    answer: Submitted,
    at: Timestamp,
}

impl Tables {
    pub(super) fn submit(
        &mut self,
        jobs: &[NewJob],
        once: Option<Once>,
        now: Timestamp,
    ) -> Submitted {
        let Some(Once { token, key, fingerprint }) = once else { return self.add(jobs, now) };
        self.submissions.retain(|_, kept| kept.at + KEYS_KEPT.0 > now);
        match self.submissions.get(&(token, key.clone())) {
            Some(kept) if kept.fingerprint == fingerprint => kept.answer.clone(),
            Some(_) => Submitted::Differs,
            None if jobs.is_empty() => Submitted::New(Vec::new()),
            None => {
                let answer = self.add(jobs, now);
                if !matches!(answer, Submitted::New(_)) {
                    return answer;
                }
                let kept = Kept { fingerprint, answer: answer.again(), at: now };
                self.submissions.insert((token, key), kept);
                answer
            }
        }
    }

    fn add(&mut self, jobs: &[NewJob], now: Timestamp) -> Submitted {
        let known = |(_, upstream): &(_, Upstream)| match upstream {
            Upstream::Known(id) => Some(*id),
            Upstream::Fellow(_) => None,
        };
        let known = jobs.iter().flat_map(|job| &job.after).filter_map(known);
        let missing: BTreeSet<JobId> = known.filter(|id| self.job(*id).is_none()).collect();
        if !missing.is_empty() {
            return Submitted::NoSuchJobs(missing.into_iter().collect());
        }
        let wanted = jobs.iter().flat_map(|job| wanted(&job.spec));
        let missing: BTreeSet<_> = wanted.filter(|hash| self.upload(hash).is_none()).collect();
        if !missing.is_empty() {
            return Submitted::NoSuchUploads(missing.into_iter().cloned().collect());
        }
        let ids = self.insert(jobs, now);
        self.release_new(&ids, now);
        Submitted::New(ids.into_iter().filter_map(|id| self.job(id).cloned()).collect())
    }
}
