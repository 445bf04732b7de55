//! Cancels a job.

use orchestra_contracts::{Job, JobId};

use super::{Service, ServiceError};
use crate::domain::JobEvent;

impl Service {
    /// A pending job has ended when this returns. A job that a worker holds ends when the worker
    /// has stopped it and reported that.
    pub async fn cancel(&self, id: JobId) -> Result<Job, ServiceError> {
        let (job, _) = self.apply(id, JobEvent::CancelRequested).await?;
        self.show(job).await
    }
}
