//! Runs an ended job again.

use orchestra_contracts::{Job, JobId};

use super::{Service, ServiceError};
use crate::domain::JobEvent;

impl Service {
    /// Moves the job back to Pending, with fresh retry budgets. Earlier attempts stay.
    pub async fn retry(&self, id: JobId) -> Result<Job, ServiceError> {
        let (job, _) = self.apply(id, JobEvent::RetryRequested).await?;
        self.show(job).await
    }
}
