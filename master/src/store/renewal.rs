//! The result of the renewal of a worker's leases.

use orchestra_contracts::{JobId, Span};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    pub lost: Vec<JobId>,
    pub stop: Vec<JobId>,
    /// Leases that their jobs asked for.
    pub longer: Vec<(JobId, Span)>,
    /// The worker never registered here.
    pub unknown: bool,
}
