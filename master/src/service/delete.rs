//! Deletes a job with its attempts and logs.

use orchestra_contracts::JobId;

use super::{Service, ServiceError};
use crate::domain::JobEvent;

/// The progress of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Done,
    /// A worker holds the job: it is cancelled, and deleted when it has ended.
    Begun,
}

impl Service {
    pub async fn delete(&self, id: JobId) -> Result<Deletion, ServiceError> {
        let (_, effects) = self.apply(id, JobEvent::DeleteRequested).await?;
        Ok(if effects.delete { Deletion::Done } else { Deletion::Begun })
    }
}
