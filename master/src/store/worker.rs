//! Workers, as they are stored.

use jiff::Timestamp;
use orchestra_contracts::{JobId, WorkerName, worker::Registration};

/// A worker, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    pub name: WorkerName,
    pub registration: Registration,
    pub registered_at: Timestamp,
    pub seen_at: Timestamp,
    /// The jobs it holds.
    pub running: Vec<JobId>,
    pub draining_since: Option<Timestamp>,
}

/// Since when a worker drains; `None` if it does not.
pub type Drained = Option<Timestamp>;
