//! Which jobs a list has, and in which order.

use orchestra_contracts::{JobId, JobStatus, WorkerName};

/// Which jobs to list. The default is all of them, oldest first.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Any of these; empty for all.
    pub statuses: Vec<JobStatus>,
    pub queue: Option<String>,
    /// All of these.
    pub labels: Vec<(String, String)>,
    pub worker: Option<WorkerName>,
    /// Text that the command or the name contains, in any case.
    pub text: Option<String>,
    /// The id of the array whose jobs they are.
    pub array: Option<JobId>,
    pub order: ListOrder,
    /// Continue after this job (in the list's order).
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// By id, oldest first.
    #[default]
    Oldest,
    /// By id, newest first.
    Newest,
    /// As they will be claimed: priority first, then id. `after` names the last job of the page before.
    Claiming,
}
