//! The result of an event that was applied to a job.

use orchestra_contracts::JobId;

use crate::domain::{Effects, Job, Refusal};

/// An event that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The job as it is now (as it was, when the event was refused or the job deleted).
    pub job: Job,
    /// What happened: effects when it moved, empty effects when it was already so.
    pub result: Result<Effects, Refusal>,
    /// Jobs that were waiting for this one, or for another of the same transaction, and moved
    /// with it: wake who waits for them.
    pub along: Vec<JobId>,
}

impl Applied {
    pub(super) fn new(job: Job, result: Result<Effects, Refusal>) -> Self {
        Self { job, result, along: Vec::new() }
    }
}
