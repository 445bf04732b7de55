//! The filter and order of a list of jobs.

use orchestra_contracts::{JobId, JobStatus, WorkerName};

/// Which jobs to list. The default lists all, oldest first.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Jobs with any of these; empty for all.
    pub statuses: Vec<JobStatus>,
    pub queue: Option<String>,
    /// Jobs with all of these.
    pub labels: Vec<(String, String)>,
    pub worker: Option<WorkerName>,
    /// Text in the command or the name, ignoring case.
    pub text: Option<String>,
    /// Jobs of the array with this id.
    pub array: Option<JobId>,
    pub order: ListOrder,
    /// Continue after this job, in the list's order.
    pub after: Option<JobId>,
    /// The maximum number of jobs.
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// By id, oldest first.
    #[default]
    Oldest,
    /// By id, newest first.
    Newest,
    /// In claiming order: by priority, then by id. `after` names the last job of the previous page.
    Claiming,
}
