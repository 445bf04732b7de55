//! Queues, as they are stored.

use orchestra_contracts::QueueName;

use crate::domain::QueueRules;

/// A queue with what has not ended in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    pub name: QueueName,
    pub rules: QueueRules,
    pub pending: u64,
    /// Assigned or Running.
    pub held: u64,
}
