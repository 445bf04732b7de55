//! Adding jobs, once for each key.

use std::collections::HashMap;

use jiff::Timestamp;
use orchestra_contracts::{IdempotencyKey, JobSpec, TokenId};

use super::tables::Tables;
use crate::store::{Fingerprint, KEYS_KEPT, Once, Submitted};

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
        specs: Vec<JobSpec>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Submitted {
        let Some(Once { token, key, fingerprint }) = once else { return self.add(specs, now) };
        self.submissions.retain(|_, kept| kept.at + KEYS_KEPT.0 > now);
        match self.submissions.get(&(token, key.clone())) {
            Some(kept) if kept.fingerprint == fingerprint => kept.answer.clone(),
            Some(_) => Submitted::Differs,
            None if specs.is_empty() => Submitted::New(Vec::new()),
            None => {
                let answer = self.add(specs, now);
                let kept = Kept { fingerprint, answer: answer.again(), at: now };
                self.submissions.insert((token, key), kept);
                answer
            }
        }
    }

    fn add(&mut self, specs: Vec<JobSpec>, now: Timestamp) -> Submitted {
        Submitted::New(specs.into_iter().map(|spec| self.insert(spec, now)).collect())
    }
}
