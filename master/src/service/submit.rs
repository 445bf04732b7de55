//! Somebody hands in a job.

use jiff::Timestamp;
use orchestra_contracts::{FieldError, IdempotencyKey, Job, JobId, JobSpec, limits};

use super::{Caller, Service, ServiceError, Settings, view};
use crate::store::{Once, StoreError, Submitted};

/// The answer to a submission.
#[derive(Debug)]
pub struct Submission {
    pub job: Job,
    /// It was done before, by a submission with the same key.
    pub replayed: bool,
}

impl Service {
    /// Stores a job durably and lets workers know of it, once for each key of a caller.
    pub async fn submit(
        &self,
        mut spec: JobSpec,
        caller: &Caller,
        key: Option<IdempotencyKey>,
    ) -> Result<Submission, ServiceError> {
        let errors = self.refusals(&spec);
        if !errors.is_empty() {
            return Err(ServiceError::Invalid(errors));
        }
        let fingerprint = self.vault.fingerprint(&spec);
        let once = key.map(|key| Once { token: caller.token(), key, fingerprint });
        if let Err(refusal) = self.check_offers(&spec).await {
            // The same may have been accepted while another worker was there.
            return self.submitted_before(once).await?.ok_or(refusal);
        }
        let now = self.clock.now();
        spec.timeout.get_or_insert(self.settings.job_timeout);
        put_off(&mut spec, now);
        self.vault.seal(&mut spec);
        match self.store.submit(vec![spec], once, now).await? {
            Submitted::New(jobs) => {
                self.desk.look_again();
                let job = jobs.first().ok_or_else(nothing_inserted)?;
                Ok(Submission { job: view::job(job), replayed: false })
            }
            Submitted::Before(ids) => self.replay(&ids).await,
            Submitted::Differs => Err(ServiceError::KeyOfAnother),
        }
    }

    /// The answer to the submission with the same key, if there was one.
    async fn submitted_before(
        &self,
        once: Option<Once>,
    ) -> Result<Option<Submission>, ServiceError> {
        if once.is_none() {
            return Ok(None);
        }
        match self.store.submit(Vec::new(), once, self.clock.now()).await? {
            Submitted::New(_) => Ok(None),
            Submitted::Before(ids) => self.replay(&ids).await.map(Some),
            Submitted::Differs => Err(ServiceError::KeyOfAnother),
        }
    }

    async fn replay(&self, ids: &[JobId]) -> Result<Submission, ServiceError> {
        let id = ids.first().copied().ok_or_else(nothing_inserted)?;
        let job = self.store.job(id).await?.ok_or(ServiceError::SubmittedAndDeleted(id))?;
        Ok(Submission { job: view::job(&job), replayed: true })
    }

    /// What the words themselves and this operator refuse.
    pub(super) fn refusals(&self, spec: &JobSpec) -> Vec<FieldError> {
        let mut errors = spec.validate();
        let longest = self.settings.max_job_timeout;
        if spec.timeout.is_some_and(|timeout| timeout > longest) {
            errors.push(FieldError {
                pointer: "/timeout".to_owned(),
                detail: format!("is longer than {longest}, the longest that this master allows"),
            });
        }
        let latest = self.clock.now().saturating_add(limits::DELAY.0);
        if spec.not_before.is_some_and(|time| latest.is_ok_and(|latest| time > latest)) {
            errors.push(FieldError {
                pointer: "/notBefore".to_owned(),
                detail: format!("is more than {} from now", limits::DELAY),
            });
        }
        let Settings { lease, max_lease, retry, .. } = self.settings;
        if let Some(asked) = spec.lease.filter(|asked| !(lease..=max_lease).contains(asked)) {
            errors.push(FieldError {
                pointer: "/lease".to_owned(),
                detail: if asked < lease {
                    format!("is shorter than {lease}, which every job gets; leave it out")
                } else {
                    format!("is longer than {max_lease}, the longest that this master allows")
                },
            });
        }
        if spec.retry.backoff.is_some_and(|backoff| backoff > retry.max) {
            errors.push(FieldError {
                pointer: "/retry/backoff".to_owned(),
                detail: format!("is longer than {}, the longest wait before a retry", retry.max),
            });
        }
        errors
    }
}

/// A delay becomes a moment, and a moment a whole millisecond, as the database keeps it.
pub(super) fn put_off(spec: &mut JobSpec, now: Timestamp) {
    let delayed = spec.delay.take().map(|delay| now.saturating_add(delay.0).unwrap_or(now));
    let moment = spec.not_before.or(delayed).map(Timestamp::as_millisecond);
    spec.not_before = moment.and_then(|millis| Timestamp::from_millisecond(millis).ok());
}

fn nothing_inserted() -> ServiceError {
    ServiceError::Store(StoreError::Unavailable {
        reason: "the database took a job and answered nothing".to_owned(),
        hint: "try again",
    })
}
