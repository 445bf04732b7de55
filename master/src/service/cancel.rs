//! Somebody wants a job ended.

use orchestra_contracts::{Job, JobId};

use super::{Service, ServiceError};
use crate::domain::JobEvent;

impl Service {
    /// A waiting job has ended when this returns; one that a worker holds ends
    /// when the worker has done so and said it.
    pub async fn cancel(&self, id: JobId) -> Result<Job, ServiceError> {
        let (job, _) = self.apply(id, JobEvent::CancelRequested).await?;
        self.show(job).await
    }
}
