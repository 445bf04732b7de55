//! Somebody wants an ended job run again.

use orchestra_contracts::{Job, JobId};

use super::{Service, ServiceError};
use crate::domain::JobEvent;

impl Service {
    /// Back to Pending, with fresh budgets; earlier attempts stay.
    pub async fn retry(&self, id: JobId) -> Result<Job, ServiceError> {
        let (job, _) = self.apply(id, JobEvent::RetryRequested).await?;
        self.show(job).await
    }
}
