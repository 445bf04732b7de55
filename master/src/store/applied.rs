//! The result of an event that was applied to a job.

use orchestra_contracts::JobId;

use crate::domain::{Effects, Job, Refusal};

/// An event that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The job after the event; as it was before, if the event was refused or the job deleted.
    pub job: Job,
    /// The effects of the event. They are empty if it had been applied before.
    pub result: Result<Effects, Refusal>,
    /// Jobs that moved along with this one because they waited for it, or for another job of the
    /// same transaction. Their watchers have to be woken.
    pub along: Vec<JobId>,
}

impl Applied {
    pub(super) fn new(job: Job, result: Result<Effects, Refusal>) -> Self {
        Self { job, result, along: Vec::new() }
    }
}
