//! The final state, as the API and the machine show it.

use std::time::Duration;

use orchestra_contracts::{Attempt, AttemptNo, Job};

use super::{Piece, history::REQUEST_LABEL};

/// All jobs, and what was left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// When the jobs were read, by the history's clock.
    pub at: Duration,
    /// Every job that the master lists.
    pub jobs: Vec<JobEnd>,
    /// How many refused stale writes are explained by the master's own counter, or by the absence of
    /// the job. `None` when that was not counted.
    pub fenced: Option<u64>,
    /// Containers, networks, volumes, processes and files without an owner; `None` when nobody looked.
    pub left: Option<Vec<String>>,
}

/// A job with its attempts and logs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEnd {
    pub job: Job,
    pub attempts: Vec<Attempt>,
    /// The logs that were read.
    pub logs: Vec<(AttemptNo, Vec<Piece>)>,
}

impl JobEnd {
    pub(super) fn request(&self) -> Option<&String> {
        self.job.spec.labels.get(REQUEST_LABEL)
    }

    pub(super) fn log(&self, attempt: AttemptNo) -> Option<&[Piece]> {
        self.logs.iter().find(|(of, _)| *of == attempt).map(|(_, log)| log.as_slice())
    }
}
