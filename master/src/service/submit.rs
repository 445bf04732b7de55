//! Somebody hands in a job.

use orchestra_contracts::{FieldError, Job, JobSpec};

use super::{Service, ServiceError, Settings, view};
use crate::store::StoreError;

impl Service {
    /// Stores a job durably and lets workers know of it.
    pub async fn submit(&self, mut spec: JobSpec) -> Result<Job, ServiceError> {
        let errors = self.refusals(&spec);
        if !errors.is_empty() {
            return Err(ServiceError::Invalid(errors));
        }
        spec.timeout.get_or_insert(self.settings.job_timeout);
        let inserted = self.store.insert(vec![spec], self.clock.now()).await?;
        self.desk.look_again();
        let job = inserted.into_iter().next().ok_or_else(nothing_inserted)?;
        Ok(view::job(&job))
    }

    /// What the words themselves and this operator refuse.
    fn refusals(&self, spec: &JobSpec) -> Vec<FieldError> {
        let mut errors = spec.validate();
        let longest = self.settings.max_job_timeout;
        if spec.timeout.is_some_and(|timeout| timeout > longest) {
            errors.push(FieldError {
                pointer: "/timeout".to_owned(),
                detail: format!("is longer than {longest}, the longest that this master allows"),
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

fn nothing_inserted() -> ServiceError {
    ServiceError::Store(StoreError::Unavailable {
        reason: "the database took a job and answered nothing".to_owned(),
        hint: "try again",
    })
}
