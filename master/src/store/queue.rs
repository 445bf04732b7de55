//! Queues, as they are stored.

use orchestra_contracts::QueueName;

use crate::domain::QueueRules;

/// A queue, with the numbers of its open jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    pub name: QueueName,
    pub rules: QueueRules,
    pub pending: u64,
    /// Jobs that are Assigned or Running.
    pub held: u64,
}
