//! The result of the renewal of a worker's leases.

use orchestra_contracts::{JobId, Span};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    pub lost: Vec<JobId>,
    pub stop: Vec<JobId>,
    /// Leases longer than the base, as their jobs ask for.
    pub longer: Vec<(JobId, Span)>,
    /// The worker is not registered.
    pub unknown: bool,
}
