//! The API's view of a job: the one place where the domain's types become the API's.

use orchestra_contracts as contracts;

use super::{newest_attempt, vault};
use crate::domain::{Finish, Job, JobState, Stop, Tail};

/// The job as its row has it. The output of a running attempt is not in the row; `Service::show`
/// adds it.
pub fn job(job: &Job) -> contracts::Job {
    let lease = job.lease();
    let finish = job.finish();
    let (not_before, finished_at) = match &job.state {
        JobState::Pending { not_before, .. } => (*not_before, None),
        JobState::Assigned { .. } | JobState::Running { .. } => (job.spec.not_before, None),
        JobState::Finished { finish } => (job.spec.not_before, Some(finish.finished_at)),
    };
    let worker = lease.map(|lease| &lease.worker).or_else(|| finish?.worker.as_ref());
    let mut shown = contracts::Job {
        id: job.id,
        spec: job.spec.clone(),
        status: job.status(),
        assigned_worker: worker.cloned(),
        retry_count: job.retries,
        array_id: job.array(),
        array_index: job.element.map(|element| element.index),
        attempt: newest_attempt(job),
        cancelling: lease.is_some_and(|lease| lease.stop != Stop::No),
        output: String::new(),
        error: String::new(),
        output_truncated: false,
        exit_code: finish.and_then(|finish| finish.outcome.exit_code()),
        outcome: finish.map(|finish| finish.outcome.clone()),
        reason: finish.map(|finish| finish.outcome.to_string()),
        usage: finish.and_then(|finish| finish.usage),
        created_at: job.created_at,
        started_at: job.started_at(),
        finished_at,
        not_before,
        warnings: Vec::new(),
    };
    // It stands beside the spec, with the wait for a retry.
    shown.spec.not_before = None;
    vault::hide(&mut shown.spec);
    if let Some(Finish { tail: Some(tail), .. }) = finish {
        set_tail(&mut shown, tail.clone());
    }
    shown
}

/// Whether the output is not in the job's row and has to be read from the log.
pub(super) fn needs_tail(job: &Job) -> bool {
    let kept = job.finish().is_some_and(|finish| finish.tail.is_some());
    job.attempts > 0 && !kept && job.log.offset > 0
}

pub(super) fn set_tail(shown: &mut contracts::Job, tail: Tail) {
    shown.output = tail.output;
    shown.error = tail.error;
    shown.output_truncated = tail.truncated;
}
