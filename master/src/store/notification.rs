//! The notification that one master's commit sends to the others on the same database: where to look
//! again. It carries no state, and a lost one does no harm: every master polls once a second anyway.

use std::{collections::BTreeSet, mem};

use orchestra_contracts::{JobId, WorkerName};
use serde::{Deserialize, Serialize};

use crate::domain::{Job, Stop};

/// Where to look again after a commit of another master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a place to look at, whatever the others"
)]
pub struct Notification {
    /// Jobs that have changed, or their logs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub jobs: BTreeSet<JobId>,
    /// Workers that have something to stop.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub workers: BTreeSet<WorkerName>,
    /// There may be something to claim.
    #[serde(skip_serializing_if = "is_false")]
    pub claimable: bool,
    /// There may be something to tell webhooks.
    #[serde(skip_serializing_if = "is_false")]
    pub ended: bool,
    /// Tokens were added or revoked.
    #[serde(skip_serializing_if = "is_false")]
    pub tokens: bool,
    /// More than can be said here, or something was missed: look everywhere.
    #[serde(skip_serializing_if = "is_false")]
    pub everything: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Notification {
    /// Something was missed, or is too much for one notification.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn take(&mut self) -> Self {
        mem::take(self)
    }

    pub(super) fn add(&mut self, more: Self) {
        let Self { jobs, workers, claimable, ended, tokens, everything } = more;
        self.jobs.extend(jobs);
        self.workers.extend(workers);
        self.claimable |= claimable;
        self.ended |= ended;
        self.tokens |= tokens;
        self.everything |= everything;
    }

    /// Adds a job that has changed to this.
    pub(super) fn note(&mut self, job: &Job) {
        self.jobs.insert(job.id);
        match job.lease() {
            Some(lease) if lease.stop != Stop::No => {
                self.workers.insert(lease.worker.clone());
            }
            Some(_) => {}
            // It waits again, or has made room in its queue.
            None => self.claimable = true,
        }
        self.ended |= job.status().is_final();
    }
}
